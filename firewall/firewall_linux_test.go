// SPDX-License-Identifier: Apache-2.0

package firewall_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/nftables"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/firewall"
	"github.com/libnetwork/cnm/kernel/kerneltest"
	"github.com/libnetwork/cnm/kernel/nft"
)

// other is another process's connection to nf_tables.
func other(t *testing.T) *nft.Conn {
	t.Helper()
	c, err := nft.Dial(nft.Config{})
	must(t, err)
	t.Cleanup(func() { must(t, c.Close()) })
	return c
}

// flushRuleset does what `nft flush ruleset` does.
func flushRuleset(t *testing.T) {
	t.Helper()
	c, err := nftables.New()
	must(t, err)
	c.FlushRuleset()
	must(t, c.Flush())
}

// elements are the elements of a set of ours, as text.
func elements(t *testing.T, set string) []string {
	t.Helper()
	var all []string
	for _, family := range []nft.Family{nft.Inet, nft.Bridge} {
		s, err := other(t).Snapshot(t.Context(), nft.TableID{Family: family, Name: "cnm"})
		must(t, err)
		if found := s.Set(set); found != nil {
			for _, e := range found.Elements {
				all = append(all, e.String())
			}
		}
	}
	return all
}

// sound fails the test if the kernel is not as wanted.
func sound(t *testing.T, fw *firewall.Firewall) {
	t.Helper()
	lines, err := fw.Audit(t.Context())
	must(t, err)
	for _, line := range lines {
		t.Error(line)
	}
}

// attach is what an endpoint with a published port needs.
func attach(i int) firewall.Rules {
	a4, a6 := netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}), netip.AddrFrom16([16]byte{0: 0xfd, 14: byte(i >> 8), 15: byte(i)})
	mac := cnm.MAC{2, 2, 0, 0, byte(i >> 8), byte(i)}
	r := firewall.Rules{Ports: []firewall.BridgePort{{Link: fmt.Sprintf("cnv%d", i), Bridge: "cn-a", MAC: mac, Addresses: []netip.Addr{a4, a6, linkLocal(mac)}}}}
	for _, a := range []netip.Addr{a4, a6} {
		r.Published = append(r.Published, firewall.Published{Proto: cnm.TCP, Host: netip.AddrPortFrom(unspecified(a), uint16(1+i)), To: netip.AddrPortFrom(a, 80)})
	}
	return r
}

func owner(i int) firewall.Owner { return firewall.Owner(fmt.Sprintf("endpoint/%d", i)) }

func TestSet(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		fw := openFirewall(t, firewall.Config{})
		must(t, fw.Set(t.Context(), "network/a", firewall.Rules{Bridges: []firewall.Bridge{plain("cn-a", 1)}}))
		must(t, fw.Set(t.Context(), owner(1), attach(1)))
		sound(t, fw)
		if got := elements(t, "pub4any"); !slices.Equal(got, []string{"tcp . 2 : 10.1.0.1 . 80"}) {
			t.Errorf("published: %q", got)
		}

		// Again it sends nothing.
		w, err := nft.Watch(nft.Config{})
		must(t, err)
		t.Cleanup(func() { must(t, w.Close()) })
		must(t, fw.Set(t.Context(), owner(1), attach(1)))
		must(t, fw.Set(t.Context(), owner(2), attach(2)))
		c, err := w.Next(t.Context())
		must(t, err)
		if len(c.Events) < 5 {
			t.Errorf("the first change is %v, not that of the second endpoint", c.Events)
		}

		// What two want stays until both have gone.
		shared := firewall.Rules{Trunks: []string{"cnt1"}}
		must(t, fw.Set(t.Context(), "shard/1", shared))
		must(t, fw.Set(t.Context(), "shard/2", shared))
		must(t, fw.Drop(t.Context(), "shard/1"))
		must(t, fw.Drop(t.Context(), "shard/1"))
		if got := elements(t, "trunks"); len(got) != 1 {
			t.Errorf("trunks after the first of two has gone: %q", got)
		}
		must(t, fw.Drop(t.Context(), "shard/2"))
		if got := elements(t, "trunks"); len(got) != 0 {
			t.Errorf("trunks after both have gone: %q", got)
		}
		for i := range 3 {
			must(t, fw.Drop(t.Context(), owner(i)))
		}
		must(t, fw.Drop(t.Context(), "network/a"))
		sound(t, fw)
		for _, set := range []string{"nets", "pub4any", "live4any", "ports", "bound6", "cnet4"} {
			if got := elements(t, set); len(got) != 0 {
				t.Errorf("set %s at the end: %q", set, got)
			}
		}
	})
}

