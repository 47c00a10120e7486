// SPDX-License-Identifier: Apache-2.0

package ipamtest

import (
	"errors"
	"net/netip"

	cnm "github.com/libnetwork/cnm"
)

func (s *suite) emptyPool() {
	req := s.request(cnm.Subnet{})
	p := s.mustCreate(req)
	if p.ID == "" || p.Prefix.IsValid() || p.Range.IsValid() {
		s.Errorf("pool %+v of an allocator without addresses", p)
	}
	if q := s.pool(cnm.Subnet{}); q.ID == p.ID {
		s.Errorf("two networks have one pool %s", p.ID)
	}
	req.Subnet.Pool = p.ID
	s.Allocator = s.open(s.T)
	if q := s.mustCreate(req); q != p {
		s.Errorf("replay of pool %+v made %+v", p, q)
	}
	for range 2 {
		if err := s.DeletePool(s.Context(), p.ID); err != nil {
			s.Error(err)
		}
	}
}

func (s *suite) noAddress() {
	p := s.pool(cnm.Subnet{})
	for _, purpose := range []cnm.Purpose{cnm.ForEndpoint, cnm.ForGateway, cnm.ForReserved} {
		req := endpoint(p, netip.Addr{})
		req.Purpose = purpose
		if l, err := s.Allocate(s.Context(), req); err != nil || l.Address.IsValid() {
			s.Errorf("lease %v, error %v; want a lease without address", l, err)
		}
	}
	if err := s.Release(s.Context(), p.ID, at(s.subnet(0, 8), 1)); err != nil {
		s.Error(err)
	}
}

func (s *suite) namesNoAddress() {
	prefix := s.subnet(0, 8)
	for field, sub := range map[string]cnm.Subnet{
		"subnet":   {Prefix: prefix},
		"ip-range": {Range: prefix},
		"gateway":  {Gateway: at(prefix, 1)},
		"reserve":  {Reserved: map[string]netip.Addr{"router": at(prefix, 1)}},
	} {
		p, err := s.CreatePool(s.Context(), s.request(sub))
		if err == nil {
			s.Errorf("pool %v made for %v", p, sub)
			continue
		}
		s.wantError(err, cnm.Unsupported, field)
		if e := (*cnm.Error)(nil); errors.As(err, &e) && e.Field != field {
			s.Errorf("error %q is about the field %q, want %q", err, e.Field, field)
		}
	}
	s.refuses(endpoint(s.pool(cnm.Subnet{}), at(prefix, 1)), cnm.Unsupported, at(prefix, 1).String())
}
