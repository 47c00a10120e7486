// SPDX-License-Identifier: Apache-2.0

package sandbox

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/kernel/kerneltest"
	"github.com/libnetwork/cnm/kernel/link"
)

// A link that another moves into the sandbox is looked at when it comes up, gets rules and a table then, which is no drift, and leaves nothing of ours.
func TestMovedLink(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		g := newStage(t)
		sb := cnm.Sandbox{ID: cnm.NewSandboxID(), Name: "box", Namespace: cnm.Namespace{Path: g.foreign("box")}, Unrouted: true}
		g.create(&sb)
		hints := g.watching()
		at := g.join(sb, 1, func(at *cnm.Attachment) { at.Join.Result.Link.InPlace, at.Join.Default = false, cnm.FamilySet{} })
		g.plug(at) // nothing is known of it yet
		g.repaired(sb, at, nil)
		has(t, g.state(sb), "!rule ipv4 20000", "!rule ipv6 20000", "up false")
		inside := g.open(sb).FD()
		const index = 101
		var b link.Batch
		b.SetLink(link.Change{Link: link.Numbered(index), Rename: "eth7", AddrGenMode: link.AddrGenNone})
		for _, p := range at.Endpoint.Addresses {
			b.AddAddress(link.Address{Link: index, Prefix: p, NoDAD: p.Addr().Is6()})
		}
		b.SetLink(link.Change{Link: link.Numbered(index), Up: link.On})
		g.do(inside, &b)
		hints.expect(t, cnm.Hint{Cookie: sb.Namespace.Cookie})
		moved := g.state(sb)
		g.repaired(sb, at, nil)
		table := TableOf(index)
		added := []string{
			fmt.Sprintf("rule ipv4 20000 from 10.1.0.2/32 table %d", table), fmt.Sprintf("rule ipv6 20000 from fd00:1::2/128 table %d", table),
			fmt.Sprintf("route 0.0.0.0/0 via 10.1.0.1 on 101 table %d", table), fmt.Sprintf("route ::/0 via fd00:1::1 on 101 table %d", table),
			fmt.Sprintf("route 10.1.0.0/24 via invalid IP on 101 table %d", table), fmt.Sprintf("route fd00:1::/64 via invalid IP on 101 table %d", table),
		}
		has(t, g.state(sb), added...)
		if now, want := strings.Count(g.state(sb), "\n"), strings.Count(moved, "\n")+len(added); now != want {
			t.Errorf("there are %d lines, want %d:\n%s", now, want, g.state(sb))
		}
		// What is the mover's stays as the mover has it; what is ours comes back.
		var harm link.Batch
		harm.SetLink(link.Change{Link: link.Numbered(index), MTU: 1300})
		harm.DeleteRule(link.Rule{Priority: RulePriority, From: netip.MustParsePrefix("fd00:1::2/128"), Table: table, Protocol: Protocol})
		g.do(inside, &harm)
		g.repaired(sb, at, nil)
		has(t, g.state(sb), append(added, "eth7", "mtu 1300")...)
		n := g.open(sb)
		if err := g.stack.Unplug(t.Context(), n, at); err != nil {
			t.Error(err)
		}
		has(t, g.state(sb), "!rule ipv4 20000", "!rule ipv6 20000", "!eth7", "!10.1.0.2", "cnx1", "up false")
	})
}

// Rules of a moved link that is gone are taken away.
func TestMovedLinkGone(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		g := newStage(t)
		sb := cnm.Sandbox{ID: cnm.NewSandboxID(), Name: "box", Namespace: cnm.Namespace{Path: g.foreign("box")}, Unrouted: true}
		g.create(&sb)
		at := g.join(sb, 1, nil)
		g.plug(at)
		at.Join.Result.Link.InPlace = false
		g.repaired(sb, at, nil) // it is as a moved one would be
		has(t, g.state(sb), "rule ipv4 20000", "rule ipv6 20000")
		var b link.Batch
		b.DeleteLink(link.Named(at.Join.Result.Link.Host))
		g.do(link.Here, &b)
		g.repaired(sb, at, []string{fmt.Sprintf("rule from 10.1.0.2/32 to table %d", TableOf(101))})
		has(t, g.state(sb), "!rule ipv4 20000", "!rule ipv6 20000")
	})
}

// TestUnplugMoved: a link that somebody else moved here and named loses that name, though a second one has its hardware address.
func TestUnplugMoved(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		g := newStage(t)
		sb := g.sandbox("box")
		at, other := g.join(sb, 1, nil), g.join(sb, 2, nil)
		n := g.open(sb)
		var b link.Batch
		b.SetLink(link.Change{Link: link.Numbered(other.Join.Result.Link.Index), MAC: link.MAC(at.Endpoint.MAC)})
		for _, a := range []cnm.Attachment{at, other} {
			index := a.Join.Result.Link.Index
			b.SetLink(link.Change{Link: link.Numbered(index), Up: link.On})
			for _, p := range a.Endpoint.Addresses {
				b.AddAddress(link.Address{Link: index, Prefix: p, NoDAD: p.Addr().Is6()})
			}
		}
		if err := n.conn.Do(&b); err != nil {
			t.Fatal(err)
		}
		at.Join.Result.Link = cnm.Link{Name: "wait", Host: at.Join.Result.Link.Host}
		for range 2 {
			if err := g.stack.Unplug(t.Context(), n, at); err != nil {
				t.Fatal(err)
			}
			left := g.state(sb)
			has(t, left, "link 101 cnx1 ", "link 102 eth1 ", "address 10.2.0.2/24 on 102")
			if strings.Contains(left, "eth0") || strings.Contains(left, "10.1.0.2") {
				t.Errorf("left is\n%s", left)
			}
		}
		at.Join.Result.Link.Host = "gone"
		if err := g.stack.Unplug(t.Context(), n, at); err != nil {
			t.Errorf("a link that is no more: %v", err)
		}
	})
}
