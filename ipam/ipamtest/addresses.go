// SPDX-License-Identifier: Apache-2.0

package ipamtest

import (
	"net/netip"
	"sync"

	cnm "github.com/libnetwork/cnm"
)

// drain takes every address of p and checks that they are, in any order, those from first to last.
func (s *suite) drain(p cnm.Pool, first, last netip.Addr) {
	s.Helper()
	taken := map[netip.Addr]bool{}
	for a := first; ; a = a.Next() {
		got := s.take(endpoint(p, netip.Addr{}))
		if got.Less(first) || last.Less(got) || taken[got] {
			s.Errorf("got %v of %v, again or not from %v to %v", got, p.Prefix, first, last)
		}
		taken[got] = true
		if a == last {
			break
		}
	}
	s.refuses(endpoint(p, netip.Addr{}), cnm.Exhausted, p.Prefix.String())
}

func (s *suite) everyAddress() {
	p := s.pool(cnm.Subnet{Prefix: s.subnet(0, 3)})
	last := at(p.Prefix, 7)
	if s.family == cnm.IPv4 {
		last = at(p.Prefix, 6)
	}
	s.drain(p, at(p.Prefix, 1), last)
	freed := at(p.Prefix, 3)
	if err := s.Release(s.Context(), p.ID, freed); err != nil {
		s.Error(err)
	}
	if got := s.take(endpoint(p, netip.Addr{})); got != freed {
		s.Errorf("got %v, want %v, the only one free", got, freed)
	}
	s.refuses(endpoint(p, netip.Addr{}), cnm.Exhausted, p.Prefix.String())
}

// smallest checks the subnets that have neither a network nor a broadcast address.
func (s *suite) smallest() {
	two := s.pool(cnm.Subnet{Prefix: s.subnet(0, 1)})
	s.drain(two, two.Prefix.Addr(), two.Prefix.Addr().Next())
	one := s.pool(cnm.Subnet{Prefix: s.subnet(1, 0)})
	s.drain(one, one.Prefix.Addr(), one.Prefix.Addr())
	wanted := s.pool(cnm.Subnet{Prefix: s.subnet(2, 1), Gateway: s.subnet(2, 1).Addr()})
	s.take(cnm.AddressRequest{Pool: wanted.ID, Address: wanted.Prefix.Addr(), Purpose: cnm.ForGateway})
	s.take(endpoint(wanted, wanted.Prefix.Addr().Next()))
}

func (s *suite) lease() {
	p := s.pool(cnm.Subnet{Prefix: s.subnet(0, 5)})
	for _, a := range []netip.Addr{{}, at(p.Prefix, 20)} {
		req := endpoint(p, a)
		l, err := s.Allocate(s.Context(), req)
		if err != nil {
			s.Fatal(err)
		}
		if l.Address.Bits() != p.Prefix.Bits() || l.Address.Masked() != p.Prefix || l.Owner != req.Owner || l.MAC != req.MAC {
			s.Errorf("lease %+v for request %+v in %v", l, req, p.Prefix)
		}
		if a.IsValid() && l.Address.Addr() != a {
			s.Errorf("got %v, want %v", l.Address, a)
		}
	}
}

func (s *suite) gateway() {
	whole := s.pool(cnm.Subnet{Prefix: s.subnet(0, 8)})
	if a := s.take(cnm.AddressRequest{Pool: whole.ID, Purpose: cnm.ForGateway}); a != at(whole.Prefix, 1) {
		s.Errorf("gateway of %v is %v, want the first address", whole.Prefix, a)
	}
	s.refuses(endpoint(whole, at(whole.Prefix, 1)), cnm.Exists, "gateway")
	upper := netip.PrefixFrom(at(s.subnet(1, 8), 128), s.subnet(1, 7).Bits())
	part := s.pool(cnm.Subnet{Prefix: s.subnet(1, 8), Range: upper})
	if a := s.take(cnm.AddressRequest{Pool: part.ID, Purpose: cnm.ForGateway}); a != upper.Addr() {
		s.Errorf("gateway of %v with range %v is %v, want the first of the range", part.Prefix, upper, a)
	}
}

func (s *suite) wanted() {
	p := s.pool(cnm.Subnet{Prefix: s.subnet(0, 8)})
	first := endpoint(p, at(p.Prefix, 77))
	if got := s.take(first); got != first.Address {
		s.Errorf("got %v, want %v", got, first.Address)
	}
	s.refuses(endpoint(p, first.Address), cnm.Exists, first.Address.String(), string(first.Owner))
	s.refuses(first, cnm.Exists, string(first.Owner))
	s.refuses(endpoint(p, at(s.subnet(1, 8), 1)), cnm.Invalid, p.Prefix.String())
	s.refuses(endpoint(p, p.Prefix.Addr()), cnm.Invalid, p.Prefix.String())
	if s.family == cnm.IPv4 {
		s.refuses(endpoint(p, at(p.Prefix, 255)), cnm.Invalid, "broadcast")
		s.refuses(endpoint(p, netip.AddrFrom16(at(p.Prefix, 3).As16())), cnm.Invalid, p.Prefix.String())
	} else {
		s.take(endpoint(p, at(p.Prefix, 255)))
		s.refuses(endpoint(p, at(p.Prefix, 3).WithZone("lo")), cnm.Invalid, p.Prefix.String())
	}
}

