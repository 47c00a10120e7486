// SPDX-License-Identifier: Apache-2.0

package link_test

import (
	"errors"
	"reflect"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/libnetwork/cnm/kernel/kerneltest"
	"github.com/libnetwork/cnm/kernel/link"
)

func TestVethBornInPlace(t *testing.T) {
	t.Parallel()
	isolated(t, func(t *testing.T) {
		ns := kerneltest.NewNS(t)
		host := dial(t)
		before := host.RoundTrips()
		do(t, host, func(b *link.Batch) {
			b.CreateBridge(link.Bridge{Name: "br0", Index: 1001})
			b.CreateVeth(link.Veth{
				Name: "v0", Index: 1002, Master: 1001, MAC: mac1(), MTU: 1400, Group: 1<<31 - 7,
				Peer: link.Peer{Name: "eth0", Index: 1003, MAC: mac2(), MTU: 1400, Group: 9, Namespace: ns.Fd()},
			})
			b.SetLink(link.Change{
				Link: link.Named("v0"), Alias: "a port", AddrGenMode: link.AddrGenNone,
				Port: link.Port{Hairpin: link.On, Learning: link.Off}, Up: link.On,
			})
		})
		equal(t, "sends for all of it", host.RoundTrips()-before, 1)

		v := read(t, host, "v0")
		equal(t, "host end is up", v.Up(), true)
		equal(t, "host end alias", v.Alias, "a port")
		equal(t, "host end address mode", v.AddrGenMode, link.AddrGenNone)
		equal(t, "host end hairpin", v.Port.Hairpin, link.On)
		equal(t, "host end learning", v.Port.Learning, link.Off)
		v = bare(v)
		equal(t, "host end", v.Lower, 1003)
		equalLink(t, v, link.Link{
			Index: 1002, Name: "v0", Alias: "a port", Kind: "veth", MAC: mac1(), MTU: 1400, Group: 1<<31 - 7,
			Master: 1001, SlaveKind: "bridge", Lower: 1003,
		})

		p := read(t, dialNS(t, ns), "eth0")
		equal(t, "peer is up", p.Up(), false)
		equalLink(t, bare(p), link.Link{
			Index: 1003, Name: "eth0", Kind: "veth", MAC: mac2(), MTU: 1400, Group: 9, Lower: 1002,
		})
	})
}

// bare leaves out what a test of plain attributes does not look at.
func bare(l link.Link) link.Link {
	l.Flags, l.IPv4, l.AddrGenMode, l.Port, l.PortState = 0, nil, 0, link.Port{}, 0
	l.LowerNamespace, l.MovedTo = 0, 0
	return l
}

func equalLink(tb testing.TB, got, want link.Link) {
	tb.Helper()
	if !reflect.DeepEqual(got, want) {
		tb.Errorf("link:\n got %+v\nwant %+v", got, want)
	}
}

func TestTrunkBetweenBridges(t *testing.T) {
	t.Parallel()
	isolated(t, func(t *testing.T) {
		c := dial(t)
		do(t, c, func(b *link.Batch) {
			b.CreateBridge(link.Bridge{Name: "br0", Index: 1001})
			b.CreateBridge(link.Bridge{Name: "br1", Index: 1002})
			b.CreateVeth(link.Veth{Name: "t0", Master: 1001, Peer: link.Peer{Name: "t1"}})
			b.SetLink(link.Change{Link: link.Named("t1"), Master: 1002, Port: link.Port{Guard: link.On}, Up: link.On})
			b.SetLink(link.Change{Link: link.Named("t0"), Up: link.On, Port: link.Port{Learning: link.Off}})
		})
		equal(t, "master of one end", read(t, c, "t0").Master, 1001)
		other := read(t, c, "t1")
		equal(t, "master of the other", other.Master, 1002)
		equal(t, "guard of the other", other.Port.Guard, link.On)
		do(t, c, func(b *link.Batch) { b.SetLink(link.Change{Link: link.Named("t1"), NoMaster: true, Up: link.Off}) })
		l := read(t, c, "t1")
		equal(t, "master after nomaster", l.Master, 0)
		equal(t, "up after down", l.Up(), false)
	})
}

