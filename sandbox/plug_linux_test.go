// SPDX-License-Identifier: Apache-2.0

package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/kernel/kerneltest"
	"github.com/libnetwork/cnm/kernel/link"
	"github.com/libnetwork/cnm/kernel/netns"
	"github.com/libnetwork/cnm/kernel/sysctl"
)

func TestPlug(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		g := newStage(t)
		sb := g.sandbox("box")
		empty := g.state(sb)
		at := g.join(sb, 1, nil)
		n := g.open(sb)
		before := n.RoundTrips()
		if err := plugAndAwait(t.Context(), g.stack, n, at); err != nil {
			t.Fatal(err)
		}
		if trips := n.RoundTrips() - before; trips != 1 {
			t.Errorf("plugged with %d round trips, want 1", trips)
		}
		plugged := g.state(sb)
		has(t, plugged, "link 101 eth0 02:42:0a:01:00:02 mtu 1400 up true",
			"address 10.1.0.2/24 on 101", "address fd00:1::2/64 on 101", "address fe80::42:aff:fe01:2/64 on 101",
			"route 0.0.0.0/0 via 10.1.0.1 on 101 table 254 metric 0 protocol 67",
			"route ::/0 via fd00:1::1 on 101 table 254 metric 1024 protocol 67",
			"route 10.1.0.0/24 via invalid IP on 101 table 254 metric 0 protocol 2",
			"route fd00:1::/64 via invalid IP on 101 table 254 metric 256 protocol 2",
			"route 0.0.0.0/0 via 10.1.0.1 on 101 table 2147483749",
			"route ::/0 via fd00:1::1 on 101 table 2147483749",
			"rule ipv4 20000 from 10.1.0.2/32 table 2147483749", "rule ipv6 20000 from fd00:1::2/128 table 2147483749",
			"neighbour 10.1.0.1 02:42:0a:01:00:01 on 101", "neighbour fd00:1::1 02:42:0a:01:00:01 on 101")
		echo(t, g, sb, []string{"10.1.0.2", "fd00:1::2"})

		if err := plugAndAwait(t.Context(), g.stack, n, at); err != nil {
			t.Errorf("plugged again: %v", err)
		}
		if again := g.state(sb); again != plugged {
			t.Errorf("plugged again it became\n%s, was\n%s", again, plugged)
		}

		for range 2 {
			before = n.RoundTrips()
			if err := g.stack.Unplug(t.Context(), n, at); err != nil {
				t.Fatal(err)
			}
			if trips := n.RoundTrips() - before; trips != 1 {
				t.Errorf("unplugged with %d round trips, want 1", trips)
			}
			has(t, g.state(sb), "link 101 cnx1 ", "!eth0", "!address 10.1", "!address fd00", "!address fe80", "!via", "!rule ipv4 20000", "!rule ipv6 20000", "!neighbour")
		}
		// The name and the addresses are free at once, while the dead link waits.
		next := g.join(sb, 2, func(at *cnm.Attachment) {
			at.Join.Interface, at.Join.Result.Link.Name = "eth0", "eth0"
			at.Endpoint.Addresses = prefixes("10.1.0.2/24", "fd00:1::2/64", "10.2.0.2/24", "fd00:2::2/64")
		})
		g.plug(next)
		echo(t, g, sb, []string{"10.2.0.2", "fd00:2::2"})
		if err := g.stack.Unplug(t.Context(), n, next); err != nil {
			t.Fatal(err)
		}
		var b link.Batch
		b.DeleteLink(link.Numbered(101))
		b.DeleteLink(link.Numbered(102))
		g.do(link.Here, &b)
		if after := g.state(sb); after != empty {
			t.Errorf("in the end it is\n%s, was\n%s", after, empty)
		}
	})
}

