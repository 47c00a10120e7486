// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/internal/audit"
	"github.com/libnetwork/cnm/kernel/kerneltest"
	"github.com/libnetwork/cnm/kernel/link"
	"github.com/libnetwork/cnm/kernel/netns"
	"github.com/libnetwork/cnm/kernel/nft"
	"github.com/libnetwork/cnm/kernel/sysctl"
	"github.com/libnetwork/cnm/test/lab/stage"
)

// TestAuditNamesEachHarm harms a standing network, with nobody to repair it, and asks the audit for each harm by its words.
func TestAuditNamesEachHarm(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		kerneltest.Clear(t) // what the harms leave
		host := stage.New(t, 0)
		d := stage.StartHere(t)
		w := stage.On(t, host, d)
		red := w.Network("red", stage.Subnets("10.1.0.0/24", "fd00:1::/64"))
		box := w.Sandbox("box")
		at := w.Plug(box, red, w.Publishing("8080:80/tcp"))
		w.Audit()
		records := w.Records(t.Context())
		d.Close()
		scope := audit.Scope{RunDir: stage.RunDir, PID: -1}
		if found := audit.Check(t.Context(), records, scope); len(found) > 0 {
			t.Fatalf("with the daemon dead:\n%s", strings.Join(found, "\n"))
		}
		for _, h := range harms(t, red, at, box.Place) {
			h.do()
			found := audit.Check(t.Context(), records, scope)
			for _, want := range h.words {
				if !slices.ContainsFunc(found, func(line string) bool { return strings.Contains(line, want) }) {
					t.Errorf("%s: no line has %q in\n%s", h.name, want, strings.Join(found, "\n"))
				}
			}
		}
		found := audit.Check(t.Context(), records, audit.Scope{RunDir: stage.RunDir})
		if !slices.ContainsFunc(found, func(line string) bool { return strings.Contains(line, "8080->80/tcp is held by no socket") }) {
			t.Errorf("a port that nobody holds is not told:\n%s", strings.Join(found, "\n"))
		}
		if err := unix.Unmount(box.Sandbox.Namespace.Path, unix.MNT_DETACH); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(box.Sandbox.Namespace.Path); err != nil {
			t.Fatal(err)
		}
		found = audit.Check(t.Context(), records, scope)
		if !slices.ContainsFunc(found, func(line string) bool { return strings.Contains(line, "0 namespaces are pinned") }) {
			t.Errorf("a pin that is gone is not told:\n%s", strings.Join(found, "\n"))
		}
		w.Abandon()
	})
}

// harm is something that others might do to a network.
type harm struct {
	name  string
	do    func()
	words []string
}