func TestBridgeOptions(t *testing.T) {
	t.Parallel()
	isolated(t, func(t *testing.T) {
		c := dial(t)
		want := link.BridgeOptions{
			STP: link.On, Ageing: 90 * time.Second, ForwardDelay: 4 * time.Second,
			MulticastSnooping: link.Off, MulticastRouter: link.MulticastRouterOff,
			NFCallIPTables: link.On, NFCallIP6Tables: link.On, NFCallARPTables: link.Off,
		}
		do(t, c, func(b *link.Batch) {
			b.CreateBridge(link.Bridge{Name: "br0", MAC: mac1(), MTU: 1300, Group: 5, Options: want})
			b.SetLink(link.Change{
				Link: link.Named("br0"), AddrGenMode: link.AddrGenNone, Up: link.On,
				IPv4: []link.Conf{
					{Key: link.RouteLocalnet, Value: 1},
					{Key: link.Forwarding, Value: 1},
					{Key: link.ARPIgnore, Value: 1},
					{Key: link.ARPAnnounce, Value: 2},
					{Key: link.RPFilter, Value: 2},
				},
			})
		})
		l := read(t, c, "br0")
		want.VLANFiltering = link.Off // not sent: kernels without it refuse any value
		equal(t, "options", l.Bridge, want)
		want.STP, want.MulticastSnooping = link.Off, link.On
		do(t, c, func(b *link.Batch) {
			b.SetLink(link.Change{Link: link.Named("br0"), Bridge: link.BridgeOptions{STP: link.Off, MulticastSnooping: link.On}})
		})
		equal(t, "changed options", read(t, c, "br0").Bridge, want)
		equal(t, "MAC", l.MAC, mac1())
		equal(t, "MTU", l.MTU, 1300)
		equal(t, "group", l.Group, 5)
		equal(t, "address mode", l.AddrGenMode, link.AddrGenNone)
		equal(t, "up", l.Up(), true)
		for key, want := range map[link.ConfKey]int32{
			link.RouteLocalnet: 1, link.Forwarding: 1, link.ARPIgnore: 1, link.ARPAnnounce: 2, link.RPFilter: 2,
			link.ProxyARP: 0,
		} {
			got, ok := l.IPv4.Value(key)
			equal(t, key.String(), got, want)
			equal(t, key.String()+" is reported", ok, true)
		}
	})
}

// TestNoLinkLocalAddressBetweenUpAndMode raises links that have a carrier at once:
// only the one that was not told otherwise may get a link-local address.
func TestNoLinkLocalAddressBetweenUpAndMode(t *testing.T) {
	t.Parallel()
	isolated(t, func(t *testing.T) {
		c := dial(t)
		parent := pair(t, c, "v0")
		w := watch(t, link.WatchOptions{Topics: link.Addresses})
		do(t, c, func(b *link.Batch) {
			b.CreateMacvlan(link.Macvlan{Name: "without", Index: 1001, Parent: parent, Mode: link.MacvlanBridge})
			b.SetLink(link.Change{Link: link.Named("without"), AddrGenMode: link.AddrGenNone, Up: link.On})
			b.CreateMacvlan(link.Macvlan{Name: "with", Index: 1002, Parent: parent, Mode: link.MacvlanBridge})
			b.SetLink(link.Change{Link: link.Named("with"), Up: link.On})
		})
		await(t, w, "address of the other link", func(e *link.AddressEvent) bool { return e.Address.Link == 1002 })
		equal(t, "addresses", len(addresses(t, c, 1001)), 0)
	})
}

// TestPortAttributes sets every attribute in turn, alone, both ways.
func TestPortAttributes(t *testing.T) {
	t.Parallel()
	isolated(t, func(t *testing.T) {
		c := dial(t)
		do(t, c, func(b *link.Batch) {
			b.CreateBridge(link.Bridge{Name: "br0", Index: 1001})
			b.CreateVeth(link.Veth{Name: "v0", Master: 1001, Peer: link.Peer{Name: "v1"}})
		})
		want := read(t, c, "v0").Port
		for i := range reflect.TypeFor[link.Port]().NumField() {
			name := reflect.TypeFor[link.Port]().Field(i).Name
			for _, to := range []link.Switch{link.On, link.Off} {
				var p link.Port
				reflect.ValueOf(&p).Elem().Field(i).Set(reflect.ValueOf(to))
				reflect.ValueOf(&want).Elem().Field(i).Set(reflect.ValueOf(to))
				do(t, c, func(b *link.Batch) { b.SetLink(link.Change{Link: link.Named("v0"), Port: p}) })
				equal(t, name+" "+to.String(), read(t, c, "v0").Port, want)
			}
		}
	})
}

