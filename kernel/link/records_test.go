// SPDX-License-Identifier: Apache-2.0

package link_test

import (
	"errors"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/libnetwork/cnm/kernel/link"
)

func TestAddresses(t *testing.T) {
	t.Parallel()
	isolated(t, func(t *testing.T) {
		c := dial(t)
		index := pair(t, c, "v0")
		want := []link.Address{
			{Link: index, Prefix: prefix("192.0.2.2/24"), Broadcast: addr("192.0.2.255")},
			{Link: index, Prefix: prefix("192.0.2.3/32"), NoPrefixRoute: true},
			{Link: index, Prefix: prefix("2001:db8::2/64"), NoDAD: true},
			{Link: index, Prefix: prefix("2001:db8::3/128"), NoDAD: true, NoPrefixRoute: true},
			{Link: index, Prefix: prefix("fe80::2/64"), NoDAD: true, LinkLocal: true},
		}
		do(t, c, func(b *link.Batch) {
			for _, a := range want {
				b.AddAddress(a)
				b.ReplaceAddress(a)
			}
		})
		for _, a := range want {
			equal(t, a.Prefix.String(), count(addresses(t, c, index), func(got link.Address) bool { return got == a }), 1)
		}
		var twice link.Batch
		twice.AddAddress(want[0])
		if err := c.Do(&twice); !errors.Is(err, unix.EEXIST) {
			t.Errorf("the same address again: %v, want EEXIST", err)
		}
		do(t, c, func(b *link.Batch) {
			for _, a := range want {
				b.DeleteAddress(a)
			}
		})
		for _, a := range addresses(t, c, index) {
			if slices.ContainsFunc(want, func(w link.Address) bool { return w.Prefix == a.Prefix }) {
				t.Errorf("%v is still there", a.Prefix)
			}
		}
	})
}

// TestAwaitAddresses: without the wait some of the local routes are missing still.
func TestAwaitAddresses(t *testing.T) {
	t.Parallel()
	isolated(t, func(t *testing.T) {
		reader := dial(t)
		index := pair(t, reader, "v0")
		c := dial(t)
		if err := errors.Join(c.HearAddresses(), c.HearAddresses()); err != nil {
			t.Fatal(err)
		}
		list := []link.Address{
			{Link: index, Prefix: prefix("2001:db8::2/64"), NoDAD: true},
			{Link: index, Prefix: prefix("fe80::2/64"), NoDAD: true},
			{Link: index, Prefix: prefix("192.0.2.2/24")},
		}
		for range 50 {
			do(t, c, func(b *link.Batch) {
				for _, a := range list {
					b.AddAddress(a)
				}
			})
			if err := c.AwaitAddresses(t.Context()); err != nil {
				t.Fatal(err)
			}
			routes, err := reader.Routes(t.Context(), 0)
			if err != nil {
				t.Fatal(err)
			}
			for _, a := range list {
				equal(t, "local route of "+a.Prefix.String(), count(routes, func(r link.Route) bool {
					return r.Table == link.TableLocal && r.Dst.IsSingleIP() && r.Dst.Addr() == a.Prefix.Addr() && r.Type == unix.RTN_LOCAL
				}), 1)
			}
			do(t, c, func(b *link.Batch) { // what is deleted and added in one batch is waited for too
				b.DeleteAddress(list[0])
				b.AddAddress(list[0])
			})
			if err := c.AwaitAddresses(t.Context()); err != nil {
				t.Fatal(err)
			}
			do(t, reader, func(b *link.Batch) {
				for _, a := range list {
					b.DeleteAddress(a)
				}
			})
		}
	})
}

