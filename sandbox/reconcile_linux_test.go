// SPDX-License-Identifier: Apache-2.0

package sandbox

import (
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/kernel/kerneltest"
	"github.com/libnetwork/cnm/kernel/link"
	"github.com/libnetwork/cnm/kernel/netns"
)

func address(s string) link.Address { return link.Address{Link: 101, Prefix: netip.MustParsePrefix(s)} }

func route(dst, via string, table uint32) link.Route {
	r := link.Route{Dst: netip.MustParsePrefix(dst), Table: table, Link: 101}
	if via != "" {
		r.Gateway = netip.MustParseAddr(via)
	}
	return r
}

// Every kind of object comes back when root inside the sandbox removes or alters it.
func TestCheckRepairs(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		table := TableOf(101)
		for name, tc := range map[string]struct {
			harm    func(b *link.Batch)
			objects []string // drifts that must be told, others may be besides
		}{
			"nothing":    {func(*link.Batch) {}, nil},
			"link down":  {func(b *link.Batch) { b.SetLink(link.Change{Link: link.Numbered(101), Up: link.Off}) }, []string{"link eth0"}},
			"link's MTU": {func(b *link.Batch) { b.SetLink(link.Change{Link: link.Numbered(101), MTU: 1300}) }, []string{"link eth0"}},
			"link's MAC": {func(b *link.Batch) { b.SetLink(link.Change{Link: link.Numbered(101), MAC: link.MAC{2, 9}}) }, []string{"link eth0"}},
			"link's name": {func(b *link.Batch) {
				b.SetLink(link.Change{Link: link.Numbered(101), Up: link.Off})
				b.SetLink(link.Change{Link: link.Numbered(101), Rename: "other"})
			}, []string{"link eth0"}},
			"link's settings": {func(b *link.Batch) {
				b.SetLink(link.Change{Link: link.Numbered(101), IPv4: []link.Conf{{Key: link.ARPIgnore, Value: 0}}, AddrGenMode: link.AddrGenEUI64})
			}, []string{"link eth0"}},
			"v4 address":    {func(b *link.Batch) { b.DeleteAddress(address("10.1.0.2/24")) }, []string{"address 10.1.0.2/24"}},
			"v6 address":    {func(b *link.Batch) { b.DeleteAddress(address("fd00:1::2/64")) }, []string{"address fd00:1::2/64"}},
			"v6 link-local": {func(b *link.Batch) { b.DeleteAddress(address("fe80::42:aff:fe01:2/64")) }, []string{"address fe80::42:aff:fe01:2/64"}},
			"address's length": {func(b *link.Batch) {
				b.DeleteAddress(address("10.1.0.2/24"))
				b.AddAddress(address("10.1.0.2/16"))
			}, []string{"address 10.1.0.2/24"}},
			"v4 connected route":  {func(b *link.Batch) { b.DeleteRoute(route("10.1.0.0/24", "", 0)) }, []string{"route 10.1.0.0/24"}},
			"v6 connected route":  {func(b *link.Batch) { b.DeleteRoute(route("fd00:1::/64", "", 0)) }, []string{"route fd00:1::/64"}},
			"v4 default route":    {func(b *link.Batch) { b.DeleteRoute(route("0.0.0.0/0", "", 0)) }, []string{"route 0.0.0.0/0"}},
			"v6 default route":    {func(b *link.Batch) { b.DeleteRoute(route("::/0", "", 0)) }, []string{"route ::/0"}},
			"v4 default replaced": {func(b *link.Batch) { b.ReplaceRoute(route("0.0.0.0/0", "10.1.0.9", 0)) }, []string{"route 0.0.0.0/0"}},
			"v6 default replaced": {func(b *link.Batch) { b.ReplaceRoute(route("::/0", "fd00:1::9", 0)) }, []string{"route ::/0"}},
			"v4 own default":      {func(b *link.Batch) { b.DeleteRoute(route("0.0.0.0/0", "", table)) }, []string{"route 0.0.0.0/0 in table 2147483749"}},
			"v6 own default":      {func(b *link.Batch) { b.DeleteRoute(route("::/0", "", table)) }, []string{"route ::/0 in table 2147483749"}},
			"v4 own connected":    {func(b *link.Batch) { b.DeleteRoute(route("10.1.0.0/24", "", table)) }, []string{"route 10.1.0.0/24 in table 2147483749"}},
			"strange own route":   {func(b *link.Batch) { b.AddRoute(route("10.7.0.0/16", "10.1.0.1", table)) }, []string{"route 10.7.0.0/16 in table 2147483749"}},
			"network's route":     {func(b *link.Batch) { b.DeleteRoute(route("172.30.0.0/16", "", 0)) }, []string{"route 172.30.0.0/16"}},
			"v4 rule":             {func(b *link.Batch) { b.DeleteRule(link.Rule{From: netip.MustParsePrefix("10.1.0.2/32")}) }, []string{"rule from 10.1.0.2/32 to table 2147483749"}},
			"v6 rule":             {func(b *link.Batch) { b.DeleteRule(link.Rule{From: netip.MustParsePrefix("fd00:1::2/128")}) }, []string{"rule from fd00:1::2/128 to table 2147483749"}},
			"leftover rule": {func(b *link.Batch) {
				b.AddRule(link.Rule{From: netip.MustParsePrefix("10.9.0.2/32"), Priority: RulePriority, Table: TableOf(77), Protocol: Protocol})
			}, []string{"rule from 10.9.0.2/32 to table 2147483725"}},
			"v4 neighbour": {func(b *link.Batch) {
				b.DeleteNeighbour(link.Neighbour{Link: 101, Addr: netip.MustParseAddr("10.1.0.1")})
			}, []string{"neighbour 10.1.0.1"}},
			"v6 neighbour": {func(b *link.Batch) {
				b.DeleteNeighbour(link.Neighbour{Link: 101, Addr: netip.MustParseAddr("fd00:1::1")})
			}, []string{"neighbour fd00:1::1"}},
			"neighbour replaced": {func(b *link.Batch) {
				b.ReplaceNeighbour(link.Neighbour{Link: 101, Addr: netip.MustParseAddr("10.1.0.1"), MAC: link.MAC{2, 9}})
			}, []string{"neighbour 10.1.0.1"}},
		} {
			t.Run(name, func(t *testing.T) {
				g := newStage(t)
				sb := g.sandbox("box")
				at := g.join(sb, 1, func(at *cnm.Attachment) {
					at.Join.Result.Routes = []cnm.Route{{Prefix: netip.MustParsePrefix("172.30.0.0/16"), Via: netip.MustParseAddr("10.1.0.254")}}
				})
				g.plug(at)
				before := g.state(sb)
				t.Cleanup(func() { // so that the next one finds the host's names free
					var b link.Batch
					b.DeleteLink(link.Numbered(101))
					g.do(link.Here, &b)
				})
				var b link.Batch
				tc.harm(&b)
				g.do(g.open(sb).FD(), &b)
				g.repaired(sb, at, tc.objects)
				after, want := strings.Split(g.state(sb), "\n"), strings.Split(before, "\n")
				slices.Sort(after)
				slices.Sort(want)
				if !slices.Equal(after, want) {
					t.Errorf("repaired it is\n%s\nwas\n%s", strings.Join(after, "\n"), strings.Join(want, "\n"))
				}
			})
		}
	})
}