func TestFamilies(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		addresses []netip.Prefix
		want      []string
		ipv6Off   string
	}{
		"v4 only": {prefixes("10.1.0.2/24"), []string{"address 10.1.0.2/24 on 101", "!:: ", "!::/64", "!fe80::", "!address f", "!fd00"}, "1"},
		"v6 only": {prefixes("fd00:1::2/64"), []string{"address fd00:1::2/64 on 101", "address fe80::42:aff:fe01:2/64 on 101", "!10.1.", "!0.0.0.0/0"}, "0"},
		"both":    {prefixes("10.1.0.2/24", "fd00:1::2/64"), []string{"address 10.1.0.2/24 on 101", "address fd00:1::2/64 on 101"}, "0"},
	} {
		for _, owned := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s owned %t", name, owned), func(t *testing.T) {
				t.Parallel()
				kerneltest.Run(t, func(t *testing.T) {
					g := newStage(t)
					sb := cnm.Sandbox{ID: cnm.NewSandboxID(), Name: "box", Owned: owned}
					if !owned {
						sb.Namespace.Path = g.foreign("one")
					}
					g.create(&sb)
					at := g.join(sb, 1, func(at *cnm.Attachment) {
						at.Endpoint.Addresses, at.Join.Result.Routers = tc.addresses, true
					})
					g.plug(at)
					has(t, g.state(sb), tc.want...)
					n := g.open(sb)
					settingsAre(t, n, map[string]string{"net/ipv6/conf/eth0/disable_ipv6": tc.ipv6Off, "net/ipv6/conf/all/disable_ipv6": "0"})
					if tc.ipv6Off == "0" {
						settingsAre(t, n, map[string]string{"net/ipv6/conf/eth0/accept_ra": "0"})
					}
					if !owned { // its other settings are its owner's
						settingsAre(t, n, map[string]string{"net/ipv6/conf/default/accept_ra": "1", "net/ipv4/ip_unprivileged_port_start": "1024"})
					}
				})
			})
		}
	}
}

func settingsAre(tb testing.TB, n *Namespace, want map[string]string) {
	tb.Helper()
	kerneltest.InNS(tb, n.ns, func() {
		for key, value := range want {
			if got, err := sysctl.Read(key); err != nil || got != value {
				tb.Errorf("%s is %q (%v), want %q", key, got, err, value)
			}
		}
	})
}

// A runtime may make namespaces with IPv6 off; an endpoint that has it needs it.
func TestIPv6IsSwitchedOnWhereNeeded(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		g := newStage(t)
		sb := cnm.Sandbox{ID: cnm.NewSandboxID(), Name: "box", Namespace: cnm.Namespace{Path: g.foreign("one")}}
		g.create(&sb)
		n := g.open(sb)
		kerneltest.InNS(t, n.ns, func() {
			if err := sysctl.WriteAll(sysctl.Setting{Key: "net/ipv6/conf/all/disable_ipv6", Value: "1"},
				sysctl.Setting{Key: "net/ipv6/conf/default/disable_ipv6", Value: "1"}); err != nil {
				t.Fatal(err)
			}
		})
		g.plug(g.join(sb, 1, nil))
		has(t, g.state(sb), "address fd00:1::2/64 on 101", "rule ipv6 20000", "route ::/0 via fd00:1::1 on 101 table 254")
		settingsAre(t, n, map[string]string{"net/ipv6/conf/lo/disable_ipv6": "1", "net/ipv6/conf/eth0/disable_ipv6": "0"})
		echo(t, g, sb, []string{"10.1.0.2", "fd00:1::2"})
	})
}

func TestSysctls(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		g := newStage(t)
		sb := g.sandbox("box")
		at := g.join(sb, 1, func(at *cnm.Attachment) {
			at.Join.Interface, at.Join.Result.Link.Name = "eth0.5", "eth0.5"
			at.Join.Sysctls = map[string]string{"net.ipv4.conf.IFNAME.forwarding": "1", "net.ipv6.conf.IFNAME.accept_ra": "2"}
		})
		g.plug(at)
		n := g.open(sb)
		settingsAre(t, n, map[string]string{
			"net/ipv4/conf/eth0.5/forwarding": "1", "net/ipv6/conf/eth0.5/accept_ra": "2", "net/ipv4/conf/default/forwarding": "0",
		})
		before := g.state(sb)
		for key, value := range map[string]string{"net.ipv4.conf.IFNAME.nothing": "1", "net.ipv4.conf.IFNAME.forwarding": "x"} {
			at.Join.Sysctls = map[string]string{key: value}
			err := plugAndAwait(t.Context(), g.stack, n, at)
			var e *cnm.Error
			if !errors.As(err, &e) || e.Kind != cnm.Invalid || e.Field != "sysctl" {
				t.Errorf("%s=%s: %v (%v)", key, value, err, cnm.KindOf(err))
			}
		}
		if after := g.state(sb); after != before {
			t.Errorf("a refused plug left\n%s, was\n%s", after, before)
		}
	})
}