// TestReset: what one user of a Conn waited for, or did not read, is nothing to the next.
func TestReset(t *testing.T) {
	t.Parallel()
	isolated(t, func(t *testing.T) {
		reader := dial(t)
		index := pair(t, reader, "v0")
		c := dial(t)
		for range 20 {
			if err := c.HearAddresses(); err != nil {
				t.Fatal(err)
			}
			a := link.Address{Link: index, Prefix: prefix("2001:db8::2/64"), NoDAD: true}
			do(t, c, func(b *link.Batch) { b.AddAddress(a) })
			do(t, reader, func(b *link.Batch) { b.DeleteAddress(a) })
			if err := c.Reset(); err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(c.HearAddresses(), c.AwaitAddresses(t.Context())); err != nil {
				t.Fatal(err)
			}
			do(t, c, func(b *link.Batch) { b.AddAddress(a) })
			if err := c.AwaitAddresses(t.Context()); err != nil {
				t.Fatal(err)
			}
			do(t, c, func(b *link.Batch) { b.DeleteAddress(a) })
			if err := c.Reset(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func addresses(tb testing.TB, c *link.Conn, index int) []link.Address {
	tb.Helper()
	list, err := c.Addresses(tb.Context(), index)
	if err != nil {
		tb.Fatal(err)
	}
	return list
}

// stage makes a link with addresses of both families.
func stage(tb testing.TB, c *link.Conn) int {
	tb.Helper()
	index := pair(tb, c, "v0")
	do(tb, c, func(b *link.Batch) {
		b.AddAddress(link.Address{Link: index, Prefix: prefix("192.0.2.2/24")})
		b.AddAddress(link.Address{Link: index, Prefix: prefix("2001:db8::2/64"), NoDAD: true})
	})
	return index
}

func TestRoutes(t *testing.T) {
	t.Parallel()
	isolated(t, func(t *testing.T) {
		c := dial(t)
		index := stage(t, c)
		lo := read(t, c, "lo").Index
		want := []link.Route{
			{Dst: prefix("0.0.0.0/0"), Gateway: addr("192.0.2.1"), Link: index, Source: addr("192.0.2.2"), Metric: 5},
			{Dst: prefix("198.51.100.0/24"), Link: index, Table: 1234567, Scope: link.ScopeLink},
			{Dst: prefix("203.0.113.0/24"), Gateway: addr("198.18.0.1"), Link: index, Onlink: true, Table: 200},
			{Dst: prefix("198.51.100.0/25"), Type: link.Unreachable, Protocol: 99},
			{Dst: prefix("198.51.100.0/26"), Type: link.Blackhole},
			{Dst: prefix("198.51.100.0/27"), Type: link.Prohibit},
			{Dst: prefix("::/0"), Gateway: addr("2001:db8::1"), Link: index, Source: addr("2001:db8::2"), Metric: 5},
			{Dst: prefix("2001:db8:1::/64"), Link: index, Table: 1234567, Metric: 1024},
			{Dst: prefix("2001:db8:2::/64"), Gateway: addr("2001:db8:ffff::1"), Link: index, Onlink: true, Table: 200, Metric: 7},
			{Dst: prefix("2001:db8:1::/65"), Type: link.Unreachable, Link: lo, Metric: 1024, Protocol: 99},
			{Dst: prefix("2001:db8:1::/66"), Type: link.Blackhole, Link: lo, Metric: 1024},
			{Dst: prefix("2001:db8:1::/67"), Type: link.Prohibit, Link: lo, Metric: 1024},
		}
		do(t, c, func(b *link.Batch) {
			for _, r := range want {
				b.AddRoute(r)
				b.ReplaceRoute(r)
			}
		})
		got := routes(t, c, 0)
		for _, r := range want {
			equal(t, r.Dst.String(), count(got, func(g link.Route) bool { return g == filled(r) }), 1)
		}
		equal(t, "routes of one table", len(routes(t, c, 1234567)), 2)
		equal(t, "routes of an absent table", len(routes(t, c, 4242)), 0)
		do(t, c, func(b *link.Batch) {
			for _, r := range want {
				b.DeleteRoute(link.Route{Dst: r.Dst, Table: r.Table})
			}
		})
		equal(t, "routes of the table after deletion", len(routes(t, c, 1234567)), 0)
		var again link.Batch
		again.DeleteRoute(want[0])
		if err := c.Do(&again); !errors.Is(err, unix.ESRCH) {
			t.Errorf("deleting an absent route: %v, want ESRCH", err)
		}
	})
}

// filled is r as the kernel shows it, with the defaults in.
func filled(r link.Route) link.Route {
	if r.Type == 0 {
		r.Type = link.Unicast
	}
	if r.Table == 0 {
		r.Table = link.TableMain
	}
	if r.Protocol == 0 {
		r.Protocol = unix.RTPROT_STATIC
	}
	if r.Scope == link.ScopeAuto {
		r.Scope = link.ScopeUniverse
	}
	return r
}

func routes(tb testing.TB, c *link.Conn, table uint32) []link.Route {
	tb.Helper()
	list, err := c.Routes(tb.Context(), table)
	if err != nil {
		tb.Fatal(err)
	}
	return list
}

func TestRules(t *testing.T) {
	t.Parallel()
	isolated(t, func(t *testing.T) {
		c := dial(t)
		want := []link.Rule{
			{Family: link.IPv4, Priority: 100, From: prefix("192.0.2.2/32"), Table: 1000},
			{Family: link.IPv6, Priority: 100, From: prefix("2001:db8::2/128"), Table: 1000},
			{Family: link.IPv4, Priority: 101, To: prefix("198.51.100.0/24"), IIF: "eth7", Table: 200, Protocol: 99},
			{Family: link.IPv6, Priority: 101, To: prefix("2001:db8:1::/64"), OIF: "eth7", Table: 200, Protocol: 99},
			{Family: link.IPv4, Priority: 102, Mark: 0x10, Mask: 0xf0, Action: link.RuleUnreachable},
			{Family: link.IPv6, Priority: 102, Mark: 0x10, Mask: 0xf0, Action: link.RuleBlackhole},
		}
		do(t, c, func(b *link.Batch) {
			for _, r := range want {
				b.AddRule(r)
			}
		})
		got, err := c.Rules(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range want {
			if r.Protocol == 0 {
				r.Protocol = unix.RTPROT_STATIC
			}
			if r.Action == 0 {
				r.Action = link.ToTable
			}
			if !slices.Contains(got, r) {
				t.Errorf("no rule %+v in %+v", r, got)
			}
		}
		var twice link.Batch
		twice.AddRule(want[0])
		if err := c.Do(&twice); !errors.Is(err, unix.EEXIST) {
			t.Errorf("the same rule again: %v, want EEXIST", err)
		}
		do(t, c, func(b *link.Batch) {
			for _, r := range want {
				b.DeleteRule(r)
			}
		})
		left, err := c.Rules(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "rules less", len(got)-len(left), len(want))
	})
}

func TestNeighbours(t *testing.T) {
	t.Parallel()
	isolated(t, func(t *testing.T) {
		c := dial(t)
		index := stage(t, c)
		want := []link.Neighbour{
			{Link: index, Addr: addr("192.0.2.1"), MAC: mac1(), State: link.Permanent},
			{Link: index, Addr: addr("192.0.2.7"), MAC: mac2(), State: link.NoARP},
			{Link: index, Addr: addr("192.0.2.8"), MAC: mac2(), State: link.Reachable},
			{Link: index, Addr: addr("192.0.2.9"), Proxy: true},
			{Link: index, Addr: addr("2001:db8::1"), MAC: mac1(), State: link.Permanent},
			{Link: index, Addr: addr("2001:db8::7"), MAC: mac2(), State: link.NoARP},
			{Link: index, Addr: addr("2001:db8::9"), Proxy: true},
		}
		do(t, c, func(b *link.Batch) {
			for _, n := range want {
				b.AddNeighbour(n)
				b.ReplaceNeighbour(n)
			}
		})
		got := neighbours(t, c, index)
		for _, n := range want {
			equal(t, n.Addr.String(), count(got, func(g link.Neighbour) bool {
				if g.Proxy {
					g.State = 0
				}
				return g == n
			}), 1)
		}
		do(t, c, func(b *link.Batch) {
			for _, n := range want {
				b.DeleteNeighbour(n)
			}
		})
		left := neighbours(t, c, index)
		for _, n := range want {
			equal(t, n.Addr.String()+" after deletion", count(left, func(g link.Neighbour) bool {
				return g.Addr == n.Addr && g.State == n.State && (g.Proxy == n.Proxy)
			}), 0)
		}
	})
}

func neighbours(tb testing.TB, c *link.Conn, index int) []link.Neighbour {
	tb.Helper()
	list, err := c.Neighbours(tb.Context(), index)
	if err != nil {
		tb.Fatal(err)
	}
	return list
}

func TestFDB(t *testing.T) {
	t.Parallel()
	isolated(t, func(t *testing.T) {
		c := dial(t)
		do(t, c, func(b *link.Batch) {
			b.CreateBridge(link.Bridge{Name: "br0", Index: 1001})
			b.CreateVeth(link.Veth{Name: "v0", Index: 1002, Master: 1001, Peer: link.Peer{Name: "v1"}})
			b.CreateVeth(link.Veth{Name: "w0", Index: 1003, Master: 1001, Peer: link.Peer{Name: "w1"}})
		})
		want := []link.FDBEntry{
			{Link: 1002, MAC: mac1(), State: link.NoARP, Master: true, Bridge: 1001},
			{Link: 1001, MAC: mac2(), State: link.Permanent, Self: true},
		}
		do(t, c, func(b *link.Batch) {
			for _, f := range want {
				b.AddFDB(f)
			}
		})
		equal(t, "static entry", count(fdb(t, c), func(g link.FDBEntry) bool { return g == want[0] }), 1)
		equal(t, "entry of the bridge", count(fdb(t, c), func(g link.FDBEntry) bool { return g.MAC == mac2() && g.Link == 1001 }), 1)
		moved := want[0]
		moved.Link = 1003
		do(t, c, func(b *link.Batch) { b.ReplaceFDB(moved) })
		equal(t, "moved entry", count(fdb(t, c), func(g link.FDBEntry) bool { return g == moved }), 1)
		do(t, c, func(b *link.Batch) { b.DeleteFDB(moved) })
		equal(t, "entries after deletion", count(fdb(t, c), func(g link.FDBEntry) bool { return g.MAC == mac1() }), 0)
	})
}

func fdb(tb testing.TB, c *link.Conn) []link.FDBEntry {
	tb.Helper()
	list, err := c.FDB(tb.Context(), 1001)
	if err != nil {
		tb.Fatal(err)
	}
	return list
}
