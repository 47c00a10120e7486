// SPDX-License-Identifier: Apache-2.0

package firewall_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"sync"
	"testing"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/firewall"
	"github.com/libnetwork/cnm/kernel/kerneltest"
	"github.com/libnetwork/cnm/kernel/link"
	"github.com/libnetwork/cnm/kernel/netns"
	"github.com/libnetwork/cnm/kernel/sysctl"
)

// A lab is a host with networks, in the namespace of the test, with endpoints and neighbours in namespaces around it.
//
// Network n has 10.0.n.0/24 and fd00:n::/64, its gateway has 1 in them. The host has 192.0.2.1 and 2001:db8:2::1 on its
// link up2; a neighbour on the same link has 2.
type lab struct {
	*testing.T
	conn  *link.Conn
	fw    *firewall.Firewall
	boxes map[string]*box
	rules map[firewall.Owner]firewall.Rules // that were set
	index int
}

// box is a network stack: an endpoint's, a neighbour's, or the host's.
type box struct {
	name   string
	ns     *netns.NS
	conn   *link.Conn
	rules  firewall.Rules // of an endpoint
	mac    cnm.MAC
	addrs  []netip.Addr
	bridge string
	port   string
	peer   link.MAC // of the host's end, where it has an address

	mu    sync.Mutex // guards conns
	conns []net.Conn // that the box has accepted
}

// both runs fn on a host where bridge netfilter is off, and on one where it is on.
func both(t *testing.T, fn func(l *lab)) {
	t.Helper()
	for _, on := range []string{"0", "1"} {
		t.Run("bridge-nf-call="+on, func(t *testing.T) {
			t.Parallel()
			kerneltest.Run(t, func(t *testing.T) {
				needBridgeNetfilter(t, on)
				fn(newLab(t, firewall.Config{}))
			})
		})
	}
}

