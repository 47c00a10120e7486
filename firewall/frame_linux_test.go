// SPDX-License-Identifier: Apache-2.0

package firewall_test

import (
	"bytes"
	"net/netip"
	"slices"
	"strings"
	"testing"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/firewall"
	"github.com/libnetwork/cnm/kernel/link"
)

// forgery is a frame and whether it may pass from a strict port.
type forgery struct {
	what  string
	pass  bool
	frame []byte
}

// EtherTypes.
const (
	typeIPv4 = 0x0800
	typeARP  = 0x0806
	typeIPv6 = 0x86dd
)

// Options of neighbour discovery.
const (
	sourceOption = 1
	targetOption = 2
)

func port7(a netip.Addr) netip.AddrPort { return netip.AddrPortFrom(a, 7) }

// forgeries are what e could send to v.
func forgeries(e, v *box) []forgery {
	e4, e6, v4, v6 := e.addr(false), e.addr(true), v.addr(false), v.addr(true)
	ell, vll := linkLocal(e.mac), linkLocal(v.mac)
	none4, none6 := netip.IPv4Unspecified(), netip.IPv6Unspecified()
	nodes := netip.IPv6LinkLocalAllNodes()
	to4 := func(p []byte) []byte { return eth(v.mac, e.mac, typeIPv4, p) }
	to6 := func(p []byte) []byte { return eth(v.mac, e.mac, typeIPv6, p) }
	toARP := func(p []byte) []byte { return eth(broadcast(), e.mac, typeARP, p) }
	solicit, advert := byte(135), byte(136)
	return []forgery{
		{"IPv4 of its own", true, to4(udp(port7(e4), port7(v4), "own"))},
		{"IPv4 with another MAC", false, eth(v.mac, cnm.MAC{2, 9, 9, 9, 9, 9}, typeIPv4, udp(port7(e4), port7(v4), "mac"))},
		{"IPv4 with the victim's MAC", false, eth(v.mac, v.mac, typeIPv4, udp(port7(e4), port7(v4), "mac2"))},
		{"IPv4 from another address", false, to4(udp(port7(addr4(1, 99)), port7(v4), "src"))},
		{"IPv4 from the gateway's address", false, to4(udp(port7(addr4(1, 1)), port7(v4), "gw"))},
		{"IPv4 from loopback", false, to4(udp(port7(netip.AddrFrom4([4]byte{127, 0, 0, 1})), port7(v4), "lo"))},
		{"IPv4 from nowhere", false, to4(udp(port7(none4), port7(v4), "none"))},
		{"DHCP discover", true, eth(broadcast(), e.mac, typeIPv4, udp(netip.AddrPortFrom(none4, 68), netip.MustParseAddrPort("255.255.255.255:67"), "discover"))},
		{"DHCP request renewed", true, to4(udp(netip.AddrPortFrom(e4, 68), netip.AddrPortFrom(v4, 67), "renew"))},
		{"DHCP offer", false, to4(udp(netip.AddrPortFrom(e4, 67), netip.AddrPortFrom(v4, 68), "offer"))},
		{"ICMP redirect", false, to4(icmp4(e4, v4, 5, slices.Concat(addr4(1, 66).AsSlice(), ip(v4, addr4(2, 2), 17, make([]byte, 8)))...))},
		{"TCP out of the middle of a connection", true, to4(tcp(port7(e4), port7(v4), 0x10))},
		{"ICMP echo", true, to4(icmp4(e4, v4, 8, 0, 1, 0, 1))},

		{"IPv6 of its own", true, to6(udp(port7(e6), port7(v6), "own"))},
		{"IPv6 from its link-local address", true, to6(udp(port7(ell), port7(vll), "own"))},
		{"IPv6 with another MAC", false, eth(v.mac, cnm.MAC{2, 9, 9, 9, 9, 9}, typeIPv6, udp(port7(e6), port7(v6), "mac"))},
		{"IPv6 from another address", false, to6(udp(port7(addr6(1, 99)), port7(v6), "src"))},
		{"IPv6 from another link-local address", false, to6(udp(port7(vll), port7(v6), "src"))},
		{"IPv6 from nowhere", false, to6(udp(port7(none6), port7(v6), "none"))},
		{"DHCPv6 solicit", true, to6(udp(netip.AddrPortFrom(ell, 546), netip.AddrPortFrom(vll, 547), "solicit"))},
		{"DHCPv6 advertise", false, to6(udp(netip.AddrPortFrom(ell, 547), netip.AddrPortFrom(vll, 546), "advertise"))},
		{"TCP over IPv6 out of the middle of a connection", true, to6(tcp(port7(e6), port7(v6), 0x10))},
		{"ICMPv6 echo", true, to6(icmp6(e6, v6, 128, 0, 1, 0, 1))},
		{"router advertisement", false, to6(icmp6(ell, nodes, 134, make([]byte, 12)...))},
		{"router solicitation", false, to6(icmp6(ell, nodes, 133, make([]byte, 4)...))},
		{"ICMPv6 redirect", false, to6(icmp6(ell, v6, 137, make([]byte, 36)...))},
		{"MLD query", false, to6(icmp6(ell, nodes, 130, make([]byte, 20)...))},
		{"MLD report", false, to6(icmp6(ell, nodes, 131, make([]byte, 20)...))},
		{"MLD done", false, to6(icmp6(ell, nodes, 132, make([]byte, 20)...))},
		{"MLDv2 report", false, to6(icmp6(ell, nodes, 143, make([]byte, 4)...))},

		{"neighbour solicitation", true, to6(icmp6(e6, v6, solicit, nd(v6, sourceOption, e.mac)...))},
		{"neighbour solicitation without option", true, to6(icmp6(ell, v6, solicit, nd(v6)...))},
		{"neighbour solicitation with the victim's MAC", false, to6(icmp6(e6, v6, solicit, nd(v6, sourceOption, v.mac)...))},
		{"neighbour solicitation from another address", false, to6(icmp6(vll, v6, solicit, nd(v6, sourceOption, e.mac)...))},
		{"neighbour solicitation with the option second", false, to6(icmp6(e6, v6, solicit, nd(v6, targetOption, e.mac, sourceOption, v.mac)...))},
		{"duplicate address detection", true, to6(icmp6(none6, nodes, solicit, nd(e6)...))},
		{"duplicate address detection with a nonce", true, to6(icmp6(none6, nodes, solicit, nd(ell, 14, cnm.MAC{1, 2, 3, 4, 5, 6})...))},
		{"duplicate address detection of the victim's", false, to6(icmp6(none6, nodes, solicit, nd(v6)...))},
		{"neighbour advertisement", true, to6(icmp6(e6, nodes, advert, nd(e6, targetOption, e.mac)...))},
		{"neighbour advertisement without option", true, to6(icmp6(ell, v6, advert, nd(e6)...))},
		{"neighbour advertisement of the victim's", false, to6(icmp6(e6, nodes, advert, nd(v6, targetOption, e.mac)...))},
		{"neighbour advertisement of the gateway's", false, to6(icmp6(e6, nodes, advert, nd(addr6(1, 1), targetOption, e.mac)...))},
		{"neighbour advertisement with the victim's MAC", false, to6(icmp6(e6, nodes, advert, nd(e6, targetOption, v.mac)...))},
		{"neighbour advertisement with the option second", false, to6(icmp6(e6, nodes, advert, nd(e6, sourceOption, e.mac, targetOption, v.mac)...))},

		{"ARP request", true, toARP(arp(1, e.mac, e4, v4))},
		{"ARP reply", true, toARP(arp(2, e.mac, e4, v4))},
		{"ARP probe", true, toARP(arp(1, e.mac, none4, e4))},
		{"ARP probe of another MAC", false, toARP(arp(1, v.mac, none4, e4))},
		{"ARP reply from nowhere", false, toARP(arp(2, e.mac, none4, e4))},
		{"ARP for the victim's address", false, toARP(arp(2, e.mac, v4, v4))},
		{"ARP for the gateway's address", false, toARP(arp(1, e.mac, addr4(1, 1), v4))},
		{"ARP with another sender's MAC", false, toARP(arp(2, v.mac, e4, v4))},
		{"ARP in another's frame", false, eth(broadcast(), v.mac, typeARP, arp(2, e.mac, e4, v4))},

		{"BPDU", false, eth(cnm.MAC{1, 0x80, 0xc2}, e.mac, 38, slices.Concat([]byte{0x42, 0x42, 3}, make([]byte, 35)))},
		{"LLC", false, eth(v.mac, e.mac, 38, slices.Concat([]byte{0x42, 0x42, 3}, make([]byte, 35)))},
		{"VLAN", false, eth(v.mac, e.mac, 0x8100, slices.Concat([]byte{0, 5, 8, 0}, udp(port7(e4), port7(v4), "tagged")))},
		{"VLAN in VLAN", false, eth(v.mac, e.mac, 0x88a8, slices.Concat([]byte{0, 5, 0x81, 0, 0, 6, 8, 0}, udp(port7(e4), port7(v4), "twice")))},
		{"PPPoE", false, eth(v.mac, e.mac, 0x8864, make([]byte, 40))},
		{"LLDP", false, eth(v.mac, e.mac, 0x88cc, make([]byte, 40))},
	}
}

