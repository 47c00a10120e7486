// SPDX-License-Identifier: Apache-2.0

package link_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/libnetwork/cnm/kernel/kerneltest"
	"github.com/libnetwork/cnm/kernel/link"
)

// refusals are the *Errors in err, in order.
func refusals(err error) []*link.Error {
	if e, ok := err.(*link.Error); ok { //nolint:errorlint // the top of the tree is meant
		return []*link.Error{e}
	}
	var out []*link.Error
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, err := range joined.Unwrap() {
			if one, ok := errors.AsType[*link.Error](err); ok {
				out = append(out, one)
			}
		}
	}
	return out
}

func TestRefusedMessageIsNamed(t *testing.T) {
	t.Parallel()
	isolated(t, func(t *testing.T) {
		ns := kerneltest.NewNS(t)
		c := dial(t)
		pair(t, c, "cnvabc123")
		var b link.Batch
		b.CreateBridge(link.Bridge{Name: "br0"})
		b.CreateVeth(link.Veth{Name: "cnvabc123", Peer: link.Peer{Name: "eth0", Namespace: ns.Fd()}})
		b.CreateBridge(link.Bridge{Name: "br1"})
		b.SetLink(link.Change{Link: link.Named("br0"), Up: link.On})
		b.SetLink(link.Change{Link: link.Named("br1"), Up: link.On})
		before := c.RoundTrips()
		err := c.Do(&b)
		equal(t, "error", fmt.Sprint(err), "create veth cnvabc123 in namespace: file exists")
		equal(t, "is EEXIST", errors.Is(err, unix.EEXIST), true)
		equal(t, "sends", c.RoundTrips()-before, 1)
		var refused *link.Error
		if !errors.As(err, &refused) || refused.Position != 1 || refused.Name != "cnvabc123" {
			t.Errorf("refused message is %+v", refused)
		}
		// A batch is no transaction: what follows a refused message still ran.
		up := read(t, c, "br1")
		equal(t, "later message ran", up.Up(), true)
	})
}

func TestSeveralRefusals(t *testing.T) {
	t.Parallel()
	isolated(t, func(t *testing.T) {
		c := dial(t)
		index := pair(t, c, "v0")
		var b link.Batch
		b.SetLink(link.Change{Link: link.Named("absent"), Up: link.On})
		b.AddRoute(link.Route{Dst: prefix("198.51.100.0/24"), Gateway: addr("192.0.2.1"), Link: index, Table: 77})
		b.SetLink(link.Change{Link: link.Named("v0"), Alias: "works"})
		b.DeleteAddress(link.Address{Link: index, Prefix: prefix("2001:db8::2/64")})
		err := c.Do(&b)
		got := refusals(err)
		if len(got) != 3 || got[0].Position != 0 || got[1].Position != 1 || got[2].Position != 3 {
			t.Fatalf("refusals are %v", got)
		}
		for _, want := range []error{unix.ENODEV, unix.ENETUNREACH, unix.EADDRNOTAVAIL} {
			equal(t, want.Error(), errors.Is(err, want), true)
		}
		equal(t, "the kernel's own words", got[1].Message, "Nexthop has invalid gateway")
		want := fmt.Sprintf("add route 198.51.100.0/24 on link %d in table 77: network is unreachable (Nexthop has invalid gateway)", index)
		equal(t, "text", got[1].Error(), want)
		equal(t, "message between", read(t, c, "v0").Alias, "works")
	})
}

// TestManyRefusals sends more messages than one send takes, all refused, so that
// the answers fill the receive buffer as far as they ever do.
func TestManyRefusals(t *testing.T) {
	t.Parallel()
	isolated(t, func(t *testing.T) {
		c := dial(t)
		var b link.Batch
		const n = 1000
		for i := range n {
			b.DeleteRoute(link.Route{Dst: prefix(fmt.Sprintf("2001:db8:%x::/64", i)), Gateway: addr("2001:db8::1"), Link: 4711})
		}
		before := c.RoundTrips()
		got := refusals(c.Do(&b))
		equal(t, "refusals", len(got), n)
		for i, e := range got {
			equal(t, "position", e.Position, i)
		}
		equal(t, "sends", c.RoundTrips()-before, 8)
		read(t, c, "lo")
	})
}

func TestInvalidBatchIsNotSent(t *testing.T) {
	t.Parallel()
	isolated(t, func(t *testing.T) {
		c := dial(t)
		var b link.Batch
		b.CreateBridge(link.Bridge{Name: "br0"})
		b.DeleteGroup(0)
		err := c.Do(&b)
		equal(t, "error", fmt.Sprint(err),
			"delete links of group 0: invalid argument (group 0 is the default group of every link: delete by name or index)")
		equal(t, "is EINVAL", errors.Is(err, unix.EINVAL), true)
		equal(t, "sends", c.RoundTrips(), 0)
		if _, err := c.Link(link.Named("br0")); !errors.Is(err, unix.ENODEV) {
			t.Errorf("the bridge: %v, want ENODEV", err)
		}
		if err := c.Do(&link.Batch{}); err != nil || c.RoundTrips() != 1 {
			t.Errorf("an empty batch: %v after %d sends, want none", err, c.RoundTrips()-1)
		}
	})
}

