// SPDX-License-Identifier: Apache-2.0

// Package ipamtest is the conformance suite of address managers: what every [cnm.Allocator] promises, as tests.
package ipamtest

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	cnm "github.com/libnetwork/cnm"
)

// Options tell the suite what an allocator cannot do by its nature. The zero value is one that can do everything.
type Options struct {
	// Families it serves; none set: both.
	Families cnm.FamilySet
	// NoAddresses: it gives none (the address manager null). Everything that asks for one by name is Unsupported.
	NoAddresses bool
	// NoChoice: it chooses no subnet; one must be given.
	NoChoice bool
	// NoOverlap: it refuses overlapping subnets even if told otherwise.
	NoOverlap bool
	// IPv4 (/20 or shorter) and IPv6 (/116 or shorter) are where the suite takes the subnets from that it gives. Invalid:
	// 198.18.0.0/15 (RFC 2544) and 2001:db8::/32 (RFC 3849).
	IPv4, IPv6 netip.Prefix
}

// Run checks an allocator. open makes a new one, without pools, that looks at no host whose routes are in the way of
// the suite's subnets; it is called for every test, and tests run in parallel. A quarantine, if there is one, must end
// when waited for. Endpoints always have an owner and a MAC.
func Run(t *testing.T, open func(t *testing.T) cnm.Allocator, o Options) {
	t.Helper()
	if !o.Families.Any() {
		o.Families = cnm.FamilySet{IPv4: true, IPv6: true}
	}
	if !o.IPv4.IsValid() {
		o.IPv4 = netip.MustParsePrefix("198.18.0.0/15")
	}
	if !o.IPv6.IsValid() {
		o.IPv6 = netip.MustParsePrefix("2001:db8::/32")
	}
	for _, f := range cnm.Families() {
		if !o.Families.Has(f) {
			continue
		}
		for _, c := range cases(o) {
			t.Run(f.String()+"/"+c.name, func(t *testing.T) {
				t.Parallel()
				s := suite{T: t, Options: o, family: f, open: open}
				s.Allocator = open(t)
				c.run(&s)
			})
		}
	}
}

type testCase struct {
	name string
	run  func(s *suite)
}

// cases are the tests that fit the allocator.
func cases(o Options) []testCase {
	if o.NoAddresses {
		return []testCase{
			{"pool without prefix", (*suite).emptyPool},
			{"no address", (*suite).noAddress},
			{"names no address", (*suite).namesNoAddress},
			{"unknown option", (*suite).unknownOption},
		}
	}
	all := []testCase{
		{"given subnet", (*suite).givenSubnet},
		{"bad subnets", (*suite).badSubnets},
		{"overlapping subnets", (*suite).overlap},
		{"deleted pool", (*suite).deletedPool},
		{"replayed pool", (*suite).replayedPool},
		{"unknown option", (*suite).unknownOption},
		{"every address once", (*suite).everyAddress},
		{"smallest subnets", (*suite).smallest},
		{"lease", (*suite).lease},
		{"gateway", (*suite).gateway},
		{"wanted address", (*suite).wanted},
		{"range", (*suite).inRange},
		{"reserved address", (*suite).reserved},
		{"released address", (*suite).released},
		{"replayed address", (*suite).replayedAddress},
		{"unknown pool", (*suite).unknownPool},
		{"many at once", (*suite).concurrent},
	}
	if !o.NoChoice {
		all = append(all, testCase{"chosen subnet", (*suite).chosenSubnet})
	}
	if !o.NoOverlap {
		all = append(all, testCase{"allowed overlap", (*suite).allowedOverlap})
	}
	return all
}

// suite is one test on one allocator, in one family.
type suite struct {
	*testing.T
	cnm.Allocator
	Options

	family cnm.Family
	open   func(t *testing.T) cnm.Allocator
}

// subnet is a subnet of 2^hostBits addresses, at most 256, in the n-th (0 to 15) part of the suite's space; those of
// different n do not overlap.
func (s *suite) subnet(n, hostBits int) netip.Prefix {
	space := s.IPv4
	if s.family == cnm.IPv6 {
		space = s.IPv6
	}
	b := space.Masked().Addr().AsSlice()
	b[len(b)-2] += byte(n) // n is 0 to 15
	a, _ := netip.AddrFromSlice(b)
	return netip.PrefixFrom(a, 8*len(b)-hostBits)
}

// at is the n-th address of p, the first being 0.
func at(p netip.Prefix, n int) netip.Addr {
	a := p.Addr()
	for range n {
		a = a.Next()
	}
	return a
}

// request asks for a pool of a network of its own.
func (s *suite) request(sub cnm.Subnet) cnm.PoolRequest {
	return cnm.PoolRequest{Network: cnm.NewNetworkID(), Family: s.family, Subnet: sub}
}

// pool makes a pool that must be made.
func (s *suite) pool(sub cnm.Subnet) cnm.Pool {
	s.Helper()
	return s.mustCreate(s.request(sub))
}

func (s *suite) mustCreate(req cnm.PoolRequest) cnm.Pool {
	s.Helper()
	p, err := s.CreatePool(s.Context(), req)
	if err != nil {
		s.Fatalf("create a pool of %v: %v", req.Subnet, err)
	}
	return p
}

// endpoint asks for an address of a new endpoint; an invalid a asks for any.
func endpoint(p cnm.Pool, a netip.Addr) cnm.AddressRequest {
	id := cnm.NewEndpointID()
	return cnm.AddressRequest{Pool: p.ID, Address: a, Owner: id, MAC: cnm.MAC{2, id[0], id[1], id[2], id[3], id[4]}}
}

// take allocates what must be allocated.
func (s *suite) take(req cnm.AddressRequest) netip.Addr {
	s.Helper()
	l, err := s.Allocate(s.Context(), req)
	if err != nil {
		s.Fatalf("allocate %v: %v", req, err)
	}
	return l.Address.Addr()
}

// refuses checks that an allocation fails as it should.
func (s *suite) refuses(req cnm.AddressRequest, k cnm.Kind, words ...string) {
	s.Helper()
	l, err := s.Allocate(s.Context(), req)
	if err == nil {
		s.Errorf("allocate %v gave %v; want an error of kind %v", req, l, k)
		return
	}
	s.wantError(err, k, words...)
}

// wantError checks kind and text of an error.
func (s *suite) wantError(err error, k cnm.Kind, words ...string) {
	s.Helper()
	if !errors.Is(err, k) {
		s.Errorf("error %v is of kind %v, want %v", err, cnm.KindOf(err), k)
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			s.Errorf("error %q does not name %q", err, w)
		}
	}
}