// TestPortState follows a port whose link goes down.
func TestPortState(t *testing.T) {
	t.Parallel()
	isolated(t, func(t *testing.T) {
		c := dial(t)
		w, err := link.Watch(t.Context(), link.WatchOptions{Topics: link.Links})
		if err != nil {
			t.Fatal(err)
		}
		do(t, c, func(b *link.Batch) {
			b.CreateBridge(link.Bridge{Name: "br0", Index: 1001, Options: link.BridgeOptions{STP: link.Off}})
			b.CreateVeth(link.Veth{Name: "v0", Master: 1001, Peer: link.Peer{Name: "v1"}})
			for _, name := range []string{"v1", "v0", "br0"} {
				b.SetLink(link.Change{Link: link.Named(name), Up: link.On})
			}
		})
		for read(t, c, "v0").PortState != link.PortForwarding {
			<-w.Events() // a carrier is told a little later
		}
		equal(t, "in no bridge", read(t, c, "v1").PortState, link.PortUnknown)
		do(t, c, func(b *link.Batch) { b.SetLink(link.Change{Link: link.Named("v0"), Up: link.Off}) })
		equal(t, "down", read(t, c, "v0").PortState, link.PortDisabled)
	})
}

func TestPortMissing(t *testing.T) {
	t.Parallel()
	want := link.Port{Hairpin: link.On, Learning: link.Off, Isolated: link.Off, Locked: link.Off}
	have := link.Port{Hairpin: link.On, Learning: link.On, Isolated: link.On, Guard: link.On} // of a kernel without locked ports
	equal(t, "missing", have.Missing(want), link.Port{Learning: link.Off, Isolated: link.Off})
	have.Learning, have.Isolated = link.Off, link.Off
	equal(t, "nothing missing", have.Missing(want), link.Port{})
}

func TestRenameAndChange(t *testing.T) {
	t.Parallel()
	isolated(t, func(t *testing.T) {
		c := dial(t)
		do(t, c, func(b *link.Batch) {
			b.CreateVeth(link.Veth{Name: "v0", Index: 1001, Peer: link.Peer{Name: "v1"}})
			b.SetLink(link.Change{
				Link: link.Numbered(1001), Rename: "w0", MAC: mac2(), MTU: 9000, Group: 7, Alias: "renamed",
			})
			b.SetLink(link.Change{Link: link.Named("v1"), AddrGenMode: link.AddrGenEUI64})
		})
		l := bare(read(t, c, "w0"))
		l.Lower = 0
		equalLink(t, l, link.Link{
			Index: 1001, Name: "w0", Alias: "renamed", Kind: "veth", MAC: mac2(), MTU: 9000, Group: 7,
		})
	})
}

func TestMacvlanBornInPlace(t *testing.T) {
	t.Parallel()
	isolated(t, func(t *testing.T) {
		c := dial(t)
		for _, mode := range []link.MacvlanMode{
			link.MacvlanPrivate, link.MacvlanVEPA, link.MacvlanBridge, link.MacvlanPassthru, link.MacvlanSource,
		} {
			ns := kerneltest.NewNS(t)
			name := "p" + mode.String()
			parent := pair(t, c, name)
			m := link.Macvlan{Name: "eth0", Index: 1001, Parent: parent, Mode: mode, MTU: 1400, Group: 3, Namespace: ns.Fd()}
			if mode == link.MacvlanSource {
				m.Sources = []link.MAC{mac1(), mac2()}
			}
			if mode != link.MacvlanPassthru { // which has the parent's MAC
				m.MAC = mac1()
			}
			do(t, c, func(b *link.Batch) { b.CreateMacvlan(m) })
			l := read(t, dialNS(t, ns), "eth0")
			equal(t, name+" mode", l.Macvlan, mode)
			if mode == link.MacvlanPassthru {
				m.MAC = read(t, c, name).MAC
			}
			want := link.Link{
				Index: 1001, Name: "eth0", Kind: "macvlan", MAC: m.MAC, MTU: 1400, Group: 3, Lower: parent, Macvlan: mode,
			}
			equalLink(t, bare(l), want)
		}
	})
}

