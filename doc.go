// SPDX-License-Identifier: Apache-2.0

// Package cnm is the Container Network Model: its nouns, its verbs and the contracts between the parts that make it real.
// It holds no behaviour beyond parsing and checking of values, and needs the standard library only.
//
// # The nouns
//
// A [Sandbox] is an isolated network stack: on Linux a network namespace, made by us or by a runtime. It holds
// interfaces, routes and name settings, and may be on several networks at once.
//
// A [Network] is a set of endpoints that reach each other freely and are isolated from every other network. It is made
// real by a [Driver] and gets its addresses from an [Allocator].
//
// An [Endpoint] is an addressable attachment of one sandbox to one network: a veth pair, a macvlan link, or
// whatever the driver makes. It belongs to exactly one network and is in at most one sandbox. An endpoint whose sandbox
// is gone is collected, unless it was made to be kept.
//
// # The verbs
//
// Networks, endpoints and sandboxes are created and deleted. Join ties an endpoint to a sandbox, and the record of that is a
// [Join]; Leave unties it. Attach is CreateEndpoint and Join in one step; Detach is Leave and DeleteEndpoint.
//
// Every verb is all-or-nothing. Until it commits to the [Store] the object is in a transitional [State], which is its lock: [Moves] is the
// table. Where what it does could not be found after a crash, the claim is in the store too, before the kernel is touched.
//
// # One attach
//
//	controller.Attach      claims the endpoint's record, and runs the steps below, each with its undo beside it
//	  Allocator.Allocate   one address a family
//	  Driver.CreateEndpoint  decides the MAC
//	  Stack.Open           opens the sandbox's namespace and checks that it is still the one recorded
//	  Driver.Join          holds the host ports, commits the rules in one transaction, then makes the link in place
//	  Stack.Plug           addresses, routes, rules and neighbours inside, in one message
//	  Store.Put            commits
//
// # The contracts
//
// [Driver], [Allocator], [Stack], [Names] and [Store] are realised by the rooms driver, ipam, sandbox, dns and store,
// and handed to the controller by whoever composes a program; nothing registers itself. Beside its six verbs a driver may have
// one-method interfaces, found by type assertion: [Describer], [Decoder], [Publisher], [Gatekeeper], [Declarer],
// [Reconciler], [Watcher].
//
// # Values, errors, ownership
//
// Records are values. Nobody shares memory through them, and their maps and slices are never changed after they
// were handed on. Every error is or wraps an [Error], whose [Kind] says what a caller can do about it. IPv4 and IPv6 are twins:
// what exists for one [Family] exists for the other.
package cnm
