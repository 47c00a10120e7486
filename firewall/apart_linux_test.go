// SPDX-License-Identifier: Apache-2.0

package firewall_test

import (
	"net/netip"
	"slices"
	"testing"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/firewall"
	"github.com/libnetwork/cnm/kernel/link"
	"github.com/libnetwork/cnm/kernel/sysctl"
)

// shard makes a further bridge of a network, and its trunk to the hub.
func (l *lab) shard(name, hub string) {
	l.Helper()
	atHub, atShard := firewall.TrunkPrefix+name+"h", firewall.TrunkPrefix+name+"s"
	l.set(firewall.Owner("shard/"+name), firewall.Rules{Trunks: []string{atHub, atShard}})
	shard := l.bridge(firewall.ShardPrefix+name, 0)
	h, err := l.conn.Link(link.Named(hub))
	must(l, err)
	l.do(l.conn, func(b *link.Batch) {
		b.CreateVeth(link.Veth{Name: atHub, Master: h.Index, Peer: link.Peer{Name: atShard}})
		b.SetLink(link.Change{Link: link.Named(atShard), Master: shard})
		// The host must not answer for the gateway here, and what is for another endpoint of the shard comes back.
		b.SetLink(link.Change{Link: link.Named(firewall.ShardPrefix + name), IPv4: []link.Conf{{Key: link.ARPIgnore, Value: 8}}})
		b.SetLink(link.Change{Link: link.Named(atShard), AddrGenMode: link.AddrGenNone, Port: link.Port{Learning: link.Off}, Up: link.On})
		b.SetLink(link.Change{Link: link.Named(atHub), AddrGenMode: link.AddrGenNone, Port: link.Port{Learning: link.Off, Hairpin: link.On}, Up: link.On})
	})
	l.await(l.boxes["host"], atHub)
	l.await(l.boxes["host"], atShard)
}

func isolated(p *firewall.BridgePort) { p.Isolated = true }

// TestIsolated keeps endpoints of one network apart, on one bridge and across a trunk, but for published ports.
func TestIsolated(t *testing.T) {
	t.Parallel()
	both(t, func(l *lab) {
		l.network(1, plain("cn-a", 1))
		l.shard("1", "cn-a")
		l.neighbour("lan", 2)
		e1, e2 := l.endpoint("e1", "cn-a", 1, 11, isolated), l.endpoint("e2", "cn-a", 1, 12, isolated)
		e3 := l.endpointOn("e3", "cn-a", "cns1", 1, 13, isolated)
		e4 := l.endpointOn("e4", "cn-a", "cns1", 1, 14, isolated)
		friend := l.endpoint("friend", "cn-a", 1, 15)
		for _, b := range []*box{e1, e2, e3, e4, friend, l.boxes["lan"]} {
			l.serve(b, 80)
		}
		l.publish(e2, everywhere(8002)...)
		l.publish(e3, everywhere(8003)...)
		l.check(
			probe{from: "e1", to: "e2", port: 80}, probe{from: "e2", to: "e1", port: 80},
			probe{from: "e1", to: "e3", port: 80}, probe{from: "e3", to: "e1", port: 80},
			probe{from: "e3", to: "e4", port: 80}, probe{from: "e4", to: "e3", port: 80},
			probe{from: "e1", to: "friend", port: 80, want: "friend", seen: "e1"},
			probe{from: "friend", to: "e1", port: 80, want: "e1", seen: "friend"},
			probe{from: "e3", to: "friend", port: 80, want: "friend", seen: "e3"},
			probe{from: "friend", to: "e3", port: 80, want: "e3", seen: "friend"},
			probe{from: "e1", to: "lan", port: 80, want: "lan", seen: "up2"},
			probe{from: "e3", to: "lan", port: 80, want: "lan", seen: "up2"},
			probe{from: "host", to: "e1", port: 80, want: "e1"},
			probe{from: "host", to: "e3", port: 80, want: "e3"},
			probe{from: "lan", to: "up2", port: 8003, want: "e3", seen: "lan"},
			probe{from: "e1", to: "up2", port: 8002, want: "e2", seen: "gw1"},
			probe{from: "e1", to: "gw1", port: 8003, want: "e3", seen: "gw1"},
			probe{from: "e3", to: "gw1", port: 8002, want: "e2", seen: "gw1"},
			probe{from: "e4", to: "gw1", port: 8003, want: "e3", seen: "gw1"},
		)
		// By the host, whatever the MAC says.
		for _, b := range []*box{e1, e3} {
			l.viaGateway(b, e2, e4)
		}
		l.check(probe{from: "e1", to: "e2", port: 80}, probe{from: "e1", to: "e4", port: 80}, probe{from: "e3", to: "e4", port: 80}, probe{from: "e3", to: "e2", port: 80})

		for _, from := range []*box{e1, e3} {
			frame := eth(broadcast(), from.mac, typeIPv4, udp(port7(from.addrs[0]), netip.AddrPortFrom(addr4(1, 255), 7), "to all"))
			many := eth(cnm.MAC{0x33, 0x33, 0, 0, 0, 1}, from.mac, typeIPv6, udp(port7(from.addrs[1]), netip.AddrPortFrom(netip.IPv6LinkLocalAllNodes(), 7), "to all"))
			list := []forgery{{"broadcast", false, frame}, {"multicast", false, many}}
			for _, to := range []*box{e2, e4} {
				l.forge(from, to, list, nil)
			}
			open := []forgery{{"broadcast", true, frame}, {"multicast", true, many}}
			l.boxes["friend"] = e2 // whose frames the one who looks on gets
			l.forge(from, friend, open, nil)
			l.boxes["friend"] = friend
		}
	})
}

