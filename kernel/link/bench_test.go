// SPDX-License-Identifier: Apache-2.0

package link_test

import (
	"fmt"
	"net"
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/libnetwork/cnm/kernel/kerneltest"
	"github.com/libnetwork/cnm/kernel/link"
	"github.com/libnetwork/cnm/kernel/netns"
)

// attachment is one endpoint as the benchmarks make it: a veth pair born in the
// namespace, its host end a port of the bridge, both families, a default route
// each and the gateway's permanent neighbour.
type attachment struct {
	name         string
	index        int
	ns           *netns.NS
	addr4        netip.Prefix
	addr6        netip.Prefix
	gate4, gate6 netip.Addr
}

const (
	benchGroup  = 1 << 30
	benchBridge = 1001
)

func attach(n int, ns *netns.NS) attachment {
	host := byte(n%250) + 2
	return attachment{
		name: fmt.Sprintf("v%d", n), index: 2000 + 2*n, ns: ns,
		addr4: netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 0, 2, host}), 24), gate4: addr("192.0.2.1"),
		addr6: netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 15: host}), 64), gate6: addr("2001:db8::1"),
	}
}

func (a attachment) host(b *link.Batch) {
	b.CreateVeth(link.Veth{
		Name: a.name, Index: a.index, Master: benchBridge, MTU: 1500, Group: benchGroup,
		Peer: link.Peer{Name: "eth0", Index: a.index + 1, MTU: 1500, Namespace: a.ns.Fd()},
	})
	b.SetLink(link.Change{
		Link: link.Named(a.name), AddrGenMode: link.AddrGenNone,
		Port: link.Port{Hairpin: link.On, Learning: link.Off}, Up: link.On,
	})
}

func (a attachment) inside(b *link.Batch) {
	index := a.index + 1
	b.SetLink(link.Change{Link: link.Numbered(1), Up: link.On})
	b.SetLink(link.Change{Link: link.Numbered(index), Up: link.On})
	b.AddAddress(link.Address{Link: index, Prefix: a.addr4})
	b.AddAddress(link.Address{Link: index, Prefix: a.addr6, NoDAD: true})
	b.AddRoute(link.Route{Dst: prefix("0.0.0.0/0"), Gateway: a.gate4, Link: index})
	b.AddRoute(link.Route{Dst: prefix("::/0"), Gateway: a.gate6, Link: index})
	b.AddNeighbour(link.Neighbour{Link: index, Addr: a.gate4, MAC: mac1()})
	b.AddNeighbour(link.Neighbour{Link: index, Addr: a.gate6, MAC: mac1()})
}

// stageBench measures one attachment to a fresh namespace at a time, beside at
// most 31 others. Making and deleting them is not measured.
func stageBench(b *testing.B, one func(host *link.Conn, a attachment) (sends uint64)) {
	kerneltest.Bench(b, func(b *testing.B) {
		kerneltest.Clear(b)
		host := dial(b)
		do(b, host, func(batch *link.Batch) {
			batch.CreateBridge(link.Bridge{
				Name: "br0", Index: benchBridge, MAC: mac1(), Options: link.BridgeOptions{MulticastSnooping: link.Off},
			})
			batch.SetLink(link.Change{Link: link.Named("br0"), Up: link.On})
		})
		const together = 32
		n, sends := 0, uint64(0)
		var open []*netns.NS
		sweep := func() {
			do(b, host, func(batch *link.Batch) { batch.DeleteGroup(benchGroup) })
			for _, ns := range open {
				_ = ns.Close()
			}
			open = open[:0]
		}
		b.ReportAllocs()
		for b.Loop() {
			b.StopTimer()
			if len(open) == together {
				sweep()
			}
			ns, err := netns.New()
			if err != nil {
				b.Fatal(err)
			}
			open = append(open, ns)
			a := attach(n, ns)
			n++
			b.StartTimer()
			sends += one(host, a)
		}
		b.ReportMetric(float64(sends)/float64(n), "sends/op")
		sweep()
	})
}

// BenchmarkAttach is the batched way: two sends, the socket in the namespace
// dialled for it.
func BenchmarkAttach(b *testing.B) {
	stageBench(b, func(host *link.Conn, a attachment) uint64 {
		before := host.RoundTrips()
		var batch link.Batch
		a.host(&batch)
		mustDo(b, host, &batch)
		inside, err := link.Dial(a.ns.Fd())
		if err != nil {
			b.Fatal(err)
		}
		batch.Reset()
		a.inside(&batch)
		mustDo(b, inside, &batch)
		sends := host.RoundTrips() - before + inside.RoundTrips()
		if err := inside.Close(); err != nil {
			b.Fatal(err)
		}
		return sends
	})
}