// network is a gateway in a namespace of its own, with a far address behind it.
func (g *stage) network(number int) *netns.NS {
	g.tb.Helper()
	ns := kerneltest.NewNS(g.tb)
	var b link.Batch
	b.SetLink(link.Change{Link: link.Named("lo"), Up: link.On})
	for _, a := range farOf(number) {
		b.AddAddress(link.Address{Link: 1, Prefix: netip.PrefixFrom(a, a.BitLen()), NoDAD: a.Is6()})
	}
	g.do(ns.Fd(), &b)
	return ns
}

func farOf(number int) []netip.Addr {
	return []netip.Addr{netip.AddrFrom4([4]byte{192, 0, 2, byte(number)}), netip.MustParseAddr(fmt.Sprintf("2001:db8::%d", number))}
}

// A sandbox on two networks answers each through the network the question came by.
func TestTwoNetworks(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		g := newStage(t)
		sb := g.sandbox("box")
		one, two := g.network(1), g.network(2)
		first := g.joinVia(one.Fd(), sb, 1, nil)
		second := g.joinVia(two.Fd(), sb, 2, func(at *cnm.Attachment) { at.Join.Default = cnm.FamilySet{} })
		g.plug(first)
		g.plug(second)
		n := g.open(sb)
		servers := listen(t, n)
		reach := func(ns *netns.NS, network int, patience time.Duration) []error {
			var errs []error
			for i, from := range farOf(network) {
				to := second.Endpoint.Addresses[i].Addr()
				if network == 1 {
					to = first.Endpoint.Addresses[i].Addr()
				}
				errs = append(errs, ask(ns, from, netip.AddrPortFrom(to, servers), patience))
			}
			return errs
		}
		answers := func(network int, ns *netns.NS) {
			t.Helper()
			if err := errors.Join(reach(ns, network, patience)...); err != nil {
				t.Errorf("from behind network %d: %v", network, err)
			}
		}
		answers(1, one)
		answers(2, two)
		has(t, g.state(sb), "route 0.0.0.0/0 via 10.1.0.1 on 101 table 254", "route ::/0 via fd00:1::1 on 101 table 254")

		// The families' default routes move one by one; both networks keep answering.
		first.Join.Default, second.Join.Default = cnm.FamilySet{IPv6: true}, cnm.FamilySet{IPv4: true}
		g.plug(second)
		g.plug(first)
		has(t, g.state(sb), "route 0.0.0.0/0 via 10.2.0.1 on 102 table 254", "route ::/0 via fd00:1::1 on 101 table 254",
			"!route 0.0.0.0/0 via 10.1.0.1 on 101 table 254", "!route ::/0 via fd00:2::1 on 102 table 254")
		answers(1, one)
		answers(2, two)
		first.Join.Default, second.Join.Default = cnm.FamilySet{}, cnm.FamilySet{IPv4: true, IPv6: true}
		g.plug(first)
		g.plug(second)
		has(t, g.state(sb), "route 0.0.0.0/0 via 10.2.0.1 on 102 table 254", "route ::/0 via fd00:2::1 on 102 table 254",
			"!via 10.1.0.1 on 101 table 254", "!via fd00:1::1 on 101 table 254")
		answers(1, one)

		// It is the rules that do it: without them the answers leave by the default route.
		var b link.Batch
		for _, a := range first.Endpoint.Addresses {
			b.DeleteRule(link.Rule{From: netip.PrefixFrom(a.Addr(), a.Addr().BitLen()), Priority: RulePriority})
		}
		g.do(n.FD(), &b)
		for _, err := range reach(one, 1, 300*time.Millisecond) {
			if err == nil {
				t.Error("it answers without the rule: the test proves nothing")
			}
		}
		if drifts, err := g.stack.Check(t.Context(), sb, []cnm.Attachment{first, second}); err != nil || len(drifts) != 2 {
			t.Errorf("check: %v, %v", drifts, err)
		}
		answers(1, one)
		answers(2, two)
		if err := g.stack.Unplug(t.Context(), n, second); err != nil {
			t.Error(err)
		}
		answers(1, one)
	})
}