func TestDelete(t *testing.T) {
	t.Parallel()
	isolated(t, func(t *testing.T) {
		c := dial(t)
		do(t, c, func(b *link.Batch) {
			for _, name := range []string{"a", "b", "c", "d"} {
				b.CreateVeth(link.Veth{Name: name, Group: 77, Peer: link.Peer{Name: name + "p"}})
			}
			b.CreateVeth(link.Veth{Name: "keep", Group: 78, Peer: link.Peer{Name: "keepp"}})
			b.DeleteLink(link.Named("a"))
		})
		links, err := c.Links(t.Context(), link.LinkFilter{Kind: "veth"})
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "links after one deletion", len(links), 8)
		do(t, c, func(b *link.Batch) { b.DeleteGroup(77) })
		links, err = c.Links(t.Context(), link.LinkFilter{Kind: "veth"})
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "links after the group went", len(links), 2)
		if _, err := c.Link(link.Named("b")); !errors.Is(err, unix.ENODEV) {
			t.Errorf("reading a deleted link: %v, want ENODEV", err)
		}
		do(t, c, func(b *link.Batch) { b.DeleteLink(link.Numbered(read(t, c, "keep").Index)) })
	})
}

func TestMove(t *testing.T) {
	t.Parallel()
	isolated(t, func(t *testing.T) {
		ns := kerneltest.NewNS(t)
		c := dial(t)
		index := pair(t, c, "v0")
		do(t, c, func(b *link.Batch) {
			b.MoveLink(link.Move{Link: link.Numbered(index), Namespace: ns.Fd(), Name: "eth0", Index: 1005})
		})
		if l := read(t, dialNS(t, ns), "eth0"); l.Index != 1005 {
			t.Errorf("the moved link has index %d, want 1005", l.Index)
		}
		if _, err := c.Link(link.Named("v0")); !errors.Is(err, unix.ENODEV) {
			t.Errorf("reading a moved link: %v, want ENODEV", err)
		}
		do(t, c, func(b *link.Batch) { b.MoveLink(link.Move{Link: link.Named("v0p"), Namespace: ns.Fd()}) })
		read(t, dialNS(t, ns), "v0p")
	})
}

func TestLinkFilters(t *testing.T) {
	t.Parallel()
	isolated(t, func(t *testing.T) {
		c := dial(t)
		do(t, c, func(b *link.Batch) {
			b.CreateBridge(link.Bridge{Name: "br0", Index: 1001})
			b.CreateVeth(link.Veth{Name: "v0", Master: 1001, Peer: link.Peer{Name: "v0p"}})
			b.CreateVeth(link.Veth{Name: "v1", Peer: link.Peer{Name: "v1p"}})
		})
		for _, tc := range []struct {
			filter link.LinkFilter
			want   int
		}{{link.LinkFilter{}, 6}, {link.LinkFilter{Master: 1001}, 1}, {link.LinkFilter{Kind: "bridge"}, 1}, {link.LinkFilter{Kind: "veth"}, 4}} {
			links, err := c.Links(t.Context(), tc.filter)
			if err != nil {
				t.Fatal(err)
			}
			if len(links) != tc.want {
				t.Errorf("filter %+v: %d links, want %d", tc.filter, len(links), tc.want)
			}
		}
	})
}

func TestNamespaceID(t *testing.T) {
	t.Parallel()
	isolated(t, func(t *testing.T) {
		ns, other := kerneltest.NewNS(t), kerneltest.NewNS(t)
		c := dial(t)
		if id, ok, err := c.NamespaceID(ns.Fd()); ok || err != nil {
			t.Errorf("a namespace without id has %d, %v, %v", id, ok, err)
		}
		do(t, c, func(b *link.Batch) {
			b.AssignNamespaceID(ns.Fd(), 41)
			b.AssignNamespaceID(other.Fd(), link.AnyNamespaceID)
		})
		id, ok, err := c.NamespaceID(ns.Fd())
		if id != 41 || !ok || err != nil {
			t.Errorf("id is %d, %v, %v, want 41", id, ok, err)
		}
		var again link.Batch
		again.AssignNamespaceID(ns.Fd(), 42)
		if err := c.Do(&again); !errors.Is(err, unix.EEXIST) {
			t.Errorf("a second id: %v, want EEXIST", err)
		}
		ids, err := c.NamespaceIDs(t.Context())
		if err != nil || len(ids) != 2 {
			t.Errorf("ids are %v, %v, want two", ids, err)
		}
	})
}
