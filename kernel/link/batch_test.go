// SPDX-License-Identifier: Apache-2.0

package link_test

import (
	"flag"
	"os"
	"testing"
	"time"

	"github.com/libnetwork/cnm/kernel/link"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// TestBatchPrintsItself compares the text of one message of every kind, with every
// field set, with the golden. Run with -update to rewrite it.
func TestBatchPrintsItself(t *testing.T) {
	t.Parallel()
	const golden = "testdata/batch.golden"
	got := everything().String()
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "text", got, string(want))
}

// everything is a batch of one message of every kind.
func everything() *link.Batch {
	var b link.Batch
	links(&b)
	b.AddAddress(link.Address{Link: 7, Prefix: prefix("192.0.2.2/24"), Broadcast: addr("192.0.2.255"), NoPrefixRoute: true})
	b.ReplaceAddress(link.Address{Link: 7, Prefix: prefix("2001:db8::2/64"), NoDAD: true})
	b.DeleteAddress(link.Address{Link: 7, Prefix: prefix("2001:db8::2/64")})
	b.AddRoute(link.Route{
		Dst: prefix("0.0.0.0/0"), Gateway: addr("192.0.2.1"), Link: 7, Table: 1000, Scope: link.ScopeUniverse,
		Source: addr("192.0.2.2"), Metric: 5, Onlink: true, Protocol: 99,
	})
	b.AddRoute(link.Route{Dst: prefix("2001:db8:1::/64"), Link: 7})
	b.ReplaceRoute(link.Route{Dst: prefix("198.51.100.0/24"), Type: link.Unreachable, Table: 1000})
	b.DeleteRoute(link.Route{Dst: prefix("::/0"), Link: 7})
	b.AddRule(link.Rule{Priority: 100, From: prefix("192.0.2.2/32"), Table: 1000, IIF: "eth0", OIF: "eth1", Protocol: 99})
	b.AddRule(link.Rule{Family: link.IPv6, To: prefix("2001:db8:1::/64"), Mark: 0x10, Mask: 0xf0, Action: link.RuleProhibit})
	b.DeleteRule(link.Rule{Family: link.IPv4, Priority: 100})
	b.AddNeighbour(link.Neighbour{Link: 7, Addr: addr("192.0.2.1"), MAC: mac1(), State: link.NoARP})
	b.ReplaceNeighbour(link.Neighbour{Link: 7, Addr: addr("2001:db8::1"), MAC: mac1()})
	b.DeleteNeighbour(link.Neighbour{Link: 7, Addr: addr("2001:db8::9"), Proxy: true})
	b.AddFDB(link.FDBEntry{Link: 7, MAC: mac1(), Master: true})
	b.ReplaceFDB(link.FDBEntry{Link: 7, MAC: mac1(), State: link.Permanent, Self: true, VLAN: 12})
	b.DeleteFDB(link.FDBEntry{Link: 7, MAC: mac1(), Master: true})
	b.AssignNamespaceID(5, 41)
	b.AssignNamespaceID(5, link.AnyNamespaceID)
	return &b
}

// links appends one message of every kind that is about links.
func links(b *link.Batch) {
	b.CreateVeth(link.Veth{
		Name: "cnvabc123", Index: 1002, Master: 1001, MAC: mac1(), MTU: 1400, Group: 1 << 30,
		Peer: link.Peer{Name: "eth0", Index: 1003, MAC: mac2(), MTU: 1400, Group: 4294967295, Namespace: 5},
	})
	b.CreateVeth(link.Veth{Name: "a", Peer: link.Peer{Name: "b"}})
	b.CreateBridge(link.Bridge{Name: "br0", Index: 1001, MAC: mac1(), MTU: 1500, Group: 9, Options: link.BridgeOptions{
		STP: link.Off, Ageing: 90 * time.Second, ForwardDelay: 40 * time.Millisecond, MulticastSnooping: link.Off,
		MulticastRouter: link.MulticastRouterAlways, VLANFiltering: link.On,
		NFCallIPTables: link.Off, NFCallIP6Tables: link.Off, NFCallARPTables: link.On,
	}})
	b.CreateMacvlan(link.Macvlan{
		Name: "eth1", Index: 1004, Parent: 2, Mode: link.MacvlanSource, Sources: []link.MAC{mac1(), mac2()},
		MAC: mac1(), MTU: 1400, Group: 9, Namespace: 5,
	})
	b.SetLink(link.Change{
		Link: link.Named("cnvabc123"), Up: link.On, Master: 1001, MTU: 1400, MAC: mac1(), Group: 9, Alias: "to eth0",
		AddrGenMode: link.AddrGenNone, IPv4: []link.Conf{{Key: link.ARPIgnore, Value: 1}, {Key: 32, Value: -1}},
		Port: link.Port{Hairpin: link.On, Learning: link.Off, Isolated: link.On},
	})
	b.SetLink(link.Change{Link: link.Numbered(7), Rename: "old", NoMaster: true, Up: link.Off})
	b.MoveLink(link.Move{Link: link.Numbered(7), Namespace: 5, Name: "eth2", Index: 1005})
	b.DeleteLink(link.Named("old"))
	b.DeleteLink(link.Numbered(7))
	b.DeleteGroup(4294967295)
}

func TestBatchIsAValue(t *testing.T) {
	t.Parallel()
	var a link.Batch
	a.DeleteLink(link.Named("a"))
	c := a.Clone()
	c.DeleteLink(link.Named("c"))
	a.DeleteLink(link.Named("b"))
	equal(t, "original", a.String(), "delete link a\ndelete link b\n")
	equal(t, "clone", c.String(), "delete link a\ndelete link c\n")
	a.Append(c)
	equal(t, "appended", a.String(), "delete link a\ndelete link b\ndelete link a\ndelete link c\n")
	equal(t, "length", a.Len(), 4)
	a.Reset()
	equal(t, "after reset", a.String(), "")
}

// TestEverythingIsValid keeps the golden's messages sendable.
func TestEverythingIsValid(t *testing.T) {
	t.Parallel()
	if err := everything().Err(); err != nil {
		t.Error(err)
	}
}