// forge sends all frames from one box and looks at what has reached another when a friend's frame comes there: what may pass
// by itself, and what is allowed beside.
func (l *lab) forge(from, to *box, list []forgery, alsoPass func(what string) bool) {
	l.Helper()
	in, out := l.tap(to), l.tap(from)
	for _, f := range list {
		out.send(f.frame)
	}
	mark := "that was all from " + from.name
	friend := l.boxes["friend"]
	l.tap(friend).send(eth(broadcast(), friend.mac, typeIPv4, udp(port7(friend.addrs[0]), port7(to.addrs[0]), mark)))
	seen := in.until([]byte(mark))
	for _, f := range list {
		want := f.pass || alsoPass != nil && alsoPass(f.what)
		got := slices.ContainsFunc(seen, func(s []byte) bool { return bytes.HasPrefix(s, f.frame) })
		if got != want {
			l.Errorf("%s: %s: passes %v, want %v", from.name, f.what, got, want)
		}
	}
}

// tell sends bytes to a box by UDP, from another whose flows reach it.
func (b *box) tell(l *lab, to *box, mark []byte) {
	l.Helper()
	c, err := b.connect("udp", netip.AddrPortFrom(to.addrs[0], 9), patience)
	must(l, err)
	_, err = c.Write(mark)
	must(l, err)
	must(l, c.Close())
}

