// SPDX-License-Identifier: Apache-2.0

package cnm

import "context"

// Store keeps the intent. It has two lifetimes: durable (networks and kept endpoints) and boot-scoped (sandboxes,
// joins, other endpoints); a record's lifetime follows from its type and fields. References go from boot to durable only.
// Each call is all-or-nothing; where it touches both lifetimes, Put writes the durable one first and Drop
// the boot one first, and the last write commits. Methods are safe for concurrent use.
type Store interface {
	// Load returns everything. It is called once, before anything else.
	Load(ctx context.Context) (Records, error)
	// Put inserts or replaces the given records. When it returns, they survive the death of the process; durable ones
	// also that of the machine.
	Put(ctx context.Context, r Records) error
	// Drop removes the named records; what is not there is no error.
	Drop(ctx context.Context, k Keys) error
	// Close releases the store. Calls after it fail.
	Close() error
}

// Records is a set of records. Slices may be nil.
type Records struct {
	Networks  []Network
	Endpoints []Endpoint
	Sandboxes []Sandbox
	Joins     []Join
	// Boot is set by Load and ignored by Put.
	Boot Boot
}

// Boot describes the boot-scoped half of a store.
type Boot struct {
	// Fresh: it was made by this Load. If the kernel carries our objects all the same, their records were lost.
	Fresh bool
	// Group is a random link group, 1 to 2^31-1, drawn when the boot-scoped half was made: links in it are ours and dead.
	Group uint32
}

// Keys names records.
type Keys struct {
	Networks  []NetworkID
	Endpoints []EndpointID // of either lifetime
	Sandboxes []SandboxID
	Joins     []EndpointID // a join is named by its endpoint
}
