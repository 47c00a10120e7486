// SPDX-License-Identifier: Apache-2.0

package conntrack

import (
	"bytes"
	"errors"
	"net/netip"
	"testing"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/libnetwork/cnm/kernel/kerneltest"
)

// The addresses of these tests: clients 192.0.2.0/24 and 2001:db8:c::/64, the
// host 198.51.100.1 and 2001:db8:1::1, what is behind it 203.0.113.0/24 and
// 2001:db8:a::/64.

// attributes that only the making of entries needs.
const (
	ctaProtoInfo         = 4
	ctaTimeout           = 7
	ctaProtoInfoTCP      = 1
	ctaProtoInfoTCPState = 1
	tcpEstablished       = 3
)

const (
	tcp  = 6
	udp  = 17
	sctp = 132
	gre  = 47
)

// flow is an entry as the first packet from a to b makes it, translated so that
// it reaches c.
func flow(proto uint8, a, b, c string) Entry {
	from, to, dest := netip.MustParseAddrPort(a), netip.MustParseAddrPort(b), netip.MustParseAddrPort(c)
	e := Entry{
		Orig:   Tuple{Proto: proto, Src: from, Dst: to},
		Reply:  Tuple{Proto: proto, Src: dest, Dst: from},
		Status: Confirmed | SeenReply,
	}
	if to != dest {
		e.Status |= DstNAT
	}
	return e
}

// creation is the message that makes an entry.
func creation(e *Entry) netlink.Message {
	b := appendHeader(nil, e.Orig.family())
	b = appendTuple(b, ctaTupleOrig, e.Orig)
	b = appendTuple(b, ctaTupleReply, e.Reply)
	b = appendUint32(b, ctaStatus, uint32(e.Status&^(SrcNAT|DstNAT)))
	b = appendUint32(b, ctaTimeout, 600)
	b = appendUint32(b, ctaMark, e.Mark)
	if e.Zone != 0 {
		b = appendUint16(b, ctaZone, e.Zone)
	}
	if e.Orig.Proto == tcp {
		b = appendNested(b, ctaProtoInfo, func(b []byte) []byte {
			return appendNested(b, ctaProtoInfoTCP, func(b []byte) []byte {
				return appendAttr(b, ctaProtoInfoTCPState, tcpEstablished)
			})
		})
	}
	return netlink.Message{
		Header: netlink.Header{Type: typeNew, Flags: netlink.Request | netlink.Create | netlink.Excl | netlink.Acknowledge},
		Data:   b,
	}
}

func dial(tb testing.TB) *Conn {
	tb.Helper()
	c, err := Dial()
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

// create makes entries in the test's namespace.
func create(tb testing.TB, c *Conn, entries ...Entry) {
	tb.Helper()
	for i := range entries {
		if _, err := c.nl.Execute(creation(&entries[i])); err != nil {
			tb.Fatalf("create %+v: %v", entries[i], err)
		}
	}
}

// list gives all entries by their original tuple.
func list(tb testing.TB, c *Conn) map[Tuple]Entry {
	tb.Helper()
	all := map[Tuple]Entry{}
	err := c.Each(tb.Context(), func(e *Entry) bool {
		all[e.Orig] = *e
		return true
	})
	if err != nil {
		tb.Fatal(err)
	}
	return all
}

// sample is one entry of each kind.
func sample() []Entry {
	ping4 := flow(icmp, "192.0.2.7:0", "203.0.113.7:0", "203.0.113.7:0")
	ping4.Orig.ICMP = ICMP{ID: 77, Type: 8}
	ping4.Reply.ICMP = ICMP{ID: 77, Type: 0}
	ping6 := flow(icmpv6, "[2001:db8:c::7]:0", "[2001:db8:a::7]:0", "[2001:db8:a::7]:0")
	ping6.Orig.ICMP = ICMP{ID: 78, Type: 128}
	ping6.Reply.ICMP = ICMP{ID: 78, Type: 129}
	zoned := flow(udp, "192.0.2.8:1000", "203.0.113.8:53", "203.0.113.8:53")
	zoned.Zone, zoned.Mark = 7, 0xfeedbeef
	return []Entry{
		flow(tcp, "192.0.2.1:40000", "203.0.113.1:80", "203.0.113.1:80"),
		flow(udp, "[2001:db8:c::1]:40000", "[2001:db8:a::1]:53", "[2001:db8:a::1]:53"),
		flow(sctp, "192.0.2.2:40000", "203.0.113.2:3868", "203.0.113.2:3868"),
		ping4, ping6, zoned,
	}
}

func TestEntriesRoundTrip(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		c := dial(t)
		want := sample()
		create(t, c, want...)
		if n, err := c.Count(); err != nil || n != len(want) {
			t.Errorf("count %d (%v), want %d", n, err, len(want))
		}
		got := list(t, c)
		for _, w := range want {
			g, ok := got[w.Orig]
			if !ok {
				t.Errorf("%+v is not listed", w.Orig)
				continue
			}
			if g.ID == 0 || g.Status&w.Status != w.Status {
				t.Errorf("id %d and status %#x of %+v, want an id and %#x", g.ID, g.Status, w.Orig, w.Status)
			}
			g.ID, g.Status = 0, w.Status
			if g != w {
				t.Errorf("got  %+v\nwant %+v", g, w)
			}
		}
	})
}