// BenchmarkAttachSingly sends the same messages one by one.
func BenchmarkAttachSingly(b *testing.B) {
	stageBench(b, func(host *link.Conn, a attachment) uint64 {
		before := host.RoundTrips()
		var batch link.Batch
		a.host(&batch)
		singly(b, host, &batch)
		inside, err := link.Dial(a.ns.Fd())
		if err != nil {
			b.Fatal(err)
		}
		batch.Reset()
		a.inside(&batch)
		singly(b, inside, &batch)
		sends := host.RoundTrips() - before + inside.RoundTrips()
		if err := inside.Close(); err != nil {
			b.Fatal(err)
		}
		return sends
	})
}

// BenchmarkAttachLibrary makes the same with single calls of another library.
func BenchmarkAttachLibrary(b *testing.B) {
	stageBench(b, func(_ *link.Conn, a attachment) uint64 {
		attachLibrary(b, a)
		return 0
	})
}

func attachLibrary(b *testing.B, a attachment) {
	must := func(err error) {
		if err != nil {
			b.Fatal(err)
		}
	}
	v := &netlink.Veth{LinkAttrs: netlink.NewLinkAttrs(), PeerName: "eth0", PeerNamespace: netlink.NsFd(a.ns.Fd())}
	v.Name, v.MasterIndex, v.MTU, v.Group = a.name, benchBridge, 1500, benchGroup
	must(netlink.LinkAdd(v))
	must(netlink.LinkSetHairpin(v, true))
	must(netlink.LinkSetLearning(v, false))
	must(netlink.LinkSetIP6AddrGenMode(v, 1))
	must(netlink.LinkSetUp(v))
	must(a.ns.Do(func() error {
		h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
		if err != nil {
			return err
		}
		defer h.Close()
		lo, err := h.LinkByName("lo")
		must(err)
		eth, err := h.LinkByName("eth0")
		must(err)
		must(h.LinkSetUp(lo))
		must(h.LinkSetUp(eth))
		for _, p := range []netip.Prefix{a.addr4, a.addr6} {
			must(h.AddrAdd(eth, &netlink.Addr{IPNet: ipNet(p), Flags: unix.IFA_F_NODAD}))
		}
		mac := mac1()
		for _, g := range []netip.Addr{a.gate4, a.gate6} {
			must(h.RouteAdd(&netlink.Route{LinkIndex: eth.Attrs().Index, Gw: g.AsSlice()}))
			must(h.NeighAdd(&netlink.Neigh{
				LinkIndex: eth.Attrs().Index, IP: g.AsSlice(), HardwareAddr: mac[:], State: netlink.NUD_PERMANENT,
			}))
		}
		return nil
	}))
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

func mustDo(b *testing.B, c *link.Conn, batch *link.Batch) {
	if err := c.Do(batch); err != nil {
		b.Fatal(err)
	}
}

func singly(b *testing.B, c *link.Conn, batch *link.Batch) {
	for i := range batch.Len() {
		mustDo(b, c, link.Nth(batch, i))
	}
}

// BenchmarkDial is the price of a socket in another namespace.
func BenchmarkDial(b *testing.B) {
	kerneltest.Bench(b, func(b *testing.B) {
		ns := kerneltest.NewNS(b)
		b.ReportAllocs()
		for b.Loop() {
			c, err := link.Dial(ns.Fd())
			if err != nil {
				b.Fatal(err)
			}
			if err := c.Close(); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkRoundTrip is the smallest request: one message, one acknowledgement.
func BenchmarkRoundTrip(b *testing.B) {
	kerneltest.Bench(b, func(b *testing.B) {
		c := dial(b)
		var batch link.Batch
		batch.SetLink(link.Change{Link: link.Numbered(1), Up: link.On})
		b.ReportAllocs()
		for b.Loop() {
			mustDo(b, c, &batch)
		}
	})
}

// BenchmarkBuild builds the batches of one attachment, without a kernel.
func BenchmarkBuild(b *testing.B) {
	a := attach(1, new(netns.NS))
	var batch link.Batch
	b.ReportAllocs()
	for b.Loop() {
		batch.Reset()
		a.host(&batch)
		a.inside(&batch)
	}
}
