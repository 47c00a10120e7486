// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"context"
	"net/netip"
	"sync"

	cnm "github.com/libnetwork/cnm"
)

var (
	_ cnm.Allocator = (*Allocator)(nil)
	_ cnm.Describer = (*Allocator)(nil)
	_ cnm.Decoder   = (*Allocator)(nil)
)

// Allocator chooses subnets and gives out their addresses. It is a [cnm.Allocator], safe for concurrent use. It starts no
// goroutine and need not be closed.
type Allocator struct {
	config Config // never changed after New

	// mu guards all below. It is never held across Config.Host and Quarantine.Wait.
	mu    sync.Mutex
	pools index
	ward  ward
}

// New makes an allocator without pools. The error is of kind [cnm.Invalid], for a default pool that cannot be used.
func New(c Config) (*Allocator, error) {
	if err := c.settle(); err != nil {
		return nil, err
	}
	return &Allocator{config: c, pools: newIndex(), ward: newWard()}, nil
}

// CreatePool makes a pool. A given subnet that overlaps the host's routes or resolvers is refused as [cnm.Invalid], one that
// overlaps another pool as [cnm.Exists], unless Overlap says otherwise; what is wrong in itself is [cnm.Invalid] with the field
// "subnet", "gateway", "range", "reserved" or "ipam-opt". What the host reaches directly by the request's Link is no overlap. A subnet that is chosen overlaps nothing, whatever Overlap says;
// if there is none left, that is [cnm.Exhausted].
//
// A pool's handle follows from its network and its subnet. A replay has the handle it names; replaying a pool that is
// there already succeeds. Reserved addresses are never given out but to [cnm.ForReserved].
func (a *Allocator) CreatePool(ctx context.Context, req cnm.PoolRequest) (cnm.Pool, error) {
	o, err := decode(req.Options)
	if err != nil {
		return cnm.Pool{}, err
	}
	if err := checkRequest(&req, o); err != nil {
		return cnm.Pool{}, err
	}
	given, replay := req.Subnet.Prefix.IsValid(), req.Subnet.Pool != ""
	anything := replay || given && req.Overlap
	var host []Used
	if !anything {
		if host, err = a.host(ctx); err != nil {
			return cnm.Pool{}, err
		}
	}

	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case !given:
		size := o.size(req.Family)
		if req.Subnet.Prefix, err = choose(req.Family, a.config.defaults(req.Family), size, append(host, a.pools.used()...)); err != nil {
			return cnm.Pool{}, err
		}
	case !anything:
		if err := a.conflict(&req, host); err != nil {
			return cnm.Pool{}, err
		}
	}
	return a.insert(&req)
}

// host is what the host uses, without default routes, each prefix masked and in its own family.
func (a *Allocator) host(ctx context.Context) ([]Used, error) {
	if a.config.Host == nil {
		return nil, nil
	}
	all, err := a.config.Host(ctx)
	if err != nil {
		return nil, cnm.Errorf(cnm.KindOf(err), "read the host's routes and resolvers: %w", err)
	}
	used := make([]Used, 0, len(all))
	for _, u := range all {
		p := u.Prefix
		if p.Addr().Is4In6() && p.Bits() >= 96 {
			p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
		}
		if !p.IsValid() || p.Bits() <= 1 {
			continue
		}
		if u.What == "" {
			u.What = p.String() + " of the host"
		}
		used = append(used, Used{Prefix: p.Masked(), What: u.What, Link: u.Link})
	}
	return used, nil
}

// conflict is an error if the subnet overlaps a pool or something of the host beyond the link that the network is. mu is held.
func (a *Allocator) conflict(req *cnm.PoolRequest, host []Used) error {
	p := req.Subnet.Prefix
	const text = "subnet %s overlaps %s; choose another subnet or --opt allow-overlap=true"
	if q := a.pools.overlapping(p); q != nil {
		return cnm.FieldErrorf(cnm.Exists, fieldSubnet, text, p, q.what)
	}
	for _, u := range host {
		if u.Prefix.Overlaps(p) && (u.Link == "" || u.Link != req.Link) {
			return cnm.FieldErrorf(cnm.Invalid, fieldSubnet, text, p, u.What)
		}
	}
	return nil
}

// insert makes the pool of a request whose prefix is settled. mu is held.
func (a *Allocator) insert(req *cnm.PoolRequest) (cnm.Pool, error) {
	p := newPool(req)
	made := cnm.Pool{ID: p.id, Prefix: p.prefix, Range: p.within}
	if old, ok := a.pools.byID[p.id]; ok {
		if req.Subnet.Pool != "" && old.network == p.network && old.prefix == p.prefix && old.within == p.within {
			return made, nil
		}
		return cnm.Pool{}, cnm.FieldErrorf(cnm.Exists, fieldSubnet, "%s is there already; a network has each subnet once", old.what)
	}
	a.pools.add(p)
	for addr := range a.ward.stays {
		if p.prefix.Contains(addr) {
			p.busy.add(numberOf(addr))
		}
	}
	return made, nil
}

// DeletePool forgets a pool. What it still held goes into quarantine, which belongs to the addresses: a pool made of the
// same prefix at once finds them there. Deleting what is not there succeeds.
func (a *Allocator) DeletePool(_ context.Context, id cnm.PoolID) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	p, ok := a.pools.byID[id]
	if !ok {
		return nil
	}
	a.pools.remove(p)
	for n, h := range p.held {
		a.free(n.addr(p.prefix), h.owner)
	}
	return nil
}
