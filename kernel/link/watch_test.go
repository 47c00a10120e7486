// SPDX-License-Identifier: Apache-2.0

package link_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/libnetwork/cnm/kernel/link"
	"github.com/libnetwork/cnm/kernel/netns"
)

// watch starts a watcher that ends with the test.
func watch(tb testing.TB, o link.WatchOptions) *link.Watcher {
	tb.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	w, err := link.Watch(ctx, o)
	if err != nil {
		cancel()
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		cancel()
		for range w.Events() { // until it is closed
		}
		if err := w.Err(); err != nil {
			tb.Error(err)
		}
	})
	return w
}

// await receives until an event of type E matches.
func await[E link.Event](tb testing.TB, w *link.Watcher, what string, match func(E) bool) E {
	tb.Helper()
	late := time.After(10 * time.Second)
	for {
		select {
		case e, ok := <-w.Events():
			if !ok {
				tb.Fatalf("%s: the watcher ended: %v", what, w.Err())
			}
			if e, ok := e.(E); ok && match(e) {
				return e
			}
		case <-late:
			tb.Fatalf("%s: no such event", what)
		}
	}
}

func TestWatchTopics(t *testing.T) {
	t.Parallel()
	isolated(t, func(t *testing.T) {
		c := dial(t)
		w := watch(t, link.WatchOptions{})
		do(t, c, func(b *link.Batch) {
			b.CreateBridge(link.Bridge{Name: "br0", Index: 1001})
			b.CreateVeth(link.Veth{Name: "v0", Index: 1002, Master: 1001, Peer: link.Peer{Name: "v1", Index: 1003}})
			b.SetLink(link.Change{Link: link.Named("v1"), Up: link.On})
			b.SetLink(link.Change{Link: link.Named("v0"), Up: link.On})
		})
		await(t, w, "new link", func(e *link.LinkEvent) bool {
			return !e.Gone && e.Link.Name == "v0" && e.Namespace == link.OwnNamespace
		})
		await(t, w, "link up", func(e *link.LinkEvent) bool { return e.Link.Name == "v0" && e.Link.Up() })
		do(t, c, func(b *link.Batch) {
			b.SetLink(link.Change{Link: link.Named("v0"), Port: link.Port{Isolated: link.On}})
			b.AddFDB(link.FDBEntry{Link: 1002, MAC: mac1(), Master: true})
			b.SetLink(link.Change{Link: link.Named("v0"), NoMaster: true})
		})
		await(t, w, "port attribute", func(e *link.PortEvent) bool {
			return e.Link == 1002 && e.Bridge == 1001 && e.Port.Isolated == link.On && !e.Gone
		})
		await(t, w, "fdb", func(e *link.FDBEvent) bool { return e.Entry.MAC == mac1() && e.Entry.Bridge == 1001 })
		await(t, w, "port left", func(e *link.PortEvent) bool { return e.Link == 1002 && e.Gone })
		records(t, c, w)
		do(t, c, func(b *link.Batch) { b.DeleteLink(link.Named("v0")) })
		await(t, w, "link gone", func(e *link.LinkEvent) bool { return e.Gone && e.Link.Name == "v0" })
	})
}