// viaGateway makes a box send what is for others to its gateways.
func (l *lab) viaGateway(b *box, to ...*box) {
	l.Helper()
	eth0, err := b.conn.Link(link.Named("eth0"))
	must(l, err)
	l.do(b.conn, func(batch *link.Batch) {
		for _, other := range to {
			for _, a := range other.addrs {
				batch.AddRoute(link.Route{Dst: netip.PrefixFrom(a, a.BitLen()), Gateway: l.where("gw1", a.Is6()), Link: eth0.Index})
			}
		}
	})
}

// TestShards reaches from and to endpoints behind a trunk as everywhere, and lets nothing be routed off a shard.
func TestShards(t *testing.T) {
	t.Parallel()
	both(t, func(l *lab) {
		l.network(1, plain("cn-a", 1))
		l.shard("1", "cn-a")
		internal := plain("cn-i", 3)
		internal.Internal, internal.Masquerade = true, cnm.FamilySet{}
		l.network(3, internal)
		l.shard("3", "cn-i")
		lan := l.neighbour("lan", 2)
		a1, a2 := l.endpoint("a1", "cn-a", 1, 11), l.endpointOn("a2", "cn-a", "cns1", 1, 12)
		l.endpointOn("a3", "cn-a", "cns1", 1, 13)
		i1 := l.endpointOn("i1", "cn-i", "cns3", 3, 11)
		for _, b := range []*box{a1, a2, lan, i1} {
			l.serve(b, 80)
		}
		l.serve(l.boxes["host"], 9000)
		l.publish(a1, everywhere(8001)...)
		l.publish(a2, everywhere(8002)...)
		l.check(
			probe{from: "a1", to: "a2", port: 80, want: "a2", seen: "a1"},
			probe{from: "a2", to: "a1", port: 80, want: "a1", seen: "a2"},
			probe{from: "a3", to: "a2", port: 80, want: "a2", seen: "a3"},
			probe{from: "a2", to: "lan", port: 80, want: "lan", seen: "up2"},
			probe{from: "lan", to: "up2", port: 8002, want: "a2", seen: "lan"},
			probe{from: "a2", to: "up2", port: 8001, want: "a1", seen: "gw1"},
			probe{from: "a2", to: "gw1", port: 8002, want: "a2", seen: "gw1"},
			probe{from: "a3", to: "gw1", port: 8002, want: "a2", seen: "gw1"},
			probe{from: "a2", to: "gw1", port: 9000, want: "host", tcp: true},
			probe{from: "a2", to: "i1", port: 80}, probe{from: "i1", to: "a2", port: 80},
			probe{from: "i1", to: "lan", port: 80}, probe{from: "i1", to: "gw3", port: 8001}, probe{from: "i1", to: "gw3", port: 9000},
		)
		live := l.streams("gw1", 8001, 0, "a2")
		l.publish(a1)
		l.dead(live, a1)

		// To the shard's own MAC, so that the host would route it.
		shard, err := l.conn.Link(link.Named("cns3"))
		must(t, err)
		in, out := l.tap(lan), l.tap(i1)
		for _, six := range []bool{false, true} {
			typ := uint16(typeIPv4)
			if six {
				typ = typeIPv6
			}
			for _, to := range []string{"lan", "up2"} {
				out.send(eth(cnm.MAC(shard.MAC), i1.mac, typ, udp(port7(i1.addr(six)), netip.AddrPortFrom(l.where(to, six), 9000), "escaped")))
			}
		}
		mark := []byte("that was all")
		a1.tell(l, lan, mark)
		for _, f := range in.until(mark) {
			if slices.Contains([]string{"escaped"}, tail(f, 7)) {
				t.Errorf("an internal endpoint's packet left the host: %x", f)
			}
		}
	})
}

