// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"net/netip"
	"testing"

	cnm "github.com/libnetwork/cnm"
)

// filled is an allocator with one pool, in which n addresses are taken.
func filled(b *testing.B, subnet string, n int) (*Allocator, cnm.Pool) {
	b.Helper()
	a := open(b, Config{})
	p, err := a.CreatePool(b.Context(), request(cnm.FamilyOf(prefix(subnet).Addr()), subnet))
	if err != nil {
		b.Fatal(err)
	}
	for range n {
		if _, err := a.Allocate(b.Context(), cnm.AddressRequest{Pool: p.ID, Owner: "one"}); err != nil {
			b.Fatal(err)
		}
	}
	return a, p
}

func BenchmarkAllocate(b *testing.B) {
	for _, c := range []struct {
		name, subnet string
		used         int
	}{
		{"empty IPv6 64", "fd00::/64", 0},
		{"IPv6 64 with 1e6 used", "fd00::/64", 1_000_000},
		{"IPv4 8 with 1e6 used", "10.0.0.0/8", 1_000_000},
	} {
		b.Run(c.name, func(b *testing.B) {
			a, p := filled(b, c.subnet, c.used)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := a.Allocate(b.Context(), cnm.AddressRequest{Pool: p.ID, Owner: "two"}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkAllocateRelease is one attach and detach in a pool of a million addresses with one free, before and behind the
// cursor in turn.
func BenchmarkAllocateRelease(b *testing.B) {
	a, p := filled(b, "10.16.0.0/12", 1<<20-2)
	last := lastOf(p.Prefix).Prev()
	spots := []netip.Addr{p.Prefix.Addr().Next(), last, prefix("10.24.0.0/13").Addr()}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if err := a.Release(b.Context(), p.ID, spots[i%len(spots)]); err != nil {
			b.Fatal(err)
		}
		l, err := a.Allocate(b.Context(), cnm.AddressRequest{Pool: p.ID, Owner: "two"})
		if err != nil || l.Address.Addr() != spots[i%len(spots)] {
			b.Fatal(l, err)
		}
	}
}

// BenchmarkExhausted is the refusal of a full pool of a million addresses.
func BenchmarkExhausted(b *testing.B) {
	a, p := filled(b, "10.16.0.0/12", 1<<20-2)
	for b.Loop() {
		if _, err := a.Allocate(b.Context(), cnm.AddressRequest{Pool: p.ID}); err == nil {
			b.Fatal("an address of a full pool")
		}
	}
}

// BenchmarkQuarantine is one attach and detach while half a million freed addresses wait for a sweep.
func BenchmarkQuarantine(b *testing.B) {
	const waiting = 500_000
	q := &sweeps{}
	a := open(b, Config{Quarantine: q})
	p, err := a.CreatePool(b.Context(), request(cnm.IPv4, "10.0.0.0/8"))
	if err != nil {
		b.Fatal(err)
	}
	one := func() {
		l, err := a.Allocate(b.Context(), cnm.AddressRequest{Pool: p.ID, Owner: "one"})
		if err != nil {
			b.Fatal(err)
		}
		if err := a.Release(b.Context(), p.ID, l.Address.Addr()); err != nil {
			b.Fatal(err)
		}
	}
	for range waiting {
		one()
	}
	for i := 0; b.Loop(); i++ {
		if i%waiting == 0 {
			q.sweep()
		}
		one()
	}
}

// BenchmarkChoose chooses the subnet of the thousandth network, on a host with a hundred routes.
func BenchmarkChoose(b *testing.B) {
	var routes []string
	for i := range 100 {
		routes = append(routes, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i), 7, 0}), 24).String()+" dev tun0")
	}
	a := open(b, Config{Defaults: []DefaultPool{{prefix("10.0.0.0/8"), 24}}, Host: on(routes...)})
	for range 1000 {
		if _, err := a.CreatePool(b.Context(), request(cnm.IPv4, "")); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		p, err := a.CreatePool(b.Context(), request(cnm.IPv4, ""))
		if err != nil {
			b.Fatal(err)
		}
		if err := a.DeletePool(b.Context(), p.ID); err != nil {
			b.Fatal(err)
		}
	}
}
