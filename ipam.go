// SPDX-License-Identifier: Apache-2.0

package cnm

import (
	"context"
	"net/netip"
	"time"
)

// PoolID is an address manager's handle of a pool.
type PoolID string

// Allocator gives out addresses. What is used is an index in memory, built at the start by replaying CreatePool and
// Allocate with the recorded values. Methods are safe for concurrent use. Exhaustion is an error of kind [Exhausted] that names the pool.
type Allocator interface {
	// CreatePool makes a pool, choosing the prefix where none is given. It refuses one that overlaps another pool or the
	// host's routes and resolvers, unless told otherwise.
	CreatePool(ctx context.Context, req PoolRequest) (Pool, error)
	// DeletePool forgets a pool and all its addresses; deleting what is not there succeeds.
	DeletePool(ctx context.Context, id PoolID) error
	// Allocate takes the wanted address, or the next free one.
	Allocate(ctx context.Context, req AddressRequest) (Lease, error)
	// Release gives an address back. It comes again only after its quarantine. Releasing what is free succeeds.
	Release(ctx context.Context, id PoolID, a netip.Addr) error
}

// PoolRequest asks for one pool.
type PoolRequest struct {
	Network NetworkID // whom it is for, in errors
	Family  Family
	Subnet  Subnet            // a zero prefix: choose one; a valid Subnet.Pool: replay a record, without looking at the host
	Options map[string]string // of the address manager, decoded strictly
	Overlap bool              // the prefix may overlap the host's routes and other pools
	Link    string            // the network is what is behind this link of the host: what the host reaches directly by it is no overlap
}

// Pool is what was made.
type Pool struct {
	ID     PoolID
	Prefix netip.Prefix
	Range  netip.Prefix
}

// AddressRequest asks for one address.
type AddressRequest struct {
	Pool    PoolID
	Address netip.Addr // invalid: any free one
	Purpose Purpose
	Owner   EndpointID // empty for a gateway or a reserved name
	MAC     MAC        // where the address manager needs it
	Replay  bool       // an address recorded before: quarantine does not apply
}

// Purpose is what an address is for.
type Purpose uint8

// The purposes.
const (
	ForEndpoint Purpose = iota
	ForGateway
	ForReserved
)

// Lease is an address given out.
type Lease struct {
	Address netip.Prefix // with the length of its pool
	Owner   EndpointID
	MAC     MAC
	Expires time.Time // zero: never
}

// Quarantine keeps what was freed (an address, a host port) from coming again while a flow may still name it. A mark is
// taken when it is freed; it is clear once a sweep of the connection table that began after the mark is done.
type Quarantine interface {
	// Mark notes that a is freed now (with port 0: all of the address) and has it swept soon.
	Mark(p Protocol, a netip.AddrPort) uint64
	// Clear tells whether such a sweep is done.
	Clear(mark uint64) bool
	// Wait has a sweep begun if needed and returns when the mark is clear or ctx ends.
	Wait(ctx context.Context, mark uint64) error
}
