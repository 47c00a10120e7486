// SPDX-License-Identifier: Apache-2.0

package link_test

import (
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/libnetwork/cnm/kernel/link"
)

// TestAnotherLibraryReadsTheSame makes one of everything and reads it with a
// library that shares no code with this one.
func TestAnotherLibraryReadsTheSame(t *testing.T) {
	t.Parallel()
	isolated(t, func(t *testing.T) {
		c := dial(t)
		rule := link.Rule{Priority: 100, From: prefix("192.0.2.2/32"), Table: 1000}
		t.Cleanup(func() { do(t, c, func(b *link.Batch) { b.DeleteRule(rule) }) })
		do(t, c, func(b *link.Batch) {
			b.CreateBridge(link.Bridge{Name: "br0", Index: 1001, Options: link.BridgeOptions{MulticastSnooping: link.Off}})
			b.CreateVeth(link.Veth{
				Name: "v0", Index: 1002, Master: 1001, MAC: mac1(), MTU: 1400, Group: 70,
				Peer: link.Peer{Name: "v1", Index: 1003},
			})
			b.SetLink(link.Change{
				Link: link.Named("v0"), Alias: "ours", Port: link.Port{Hairpin: link.On, Learning: link.Off}, Up: link.On,
			})
			b.SetLink(link.Change{Link: link.Named("v1"), Up: link.On})
			b.AddAddress(link.Address{Link: 1003, Prefix: prefix("192.0.2.2/24"), Broadcast: addr("192.0.2.255")})
			b.AddAddress(link.Address{Link: 1003, Prefix: prefix("2001:db8::2/64"), NoDAD: true})
			b.AddRoute(link.Route{Dst: prefix("0.0.0.0/0"), Gateway: addr("192.0.2.1"), Link: 1003, Table: 1000})
			b.AddRule(rule)
			b.AddNeighbour(link.Neighbour{Link: 1003, Addr: addr("192.0.2.1"), MAC: mac2()})
		})
		oracle, err := netlink.LinkByName("v0")
		if err != nil {
			t.Fatal(err)
		}
		o := oracle.Attrs()
		ours := read(t, c, "v0")
		equal(t, "kind", oracle.Type(), ours.Kind)
		equal(t, "index", o.Index, ours.Index)
		equal(t, "master", o.MasterIndex, ours.Master)
		equal(t, "MAC", o.HardwareAddr.String(), ours.MAC.String())
		equal(t, "MTU", o.MTU, ours.MTU)
		equal(t, "group", o.Group, ours.Group)
		equal(t, "alias", o.Alias, ours.Alias)
		equal(t, "lower", o.ParentIndex, ours.Lower)
		equal(t, "flags", o.RawFlags, ours.Flags)
		equal(t, "queues", o.NumTxQueues+o.NumRxQueues, 2)
		port, err := netlink.LinkGetProtinfo(oracle)
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "hairpin", port.Hairpin, true)
		equal(t, "learning", port.Learning, false)
		bridge, err := netlink.LinkByName("br0")
		if err != nil {
			t.Fatal(err)
		}
		if b, ok := bridge.(*netlink.Bridge); !ok || b.MulticastSnooping == nil || *b.MulticastSnooping {
			t.Errorf("bridge is %+v", bridge)
		}
		oracleRecords(t, c)
	})
}

func oracleRecords(t *testing.T, c *link.Conn) {
	t.Helper()
	for _, want := range []string{"192.0.2.2/24", "2001:db8::2/64"} {
		l, err := netlink.LinkByName("v1")
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "queues", l.Attrs().NumTxQueues+l.Attrs().NumRxQueues, 2)
		list, err := netlink.AddrList(l, netlink.FAMILY_ALL)
		if err != nil {
			t.Fatal(err)
		}
		equal(t, want, count(list, func(a netlink.Addr) bool { return a.IPNet.String() == want }), 1)
		equal(t, "number of addresses", len(list), len(addresses(t, c, 1003)))
	}
	table := &netlink.Route{Table: 1000}
	routes, err := netlink.RouteListFiltered(netlink.FAMILY_V4, table, netlink.RT_FILTER_TABLE)
	if err != nil || len(routes) != 1 || routes[0].Gw.String() != "192.0.2.1" || routes[0].LinkIndex != 1003 {
		t.Errorf("routes are %v, %v", routes, err)
	}
	rules, err := netlink.RuleList(netlink.FAMILY_V4)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "rules", count(rules, func(r netlink.Rule) bool {
		return r.Priority == 100 && r.Table == 1000 && r.Src.String() == "192.0.2.2/32"
	}), 1)
	neighbours, err := netlink.NeighList(1003, netlink.FAMILY_V4)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "neighbours", count(neighbours, func(n netlink.Neigh) bool {
		return n.IP.String() == "192.0.2.1" && n.HardwareAddr.String() == mac2().String() && n.State == netlink.NUD_PERMANENT
	}), 1)
}