func TestInvalidMessages(t *testing.T) {
	t.Parallel()
	for want, build := range map[string]func(b *link.Batch){
		"use 1 to 15 bytes":     func(b *link.Batch) { b.CreateBridge(link.Bridge{Name: "sixteen-bytes-xx"}) },
		"no blank":              func(b *link.Batch) { b.CreateBridge(link.Bridge{Name: "eth%d"}) },
		"by one of the two":     func(b *link.Batch) { b.DeleteLink(link.Ref{Index: 1, Name: "a"}) },
		"give a positive index": func(b *link.Batch) { b.DeleteLink(link.Ref{}) },
		"set both":              func(b *link.Batch) { b.CreateVeth(link.Veth{Name: "a", Peer: link.Peer{Name: "b", Index: 5}}) },
		"link given by index": func(b *link.Batch) {
			b.SetLink(link.Change{Link: link.Named("a"), Rename: "b"})
			b.MoveLink(link.Move{Link: link.Named("a"), Name: "b", Namespace: 3})
		},
		"choose one": func(b *link.Batch) {
			b.SetLink(link.Change{Link: link.Named("a"), Master: 1, NoMaster: true, Port: link.Port{Guard: link.On}})
		},
		"alias of 256 bytes": func(b *link.Batch) { b.SetLink(link.Change{Link: link.Named("a"), Alias: strings.Repeat("a", 256)}) },
		"use private":        func(b *link.Batch) { b.CreateMacvlan(link.Macvlan{Name: "a", Parent: 1}) },
		"give an open one":   func(b *link.Batch) { b.MoveLink(link.Move{Link: link.Named("a")}); b.AssignNamespaceID(-1, 0) },
		"with a length":      func(b *link.Batch) { b.AddAddress(link.Address{Link: 1}) },
		"has host bits":      func(b *link.Batch) { b.AddRoute(link.Route{Dst: prefix("192.0.2.1/24")}) },
		"of one family":      func(b *link.Batch) { b.AddRoute(link.Route{Dst: prefix("::/0"), Gateway: addr("192.0.2.1")}) },
		"give one family":    func(b *link.Batch) { b.AddRule(link.Rule{Family: link.IPv6, From: prefix("192.0.2.0/24"), Table: 5}) },
		"table 0":            func(b *link.Batch) { b.AddRule(link.Rule{Family: link.IPv6}) },
		"needs one":          func(b *link.Batch) { b.AddNeighbour(link.Neighbour{Link: 1, Addr: addr("192.0.2.1")}) },
		"say whose table":    func(b *link.Batch) { b.AddFDB(link.FDBEntry{Link: 1, MAC: mac1()}) },
	} {
		var b link.Batch
		build(&b)
		err := b.Err()
		got := refusals(err)
		if len(got) != b.Len() {
			t.Errorf("%q: %v, want a refusal of each of %d messages", want, err, b.Len())
		}
		for _, e := range got {
			if !strings.Contains(e.Message, want) {
				t.Errorf("%v, want %q", e, want)
			}
		}
	}
}

func TestConcurrentCallers(t *testing.T) {
	t.Parallel()
	isolated(t, func(t *testing.T) {
		c := dial(t)
		var group sync.WaitGroup
		for worker := range 8 {
			group.Go(func() {
				for round := range 10 {
					name := fmt.Sprintf("w%dr%d", worker, round)
					var b link.Batch
					b.CreateVeth(link.Veth{Name: name, Peer: link.Peer{Name: name + "p"}})
					b.CreateVeth(link.Veth{Name: name, Peer: link.Peer{Name: name + "q"}})
					b.SetLink(link.Change{Link: link.Named(name), Alias: name})
					var refused *link.Error
					if err := c.Do(&b); !errors.As(err, &refused) || refused.Name != name || refused.Position != 1 {
						t.Errorf("%s: %v", name, err)
					}
					if l, err := c.Link(link.Named(name)); err != nil || l.Alias != name {
						t.Errorf("%s: %v, %v", name, l.Alias, err)
					}
					if links, err := c.Links(t.Context(), link.LinkFilter{Kind: "veth"}); err != nil || len(links) < 2*round {
						t.Errorf("%d links, %v", len(links), err)
					}
				}
			})
		}
		group.Wait()
	})
}

func TestClosedConn(t *testing.T) {
	t.Parallel()
	isolated(t, func(t *testing.T) {
		c, err := link.Dial(link.Here)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		var b link.Batch
		b.CreateBridge(link.Bridge{Name: "br0"})
		if err := c.Do(&b); !errors.Is(err, os.ErrClosed) {
			t.Errorf("Do on a closed Conn: %v", err)
		}
		if _, err := c.Link(link.Named("lo")); !errors.Is(err, os.ErrClosed) {
			t.Errorf("Link on a closed Conn: %v", err)
		}
	})
}

func TestDialRefusesWhatIsNoNamespace(t *testing.T) {
	t.Parallel()
	isolated(t, func(t *testing.T) {
		f, err := os.Open(os.DevNull)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := link.Dial(int(f.Fd())); err == nil {
			t.Error("dialled into /dev/null")
		}
	})
}

func TestDumpEndsWithItsContext(t *testing.T) {
	t.Parallel()
	isolated(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := dial(t).Links(ctx, link.LinkFilter{}); !errors.Is(err, context.Canceled) {
			t.Errorf("a dump under an ended context: %v", err)
		}
	})
}
