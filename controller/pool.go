// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"time"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/internal/undo"
)

// A runtime may ask for pools before it names their network, and for addresses before it names their endpoints. Both are kept in
// memory only: what nobody takes for some minutes, or before the process ends, is free again, and a network or an endpoint that
// comes later takes its prefix or address like any other.

// reservedFor is how long a pool waits for its network, and an address for its endpoint.
const reservedFor = 5 * time.Minute

// reserve is what was asked for ahead.
type reserve struct {
	mu    sync.Mutex // guards both; never held across an allocator
	pools map[cnm.PoolID]reservedPool
	// leases are addresses by pool: of pools in the map above and of networks.
	leases map[leaseKey]lease
}

type reservedPool struct {
	ipam    string
	pool    cnm.Pool
	taken   bool // by a network that is being made
	created time.Time
}

type leaseKey struct {
	pool cnm.PoolID
	addr netip.Addr
}

type lease struct {
	purpose  cnm.Purpose
	endpoint cnm.EndpointID // that uses it
	since    time.Time      // there is no such endpoint
}

func newReserve() *reserve {
	return &reserve{pools: map[cnm.PoolID]reservedPool{}, leases: map[leaseKey]lease{}}
}

// CreatePool makes a pool that waits for its network: [Controller.CreateNetwork] takes the subnet that names it.
func (c *Controller) CreatePool(ctx context.Context, ipam string, req cnm.PoolRequest) (p cnm.Pool, err error) {
	defer func() { err = cnm.During("pool create", err) }()
	if c.readOnly != nil {
		return p, c.readOnly
	}
	a, err := c.allocator(ipam)
	if err != nil {
		return p, err
	}
	req.Network, req.Subnet.Pool = cnm.NewNetworkID(), "" // of nobody yet
	if p, err = a.CreatePool(ctx, req); err != nil {
		return p, c.nameOverlap(ctx, req.Subnet.Prefix, err)
	}
	c.ahead.mu.Lock()
	defer c.ahead.mu.Unlock()
	c.ahead.pools[p.ID] = reservedPool{ipam: ipam, pool: p, created: c.now()}
	return p, nil
}

// DeletePool gives a pool back that waits for its network. One that a network has goes with it.
func (c *Controller) DeletePool(ctx context.Context, id cnm.PoolID) error {
	c.ahead.mu.Lock()
	p, ok := c.ahead.pools[id]
	if !ok || p.taken {
		c.ahead.mu.Unlock()
		return nil
	}
	delete(c.ahead.pools, id)
	c.ahead.forget(id)
	c.ahead.mu.Unlock()
	a, err := c.allocator(p.ipam)
	if err == nil {
		err = a.DeletePool(ctx, id)
	}
	return cnm.During("pool delete", err)
}

// forget drops the leases of a pool, with mu held.
func (r *reserve) forget(id cnm.PoolID) {
	for k := range r.leases {
		if k.pool == id {
			delete(r.leases, k)
		}
	}
}

// AllocateAddress takes an address ahead: a gateway or a reserved one of a pool that waits for its network, or one of a network's for an
// endpoint that is to come and asks for it.
func (c *Controller) AllocateAddress(ctx context.Context, req cnm.AddressRequest) (l cnm.Lease, err error) {
	defer func() { err = cnm.During("address allocate", err) }()
	if c.readOnly != nil {
		return l, c.readOnly
	}
	a, nw, err := c.poolOf(req.Pool)
	if err != nil {
		return l, err
	}
	if nw == "" && req.Purpose == cnm.ForEndpoint {
		return l, cnm.FieldErrorf(cnm.Invalid, "pool", "pool %.80q is of no network yet", string(req.Pool))
	}
	if l, err = a.Allocate(ctx, req); err != nil {
		if n, ok := c.table.network(nw); ok {
			s, _ := subnetOfPool(&n, req.Pool)
			err = c.nameTaker(n, s, req.Address, err)
		}
		return l, err
	}
	c.ahead.mu.Lock()
	defer c.ahead.mu.Unlock()
	c.ahead.leases[leaseKey{req.Pool, l.Address.Addr()}] = lease{purpose: req.Purpose, since: c.now()}
	return l, nil
}

// ReleaseAddress gives an address back that was taken ahead. One that an endpoint, or as gateway or reserved one a network, has is freed
// with it; releasing what is free succeeds.
func (c *Controller) ReleaseAddress(ctx context.Context, id cnm.PoolID, addr netip.Addr) error {
	c.ahead.mu.Lock()
	k := leaseKey{id, addr}
	l, ok := c.ahead.leases[k]
	delete(c.ahead.leases, k)
	c.ahead.mu.Unlock()
	if !ok || l.endpoint != "" {
		return nil
	}
	a, _, err := c.poolOf(id)
	if errors.Is(err, cnm.NotFound) {
		return nil
	}
	if err == nil {
		err = a.Release(ctx, id, addr)
	}
	return cnm.During("address release", err)
}

// poolOf is a pool's address manager, and its network if it has one.
func (c *Controller) poolOf(id cnm.PoolID) (cnm.Allocator, cnm.NetworkID, error) {
	c.ahead.mu.Lock()
	p, ok := c.ahead.pools[id]
	c.ahead.mu.Unlock()
	if ok {
		a, err := c.allocator(p.ipam)
		return a, "", err
	}
	nw, ok := c.table.networkOfPool(id)
	if !ok || nw.State != cnm.Ready {
		return nil, "", cnm.FieldErrorf(cnm.NotFound, "pool", "no pool %.80q", string(id))
	}
	a, err := c.allocator(nw.IPAM)
	return a, nw.ID, err
}