// tail is the end of a frame without padding.
func tail(f []byte, n int) string {
	for len(f) > 0 && f[len(f)-1] == 0 {
		f = f[:len(f)-1]
	}
	return string(f[max(0, len(f)-n):])
}

// TestAdopted shares a bridge with others.
func TestAdopted(t *testing.T) {
	t.Parallel()
	both(t, func(l *lab) {
		l.network(1, plain("cn-a", 1))
		l.bridge("br0", 8)
		must(t, sysctl.Write("net/ipv4/conf/br0/route_localnet", "2")) // as it is where we switched it on
		adopted := plain("br0", 8)
		adopted.Adopted, adopted.HostAccess = true, false
		l.set("network/br0", firewall.Rules{Bridges: []firewall.Bridge{adopted}})
		l.neighbour("lan", 2)
		a1 := l.endpoint("a1", "cn-a", 1, 11)
		d1 := l.endpoint("d1", "br0", 8, 11, func(p *firewall.BridgePort) { p.Adopted = true })
		d2 := l.endpoint("d2", "br0", 8, 12, func(p *firewall.BridgePort) { p.Adopted = true })
		mate := l.box("mate")
		mate.mac, mate.port = cnm.MAC{2, 4, 0, 0, 0, 9}, "tap0"
		mate.addrs = []netip.Addr{addr4(8, 50), addr6(8, 50)}
		l.plug(mate, "br0")
		l.address(mate, addr4(8, 1), addr6(8, 1))
		l.running(mate, "tap0")
		for _, b := range []*box{a1, d1, d2, mate, l.boxes["lan"]} {
			l.serve(b, 80)
		}
		l.serve(l.boxes["host"], 9000)
		l.publish(a1, everywhere(8001)...)
		l.publish(d1, everywhere(8005)...)
		l.check(
			probe{from: "d1", to: "mate", port: 80, want: "mate", seen: "d1"},
			probe{from: "mate", to: "d1", port: 80, want: "d1", seen: "mate"},
			probe{from: "d1", to: "d2", port: 80, want: "d2", seen: "d1"},
			probe{from: "mate", to: "a1", port: 80}, probe{from: "d1", to: "a1", port: 80}, probe{from: "a1", to: "d1", port: 80},
			probe{from: "a1", to: "mate", port: 80, want: "mate", seen: "gw8"},
			probe{from: "host", to: "d1", port: 80, want: "d1"},
			probe{from: "lan", to: "d1", port: 80},
			probe{from: "lan", to: "mate", port: 80, want: "mate", seen: "lan"},
			probe{from: "mate", to: "lan", port: 80, want: "lan", seen: "mate"},
			probe{from: "d1", to: "lan", port: 80, want: "lan", seen: "up2"},
			probe{from: "mate", to: "gw8", port: 8001, want: "a1", seen: "mate"},
			probe{from: "d1", to: "gw8", port: 8001, want: "a1", seen: "d1"},
			probe{from: "lan", to: "up2", port: 8005, want: "d1", seen: "lan"},
			probe{from: "a1", to: "up2", port: 8005, want: "d1", seen: "a1"},
			probe{from: "mate", to: "gw8", port: 8005, want: "d1", seen: "gw8"},
			probe{from: "d2", to: "gw8", port: 8005, want: "d1", seen: "gw8"},
			probe{from: "host", to: "lo", port: 8005, want: "d1", seen: "gw8", only: 4},
			probe{from: "mate", to: "gw8", port: 9000, want: "host", tcp: true},
			probe{from: "d1", to: "gw8", port: 9000},
		)
		live := l.streams("up2", 8005, 0, "lan", "a1", "mate", "host")
		l.publish(d1)
		l.dead(live, d1)

		// An internal one reaches only what is on the bridge with it.
		live = l.streams("lan", 80, 0, "d1")
		adopted.Internal = true
		l.set("network/br0", firewall.Rules{Bridges: []firewall.Bridge{adopted}})
		l.dead(live)
		l.check(
			probe{from: "d1", to: "lan", port: 80}, probe{from: "d1", to: "gw8", port: 8001},
			probe{from: "d1", to: "mate", port: 80, want: "mate"}, probe{from: "mate", to: "lan", port: 80, want: "lan", seen: "mate"},
		)
	})
}