func TestEachStops(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		c := dial(t)
		create(t, c, sample()...)
		calls := 0
		if err := c.Each(t.Context(), func(*Entry) bool { calls++; return false }); err != nil || calls != 1 {
			t.Errorf("%d calls (%v), want 1", calls, err)
		}
		if n := len(list(t, c)); n != len(sample()) {
			t.Errorf("%d entries in the listing after a stopped one, want %d", n, len(sample()))
		}
	})
}

func TestDeleteEveryKind(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		c := dial(t)
		create(t, c, sample()...)
		for tuple, e := range list(t, c) {
			stale := e
			stale.ID++
			if n, err := c.Delete(t.Context(), []Entry{stale}); n != 0 || err != nil {
				t.Errorf("deleting %+v with another id: %d (%v), want 0", tuple, n, err)
			}
			if n, err := c.Delete(t.Context(), []Entry{e}); n != 1 || err != nil {
				t.Errorf("deleting %+v: %d (%v), want 1", tuple, n, err)
			}
			if n, err := c.Delete(t.Context(), []Entry{e}); n != 0 || err != nil {
				t.Errorf("deleting %+v again: %d (%v), want 0", tuple, n, err)
			}
		}
		if n, err := c.Count(); err != nil || n != 0 {
			t.Errorf("%d entries left (%v)", n, err)
		}
	})
}

// TestDeleteBatches deletes more than one batch, among them many that are gone.
func TestDeleteBatches(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		c := dial(t)
		fill(t, c, 3*deleteBatch+1)
		var all []Entry
		for _, e := range list(t, c) {
			all = append(all, e)
		}
		gone := all[:deleteBatch+deleteBatch/2]
		if n, err := c.Delete(t.Context(), gone); n != len(gone) || err != nil {
			t.Fatalf("deleted %d (%v), want %d", n, err, len(gone))
		}
		if n, err := c.Delete(t.Context(), all); n != len(all)-len(gone) || err != nil {
			t.Fatalf("deleted %d (%v), want %d", n, err, len(all)-len(gone))
		}
		if n, err := c.Count(); err != nil || n != 0 {
			t.Errorf("%d entries left (%v)", n, err)
		}
	})
}

// fill makes n entries of distinct clients that match no target of the tests.
func fill(tb testing.TB, c *Conn, n int) {
	tb.Helper()
	const at = 64
	for done := 0; done < n; {
		batch := make([]netlink.Message, min(at, n-done))
		for i := range batch {
			k := done + i
			from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(k >> 16), byte(k >> 8), byte(k)}), 50000)
			e := flow(udp, from.String(), "192.0.2.200:9", "192.0.2.200:9")
			batch[i] = creation(&e)
			batch[i].Header.Flags &^= netlink.Acknowledge
		}
		batch[len(batch)-1].Header.Flags |= netlink.Acknowledge
		if _, err := c.nl.SendMessages(batch); err != nil {
			tb.Fatal(err)
		}
		if _, err := c.nl.Receive(); err != nil {
			tb.Fatal(err)
		}
		done += len(batch)
	}
}

func TestUnsupported(t *testing.T) {
	t.Parallel()
	if err := unsupported(unix.EINVAL, unix.EINVAL); !errors.Is(err, errors.ErrUnsupported) || !errors.Is(err, unix.EINVAL) {
		t.Errorf("%v is not unsupported", err)
	}
	if err := unsupported(unix.EPERM, unix.EINVAL); errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("%v is unsupported", err)
	}
}