func TestConflict(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		fw := openFirewall(t, firewall.Config{})
		first, second := attach(1), attach(2)
		second.Published[0].Host = first.Published[0].Host
		must(t, fw.Set(t.Context(), owner(1), first))
		err := fw.Set(t.Context(), owner(2), second)
		var conflict *firewall.ConflictError
		if !errors.As(err, &conflict) || !errors.Is(err, cnm.Exists) {
			t.Fatalf("error %v", err)
		}
		if conflict.Owner != owner(2) || conflict.Holder != owner(1) || conflict.Element != "element inet cnm pub4any tcp . 2" {
			t.Errorf("conflict %+v", conflict)
		}
		if got := elements(t, "ports"); len(got) != 1 {
			t.Errorf("something of the refused change was made: %q", got)
		}
		sound(t, fw)

		// A port moves from one to the other in one transaction, in whatever order.
		must(t, fw.Together(t.Context(), func(ctx context.Context) error {
			return errors.Join(fw.Set(ctx, owner(2), second), fw.Drop(ctx, owner(1)))
		}))
		sound(t, fw)
	})
}

// TestOverlap: subnets may lie in each other. The kernel gets the outer one only, until it goes.
func TestOverlap(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		fw := openFirewall(t, firewall.Config{})
		network := func(name, subnet string) {
			b := plain(name, 1)
			b.Subnets = []netip.Prefix{netip.MustParsePrefix(subnet)}
			must(t, fw.Set(t.Context(), firewall.Owner("network/"+name), firewall.Rules{Bridges: []firewall.Bridge{b}}))
			sound(t, fw)
		}
		network("cn-a", "10.1.0.0/16")
		network("cn-b", "10.0.0.0/8")
		network("cn-c", "10.1.2.0/24")
		network("cn-d", "10.1.2.0/24")
		if got := elements(t, "cnet4"); !slices.Equal(got, []string{"10.0.0.0/8"}) {
			t.Errorf("with the outer: %q", got)
		}
		must(t, fw.Drop(t.Context(), "network/cn-b"))
		if got := elements(t, "cnet4"); !slices.Equal(got, []string{"10.1.0.0/16"}) {
			t.Errorf("without the outer: %q", got)
		}
		must(t, fw.Drop(t.Context(), "network/cn-a"))
		must(t, fw.Drop(t.Context(), "network/cn-c"))
		sound(t, fw)
		if got := elements(t, "masq4"); !slices.Equal(got, []string{"10.1.2.0/24"}) {
			t.Errorf("the last: %q", got)
		}
	})
}

func TestTogether(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		fw := openFirewall(t, firewall.Config{})
		watcher, err := nft.Watch(nft.Config{})
		must(t, err)
		t.Cleanup(func() { must(t, watcher.Close()) })
		late := make(chan context.Context, 1)
		must(t, fw.Together(t.Context(), func(ctx context.Context) error {
			late <- ctx
			var wg sync.WaitGroup
			for i := range 20 {
				wg.Go(func() { must(t, fw.Set(ctx, owner(i), attach(i))) })
			}
			wg.Wait()
			return fw.Together(ctx, func(ctx context.Context) error { return fw.Drop(ctx, owner(0)) })
		}))
		if err := fw.Set(<-late, owner(30), attach(30)); err == nil {
			t.Error("a change after the end was taken")
		}
		first, err := watcher.Next(t.Context())
		must(t, err)
		if n := len(elements(t, "ports")); n != 19 || !first.Touches(nft.TableID{Family: nft.Bridge, Name: "cnm"}) {
			t.Errorf("%d ports after %v", n, first)
		}
		broken := errors.New("broken")
		err = fw.Together(t.Context(), func(ctx context.Context) error {
			must(t, fw.Drop(ctx, owner(1)))
			return broken
		})
		if !errors.Is(err, broken) || len(elements(t, "ports")) != 19 {
			t.Errorf("error %v, %d ports", err, len(elements(t, "ports")))
		}
		sound(t, fw)
	})
}

