// SPDX-License-Identifier: Apache-2.0

package link_test

import (
	"net/netip"
	"testing"

	"github.com/libnetwork/cnm/kernel/kerneltest"
	"github.com/libnetwork/cnm/kernel/link"
	"github.com/libnetwork/cnm/kernel/netns"
)

// Addresses in the tests are from the documentation prefixes: 192.0.2.0/24 and
// 2001:db8::/64 on the link under test, 198.51.100.0/24 and 2001:db8:1::/64 behind
// its gateway .1. Interface indices above 1000 are chosen by the tests.

// mac1 and mac2 are addresses that no vendor gives.
func mac1() link.MAC { return link.MAC{0x02, 0, 0, 0, 0, 1} }
func mac2() link.MAC { return link.MAC{0x02, 0, 0, 0, 0, 2} }

// dial opens a socket in the namespace of the test.
func dial(tb testing.TB) *link.Conn { return dialIn(tb, link.Here) }

// dialNS opens a socket in another namespace.
func dialNS(tb testing.TB, ns *netns.NS) *link.Conn { return dialIn(tb, ns.Fd()) }

func dialIn(tb testing.TB, fd int) *link.Conn {
	tb.Helper()
	c, err := link.Dial(fd)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := c.Close(); err != nil {
			tb.Error(err)
		}
	})
	return c
}

// do sends what build appends.
func do(tb testing.TB, c *link.Conn, build func(b *link.Batch)) {
	tb.Helper()
	var b link.Batch
	build(&b)
	if err := c.Do(&b); err != nil {
		tb.Fatalf("%v, in:\n%s", err, b.String())
	}
}

// read reads one link that must exist.
func read(tb testing.TB, c *link.Conn, name string) link.Link {
	tb.Helper()
	l, err := c.Link(link.Named(name))
	if err != nil {
		tb.Fatal(err)
	}
	return l
}

// pair makes a veth pair in the namespace of c, both ends up, and returns the
// index of the first.
func pair(tb testing.TB, c *link.Conn, name string) int {
	tb.Helper()
	do(tb, c, func(b *link.Batch) {
		b.CreateVeth(link.Veth{Name: name, Peer: link.Peer{Name: name + "p"}})
		b.SetLink(link.Change{Link: link.Named(name + "p"), Up: link.On})
		b.SetLink(link.Change{Link: link.Named(name), Up: link.On})
	})
	return read(tb, c, name).Index
}

func equal[T comparable](tb testing.TB, what string, got, want T) {
	tb.Helper()
	if got != want {
		tb.Errorf("%s:\n got %+v\nwant %+v", what, got, want)
	}
}

// count counts the records that match.
func count[T any](list []T, match func(T) bool) int {
	n := 0
	for _, v := range list {
		if match(v) {
			n++
		}
	}
	return n
}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

// isolated runs a test in namespaces of its own, beside the others, and clears the links that it made.
func isolated(t *testing.T, fn func(t *testing.T)) {
	t.Helper()
	kerneltest.Run(t, func(t *testing.T) {
		kerneltest.Clear(t)
		fn(t)
	})
}