// TestFrames sends what an endpoint must not send.
func TestFrames(t *testing.T) {
	t.Parallel()
	both(t, func(l *lab) {
		l.network(1, plain("cn-a", 1))
		victim := l.endpoint("victim", "cn-a", 1, 2)
		l.endpoint("friend", "cn-a", 1, 3)
		strict := l.endpoint("strict", "cn-a", 1, 11)
		l.forge(strict, victim, forgeries(strict, victim), nil)

		loose := l.endpoint("loose", "cn-a", 1, 12, func(p *firewall.BridgePort) { p.AnySource = true })
		// Bridge netfilter drops packets from loopback by itself.
		list := slices.DeleteFunc(forgeries(loose, victim), func(f forgery) bool { return f.what == "IPv4 from loopback" })
		l.forge(loose, victim, list, func(what string) bool {
			return slices.ContainsFunc([]string{"IPv4 ", "IPv6 ", "ARP ", "neighbour ", "duplicate "}, func(p string) bool { return strings.HasPrefix(what, p) })
		})
		router := l.endpoint("router", "cn-a", 1, 13, func(p *firewall.BridgePort) { p.AllowRA = true })
		l.forge(router, victim, forgeries(router, victim), func(what string) bool {
			return what == "router advertisement" || what == "router solicitation"
		})
		dhcp := l.endpoint("dhcp", "cn-a", 1, 14, func(p *firewall.BridgePort) { p.AllowDHCPServer = true })
		l.forge(dhcp, victim, forgeries(dhcp, victim), func(what string) bool { return what == "DHCP offer" || what == "DHCPv6 advertise" })

		unbound := l.endpoint("unbound", "cn-a", 1, 15)
		must(t, l.fw.Drop(t.Context(), unbound.owner()))
		list = forgeries(unbound, victim)
		for i := range list {
			list[i].pass = false
		}
		l.forge(unbound, victim, list, nil)
	})
}

