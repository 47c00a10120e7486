// SPDX-License-Identifier: Apache-2.0

package ipamtest

import (
	"errors"
	"net/netip"

	cnm "github.com/libnetwork/cnm"
)

func (s *suite) chosenSubnet() {
	var all []cnm.Pool
	for range 5 {
		p := s.pool(cnm.Subnet{})
		if !p.Prefix.IsValid() || p.Prefix != p.Prefix.Masked() || cnm.FamilyOf(p.Prefix.Addr()) != s.family {
			s.Errorf("chosen prefix %v is not a masked %v prefix", p.Prefix, s.family)
		}
		for _, other := range all {
			if p.ID == other.ID || p.Prefix.Overlaps(other.Prefix) {
				s.Errorf("pool %v after pool %v", p, other)
			}
		}
		all = append(all, p)
	}
	for _, sub := range []cnm.Subnet{
		{Range: s.subnet(0, 7)},
		{Gateway: at(s.subnet(0, 8), 1)},
		{Reserved: map[string]netip.Addr{"router": at(s.subnet(0, 8), 1)}},
	} {
		if p, err := s.CreatePool(s.Context(), s.request(sub)); err == nil {
			s.Errorf("pool %v made for %v, which depends on a subnet that is not given", p, sub)
		} else {
			s.wantError(err, cnm.Invalid, "subnet")
		}
	}
}

func (s *suite) givenSubnet() {
	sub := cnm.Subnet{
		Prefix: s.subnet(0, 8), Range: s.subnet(0, 7), Gateway: at(s.subnet(0, 8), 1),
		Reserved: map[string]netip.Addr{"router": at(s.subnet(0, 8), 9)},
	}
	p := s.pool(sub)
	if p.ID == "" || p.Prefix != sub.Prefix || p.Range != sub.Range {
		s.Errorf("pool %+v made for subnet %v and range %v", p, sub.Prefix, sub.Range)
	}
	if q := s.pool(cnm.Subnet{Prefix: s.subnet(1, 8)}); q.ID == p.ID || q.Range.IsValid() {
		s.Errorf("second pool is %+v", q)
	}
}

func (s *suite) badSubnets() {
	p := s.subnet(0, 8)
	special := map[cnm.Family][]string{
		cnm.IPv4: {"0.0.0.0/0", "0.0.0.0/24", "127.0.0.0/24", "169.254.7.0/24", "224.0.0.0/24", "255.255.255.255/32", "0.0.0.0/1"},
		cnm.IPv6: {"::/0", "::/128", "::1/128", "::/64", "fe80::/64", "ff00::/64", "::ffff:10.0.0.0/120", "8000::/1"},
	}
	bad := []struct {
		field string
		sub   cnm.Subnet
	}{
		{"subnet", cnm.Subnet{Prefix: netip.PrefixFrom(at(p, 5), p.Bits())}},
		{"ip-range", cnm.Subnet{Prefix: p, Range: s.subnet(1, 7)}},
		{"ip-range", cnm.Subnet{Prefix: s.subnet(0, 7), Range: p}},
		{"ip-range", cnm.Subnet{Prefix: p, Range: netip.PrefixFrom(at(p, 5), p.Bits()+1)}},
		{"ip-range", cnm.Subnet{Prefix: p, Range: netip.PrefixFrom(p.Addr(), p.Addr().BitLen())}},
		{"gateway", cnm.Subnet{Prefix: p, Gateway: at(s.subnet(1, 8), 1)}},
		{"gateway", cnm.Subnet{Prefix: p, Gateway: p.Addr()}},
		{"reserve", cnm.Subnet{Prefix: p, Reserved: map[string]netip.Addr{"router": at(s.subnet(1, 8), 1)}}},
		{"reserve", cnm.Subnet{Prefix: p, Reserved: map[string]netip.Addr{"router": p.Addr()}}},
		{"reserve", cnm.Subnet{Prefix: p, Reserved: map[string]netip.Addr{"router": {}}}},
		{"reserve", cnm.Subnet{Prefix: p, Reserved: map[string]netip.Addr{"": at(p, 3)}}},
		{"reserve", cnm.Subnet{Prefix: p, Reserved: map[string]netip.Addr{"one": at(p, 3), "two": at(p, 3)}}},
		{"reserve", cnm.Subnet{Prefix: p, Gateway: at(p, 3), Reserved: map[string]netip.Addr{"router": at(p, 3)}}},
	}
	if s.family == cnm.IPv4 {
		bad = append(bad, struct {
			field string
			sub   cnm.Subnet
		}{"gateway", cnm.Subnet{Prefix: p, Gateway: at(p, 255)}})
	}
	for _, text := range special[s.family] {
		bad = append(bad, struct {
			field string
			sub   cnm.Subnet
		}{"subnet", cnm.Subnet{Prefix: netip.MustParsePrefix(text)}})
	}
	for _, c := range bad {
		made, err := s.CreatePool(s.Context(), s.request(c.sub))
		if err == nil {
			s.Errorf("pool %v made for %v; want an error about the %s", made, c.sub, c.field)
			continue
		}
		s.wantError(err, cnm.Invalid, c.field)
		if e := (*cnm.Error)(nil); errors.As(err, &e) && e.Field != c.field {
			s.Errorf("error %q is about the field %q, want %q", err, e.Field, c.field)
		}
	}
	s.otherFamily()
	s.pool(cnm.Subnet{Prefix: p}) // nothing of the above is left in the way
}