// records adds and deletes one of everything on link 1002 and awaits the events,
// in any order: IPv6 addresses are announced by a worker of the kernel's.
func records(t *testing.T, c *link.Conn, w *link.Watcher) {
	t.Helper()
	for _, r := range []record{
		{
			link.Address{Link: 1002, Prefix: prefix("192.0.2.2/24")},
			link.Route{Dst: prefix("198.51.100.0/24"), Gateway: addr("192.0.2.1"), Link: 1002},
			link.Rule{Priority: 100, From: prefix("192.0.2.2/32"), Table: 100},
			link.Neighbour{Link: 1002, Addr: addr("192.0.2.1"), MAC: mac1()},
		},
		{
			link.Address{Link: 1002, Prefix: prefix("2001:db8::2/64"), NoDAD: true},
			link.Route{Dst: prefix("2001:db8:1::/64"), Gateway: addr("2001:db8::1"), Link: 1002},
			link.Rule{Priority: 100, From: prefix("2001:db8::2/128"), Table: 100},
			link.Neighbour{Link: 1002, Addr: addr("2001:db8::1"), MAC: mac1()},
		},
	} {
		do(t, c, func(b *link.Batch) {
			b.AddAddress(r.address)
			b.AddRoute(r.route)
			b.AddRule(r.rule)
			b.AddNeighbour(r.neighbour)
		})
		r.await(t, w, false)
		do(t, c, func(b *link.Batch) {
			b.DeleteNeighbour(r.neighbour)
			b.DeleteRule(r.rule)
			b.DeleteRoute(r.route)
			b.DeleteAddress(r.address)
		})
		r.await(t, w, true)
	}
}

// record is one of everything, of one family.
type record struct {
	address   link.Address
	route     link.Route
	rule      link.Rule
	neighbour link.Neighbour
}

// await receives until all four were announced.
func (r record) await(t *testing.T, w *link.Watcher, gone bool) {
	t.Helper()
	missing := map[string]bool{"address": true, "route": true, "rule": true, "neighbour": true}
	await(t, w, "records", func(e link.Event) bool {
		switch e := e.(type) {
		case *link.AddressEvent:
			if e.Gone == gone && e.Address.Prefix == r.address.Prefix {
				delete(missing, "address")
			}
		case *link.RouteEvent:
			if e.Gone == gone && e.Route.Dst == r.route.Dst {
				delete(missing, "route")
			}
		case *link.RuleEvent:
			if e.Gone == gone && e.Rule.From == r.rule.From {
				delete(missing, "rule")
			}
		case *link.NeighbourEvent: // a deleted one is announced as failed before it is gone
			if e.Neighbour.Addr == r.neighbour.Addr && (gone || e.Neighbour.State == link.Permanent) {
				delete(missing, "neighbour")
			}
		}
		return len(missing) == 0
	})
}

// TestWatchOtherNamespaces sees changes inside a namespace that has an id here,
// and its death, from an unprivileged user namespace.
// TestWatchRemovals: of what is watched for removals only those are told, and routes that may have taken another's place.
func TestWatchRemovals(t *testing.T) {
	t.Parallel()
	isolated(t, func(t *testing.T) {
		c := dial(t)
		do(t, c, func(b *link.Batch) {
			b.CreateVeth(link.Veth{Name: "v0", Index: 1002, Peer: link.Peer{Name: "v1", Index: 1003}})
			b.SetLink(link.Change{Link: link.Named("v1"), Up: link.On})
			b.SetLink(link.Change{Link: link.Named("v0"), Up: link.On})
		})
		topics := link.Addresses | link.Routes | link.Rules
		w := watch(t, link.WatchOptions{Topics: topics, Removals: topics, Own: 67})
		rule := link.Rule{From: prefix("192.0.2.9/32"), Priority: 100, Table: 1000}
		do(t, c, func(b *link.Batch) {
			b.AddAddress(link.Address{Link: 1002, Prefix: prefix("192.0.2.1/24")})
			b.AddAddress(link.Address{Link: 1002, Prefix: prefix("2001:db8::1/64"), NoDAD: true})
			b.AddRule(rule)
			b.AddRoute(link.Route{Dst: prefix("0.0.0.0/0"), Gateway: addr("192.0.2.2"), Link: 1002, Protocol: 67})
			b.AddRoute(link.Route{Dst: prefix("198.51.100.0/24"), Gateway: addr("192.0.2.2"), Link: 1002, Table: 1000, Protocol: 67})
			b.AddRoute(link.Route{Dst: prefix("198.51.100.0/24"), Gateway: addr("192.0.2.2"), Link: 1002})
			b.AddRoute(link.Route{Dst: prefix("0.0.0.0/0"), Gateway: addr("192.0.2.3"), Link: 1002, Metric: 5})
			b.AddRoute(link.Route{Dst: prefix("2001:db8:1::/48"), Gateway: addr("2001:db8::2"), Link: 1002, Table: 1000})
			b.DeleteRule(rule)
			b.DeleteAddress(link.Address{Link: 1002, Prefix: prefix("2001:db8::1/64")})
		})
		var told []string
		for e := range w.Events() {
			switch e := e.(type) {
			case *link.RouteEvent:
				if !e.Gone {
					told = append(told, fmt.Sprintf("%v metric %d", e.Route.Dst, e.Route.Metric))
				}
			case *link.RuleEvent:
				if e.Gone {
					told = append(told, "rule gone")
				} else {
					told = append(told, "rule")
				}
			case *link.AddressEvent:
				if !e.Gone {
					t.Fatalf("address %v is told", e.Address.Prefix)
				}
				if want := []string{"0.0.0.0/0 metric 5", "2001:db8:1::/48 metric 1024", "rule gone"}; !slices.Equal(told, want) {
					t.Errorf("told %q, want %q", told, want)
				}
				return
			}
		}
	})
}