// TestIsolatedOnAdopted keeps endpoints apart on a bridge of others: the mark of the one does not open the other.
func TestIsolatedOnAdopted(t *testing.T) {
	t.Parallel()
	both(t, func(l *lab) {
		l.bridge("br0", 8)
		adopted := plain("br0", 8)
		adopted.Adopted = true
		l.set("network/br0", firewall.Rules{Bridges: []firewall.Bridge{adopted}})
		apart := func(p *firewall.BridgePort) { p.Adopted, p.Isolated = true, true }
		d1, d2 := l.endpoint("d1", "br0", 8, 11, apart), l.endpoint("d2", "br0", 8, 12, apart)
		l.serve(d1, 80)
		l.serve(d2, 80)
		l.publish(d2, everywhere(8002)...)
		l.check(
			probe{from: "d1", to: "d2", port: 80}, probe{from: "d2", to: "d1", port: 80},
			probe{from: "d1", to: "gw8", port: 8002, want: "d2", seen: "gw8"},
		)
	})
}

// TestOpened closes transit that only we made possible.
func TestOpened(t *testing.T) {
	t.Parallel()
	both(t, func(l *lab) {
		l.network(1, plain("cn-a", 1))
		lan, vpn := l.neighbour("lan", 2), l.neighbour("vpn", 3)
		a1 := l.endpoint("a1", "cn-a", 1, 11)
		l.bridge("br9", 0)
		for i, name := range []string{"m1", "m2"} {
			b := l.box(name)
			b.mac, b.port = cnm.MAC{2, 4, 0, 0, 0, byte(i)}, "tap"+name
			b.addrs = []netip.Addr{addr4(9, 1+i), addr6(9, 1+i)}
			l.plug(b, "br9")
			l.address(b)
			l.running(b, b.port)
			l.serve(b, 80)
		}
		for _, b := range []*box{lan, vpn, a1} {
			l.serve(b, 80)
		}
		l.publish(a1, everywhere(8001)...)
		closed := func(families cnm.FamilySet) {
			var rules firewall.Rules
			for _, name := range []string{"up2", "up3", "br9"} {
				rules.Opened = append(rules.Opened, firewall.Opened{Link: name, Families: families})
			}
			l.set("host", rules)
		}
		closed(cnm.FamilySet{IPv4: true, IPv6: true})
		ours := []probe{
			{from: "a1", to: "lan", port: 80, want: "lan"},
			{from: "lan", to: "up2", port: 8001, want: "a1"},
			{from: "vpn", to: "up2", port: 8001, want: "a1"},
			{from: "m1", to: "m2", port: 80, want: "m2", seen: "m1"},
		}
		l.check(append(ours, probe{from: "lan", to: "vpn", port: 80}, probe{from: "vpn", to: "lan", port: 80})...)
		// What the host forwards by itself stays open.
		closed(cnm.FamilySet{IPv6: true})
		l.check(append(ours, probe{from: "lan", to: "vpn", port: 80, only: 6}, probe{from: "lan", to: "vpn", port: 80, only: 4, want: "vpn", seen: "lan"})...)
		closed(cnm.FamilySet{IPv4: true})
		l.check(append(ours, probe{from: "lan", to: "vpn", port: 80, only: 4}, probe{from: "lan", to: "vpn", port: 80, only: 6, want: "vpn", seen: "lan"})...)
		must(t, l.fw.Drop(t.Context(), "host"))
		l.check(append(ours, probe{from: "lan", to: "vpn", port: 80, want: "vpn", seen: "lan"})...)
	})
}