// TestForeignPorts leaves ports of others alone, and trunks that are ours; a trunk that is not known passes nothing.
func TestForeignPorts(t *testing.T) {
	t.Parallel()
	both(t, func(l *lab) {
		l.network(1, plain("cn-a", 1))
		victim := l.endpoint("victim", "cn-a", 1, 2)
		l.endpoint("friend", "cn-a", 1, 3)
		l.set("shard/1", firewall.Rules{Trunks: []string{"cnt1"}})
		for i, c := range []struct {
			port string
			pass bool
		}{{"tap0", true}, {"cnt1", true}, {"cnt2", false}} {
			b := l.box(c.port)
			b.mac, b.port = cnm.MAC{2, 4, 0, 0, 0, byte(i)}, c.port
			b.addrs = []netip.Addr{addr4(1, 50+i), addr6(1, 50+i)}
			l.plug(b, "cn-a")
			l.do(b.conn, func(batch *link.Batch) { batch.SetLink(link.Change{Link: link.Named("eth0"), Up: link.On}) })
			l.running(b, b.port)
			list := []forgery{{"from any address", c.pass, eth(victim.mac, cnm.MAC{2, 9}, typeIPv4, udp(port7(addr4(1, 99)), port7(victim.addrs[0]), c.port))}}
			l.forge(b, victim, list, nil)
		}
	})
}

// TestSpoofedTransit looks at what leaves the host: nothing from an address that is not the endpoint's, and no segment
// of a connection that nobody saw begin.
func TestSpoofedTransit(t *testing.T) {
	t.Parallel()
	both(t, func(l *lab) {
		routed := plain("cn-a", 1)
		routed.Masquerade = cnm.FamilySet{}
		l.network(1, routed)
		lan := l.neighbour("lan", 2)
		e := l.endpoint("e", "cn-a", 1, 11, func(p *firewall.BridgePort) { p.AnySource = true })
		hub, err := l.conn.Link(link.Named("cn-a"))
		must(t, err)
		in, out := l.tap(lan), l.tap(e)
		for _, six := range []bool{false, true} {
			typ, other := uint16(typeIPv4), netip.MustParseAddr("203.0.113.9")
			if six {
				typ, other = typeIPv6, netip.MustParseAddr("2001:db8:ffff::9")
			}
			from, to := netip.AddrPortFrom(e.addr(six), 4000), netip.AddrPortFrom(lan.addr(six), 4000)
			for _, p := range [][]byte{
				udp(netip.AddrPortFrom(other, 4000), to, "spoofed"),
				tcp(from, to, 0x10), tcp(from, to, 0x12), tcp(from, to, 0x11), tcp(from, to, 0x04), tcp(from, to, 0x00),
			} {
				out.send(eth(cnm.MAC(hub.MAC), e.mac, typ, p))
			}
		}
		mark := []byte("that was all")
		e.tell(l, lan, mark)
		for _, f := range in.until(mark) {
			if bytes.Contains(f, []byte("spoofed")) || f[12] == typeIPv4>>8 && f[23] == 6 || f[12] == typeIPv6>>8 && f[20] == 6 {
				l.Errorf("left the host: %x", f)
			}
		}
	})
}