func TestWatchOtherNamespaces(t *testing.T) {
	t.Parallel()
	isolated(t, func(t *testing.T) {
		ns, err := netns.New()
		if err != nil {
			t.Fatal(err)
		}
		defer ns.Close()
		host := dial(t)
		w := watch(t, link.WatchOptions{AllNamespaces: true, Topics: link.Links | link.Addresses | link.Namespaces})
		do(t, host, func(b *link.Batch) { b.AssignNamespaceID(ns.Fd(), 41) })
		await(t, w, "id assigned", func(e *link.NamespaceEvent) bool { return !e.Gone && e.ID == 41 })

		inside, err := link.Dial(ns.Fd())
		if err != nil {
			t.Fatal(err)
		}
		do(t, inside, func(b *link.Batch) {
			b.CreateVeth(link.Veth{Name: "v0", Index: 1001, Peer: link.Peer{Name: "v1", Index: 1002}})
			b.AddAddress(link.Address{Link: 1001, Prefix: prefix("192.0.2.2/24")})
			b.AddAddress(link.Address{Link: 1001, Prefix: prefix("2001:db8::2/64"), NoDAD: true})
			b.DeleteLink(link.Named("v0"))
		})
		await(t, w, "link inside", func(e *link.LinkEvent) bool { return e.Namespace == 41 && e.Link.Name == "v0" && !e.Gone })
		await(t, w, "address inside", func(e *link.AddressEvent) bool {
			return e.Namespace == 41 && e.Address.Prefix == prefix("192.0.2.2/24")
		})
		await(t, w, "IPv6 inside", func(e *link.AddressEvent) bool {
			return e.Namespace == 41 && e.Address.Prefix == prefix("2001:db8::2/64")
		})
		await(t, w, "link gone inside", func(e *link.LinkEvent) bool { return e.Namespace == 41 && e.Link.Name == "v0" && e.Gone })

		if err := ns.Close(); err != nil {
			t.Fatal(err)
		}
		if err := inside.Close(); err != nil { // the last thing that kept it alive
			t.Fatal(err)
		}
		await(t, w, "namespace died", func(e *link.NamespaceEvent) bool { return e.Gone && e.ID == 41 })
	})
}

