// SPDX-License-Identifier: Apache-2.0

package firewall_test

import (
	"net/netip"
	"testing"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/firewall"
	"github.com/libnetwork/cnm/kernel/link"
)

// TestReach asks everybody from everywhere.
func TestReach(t *testing.T) {
	t.Parallel()
	both(t, func(l *lab) {
		l.network(1, plain("cn-a", 1))
		l.network(2, plain("cn-b", 2))
		internal := plain("cn-i", 3)
		internal.Internal, internal.Masquerade, internal.HostAccess = true, cnm.FamilySet{}, false
		l.network(3, internal)
		closed := plain("cn-c", 4)
		closed.HostAccess = false
		l.network(4, closed)
		routed := plain("cn-r", 5)
		routed.Masquerade, routed.Routed = cnm.FamilySet{}, cnm.FamilySet{IPv4: true, IPv6: true}
		l.network(5, routed)
		trusting := plain("cn-t", 6)
		trusting.Trusted = []string{"up3"}
		l.network(6, trusting)
		sourced := plain("cn-s", 7)
		sourced.Source4, sourced.Source6 = outside4(9, 200), outside6(9, 200)
		l.network(7, sourced)

		l.neighbour("lan", 2)
		l.neighbour("vpn", 3)
		lo, err := l.conn.Link(link.Named("lo"))
		must(t, err)
		for _, p := range []netip.Prefix{netip.PrefixFrom(outside4(9, 200), 32), netip.PrefixFrom(outside6(9, 200), 128)} {
			a := link.Address{Link: lo.Index, Prefix: p, NoDAD: true}
			l.do(l.conn, func(b *link.Batch) { b.AddAddress(a) })
			l.Cleanup(func() {
				var b link.Batch
				b.DeleteAddress(a)
				must(l, l.conn.Do(&b))
			})
		}
		a1, a2 := l.endpoint("a1", "cn-a", 1, 11), l.endpoint("a2", "cn-a", 1, 12)
		l.endpoint("b1", "cn-b", 2, 11)
		i1 := l.endpoint("i1", "cn-i", 3, 11)
		l.endpoint("i2", "cn-i", 3, 12)
		l.endpoint("c1", "cn-c", 4, 11)
		r1 := l.endpoint("r1", "cn-r", 5, 11)
		l.endpoint("t1", "cn-t", 6, 11)
		l.endpoint("s1", "cn-s", 7, 11)
		for name, b := range l.boxes {
			if name != "host" {
				l.serve(b, 80)
			}
		}
		l.serve(r1, 81)
		l.serve(l.boxes["host"], 9000)
		l.serve(l.boxes["host"], 8001) // as who holds the port: heard only where it is not translated
		loopback4 := netip.AddrFrom4([4]byte{127, 0, 0, 1})
		l.publish(a1, append(everywhere(8001), netip.AddrPortFrom(loopback4, 8003), netip.AddrPortFrom(netip.IPv6Loopback(), 8003))...)
		l.publish(a2, netip.AddrPortFrom(outside4(2, 1), 8002), netip.AddrPortFrom(outside6(2, 1), 8002))
		l.publish(i1, netip.AddrPortFrom(loopback4, 8004))
		for _, six := range []bool{false, true} {
			r1.rules.Published = append(r1.rules.Published,
				firewall.Published{Proto: cnm.TCP, To: netip.AddrPortFrom(r1.addr(six), 80)},
				firewall.Published{Proto: cnm.UDP, To: netip.AddrPortFrom(r1.addr(six), 80)})
		}
		l.set(r1.owner(), r1.rules)
		l.check(reachable()...)
	})
}