// TestLoopbackGuard sends to the host's loopback addresses from outside, where something has opened the way.
func TestLoopbackGuard(t *testing.T) {
	t.Parallel()
	both(t, func(l *lab) {
		l.network(1, plain("cn-a", 1))
		lan := l.neighbour("lan", 2)
		a1 := l.endpoint("a1", "cn-a", 1, 11)
		must(t, sysctl.Write("net/ipv4/conf/up2/route_localnet", "1"))
		lo := netip.AddrFrom4([4]byte{127, 0, 0, 1})
		l.publish(a1, netip.AddrPortFrom(lo, 8003))
		hub, err := l.conn.Link(link.Named("cn-a"))
		must(t, err)

		held, other := l.hold(netip.AddrPortFrom(lo, 8003)), l.hold(netip.AddrPortFrom(lo, 7777))
		last := l.hold(netip.AddrPortFrom(netip.IPv4Unspecified(), 7778))
		for _, c := range []struct {
			from *box
			mac  cnm.MAC
			gets []string // by the socket whose port is not published
		}{{lan, cnm.MAC(lan.peer), []string{"to another"}}, {a1, cnm.MAC(hub.MAC), nil}} {
			out := l.tap(c.from)
			from := port7(c.from.addrs[0])
			own, err := c.from.conn.Link(link.Named("eth0"))
			must(t, err)
			send := func(to netip.AddrPort, text string) {
				out.send(eth(c.mac, cnm.MAC(own.MAC), typeIPv4, udp(from, to, text)))
			}
			send(netip.AddrPortFrom(lo, 8003), "to the published")
			send(netip.AddrPortFrom(lo, 7777), "to another")
			send(netip.AddrPortFrom(l.where("gw1", false), 7778), "end")
			if c.from == lan {
				send(netip.AddrPortFrom(outside4(2, 1), 7778), "end")
			}
			if got := last.read(patience); !slices.Equal(got, []string{"end"}) {
				t.Errorf("from %s: %q instead of the last", c.from.name, got)
			}
			if got := held.read(impatience); got != nil {
				t.Errorf("from %s the holder of a port on loopback hears %q", c.from.name, got)
			}
			if got := other.read(impatience); !slices.Equal(got, c.gets) {
				t.Errorf("from %s a socket on loopback hears %q, want %q", c.from.name, got, c.gets)
			}
		}
	})
}
