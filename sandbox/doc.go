// SPDX-License-Identifier: Apache-2.0

// Package sandbox realises sandboxes as Linux network namespaces: [Stack] is a
// [cnm.Stack] and a [cnm.Watcher].
//
// # A namespace
//
// Create makes and pins one, or looks at one that somebody else made. From then on
// its cookie is its identity: every entry opens the path (or the process), enters,
// and compares cookies. Between calls nothing is held that would keep a namespace
// alive.
//
// # An endpoint's half
//
// What an endpoint needs inside is a plain value, computed from the attachment
// alone: the link's settings, its addresses, permanent neighbours, routes and
// rules. Plug sends it as one message batch. It writes with "must not be there
// yet", so that the kernel itself tells a first plug from a repeated one; only a
// repeated one reads the kernel and changes what differs.
//
// Besides the main table every endpoint has a table of its own, with the route to
// its subnets and its network's gateway, and a rule "from ADDRESS" that leads
// there: so an answer leaves through the network the question came by. Table
// [TableOf] is the interface's index with the highest bit set, unique in the
// namespace for as long as the link lives; the rules have priority [RulePriority].
// Everything carries the routing protocol number [Protocol], which is how what is
// ours is told from what a user inside adds; that is left alone.
//
// An IPv6 link-local address is made from the MAC address (EUI-64) and without
// duplicate detection, like all addresses here. An endpoint without IPv6 addresses
// has IPv6 switched off on its link.
//
// The package needs Linux 5.15, CAP_SYS_ADMIN and CAP_NET_ADMIN in the user
// namespaces that own the namespaces worked on.
package sandbox