// repaired checks a sandbox twice: first these objects differ, then none.
func (g *stage) repaired(sb cnm.Sandbox, at cnm.Attachment, objects []string) {
	g.tb.Helper()
	for round, want := range [][]string{objects, nil} {
		drifts, err := g.stack.Check(g.tb.Context(), sb, []cnm.Attachment{at})
		if err != nil {
			g.tb.Fatal(err)
		}
		if len(want) == 0 && len(drifts) > 0 {
			g.tb.Errorf("round %d: %+v", round, drifts)
		}
		for _, d := range drifts {
			if !d.Repaired || d.Sandbox != sb.ID {
				g.tb.Errorf("round %d: %+v", round, d)
			}
		}
		for _, object := range want {
			if !slices.ContainsFunc(drifts, func(d cnm.Drift) bool { return d.Object == object }) {
				g.tb.Errorf("round %d: %+v, want %q among them", round, drifts, object)
			}
		}
	}
}

// What a user inside adds is the user's.
func TestCheckLeavesForeignThingsAlone(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		g := newStage(t)
		sb := g.sandbox("box")
		at := g.join(sb, 1, nil)
		g.plug(at)
		var b link.Batch
		b.AddAddress(address("10.1.0.99/24"))
		b.AddAddress(address("fd00:1::99/64"))
		b.AddRoute(route("198.51.100.0/24", "10.1.0.3", 0))
		b.AddRoute(route("198.51.100.0/24", "10.1.0.3", 1000))
		b.AddRoute(link.Route{Dst: netip.MustParsePrefix("::/0"), Gateway: netip.MustParseAddr("fd00:1::9"), Link: 101, Metric: 5000})
		b.AddRule(link.Rule{From: netip.MustParsePrefix("10.1.0.99/32"), Priority: 100, Table: 1000})
		b.AddNeighbour(link.Neighbour{Link: 101, Addr: netip.MustParseAddr("10.1.0.3"), MAC: link.MAC{2, 3}})
		b.CreateVeth(link.Veth{Name: "mine0", Peer: link.Peer{Name: "mine1"}})
		g.do(g.open(sb).FD(), &b)
		before := g.state(sb)
		g.repaired(sb, at, nil)
		g.plug(at)
		if after := g.state(sb); after != before {
			t.Errorf("it became\n%s, was\n%s", after, before)
		}
		n := g.open(sb)
		if err := g.stack.Unplug(t.Context(), n, at); err != nil {
			t.Error(err)
		}
		has(t, g.state(sb), "mine0", "rule ipv4 100 from 10.1.0.99/32", "!via 10.1.0.1 ")
	})
}

