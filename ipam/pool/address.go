// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"context"
	"net/netip"

	cnm "github.com/libnetwork/cnm"
)

// batch bounds how many addresses one call takes out of quarantine, so that none pays for a sweep that freed a million.
const batch = 64

// Allocate takes an address. A wanted one may be outside the pool's range; it is refused as [cnm.Invalid] if no interface of
// the subnet may have it and as [cnm.Exists], with its owner, if it is taken. While it is in quarantine the call waits, bound by
// ctx, unless it is a replay or the owner is the one that had it last. A replay of what is taken by the same owner for the same
// purpose succeeds.
//
// Without a wanted address a gateway gets the first of the range, after its quarantine; anything else the next free
// address after the last one given. If all that are not taken are in quarantine, the call waits for the one that
// was freed first. [cnm.Exhausted] says which pool has none left.
func (a *Allocator) Allocate(ctx context.Context, req cnm.AddressRequest) (cnm.Lease, error) {
	var over *stay
	for {
		lease, wait, err := a.try(&req, over)
		if err != nil || wait == nil {
			return lease, err
		}
		if err := a.config.Quarantine.Wait(ctx, wait.mark); err != nil {
			return cnm.Lease{}, cnm.Errorf(cnm.KindOf(err),
				"address %s was freed a moment ago and flows may still name it; try again, or use another address: %w", wait.addr, err)
		}
		over = wait
	}
}

// try takes an address, or tells which stay in quarantine must end first. over is the one that was waited for.
func (a *Allocator) try(req *cnm.AddressRequest, over *stay) (cnm.Lease, *stay, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if over != nil {
		a.discharge(*over)
	}
	p, ok := a.pools.byID[req.Pool]
	if !ok {
		return cnm.Lease{}, nil, cnm.Errorf(cnm.NotFound, "address pool %.80q does not exist; create its network first", string(req.Pool))
	}
	n, wait, err := a.pick(p, req)
	if err != nil || wait != nil {
		return cnm.Lease{}, wait, err
	}
	p.take(n, req)
	return cnm.Lease{Address: netip.PrefixFrom(n.addr(p.prefix), p.prefix.Bits()), Owner: req.Owner, MAC: req.MAC}, nil, nil
}

// pick is the address to take, or the stay that must end first. mu is held.
func (a *Allocator) pick(p *pool, req *cnm.AddressRequest) (number, *stay, error) {
	switch {
	case req.Address != netip.Addr{}:
		return a.pickWanted(p, req)
	case req.Purpose == cnm.ForGateway:
		return a.pickGateway(p)
	default:
		return a.pickNext(p)
	}
}

func (a *Allocator) pickWanted(p *pool, req *cnm.AddressRequest) (number, *stay, error) {
	if err := checkUsable(fieldAddress, "ip", req.Address, p.prefix); err != nil {
		return number{}, nil, err
	}
	n := numberOf(req.Address)
	if h, taken := p.held[n]; taken {
		if req.Replay && h == holderOf(req) {
			return n, nil, nil
		}
		return number{}, nil, p.takenError(req.Address, h)
	}
	if p.reserved[n] != "" && req.Purpose != cnm.ForReserved {
		return number{}, nil, p.takenError(req.Address, holder{})
	}
	s, ok := a.inQuarantine(req.Address)
	if ok && !req.Replay && (req.Owner == "" || req.Owner != s.owner) {
		return number{}, &s, nil
	}
	return n, nil, nil
}

// pickGateway prefers the first address even while it is in quarantine: a network made anew has its gateway where it was.
func (a *Allocator) pickGateway(p *pool) (number, *stay, error) {
	n := p.first
	for p.reserved[n] != "" && n.less(p.last) {
		n = n.next()
	}
	if _, taken := p.held[n]; !taken && p.reserved[n] == "" {
		if s, ok := a.inQuarantine(n.addr(p.prefix)); ok {
			return number{}, &s, nil
		}
		return n, nil, nil
	}
	return a.pickNext(p)
}

func (a *Allocator) pickNext(p *pool) (number, *stay, error) {
	for {
		cleared := a.drain(batch)
		if n, ok := p.nextFree(); ok {
			return n, nil, nil
		}
		if cleared < batch {
			break
		}
	}
	if s, ok := a.ward.oldest(p.waits); ok {
		return number{}, &s, nil
	}
	return number{}, nil, p.exhaustedError()
}

// Release gives an address back, into quarantine. Releasing what is not taken, also in a pool that is not there, succeeds.
func (a *Allocator) Release(_ context.Context, id cnm.PoolID, addr netip.Addr) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	p, ok := a.pools.byID[id]
	if !ok || !p.prefix.Contains(addr) {
		return nil
	}
	n := numberOf(addr)
	h, ok := p.held[n]
	if !ok {
		return nil
	}
	delete(p.held, n)
	a.free(addr, h.owner)
	a.drain(batch)
	return nil
}

// free puts an address that is no longer held into quarantine, in every pool that contains it. mu is held.
func (a *Allocator) free(addr netip.Addr, owner cnm.EndpointID) {
	if q := a.config.Quarantine; q != nil {
		a.ward.admit(stay{addr: addr, mark: q.Mark(0, netip.AddrPortFrom(addr, 0)), owner: owner})
	}
	a.refresh(addr)
}

// refresh brings every pool that contains the address up to date with the ward. mu is held.
func (a *Allocator) refresh(addr netip.Addr) {
	_, staying := a.ward.stays[addr]
	for p := range a.pools.containing(addr) {
		p.refresh(numberOf(addr), staying)
	}
}

// inQuarantine tells whether addr is in quarantine still, and since when. mu is held.
func (a *Allocator) inQuarantine(addr netip.Addr) (stay, bool) {
	s, ok := a.ward.stays[addr]
	if ok && a.config.Quarantine.Clear(s.mark) {
		a.discharge(s)
		return stay{}, false
	}
	return s, ok
}

// discharge ends a stay, unless the address has been freed anew since. mu is held.
func (a *Allocator) discharge(s stay) {
	if a.ward.discharge(s) {
		a.refresh(s.addr)
	}
}

// drain ends up to limit stays that are clear, oldest first, and tells how many. mu is held.
func (a *Allocator) drain(limit int) int {
	for n := range limit {
		s, ok := a.ward.oldest(nil)
		if !ok || !a.config.Quarantine.Clear(s.mark) {
			return n
		}
		a.discharge(s)
	}
	return limit
}