func (t *table) networkOfPool(id cnm.PoolID) (cnm.Network, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	for _, nw := range t.networks {
		if _, ok := subnetOfPool(&nw, id); ok {
			return nw, true
		}
	}
	return cnm.Network{}, false
}

func subnetOfPool(nw *cnm.Network, id cnm.PoolID) (cnm.Subnet, bool) {
	for _, s := range nw.Subnets {
		if s.Pool == id {
			return s, true
		}
	}
	return cnm.Subnet{}, false
}

// takePool gives a network that is being made a pool that waits for it, with the gateway and the reserved addresses that were taken of it.
func (c *Controller) takePool(ctx context.Context, u *undo.Stack, ipam string, a cnm.Allocator, s cnm.Subnet) (cnm.Subnet, error) {
	c.ahead.mu.Lock()
	p, ok := c.ahead.pools[s.Pool]
	if !ok || p.taken || p.ipam != ipam || p.pool.Prefix != s.Prefix {
		c.ahead.mu.Unlock()
		return s, cnm.FieldErrorf(cnm.NotFound, "pool", "no pool %.80q of subnet %s waits for a network", string(s.Pool), s.Prefix)
	}
	p.taken = true
	c.ahead.pools[s.Pool] = p
	held := map[netip.Addr]cnm.Purpose{}
	for k, l := range c.ahead.leases {
		if k.pool == s.Pool {
			held[k.addr] = l.purpose
			if l.purpose == cnm.ForGateway && !s.Gateway.IsValid() {
				s.Gateway = k.addr
			}
		}
	}
	c.ahead.mu.Unlock()
	u.Push("give the pool back", func(context.Context) error {
		c.ahead.mu.Lock()
		defer c.ahead.mu.Unlock()
		p.taken = false
		c.ahead.pools[s.Pool] = p
		return nil
	})
	s.Range = p.pool.Range
	return c.takeFixed(ctx, aheadOf{a, held, u}, s, false)
}

// aheadOf is an address manager of which some addresses were taken ahead. What it gives besides is given back by an undo: the pool
// outlives a network that could not be made.
type aheadOf struct {
	cnm.Allocator
	held map[netip.Addr]cnm.Purpose
	undo *undo.Stack
}

// Allocate implements [cnm.Allocator].
func (a aheadOf) Allocate(ctx context.Context, req cnm.AddressRequest) (cnm.Lease, error) {
	if purpose, ok := a.held[req.Address]; ok && purpose == req.Purpose {
		return cnm.Lease{Address: netip.PrefixFrom(req.Address, req.Address.BitLen())}, nil
	}
	l, err := a.Allocator.Allocate(ctx, req)
	if err == nil {
		a.undo.Push("release the address", func(ctx context.Context) error { return a.Release(ctx, req.Pool, l.Address.Addr()) })
	}
	return l, err
}

// keepPools makes the pools of a network that was made its own.
func (c *Controller) keepPools(nw cnm.Network) {
	c.ahead.mu.Lock()
	defer c.ahead.mu.Unlock()
	for _, s := range nw.Subnets {
		if _, ok := c.ahead.pools[s.Pool]; ok {
			delete(c.ahead.pools, s.Pool)
			c.ahead.forget(s.Pool)
		}
	}
}

// takeLease gives an endpoint that is being made the address that was taken ahead for it; false if none was.
func (c *Controller) takeLease(u *undo.Stack, pool cnm.PoolID, a netip.Addr, ep cnm.EndpointID) bool {
	k := leaseKey{pool, a}
	set := func(to cnm.EndpointID) bool {
		c.ahead.mu.Lock()
		defer c.ahead.mu.Unlock()
		l, ok := c.ahead.leases[k]
		if !ok || l.purpose != cnm.ForEndpoint || to != "" && l.endpoint != "" {
			return false
		}
		l.endpoint, l.since = to, c.now()
		c.ahead.leases[k] = l
		return true
	}
	if !set(ep) {
		return false
	}
	u.Push("give the address back", func(context.Context) error { set(""); return nil })
	return true
}

// returnLease tells whether an endpoint's address was taken ahead: then it is still, until that is taken back.
func (c *Controller) returnLease(pool cnm.PoolID, a netip.Addr) bool {
	c.ahead.mu.Lock()
	defer c.ahead.mu.Unlock()
	k := leaseKey{pool, a}
	l, ok := c.ahead.leases[k]
	if ok {
		l.endpoint, l.since = "", c.now()
		c.ahead.leases[k] = l
	}
	return ok
}

// expire gives back what was taken ahead and forgotten.
func (c *Controller) expire(ctx context.Context) {
	c.ahead.mu.Lock()
	var pools []cnm.PoolID
	var leases []leaseKey
	old := func(t time.Time) bool { return c.now().Sub(t) >= reservedFor }
	for id, p := range c.ahead.pools {
		if !p.taken && old(p.created) {
			pools = append(pools, id)
		}
	}
	for k, l := range c.ahead.leases {
		if _, waits := c.ahead.pools[k.pool]; !waits && l.endpoint == "" && old(l.since) {
			leases = append(leases, k)
		}
	}
	c.ahead.mu.Unlock()
	for _, id := range pools {
		c.noteReconcile(ctx, "pool "+string(id), c.DeletePool(ctx, id))
	}
	for _, k := range leases {
		c.noteReconcile(ctx, "address "+k.addr.String(), c.ReleaseAddress(ctx, k.pool, k.addr))
	}
}
