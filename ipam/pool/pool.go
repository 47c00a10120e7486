// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"fmt"
	"net/netip"

	cnm "github.com/libnetwork/cnm"
)

// pool is one subnet. It is guarded by its allocator's lock.
type pool struct {
	id      cnm.PoolID
	network cnm.NetworkID
	what    string // as errors name it: its subnet and its network
	prefix  netip.Prefix
	within  netip.Prefix // the range; invalid: all of prefix

	first, last number // automatic addresses
	cursor      number // where the next search begins

	held     map[number]holder
	reserved map[number]string // by address: the name
	// busy are the addresses that are held, reserved, or in quarantine.
	busy set
}

// holder is who has an address.
type holder struct {
	owner   cnm.EndpointID
	purpose cnm.Purpose
}

func holderOf(req *cnm.AddressRequest) holder { return holder{req.Owner, req.Purpose} }

// newPool is the empty pool of a request that was checked and whose prefix is settled.
func newPool(req *cnm.PoolRequest) *pool {
	s := &req.Subnet
	p := &pool{
		id: s.Pool, network: req.Network, prefix: s.Prefix, within: s.Range,
		held: map[number]holder{}, reserved: map[number]string{},
	}
	if p.id == "" {
		p.id = cnm.PoolID(string(req.Network) + "/" + s.Prefix.String())
	}
	p.what = fmt.Sprintf("subnet %s of network %s", p.prefix, p.network)
	p.first, p.last = automatic(s.Prefix, s.Range)
	p.cursor = p.first
	for name, a := range s.Reserved {
		n := numberOf(a)
		p.reserved[n] = name
		p.busy.add(n)
	}
	return p
}

// take notes that n is held. The search goes on after it if it is an automatic address given now or, at a replay, the
// highest so far: so what was freed just before a restart is not the first to come again.
func (p *pool) take(n number, req *cnm.AddressRequest) {
	p.held[n] = holderOf(req)
	p.busy.add(n)
	given := req.Address == netip.Addr{}
	highest := req.Replay && req.Purpose == cnm.ForEndpoint && !n.less(p.cursor) && !p.last.less(n)
	if given || highest {
		p.cursor = n.next()
	}
}

// nextFree is the next automatic address that is not busy.
func (p *pool) nextFree() (number, bool) {
	if n, ok := p.busy.absent(p.cursor, p.last); ok {
		return n, true
	}
	return p.busy.absent(p.first, p.last)
}

// refresh sets whether n is busy; staying says that it is in quarantine.
func (p *pool) refresh(n number, staying bool) {
	_, taken := p.held[n]
	if taken || staying || p.reserved[n] != "" {
		p.busy.add(n)
	} else {
		p.busy.remove(n)
	}
}

// waits tells whether an address in quarantine is one that the pool gives out once it is clear.
func (p *pool) waits(a netip.Addr) bool {
	if !p.prefix.Contains(a) {
		return false
	}
	n := numberOf(a)
	_, taken := p.held[n]
	return !taken && p.reserved[n] == "" && !n.less(p.first) && !p.last.less(n)
}

// used is the pool as others see it.
func (p *pool) used() Used { return Used{Prefix: p.prefix, What: p.what} }

func (p *pool) errorf(k cnm.Kind, field, format string, args ...any) error {
	return &cnm.Error{Kind: k, Field: field, Network: p.network, Err: fmt.Errorf(format, args...)}
}

func (p *pool) exhaustedError() error {
	where := p.what
	if p.within.IsValid() {
		where = "ip-range " + p.within.String() + " of " + where
	}
	return p.errorf(cnm.Exhausted, "", "%s has no free address; delete endpoints, or use a network with more addresses", where)
}

// takenError says who has an address, or whom it is reserved for.
func (p *pool) takenError(a netip.Addr, h holder) error {
	by := "taken by an endpoint"
	switch name := p.reserved[numberOf(a)]; {
	case name != "":
		by = "reserved for " + name
	case h.purpose == cnm.ForGateway:
		by = "taken by the gateway"
	case h.purpose == cnm.ForReserved:
		by = "reserved"
	case h.owner != "":
		by = "taken by endpoint " + string(h.owner)
	}
	return p.errorf(cnm.Exists, fieldAddress, "ip %s of subnet %s is %s; choose another one", a, p.prefix, by)
}