func (s *suite) inRange() {
	within := netip.PrefixFrom(at(s.subnet(0, 8), 16), s.subnet(0, 4).Bits())
	p := s.pool(cnm.Subnet{Prefix: s.subnet(0, 8), Range: within})
	for _, n := range []int{15, 32} {
		s.take(endpoint(p, at(p.Prefix, n))) // outside, but wanted
	}
	s.drain(p, within.Addr(), at(within, 15))
	s.take(endpoint(p, at(p.Prefix, 100)))
}

func (s *suite) reserved() {
	prefix := s.subnet(0, 3)
	p := s.pool(cnm.Subnet{Prefix: prefix, Reserved: map[string]netip.Addr{"router": at(prefix, 1), "printer": at(prefix, 6)}})
	if a := s.take(cnm.AddressRequest{Pool: p.ID, Purpose: cnm.ForGateway}); a != at(prefix, 2) {
		s.Errorf("gateway is %v, want the first that is not reserved, %v", a, at(prefix, 2))
	}
	s.refuses(endpoint(p, at(prefix, 6)), cnm.Exists, "printer")
	router := cnm.AddressRequest{Pool: p.ID, Address: at(prefix, 1), Purpose: cnm.ForReserved}
	if got := s.take(router); got != router.Address {
		s.Errorf("got %v, want %v", got, router.Address)
	}
	s.refuses(endpoint(p, router.Address), cnm.Exists, "router")
	for n := 3; n < 6; n++ {
		if got := s.take(endpoint(p, netip.Addr{})); got == at(prefix, 6) {
			s.Errorf("reserved address %v was given out", got)
		}
	}
}

func (s *suite) released() {
	p := s.pool(cnm.Subnet{Prefix: s.subnet(0, 3)})
	other := s.pool(cnm.Subnet{Prefix: s.subnet(1, 3)})
	req := endpoint(p, at(p.Prefix, 2))
	s.take(req)
	for _, r := range []struct {
		pool cnm.PoolID
		addr netip.Addr
	}{
		{p.ID, at(p.Prefix, 3)}, {p.ID, at(other.Prefix, 2)}, {p.ID, netip.Addr{}}, {other.ID, req.Address}, {"never made", req.Address},
	} {
		if err := s.Release(s.Context(), r.pool, r.addr); err != nil {
			s.Errorf("release %v, which is free, of pool %s: %v", r.addr, r.pool, err)
		}
	}
	s.refuses(endpoint(p, req.Address), cnm.Exists, string(req.Owner))
	for range 2 {
		if err := s.Release(s.Context(), p.ID, req.Address); err != nil {
			s.Error(err)
		}
	}
	s.take(req)
	if err := s.Release(s.Context(), p.ID, req.Address); err != nil {
		s.Error(err)
	}
	s.take(endpoint(p, req.Address))
}

func (s *suite) replayedAddress() {
	sub := cnm.Subnet{Prefix: s.subnet(0, 3)}
	sub.Pool = s.pool(sub).ID
	s.Allocator = s.open(s.T)
	p := s.pool(sub)
	gateway := cnm.AddressRequest{Pool: p.ID, Address: at(p.Prefix, 1), Purpose: cnm.ForGateway, Replay: true}
	ep := endpoint(p, at(p.Prefix, 3))
	ep.Replay = true
	for range 2 {
		for _, req := range []cnm.AddressRequest{gateway, ep} {
			if got := s.take(req); got != req.Address {
				s.Errorf("replay of %v gave %v", req.Address, got)
			}
		}
	}
	stranger := endpoint(p, ep.Address)
	stranger.Replay = true
	s.refuses(stranger, cnm.Exists, string(ep.Owner))
	left := 4
	if s.family == cnm.IPv6 {
		left = 5
	}
	for range left {
		if got := s.take(endpoint(p, netip.Addr{})); got == ep.Address || got == gateway.Address {
			s.Errorf("replayed address %v was given out again", got)
		}
	}
	s.refuses(endpoint(p, netip.Addr{}), cnm.Exhausted, p.Prefix.String())
	if err := s.Release(s.Context(), p.ID, ep.Address); err != nil {
		s.Error(err)
	}
	s.take(ep)
}

func (s *suite) unknownPool() {
	for _, req := range []cnm.AddressRequest{
		endpoint(cnm.Pool{ID: "never made"}, netip.Addr{}),
		endpoint(cnm.Pool{ID: "never made"}, at(s.subnet(0, 8), 1)),
		{Pool: "never made", Purpose: cnm.ForGateway},
	} {
		s.refuses(req, cnm.NotFound, "never made")
	}
}

func (s *suite) concurrent() {
	const workers, each = 8, 25
	p := s.pool(cnm.Subnet{Prefix: s.subnet(0, 8)})
	var mu sync.Mutex
	owner := map[netip.Addr]int{}
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := range each {
				l, err := s.Allocate(s.Context(), endpoint(p, netip.Addr{}))
				if err != nil {
					s.Error(err)
					return
				}
				a := l.Address.Addr()
				mu.Lock()
				if other, twice := owner[a]; twice {
					s.Errorf("%v was given to worker %d and to worker %d", a, other, w)
				}
				owner[a] = w
				if i%5 == 4 { // a worker gives back what is its own
					delete(owner, a)
				}
				mu.Unlock()
				if i%5 == 4 {
					if err := s.Release(s.Context(), p.ID, a); err != nil {
						s.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
}