func (s *suite) otherFamily() {
	req := s.request(cnm.Subnet{Prefix: s.subnet(0, 8)})
	req.Family = cnm.IPv4 + cnm.IPv6 - s.family
	if p, err := s.CreatePool(s.Context(), req); err == nil {
		s.Errorf("pool %v of family %v made for subnet %v", p, req.Family, req.Subnet.Prefix)
	} else {
		s.wantError(err, cnm.Invalid, req.Subnet.Prefix.String())
	}
}

func (s *suite) overlap() {
	first := s.request(cnm.Subnet{Prefix: s.subnet(0, 7)})
	s.mustCreate(first)
	for _, p := range []netip.Prefix{s.subnet(0, 7), s.subnet(0, 8), s.subnet(0, 3)} {
		made, err := s.CreatePool(s.Context(), s.request(cnm.Subnet{Prefix: p}))
		if err == nil {
			s.Errorf("pool %v made beside one of %v", made, first.Subnet.Prefix)
			continue
		}
		s.wantError(err, cnm.Exists, p.String(), string(first.Network))
	}
}

func (s *suite) allowedOverlap() {
	req := s.request(cnm.Subnet{Prefix: s.subnet(0, 8)})
	one := s.mustCreate(req)
	req.Network, req.Overlap = cnm.NewNetworkID(), true
	two := s.mustCreate(req)
	if one.ID == two.ID {
		s.Fatalf("two networks with the same subnet have one pool %s", one.ID)
	}
	a := at(one.Prefix, 9)
	for _, p := range []cnm.Pool{one, two} {
		s.take(endpoint(p, a))
		s.refuses(endpoint(p, a), cnm.Exists, a.String())
	}
	if err := s.DeletePool(s.Context(), one.ID); err != nil {
		s.Error(err)
	}
	s.refuses(endpoint(two, a), cnm.Exists, a.String())
	s.take(endpoint(two, netip.Addr{}))
}

func (s *suite) deletedPool() {
	p := s.pool(cnm.Subnet{Prefix: s.subnet(0, 8)})
	a := s.take(endpoint(p, netip.Addr{}))
	for _, id := range []cnm.PoolID{p.ID, p.ID, "never made"} {
		if err := s.DeletePool(s.Context(), id); err != nil {
			s.Errorf("delete pool %s: %v", id, err)
		}
	}
	s.refuses(endpoint(p, netip.Addr{}), cnm.NotFound, string(p.ID))
	if err := s.Release(s.Context(), p.ID, a); err != nil {
		s.Errorf("release %v of a deleted pool: %v", a, err)
	}
	s.take(endpoint(s.pool(cnm.Subnet{Prefix: p.Prefix}), a))
}

func (s *suite) replayedPool() {
	req := s.request(cnm.Subnet{Prefix: s.subnet(0, 8), Range: s.subnet(0, 7)})
	before := s.mustCreate(req)
	req.Subnet.Pool = before.ID
	s.Allocator = s.open(s.T)
	for range 2 {
		if after := s.mustCreate(req); after != before {
			s.Errorf("replay of pool %+v made %+v", before, after)
		}
	}
	s.take(endpoint(before, netip.Addr{}))
}

func (s *suite) unknownOption() {
	req := s.request(cnm.Subnet{})
	if !s.NoAddresses {
		req.Subnet.Prefix = s.subnet(0, 8)
	}
	req.Options = map[string]string{"no-such-option": "1"}
	if p, err := s.CreatePool(s.Context(), req); err == nil {
		s.Errorf("pool %v made with an option nobody knows", p)
	} else {
		s.wantError(err, cnm.Invalid, "no-such-option")
	}
}