// needBridgeNetfilter switches bridge netfilter on or off. Where the kernel has none it is off.
func needBridgeNetfilter(t *testing.T, on string) {
	t.Helper()
	for _, key := range []string{"iptables", "ip6tables"} {
		err := sysctl.Write("net/bridge/bridge-nf-call-"+key, on)
		if errors.Is(err, fs.ErrNotExist) && on == "1" {
			t.Skip("this kernel lacks bridge netfilter (CONFIG_BRIDGE_NETFILTER, module br_netfilter)")
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
}

// needOwned skips the test where tables cannot be owned.
func needOwned(t *testing.T, fw *firewall.Firewall) {
	t.Helper()
	if !fw.Owned() {
		t.Skip("this kernel lacks the table flags owner and persist (Linux 6.9)")
	}
}

// newLab makes a host that forwards.
func newLab(t *testing.T, cfg firewall.Config) *lab {
	t.Helper()
	l := &lab{T: t, boxes: map[string]*box{}, rules: map[firewall.Owner]firewall.Rules{}, index: 100}
	must(t, sysctl.WriteAll(
		sysctl.Setting{Key: "net/ipv4/ip_forward", Value: "1"}, sysctl.Setting{Key: "net/ipv6/conf/all/forwarding", Value: "1"}))
	here, err := netns.Current()
	must(t, err)
	t.Cleanup(func() { must(t, here.Close()) })
	l.conn = l.dial(here)
	l.boxes["host"] = &box{name: "host", ns: here, conn: l.conn}
	l.fw = openFirewall(t, cfg)
	return l
}

// openFirewall is a firewall for a test, which leaves its tables as the daemon does.
func openFirewall(t testing.TB, cfg firewall.Config) *firewall.Firewall {
	t.Helper()
	kerneltest.Clear(t)
	fw, err := firewall.Open(t.Context(), cfg)
	must(t, err)
	t.Cleanup(func() { must(t, fw.Close()) })
	return fw
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (l *lab) dial(ns *netns.NS) *link.Conn {
	l.Helper()
	c, err := link.Dial(ns.Fd())
	must(l, err)
	l.Cleanup(func() { must(l, c.Close()) })
	return c
}

func (l *lab) do(c *link.Conn, fill func(b *link.Batch)) {
	l.Helper()
	must(l, c.HearAddresses())
	var b link.Batch
	fill(&b)
	must(l, c.Do(&b))
	must(l, c.AwaitAddresses(l.Context())) // a single packet must find them
}

func (l *lab) next() int { l.index++; return l.index }

// set is [firewall.Firewall.Set] that must succeed.
func (l *lab) set(owner firewall.Owner, r firewall.Rules) {
	l.Helper()
	must(l, l.fw.Set(l.Context(), owner, r))
	l.rules[owner] = r
}

// addr4 and addr6 are addresses of network n.
func addr4(n, host int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, byte(n), byte(host)}) }

func addr6(n, host int) netip.Addr {
	return netip.AddrFrom16([16]byte{0: 0xfd, 3: byte(n), 15: byte(host)})
}

func subnets(n int) []netip.Prefix {
	return []netip.Prefix{netip.PrefixFrom(addr4(n, 0), 24), netip.PrefixFrom(addr6(n, 0), 64)}
}

// outside4 and outside6 are addresses on link upN.
func outside4(n, host int) netip.Addr { return netip.AddrFrom4([4]byte{192, 0, byte(n), byte(host)}) }

func outside6(n, host int) netip.Addr {
	return netip.AddrFrom16([16]byte{0: 0x20, 1: 0x01, 2: 0x0d, 3: 0xb8, 5: byte(n), 15: byte(host)})
}

// plain is a network as most are.
func plain(name string, n int) firewall.Bridge {
	return firewall.Bridge{
		Link: name, Subnets: subnets(n), Masquerade: cnm.FamilySet{IPv4: true, IPv6: true}, HostAccess: true, Loopback: true,
	}
}

// network makes a bridge with the gateway addresses of network n, and its rules.
func (l *lab) network(n int, r firewall.Bridge) {
	l.Helper()
	l.set(firewall.Owner("network/"+r.Link), firewall.Rules{Bridges: []firewall.Bridge{r}})
	l.bridge(r.Link, n)
}

// bridge makes a bridge; n = 0 leaves it without an address.
func (l *lab) bridge(name string, n int) int {
	l.Helper()
	index := l.next()
	mac := cnm.MAC{2, 1, 0, 0, 0, byte(index)}
	l.do(l.conn, func(b *link.Batch) {
		b.CreateBridge(link.Bridge{
			Name: name, Index: index, MAC: link.MAC(mac),
			Options: link.BridgeOptions{STP: link.Off, MulticastSnooping: link.Off},
		})
		b.SetLink(link.Change{
			Link: link.Named(name), AddrGenMode: link.AddrGenNone, Up: link.On,
			IPv4: []link.Conf{{Key: link.RouteLocalnet, Value: 1}},
		})
		if n > 0 {
			b.AddAddress(link.Address{Link: index, Prefix: netip.PrefixFrom(addr4(n, 1), 24)})
			b.AddAddress(link.Address{Link: index, Prefix: netip.PrefixFrom(addr6(n, 1), 64), NoDAD: true})
			b.AddAddress(link.Address{Link: index, Prefix: netip.PrefixFrom(linkLocal(mac), 64), NoDAD: true})
		}
	})
	return index
}

// endpoint makes an endpoint of network n, with host number number, on a bridge; hub is the bridge that has the
// gateway. Its port is bound unless change makes other rules.
func (l *lab) endpoint(name, hub string, n, number int, change ...func(p *firewall.BridgePort)) *box {
	l.Helper()
	return l.endpointOn(name, hub, hub, n, number, change...)
}

func (l *lab) endpointOn(name, hub, bridge string, n, number int, change ...func(p *firewall.BridgePort)) *box {
	l.Helper()
	b := l.box(name)
	b.mac = cnm.MAC{2, 2, 0, 0, byte(n), byte(number)}
	b.addrs = []netip.Addr{addr4(n, number), addr6(n, number)}
	b.bridge, b.port = hub, fmt.Sprintf("%s%s", firewall.PortPrefix, name)
	port := firewall.BridgePort{Link: b.port, Bridge: hub, MAC: b.mac, Addresses: append([]netip.Addr{linkLocal(b.mac)}, b.addrs...)}
	for _, c := range change {
		c(&port)
	}
	b.rules.Ports = []firewall.BridgePort{port}
	l.set(b.owner(), b.rules)
	l.plug(b, bridge)
	l.address(b, addr4(n, 1), addr6(n, 1))
	l.running(b, b.port)
	l.await(l.boxes["host"], hub)
	return b
}

// running waits until both ends of a box's link pass packets: the kernel may take a while after the second is up.
func (l *lab) running(b *box, hostEnd string) {
	l.Helper()
	l.await(b, "eth0")
	l.await(l.boxes["host"], hostEnd)
}

// await waits until a link of a box is running.
func (l *lab) await(b *box, name string) {
	l.Helper()
	ctx, stop := context.WithCancel(context.Background())
	w, err := link.Watch(ctx, link.WatchOptions{Namespace: b.ns.Fd(), Topics: link.Links})
	must(l, err)
	defer func() {
		stop()
		for range w.Events() {
		}
	}()
	for {
		v, err := b.conn.Link(link.Named(name))
		must(l, err)
		if v.Running() {
			return
		}
		<-w.Events()
	}
}

// plug puts a box to a bridge.
func (l *lab) plug(b *box, bridge string) {
	l.Helper()
	master, err := l.conn.Link(link.Named(bridge))
	must(l, err)
	l.do(l.conn, func(batch *link.Batch) {
		batch.CreateVeth(link.Veth{
			Name: b.port, Master: master.Index,
			Peer: link.Peer{Name: "eth0", MAC: link.MAC(b.mac), Namespace: b.ns.Fd()},
		})
		batch.SetLink(link.Change{
			Link: link.Named(b.port), AddrGenMode: link.AddrGenNone, Port: link.Port{Hairpin: link.On, Learning: link.Off}, Up: link.On,
		})
	})
}

// address gives a box its addresses and its gateways.
func (l *lab) address(b *box, gateways ...netip.Addr) {
	l.Helper()
	eth, err := b.conn.Link(link.Named("eth0"))
	must(l, err)
	l.do(b.conn, func(batch *link.Batch) {
		batch.SetLink(link.Change{Link: link.Named("eth0"), AddrGenMode: link.AddrGenNone, Up: link.On})
		for _, a := range b.addrs {
			batch.AddAddress(link.Address{Link: eth.Index, Prefix: netip.PrefixFrom(a, subnetBits(a)), NoDAD: true})
		}
		if b.mac.IsValid() {
			batch.AddAddress(link.Address{Link: eth.Index, Prefix: netip.PrefixFrom(linkLocal(b.mac), 64), NoDAD: true})
		}
		for _, g := range gateways {
			batch.AddRoute(link.Route{Dst: netip.PrefixFrom(unspecified(g), 0), Gateway: g, Link: eth.Index})
		}
	})
}

func subnetBits(a netip.Addr) int {
	if a.Is6() {
		return 64
	}
	return 24
}

func unspecified(a netip.Addr) netip.Addr {
	if a.Is6() {
		return netip.IPv6Unspecified()
	}
	return netip.IPv4Unspecified()
}

// linkLocal is the EUI-64 address of a MAC.
func linkLocal(m cnm.MAC) netip.Addr {
	return netip.AddrFrom16([16]byte{0xfe, 0x80, 8: m[0] ^ 2, 9: m[1], 10: m[2], 11: 0xff, 12: 0xfe, 13: m[3], 14: m[4], 15: m[5]})
}

// neighbour makes a stack on link upN of the host, which routes everything by the host.
func (l *lab) neighbour(name string, n int) *box {
	l.Helper()
	b := l.box(name)
	up, index := fmt.Sprintf("up%d", n), l.next()
	b.addrs = []netip.Addr{outside4(n, 2), outside6(n, 2)}
	b.peer = link.MAC{2, 3, 0, 0, 0, byte(n)}
	l.do(l.conn, func(batch *link.Batch) {
		batch.CreateVeth(link.Veth{Name: up, Index: index, MAC: b.peer, Peer: link.Peer{Name: "eth0", Namespace: b.ns.Fd()}})
		batch.SetLink(link.Change{Link: link.Named(up), AddrGenMode: link.AddrGenNone, Up: link.On})
		batch.AddAddress(link.Address{Link: index, Prefix: netip.PrefixFrom(outside4(n, 1), 24)})
		batch.AddAddress(link.Address{Link: index, Prefix: netip.PrefixFrom(outside6(n, 1), 64), NoDAD: true})
		batch.AddAddress(link.Address{Link: index, Prefix: netip.PrefixFrom(linkLocal(cnm.MAC(b.peer)), 64), NoDAD: true})
	})
	l.address(b, outside4(n, 1), outside6(n, 1))
	l.running(b, up)
	return b
}

// box makes a stack without links but lo.
func (l *lab) box(name string) *box {
	l.Helper()
	ns := kerneltest.NewNS(l)
	b := &box{name: name, ns: ns, conn: l.dial(ns)}
	l.do(b.conn, func(batch *link.Batch) { batch.SetLink(link.Change{Link: link.Named("lo"), Up: link.On}) })
	l.boxes[name] = b
	return b
}

func (b *box) owner() firewall.Owner { return firewall.Owner("endpoint/" + b.name) }

// addr is the box's address of a family.
func (b *box) addr(six bool) netip.Addr {
	for _, a := range b.addrs {
		if a.Is6() == six {
			return a
		}
	}
	return netip.Addr{}
}

// publish adds published ports to an endpoint: each host address and port leads to its port 80.
func (l *lab) publish(b *box, hosts ...netip.AddrPort) {
	l.Helper()
	b.rules.Published = nil
	for _, h := range hosts {
		for _, proto := range []cnm.Protocol{cnm.TCP, cnm.UDP} {
			b.rules.Published = append(b.rules.Published, firewall.Published{
				Proto: proto, Host: h, To: netip.AddrPortFrom(b.addr(h.Addr().Is6()), 80),
			})
		}
	}
	l.set(b.owner(), b.rules)
}

// everywhere is a port on all of the host's addresses of both families.
func everywhere(port uint16) []netip.AddrPort {
	return []netip.AddrPort{netip.AddrPortFrom(netip.IPv4Unspecified(), port), netip.AddrPortFrom(netip.IPv6Unspecified(), port)}
}