func TestReconcile(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		g := newStage(t)
		fine, unpinned, other := g.sandbox("fine"), g.sandbox("unpinned"), g.sandbox("other")
		at := g.join(fine, 1, nil)
		g.plug(at)
		lone := g.join(fine, 2, func(at *cnm.Attachment) { at.Join.Default = cnm.FamilySet{} })
		g.plug(lone)
		g.unpin(unpinned.Namespace.Path)
		g.unpin(other.Namespace.Path)
		if _, err := netns.Make(other.Namespace.Path, nil); err != nil { // another under the same name
			t.Fatal(err)
		}
		if err := os.Remove("/run/netns/cnm-fine"); err != nil {
			t.Fatal(err)
		}
		var b link.Batch
		b.DeleteLink(link.Numbered(102))
		g.do(link.Here, &b)

		// What an earlier process left: a pin, a file where a pin was, a second name.
		for _, name := range []string{"left", "file"} {
			if name == "file" {
				if err := os.WriteFile("/run/cnm/netns/file", nil, 0o600); err != nil {
					t.Fatal(err)
				}
			} else if _, err := netns.Make("/run/cnm/netns/left", nil); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink("/run/cnm/netns/"+name, "/run/netns/cnm-"+name); err != nil {
				t.Fatal(err)
			}
		}
		younger := g.sandbox("younger") // than the list of what is wanted

		w := cnm.Wanted{All: true, Sandboxes: []cnm.Sandbox{fine, unpinned, other}, Attachments: []cnm.Attachment{at, lone}}
		drifts, err := g.stack.Reconcile(t.Context(), w)
		if err != nil {
			t.Fatal(err)
		}
		want := []cnm.Drift{
			{Object: "link /run/netns/cnm-fine", What: "missing", Repaired: true, Sandbox: fine.ID},
			{Object: "link eth1", What: "missing", Sandbox: fine.ID, Network: lone.Network.ID, Endpoint: lone.Endpoint.ID},
			{Object: "namespace " + unpinned.Namespace.Path, What: "missing", Sandbox: unpinned.ID},
			{Object: "namespace " + other.Namespace.Path, What: "missing", Sandbox: other.ID},
			{Object: "pin /run/cnm/netns/file", What: "foreign", Repaired: true},
			{Object: "pin /run/cnm/netns/left", What: "foreign", Repaired: true},
			{Object: "link /run/netns/cnm-file", What: "foreign", Repaired: true},
			{Object: "link /run/netns/cnm-left", What: "foreign", Repaired: true},
			{Object: "link /run/netns/cnm-unpinned", What: "foreign", Repaired: true},
		}
		if !slices.Equal(drifts, want) {
			t.Errorf("drifts\n%+v, want\n%+v", drifts, want)
		}
		g.open(younger).Close()
		has(t, g.state(fine), "address 10.1.0.2/24 on 101")
	})
}