func reachable() []probe {
	return []probe{
		// One network is open in itself and closed to others.
		{from: "a1", to: "a2", port: 80, want: "a2", seen: "a1"},
		{from: "i1", to: "i2", port: 80, want: "i2", seen: "i1"},
		{from: "a1", to: "b1", port: 80},
		{from: "b1", to: "a1", port: 80},
		{from: "a1", to: "i1", port: 80},
		{from: "i1", to: "a1", port: 80},
		{from: "t1", to: "a1", port: 80},
		{from: "a1", to: "t1", port: 80},
		{from: "r1", to: "a1", port: 80},
		{from: "host", to: "a1", port: 80, want: "a1", seen: "gw1"},
		{from: "host", to: "i1", port: 80, want: "i1", seen: "gw3"},

		// The way out, with and without translation.
		{from: "a1", to: "lan", port: 80, want: "lan", seen: "up2"},
		{from: "c1", to: "lan", port: 80, want: "lan", seen: "up2"},
		{from: "r1", to: "lan", port: 80, want: "lan", seen: "r1"},
		{from: "s1", to: "lan", port: 80, want: "lan", seen: "192.0.9.200", only: 4},
		{from: "s1", to: "lan", port: 80, want: "lan", seen: "2001:db8:9::c8", only: 6},
		{from: "i1", to: "lan", port: 80},
		{from: "lan", to: "vpn", port: 80, want: "vpn", seen: "lan"},

		// The way in, past the host.
		{from: "lan", to: "a1", port: 80},
		{from: "lan", to: "i1", port: 80},
		{from: "lan", to: "gw1", port: 9000},
		{from: "lan", to: "gw1", port: 8001},
		{from: "lan", to: "r1", port: 80, want: "r1", seen: "lan"},
		{from: "lan", to: "r1", port: 81},
		{from: "a1", to: "r1", port: 80, want: "r1", seen: "a1"},
		{from: "a1", to: "r1", port: 81},
		{from: "i1", to: "r1", port: 80},
		{from: "vpn", to: "t1", port: 80, want: "t1", seen: "vpn"},
		{from: "vpn", to: "a1", port: 80},
		{from: "lan", to: "t1", port: 80},

		// The host's own services.
		{from: "lan", to: "up2", port: 9000, want: "host", tcp: true},
		{from: "a1", to: "up2", port: 9000, want: "host", tcp: true},
		{from: "a1", to: "gw1", port: 9000, want: "host", tcp: true},
		{from: "c1", to: "up2", port: 9000},
		{from: "c1", to: "gw4", port: 9000},
		{from: "i1", to: "up2", port: 9000},
		{from: "i1", to: "gw3", port: 9000},

		// Published on all addresses.
		{from: "lan", to: "up2", port: 8001, want: "a1", seen: "lan"},
		{from: "vpn", to: "up2", port: 8001, want: "a1", seen: "vpn"},
		{from: "b1", to: "up2", port: 8001, want: "a1", seen: "b1"},
		{from: "b1", to: "gw2", port: 8001, want: "a1", seen: "b1"},
		{from: "c1", to: "up2", port: 8001, want: "a1", seen: "c1"},
		{from: "c1", to: "gw4", port: 8001, want: "a1", seen: "c1"},
		{from: "a2", to: "up2", port: 8001, want: "a1", seen: "gw1"},
		{from: "a2", to: "gw1", port: 8001, want: "a1", seen: "gw1"},
		{from: "a1", to: "up2", port: 8001, want: "a1", seen: "gw1"},
		{from: "i1", to: "up2", port: 8001},
		{from: "i1", to: "gw3", port: 8001},
		{from: "host", to: "up2", port: 8001, want: "a1", seen: "up2"},
		{from: "host", to: "gw1", port: 8001, want: "a1", seen: "gw1"},
		{from: "host", to: "lo", port: 8001, want: "a1", seen: "gw1", only: 4},
		{from: "host", to: "lo", port: 8001, want: "host", only: 6},

		// Published on one address.
		{from: "lan", to: "up2", port: 8002, want: "a2", seen: "lan"},
		{from: "lan", to: "up3", port: 8002},
		{from: "b1", to: "up2", port: 8002, want: "a2", seen: "b1"},
		{from: "b1", to: "gw2", port: 8002},
		{from: "host", to: "up2", port: 8002, want: "a2", seen: "up2"},
		{from: "host", to: "gw1", port: 8002},
		{from: "host", to: "lo", port: 8002},

		// Published on loopback.
		{from: "host", to: "lo", port: 8003, want: "a1", seen: "gw1", only: 4},
		{from: "host", to: "lo", port: 8004, want: "i1", seen: "gw3", only: 4},
		{from: "host", to: "up2", port: 8003},
		{from: "lan", to: "up2", port: 8003},
		{from: "a2", to: "gw1", port: 8003},
		{from: "a2", to: "up2", port: 8003},
		{from: "i2", to: "gw3", port: 8004},
	}
}