// harms are in the order of their doing; none undoes another.
func harms(t *testing.T, nw cnm.Network, at cnm.Attachment, box stage.Place) []harm {
	hub, port, index := "cn-"+string(nw.ID)[:12], at.Join.Result.Link.Host, at.Join.Result.Link.Index
	hubIndex := indexOf(t, hub)
	a4 := at.Endpoint.Address(cnm.IPv4)
	host := stage.Place{Name: "the host"}
	change := func(p stage.Place, fn func(b *link.Batch)) func() {
		return func() {
			var b link.Batch
			fn(&b)
			p.Change(t, &b)
		}
	}
	table := func(id uint32) uint32 { return 1<<31 | id }(uint32(index))
	return []harm{
		{"neighbour", change(host, func(b *link.Batch) { b.DeleteNeighbour(link.Neighbour{Link: hubIndex, Addr: a4}) }), []string{"neighbour " + a4.String() + " on " + hub + " is missing"}},
		{"forwarding entry", change(host, func(b *link.Batch) {
			b.DeleteFDB(link.FDBEntry{Link: index, MAC: link.MAC(at.Endpoint.MAC), Master: true})
		}), []string{"forwarding entry " + at.Endpoint.MAC.String() + " on " + port + " is missing"}},
		{"hairpin", change(host, func(b *link.Batch) {
			b.SetLink(link.Change{Link: link.Named(port), Port: link.Port{Hairpin: link.Off}})
		}), []string{"has port attributes"}},
		{"mtu", change(host, func(b *link.Batch) { b.SetLink(link.Change{Link: link.Named(port), MTU: 1400}) }), []string{"has mtu 1400"}},
		{"foreign address", change(host, func(b *link.Batch) {
			b.AddAddress(link.Address{Link: hubIndex, Prefix: netip.MustParsePrefix("10.9.0.1/24")})
		}), []string{"address 10.9.0.1/24 is foreign"}},
		{"hub address", change(host, func(b *link.Batch) {
			b.DeleteAddress(link.Address{Link: hubIndex, Prefix: netip.MustParsePrefix("10.1.0.1/24")})
		}), []string{"address 10.1.0.1/24 is missing"}},
		{"setting", func() {
			if err := sysctl.Write("net/ipv4/conf/"+hub+"/forwarding", "0"); err != nil {
				t.Error(err)
			}
		}, []string{"setting ipv4/conf/" + hub + "/forwarding"}},
		{"default route", change(box, func(b *link.Batch) { b.DeleteRoute(link.Route{Dst: netip.MustParsePrefix("0.0.0.0/0")}) }), []string{"route to 0.0.0.0/0 via 10.1.0.1 on eth0 table 254 is missing"}},
		{"own table", change(box, func(b *link.Batch) {
			b.DeleteRoute(link.Route{Dst: netip.MustParsePrefix("::/0"), Table: table})
		}), []string{"route to ::/0 via fd00:1::1 on eth0 table "}},
		{"routing rule", change(box, func(b *link.Batch) {
			b.DeleteRule(link.Rule{Priority: 20000, From: netip.PrefixFrom(a4, 32)})
			b.AddRule(link.Rule{Priority: 20000, From: netip.MustParsePrefix("10.7.0.0/32"), Table: table, Protocol: 67})
		}), []string{"rule from " + a4.String() + "/32", "rule from 10.7.0.0/32"}},
		{"address inside", change(box, func(b *link.Batch) {
			b.DeleteAddress(link.Address{Link: index, Prefix: at.Endpoint.Addresses[1]})
		}), []string{"address " + at.Endpoint.Addresses[1].String() + " is missing"}},
		{"gateway's neighbour", change(box, func(b *link.Batch) {
			b.DeleteNeighbour(link.Neighbour{Link: index, Addr: nw.Gateway(cnm.IPv4)})
		}), []string{"neighbour 10.1.0.1 is missing"}},
		{"mac inside", change(box, func(b *link.Batch) {
			b.SetLink(link.Change{Link: link.Numbered(index), MAC: link.MAC{2, 0, 0, 0, 0, 9}})
		}), []string{"has mac 02:00:00:00:00:09"}},
		{"foreign link inside", change(box, func(b *link.Batch) { b.CreateBridge(link.Bridge{Name: "theirs"}) }), []string{"sandbox box: link theirs is foreign"}},
		{"element", func() { alterElements(t, a4) }, []string{"pub4any tcp . 8080 : " + a4.String() + " . 80 is missing", `nets "theirs" is foreign`}},
		{"host link down", change(host, func(b *link.Batch) { b.SetLink(link.Change{Link: link.Named(port), Up: link.Off}) }), []string{"link " + port + " is a \"veth\", up false"}},
		{"interface", change(box, func(b *link.Batch) { b.DeleteLink(link.Named("eth0")) }), []string{"interface eth0 of network red is missing", "link " + port + " is missing"}},
		{"foreign links", change(host, func(b *link.Batch) {
			b.CreateVeth(link.Veth{Name: "cnv1", Peer: link.Peer{Name: "cnt1"}})
		}), []string{"link cnv1 is foreign", "link cnt1 is foreign"}},
		{"hub", change(host, func(b *link.Batch) { b.DeleteLink(link.Named(hub)) }), []string{"bridge " + hub + " is missing"}},
		{"foreign pin", func() {
			if _, err := netns.Make(stage.RunDir+"/netns/theirs", nil); err != nil {
				t.Error(err)
			}
			t.Cleanup(func() {
				if err := netns.Unpin(stage.RunDir + "/netns/theirs"); err != nil {
					t.Error(err)
				}
			})
		}, []string{"pin /run/cnm/netns/theirs is foreign"}},
	}
}

// alterElements takes one element out of our table, which nobody owns now, and puts another in.
func alterElements(t *testing.T, to netip.Addr) {
	t.Helper()
	conn, err := nft.Dial(nft.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	id := nft.TableID{Family: nft.Inet, Name: "cnm"}
	s, err := conn.Snapshot(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	var tx nft.Tx
	tx.DeleteElements(&s.Set("pub4any").Set, nft.KeyData(nft.Tuple{}.Proto(nft.TCP).Port(8080), nft.Addr(to).Port(80)))
	tx.AddElements(&s.Set("nets").Set, nft.Key(nft.Ifname("theirs")))
	if err := conn.Run(t.Context(), &tx); err != nil {
		t.Fatal(err)
	}
}

func indexOf(t *testing.T, name string) int {
	t.Helper()
	conn, err := link.Dial(link.Here)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	l, err := conn.Link(link.Named(name))
	if err != nil {
		t.Fatal(err)
	}
	return l.Index
}