// FuzzParse gives the parser bodies that no kernel sent.
func FuzzParse(f *testing.F) {
	for _, e := range sample() {
		f.Add(creation(&e).Data)
		f.Add(e.deletion())
	}
	f.Add([]byte{})
	f.Add([]byte{2, 0, 0, 0, 3, 0, 1, 0})
	f.Fuzz(func(t *testing.T, body []byte) {
		e, err := parseEntry(bytes.Clone(body))
		src, dst := e.Orig.Src.Addr(), e.Orig.Dst.Addr()
		if err != nil || !src.IsValid() || src.BitLen() != dst.BitLen() {
			return
		}
		again, err := parseEntry(e.deletion())
		if err != nil || again.Orig.Src.Addr() != src || again.Orig.Dst.Addr() != dst || again.Orig.Proto != e.Orig.Proto {
			t.Errorf("%+v came back as %+v (%v)", e.Orig, again.Orig, err)
		}
	})
}

// TestFilters compares what the kernel's filters let through with what they are
// said to, for every kind of entry.
func TestFilters(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		c := dial(t)
		create(t, c, sample()...)
		all := list(t, c)
		addr := netip.MustParseAddr
		for _, tc := range []struct {
			f    Filter
			want int
		}{
			{Filter{Src: addr("192.0.2.1")}, 1},
			{Filter{Src: addr("203.0.113.1")}, 0},
			{Filter{Dst: addr("203.0.113.1")}, 1},
			{Filter{Reply: true, Src: addr("203.0.113.1")}, 1},
			{Filter{Reply: true, Dst: addr("203.0.113.1")}, 0},
			{Filter{Src: addr("2001:db8:c::7")}, 1},
			{Filter{Src: addr("2001:db8:c::9")}, 0},
			{Filter{Reply: true, Src: addr("2001:db8:a::7")}, 1},
			{Filter{Dst: addr("2001:db8:a::1"), Proto: udp, DstPort: 53}, 1},
			{Filter{Dst: addr("2001:db8:a::1"), Proto: udp, DstPort: 54}, 0},
			{Filter{Dst: addr("2001:db8:a::1"), Proto: tcp, DstPort: 53}, 0},
			{Filter{Dst: addr("0.0.0.0"), Proto: udp, DstPort: 53}, 1}, // in a zone
			{Filter{Dst: addr("::"), Proto: udp, DstPort: 53}, 1},
			{Filter{Dst: addr("0.0.0.0"), Proto: sctp, DstPort: 3868}, 1},
			{Filter{Dst: addr("0.0.0.0"), Proto: icmp}, 1},
			{Filter{Dst: addr("0.0.0.0")}, 4},
			{Filter{Dst: addr("::")}, 2},
		} {
			n := 0
			err := c.EachMatching(t.Context(), tc.f, func(e *Entry) bool {
				if _, ok := all[e.Orig]; ok {
					n++
				}
				return true
			})
			if err != nil || n != tc.want {
				t.Errorf("%+v lets %d through (%v), want %d", tc.f, n, err, tc.want)
			}
		}
	})
}

func TestFiltersPay(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		walks, entries int
		want           bool
	}{
		{0, 1_000_000, false}, {1, 1, true}, {3, 1_000, false}, {3, 60_000, true}, {7, 60_000, false}, {300, 1_000_000, false},
	} {
		if got := filtersPay(tc.walks, tc.entries); got != tc.want {
			t.Errorf("%d walks over %d entries: %v, want %v", tc.walks, tc.entries, got, tc.want)
		}
	}
}

// TestDeleteFunc deletes with and without filters.
func TestDeleteFunc(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		c := dial(t)
		victim := flow(tcp, "192.0.2.1:40001", "198.51.100.1:80", "203.0.113.1:80")
		var wanted targets
		wanted.add(tcp, netip.MustParseAddrPort("198.51.100.1:80"))
		for _, cover := range [][]Filter{wanted.cover(), nil} {
			create(t, c, sample()...)
			create(t, c, victim)
			n, err := c.DeleteFunc(t.Context(), cover, func(e *Entry) bool { return wanted.match(e, nil) })
			if n != 1 || err != nil {
				t.Errorf("deleted %d (%v), want 1", n, err)
			}
			n, err = c.DeleteFunc(t.Context(), nil, func(*Entry) bool { return true })
			if n != len(sample()) || err != nil {
				t.Errorf("deleted %d (%v), want all the %d others", n, err, len(sample()))
			}
		}
		if n, err := c.DeleteFunc(t.Context(), nil, func(*Entry) bool { return true }); n != 0 || err != nil {
			t.Errorf("deleted %d (%v) of an empty table", n, err)
		}
	})
}