// Plug again with another address, gateway and route.
func TestPlugChanges(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		g := newStage(t)
		sb := g.sandbox("box")
		at := g.join(sb, 1, func(at *cnm.Attachment) {
			at.Join.Result.Routes = []cnm.Route{{Prefix: netip.MustParsePrefix("172.30.0.0/16"), Via: netip.MustParseAddr("10.1.0.254")}}
		})
		g.plug(at)
		want := at
		want.Endpoint.Addresses = prefixes("10.1.0.7/24", "fd00:1::7/64")
		want.Join.Result.Gateways = []netip.Addr{netip.MustParseAddr("10.1.0.254"), netip.MustParseAddr("fd00:1::fe")}
		want.Join.Result.Routes = []cnm.Route{{Prefix: netip.MustParsePrefix("172.31.0.0/16"), Via: netip.MustParseAddr("10.1.0.254")}}
		g.plug(want)
		has(t, g.state(sb), "address 10.1.0.7/24", "address fd00:1::7/64", "!address 10.1.0.2/24", "!address fd00:1::2/64",
			"rule ipv4 20000 from 10.1.0.7/32", "!from 10.1.0.2/32", "!from fd00:1::2/128",
			"route 0.0.0.0/0 via 10.1.0.254 on 101 table 254", "route 0.0.0.0/0 via 10.1.0.254 on 101 table 2147483749",
			"route ::/0 via fd00:1::fe on 101 table 254", "!via 10.1.0.1 ", "!via fd00:1::1 ",
			"route 172.31.0.0/16 via 10.1.0.254 on 101 table 254", "!172.30.0.0/16")
		if drifts, err := g.stack.Check(t.Context(), sb, []cnm.Attachment{want}); err != nil || len(drifts) != 0 {
			t.Errorf("afterwards %v differ (%v)", drifts, err)
		}
	})
}

// listen starts a TCP server in the sandbox that sends one byte to whoever asks,
// and returns its port.
func listen(tb testing.TB, n *Namespace) uint16 {
	tb.Helper()
	var l net.Listener
	kerneltest.InNS(tb, n.ns, func() {
		var err error
		if l, err = net.Listen("tcp", "[::]:0"); err != nil {
			tb.Fatal(err)
		}
	})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = c.Write([]byte("x"))
			c.Close()
		}
	}()
	tb.Cleanup(func() { l.Close(); <-done })
	return uint16(l.Addr().(*net.TCPAddr).Port)
}

// ask connects from an address in ns and reads the byte.
func ask(ns *netns.NS, from netip.Addr, to netip.AddrPort, patience time.Duration) error {
	return ns.Do(func() error {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))}
		c, err := d.DialContext(ctx, "tcp", to.String())
		if err != nil {
			return err
		}
		defer c.Close()
		_, err = io.ReadAll(c)
		return err
	})
}

// echo proves that each address of the sandbox answers from the host's side.
func echo(tb testing.TB, g *stage, sb cnm.Sandbox, addresses []string) {
	tb.Helper()
	n := g.open(sb)
	defer n.Close()
	port := listen(tb, n)
	host, err := netns.Current()
	if err != nil {
		tb.Fatal(err)
	}
	defer host.Close()
	for _, a := range addresses {
		to := netip.AddrPortFrom(netip.MustParseAddr(a), port)
		from := netip.IPv4Unspecified()
		if to.Addr().Is6() {
			from = netip.IPv6Unspecified()
		}
		if err := ask(host, from, to, patience); err != nil {
			tb.Errorf("ask %s: %v", a, err)
		}
	}
}