func TestWatchOneNamespaceOnly(t *testing.T) {
	t.Parallel()
	isolated(t, func(t *testing.T) {
		ns, err := netns.New()
		if err != nil {
			t.Fatal(err)
		}
		defer ns.Close()
		host := dial(t)
		inside := dialNS(t, ns)
		here := watch(t, link.WatchOptions{Topics: link.Links})
		there := watch(t, link.WatchOptions{Topics: link.Links, Namespace: ns.Fd()})
		do(t, inside, func(b *link.Batch) { b.CreateBridge(link.Bridge{Name: "inside"}) })
		do(t, host, func(b *link.Batch) { b.CreateBridge(link.Bridge{Name: "here"}) })
		first := await(t, here, "any link here", func(e *link.LinkEvent) bool { return true })
		equal(t, "first link seen here", first.Link.Name, "here")
		first = await(t, there, "any link there", func(e *link.LinkEvent) bool { return true })
		equal(t, "first link seen there", first.Link.Name, "inside")
	})
}

// TestWatchOverrun fills a buffer of a few events while nobody receives. Whatever
// happens after an Overrun was received must be announced, or lead to another.
func TestWatchOverrun(t *testing.T) {
	t.Parallel()
	isolated(t, func(t *testing.T) {
		c := dial(t)
		w := watch(t, link.WatchOptions{Topics: link.Links, Buffer: 16 << 10})
		for round := range 10 {
			do(t, c, func(b *link.Batch) {
				for i := range 100 {
					b.SetLink(link.Change{Link: link.Named("lo"), Alias: fmt.Sprint(round, i)})
				}
			})
			await(t, w, "overrun", func(link.Overrun) bool { return true })
			after := fmt.Sprint("after ", round)
			do(t, c, func(b *link.Batch) { b.SetLink(link.Change{Link: link.Named("lo"), Alias: after}) })
			await(t, w, "change after the overrun, or another one", func(e link.Event) bool {
				l, ok := e.(*link.LinkEvent)
				return !ok || l.Link.Alias == after
			})
		}
	})
}

// TestWatchEndsUnread ends a watcher that holds an event nobody receives, and one
// that waits for the kernel.
func TestWatchEndsUnread(t *testing.T) {
	t.Parallel()
	isolated(t, func(t *testing.T) {
		c := dial(t)
		for _, busy := range []bool{true, false} {
			ctx, cancel := context.WithCancel(t.Context())
			w, err := link.Watch(ctx, link.WatchOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if busy {
				do(t, c, func(b *link.Batch) { b.CreateBridge(link.Bridge{Name: "br0"}) })
			}
			cancel()
			for range w.Events() { // at most what was under way
			}
			if err := w.Err(); err != nil {
				t.Error(err)
			}
		}
	})
}

// TestWatchGathers delivers all that came while the watcher gathered, in its order, and what comes after it has read.
func TestWatchGathers(t *testing.T) {
	t.Parallel()
	isolated(t, func(t *testing.T) {
		c := dial(t)
		w := watch(t, link.WatchOptions{Topics: link.Links, Gather: 2 * time.Millisecond})
		for round := range 5 {
			do(t, c, func(b *link.Batch) {
				for i := range 20 {
					b.SetLink(link.Change{Link: link.Named("lo"), Alias: fmt.Sprint(round, i)})
				}
			})
			for i := range 20 {
				want := fmt.Sprint(round, i)
				e := await(t, w, "change "+want, func(*link.LinkEvent) bool { return true })
				equal(t, "alias", e.Link.Alias, want)
			}
		}
	})
}

// TestWatchEndsWhileItGathers ends a watcher that waits for more.
func TestWatchEndsWhileItGathers(t *testing.T) {
	t.Parallel()
	isolated(t, func(t *testing.T) {
		c := dial(t)
		ctx, cancel := context.WithCancel(t.Context())
		w, err := link.Watch(ctx, link.WatchOptions{Gather: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		do(t, c, func(b *link.Batch) { b.CreateBridge(link.Bridge{Name: "br0"}) })
		cancel()
		for e := range w.Events() {
			t.Errorf("%T was delivered before the watcher had gathered", e)
		}
		if err := w.Err(); err != nil {
			t.Error(err)
		}
	})
}