// TestCallers makes 64 callers change at once, and a reader look on.
func TestCallers(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		fw := openFirewall(t, firewall.Config{})
		must(t, fw.Set(t.Context(), "host", firewall.Rules{}))
		var wg sync.WaitGroup
		for i := range 64 {
			wg.Go(func() {
				for range 5 {
					must(t, fw.Set(t.Context(), owner(i), attach(i)))
					must(t, fw.Drop(t.Context(), owner(i)))
				}
				must(t, fw.Set(t.Context(), owner(i), attach(i)))
			})
		}
		for range 5 {
			sound(t, fw)
		}
		wg.Wait()
		sound(t, fw)
		if n := len(elements(t, "ports")); n != 64 {
			t.Errorf("%d ports, want 64", n)
		}
	})
}

// TestCancelled: a caller whose context ends while it waits has changed nothing.
func TestCancelled(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		fw := openFirewall(t, firewall.Config{})
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := fw.Set(ctx, owner(1), attach(1)); !errors.Is(err, cnm.Unavailable) {
			t.Errorf("error %v", err)
		}
		if stamp, err := firewall.Stamped(t.Context()); stamp != "" || err != nil {
			t.Errorf("the kernel carries %q (%v)", stamp, err)
		}
	})
}

// TestLives follows the tables through the lives of processes.
func TestLives(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		ctx := t.Context()
		foreign, id := other(t), nft.TableID{Family: nft.Inet, Name: "foreign"}
		var tx nft.Tx
		tx.AddTable(nft.Table{TableID: id})
		must(t, foreign.Run(ctx, &tx))
		foreigner, err := foreign.Snapshot(ctx, id)
		must(t, err)

		if stamp, err := firewall.Stamped(ctx); stamp != "" || err != nil {
			t.Errorf("stamp %q (%v) before anything", stamp, err)
		}
		kerneltest.Clear(t, "cnm")
		first, err := firewall.Open(ctx, firewall.Config{})
		must(t, err)
		must(t, first.Set(ctx, owner(1), attach(1)))
		opened := []firewall.Opened{{Link: "eth0", Families: cnm.FamilySet{IPv4: true}}, {Link: "eth1", Families: cnm.FamilySet{IPv4: true, IPv6: true}}}
		must(t, first.Set(ctx, "host", firewall.Rules{Opened: opened}))
		stamp, err := firewall.Stamped(ctx)
		if !strings.HasPrefix(stamp, "table inet cnm (libnetwork rules ") || err != nil {
			t.Errorf("stamp %q (%v)", stamp, err)
		}
		if first.Owned() {
			if _, err := firewall.Open(ctx, firewall.Config{}); !errors.Is(err, cnm.Busy) {
				t.Errorf("a second process may open it: %v", err)
			}
		}
		must(t, first.Close())
		if err := first.Set(ctx, owner(1), attach(1)); !errors.Is(err, cnm.Unavailable) {
			t.Errorf("after Close: %v", err)
		}

		// The next one changes nothing before its first transaction, which makes everything what is wanted.
		second := openFirewall(t, firewall.Config{})
		if got := second.Opened(); !slices.Equal(got, opened) {
			t.Errorf("opened: %v", got)
		}
		if got := elements(t, "ports"); !slices.Equal(got, []string{`"cnv1"`}) {
			t.Errorf("ports before the first transaction: %q", got)
		}
		must(t, second.Together(ctx, func(ctx context.Context) error { return second.Set(ctx, owner(2), attach(2)) }))
		if got := elements(t, "ports"); !slices.Equal(got, []string{`"cnv2"`}) {
			t.Errorf("ports after it: %q", got)
		}
		sound(t, second)
		again, err := foreign.Snapshot(ctx, id)
		must(t, err)
		if again.Table != foreigner.Table {
			t.Errorf("a foreign table was touched: %+v was %+v", again.Table, foreigner.Table)
		}
	})
}

// TestTakenOver starts on the rules that an earlier process left: what stays in force is not touched, for a packet may be
// on its way through it.
func TestTakenOver(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		ctx := t.Context()
		kerneltest.Clear(t, "cnm")
		first, err := firewall.Open(ctx, firewall.Config{})
		must(t, err)
		must(t, first.Set(ctx, owner(1), attach(1)))
		must(t, first.Set(ctx, owner(2), attach(2)))
		must(t, first.Close())

		second := openFirewall(t, firewall.Config{})
		w, err := nft.Watch(nft.Config{})
		must(t, err)
		defer func() { must(t, w.Close()) }()
		must(t, second.Together(ctx, func(ctx context.Context) error {
			return errors.Join(second.Set(ctx, owner(1), attach(1)), second.Set(ctx, owner(3), attach(3)))
		}))
		mark := nft.TableID{Family: nft.Inet, Name: "mark"}
		var tx nft.Tx
		tx.AddTable(nft.Table{TableID: mark})
		must(t, other(t).Run(ctx, &tx))
		seen := map[string]bool{}
		for marked := false; !marked; {
			c, err := w.Next(ctx)
			must(t, err)
			for _, e := range c.Events {
				seen[e.String()] = true
				if e.Kind != nft.KindElement && (e.Deleted || e.Kind != nft.KindTable) {
					t.Errorf("taking over: %s", e)
				}
			}
			marked = c.Touches(mark)
		}
		if !seen["delete element bridge cnm ports"] || !seen["add element bridge cnm ports"] {
			t.Errorf("changes: %v", seen)
		}
		if got := elements(t, "ports"); !slices.Equal(got, []string{`"cnv1"`, `"cnv3"`}) {
			t.Errorf("ports: %q", got)
		}
		sound(t, second)
	})
}

// TestForeignName refuses tables that only have our name.
func TestForeignName(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		kerneltest.Clear(t, "cnm")
		var tx nft.Tx
		tx.AddTable(nft.Table{TableID: nft.TableID{Family: nft.Inet, Name: "cnm"}})
		must(t, other(t).Run(t.Context(), &tx))
		if _, err := firewall.Open(t.Context(), firewall.Config{}); !errors.Is(err, cnm.Exists) {
			t.Errorf("error %v", err)
		}
	})
}

// TestHandedOver gives the socket to the next life, as a service manager does, and the tables stay owned in between.
func TestHandedOver(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		needOwned(t, openFirewall(t, firewall.Config{}))
		first, err := firewall.Open(t.Context(), firewall.Config{})
		must(t, err)
		must(t, first.Set(t.Context(), owner(1), attach(1)))
		socket, err := first.Socket()
		must(t, err)
		must(t, first.Close())
		flushRuleset(t)
		if got := elements(t, "ports"); len(got) != 1 {
			t.Errorf("ports after a flush in between: %q", got)
		}
		second := openFirewall(t, firewall.Config{Socket: socket})
		must(t, second.Set(t.Context(), owner(2), attach(2)))
		sound(t, second)
	})
}

// TestFlush lets another process flush the ruleset under live flows.
func TestFlush(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		l := newLab(t, firewall.Config{})
		needOwned(t, l.fw)
		l.network(1, plain("cn-a", 1))
		l.network(2, plain("cn-b", 2))
		l.neighbour("lan", 2)
		a1 := l.endpoint("a1", "cn-a", 1, 11)
		l.endpoint("b1", "cn-b", 2, 11)
		l.serve(a1, 80)
		l.publish(a1, everywhere(8001)...)
		live := l.streams("up2", 8001, 0, "lan", "b1")
		flushRuleset(t)
		sound(t, l.fw)
		l.live(live)
		l.check(probe{from: "b1", to: "a1", port: 80}, probe{from: "lan", to: "a1", port: 80}, probe{from: "lan", to: "up2", port: 8001, want: "a1"})
	})
}
