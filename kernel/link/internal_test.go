// SPDX-License-Identifier: Apache-2.0

package link

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// scripted is a Conn whose kernel is a function from a request to datagrams.
type scripted struct {
	Conn
	queue [][]byte
}

func (s *scripted) Control(f func(uintptr)) error { f(0); return nil }

func (s *scripted) Read(func(uintptr) bool) error  { return errors.ErrUnsupported }
func (s *scripted) Write(func(uintptr) bool) error { return errors.ErrUnsupported }

func script(answer func(seq uint32, trip int) [][]byte) *scripted {
	s := &scripted{}
	s.raw = s
	s.send = func(uintptr) {
		s.queue = answer(binary.NativeEndian.Uint32(s.enc.b[8:]), int(s.RoundTrips()))
	}
	s.receive = func(uintptr) {
		if len(s.queue) == 0 {
			s.io = ioResult{err: unix.EAGAIN}
			return
		}
		s.io = ioResult{n: copy(s.in, s.queue[0]), from: &unix.SockaddrNetlink{}}
		s.queue = s.queue[1:]
	}
	return s
}

// datagram is one message of a scripted answer.
func datagram(typ, flags uint16, seq uint32, body []byte) []byte {
	var e encoder
	at := e.openMessage()
	e.b = append(e.b, body...)
	e.closeMessage(at, typ, flags, seq)
	return e.b
}

func linkBody(index int) []byte {
	var e encoder
	e.ifinfo(index, 0, 0)
	return e.b
}

// TestInterruptedDumpIsReadAgain gives the mark once in a record and once at the
// end, and wants only the third, consistent answer.
func TestInterruptedDumpIsReadAgain(t *testing.T) {
	t.Parallel()
	s := script(func(seq uint32, trip int) [][]byte {
		var record, done uint16 = unix.NLM_F_MULTI, unix.NLM_F_MULTI
		switch trip {
		case 1:
			record |= unix.NLM_F_DUMP_INTR
		case 2:
			done |= unix.NLM_F_DUMP_INTR
		}
		return [][]byte{
			datagram(unix.RTM_NEWLINK, record, seq-1, linkBody(99)), // left over from an earlier request
			datagram(unix.RTM_NEWLINK, record, seq, linkBody(trip)),
			datagram(unix.NLMSG_DONE, done, seq, make([]byte, 4)),
		}
	})
	links, err := s.Links(t.Context(), LinkFilter{})
	if err != nil || len(links) != 1 || links[0].Index != 3 {
		t.Errorf("links are %+v, %v, want the one of the third dump", links, err)
	}
}

func TestInterruptedDumpEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	s := script(func(seq uint32, trip int) [][]byte {
		if trip == 3 {
			cancel()
		}
		return [][]byte{datagram(unix.NLMSG_DONE, unix.NLM_F_DUMP_INTR, seq, make([]byte, 4))}
	})
	if _, err := s.Links(ctx, LinkFilter{}); !errors.Is(err, context.Canceled) || s.RoundTrips() != 3 {
		t.Errorf("%v after %d dumps, want canceled after 3", err, s.RoundTrips())
	}
}

// TestRestlessTable: a table that a change runs into each time is read a few times, not for ever. What stood all the while is in the
// answer though a dump passed over it, once, as it was seen last.
func TestRestlessTable(t *testing.T) {
	t.Parallel()
	s := script(func(seq uint32, trip int) [][]byte {
		const mark = unix.NLM_F_MULTI | unix.NLM_F_DUMP_INTR
		link := func(index int) []byte { return datagram(unix.RTM_NEWLINK, mark, seq, linkBody(index)) }
		all := [][]byte{link(100 + trip)} // comes and goes
		if trip != 2 && trip != dumpTries {
			all = append(all, link(7))
		}
		return append(all, link(8), datagram(unix.NLMSG_DONE, unix.NLM_F_MULTI, seq, make([]byte, 4)))
	})
	links, err := s.Links(t.Context(), LinkFilter{})
	if err != nil || s.RoundTrips() != dumpTries {
		t.Fatalf("%v after %d dumps, want an answer after %d", err, s.RoundTrips(), dumpTries)
	}
	var got []int
	for i := range links {
		got = append(got, links[i].Index)
	}
	if want := []int{101, 102, 103, 7, 104, 8}; !slices.Equal(got, want) {
		t.Errorf("links are %v, want %v", got, want)
	}
}

func TestDumpErrors(t *testing.T) {
	t.Parallel()
	eperm := make([]byte, 4)
	binary.NativeEndian.PutUint32(eperm, uint32(0xffffffff)) // -1, EPERM
	for name, tc := range map[string]struct {
		answer func(seq uint32) [][]byte
		want   error
	}{
		"refused at its end": {func(seq uint32) [][]byte {
			return [][]byte{datagram(unix.NLMSG_DONE, unix.NLM_F_MULTI, seq, eperm)}
		}, unix.EPERM},
		"no answer":     {func(uint32) [][]byte { return nil }, errNoReply},
		"stale answer":  {func(seq uint32) [][]byte { return [][]byte{datagram(unix.NLMSG_DONE, 0, seq-1, eperm)} }, errNoReply},
		"short garbage": {func(uint32) [][]byte { return [][]byte{{1, 2, 3}} }, errNoReply},
		"refused at all": {func(seq uint32) [][]byte {
			return [][]byte{datagram(unix.NLMSG_ERROR, 0, seq, append(eperm, make([]byte, 16)...))}
		}, unix.EPERM},
	} {
		s := script(func(seq uint32, _ int) [][]byte { return tc.answer(seq) })
		if _, err := s.Links(t.Context(), LinkFilter{}); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, want %v", name, err, tc.want)
		}
	}
}

// TestLostAnswer is a batch whose acknowledgement never comes: no hang, no success.
func TestLostAnswer(t *testing.T) {
	t.Parallel()
	s := script(func(uint32, int) [][]byte { return nil })
	s.in = make([]byte, smallReply)
	var b Batch
	b.DeleteLink(Named("a"))
	if err := s.Do(&b); !errors.Is(err, errNoReply) {
		t.Errorf("%v, want %v", err, errNoReply)
	}
}

// FuzzDecoders feeds every decoder with every input: none may panic.
func FuzzDecoders(f *testing.F) {
	var b Batch
	b.CreateVeth(Veth{Name: "a", MAC: MAC{2}, Peer: Peer{Name: "b", Index: 5}, Index: 4})
	b.CreateBridge(Bridge{Name: "br", Options: BridgeOptions{STP: On, MulticastRouter: MulticastRouterAlways}})
	b.SetLink(Change{Link: Named("a"), IPv4: []Conf{{Forwarding, 1}}, AddrGenMode: AddrGenNone, Port: Port{Hairpin: On}})
	b.DeleteGroup(7)
	for _, m := range b.msgs {
		var e encoder
		typ, flags := m.encode(&e)
		f.Add(typ, flags, e.b)
		f.Add(typ, flags, e.b[:len(e.b)-3])
	}
	for _, typ := range []uint16{unix.RTM_NEWADDR, unix.RTM_NEWROUTE, unix.RTM_NEWRULE, unix.RTM_NEWNEIGH, unix.RTM_NEWNSID} {
		f.Add(typ, uint16(0), []byte{unix.AF_INET, 24, 24, 0, 1, 0, 0, 0, 1, 0, 0, 0, 8, 0, 1, 0, 192, 0, 2, 1, 8, 0, 2, 0, 192, 0, 2, 1})
		f.Add(typ, uint16(unix.NLM_F_ACK_TLVS), []byte{unix.AF_BRIDGE, 129, 129})
	}
	f.Fuzz(func(_ *testing.T, typ, flags uint16, body []byte) {
		_ = decodeEvent(OwnNamespace, typ, body)
		for _, all := range []uint16{
			unix.RTM_NEWLINK, unix.RTM_NEWADDR, unix.RTM_NEWROUTE, unix.RTM_NEWRULE, unix.RTM_NEWNEIGH, unix.RTM_NEWNSID,
		} {
			_ = decodeEvent(OwnNamespace, all, body)
		}
		for m := (messages{rest: body}); m.next(); {
			_, _, _ = parseAck(m.typ, m.flags, m.body)
		}
		_, _, _ = parseAck(typ, flags, body)
		_, _, _ = parseAck(unix.NLMSG_ERROR, flags, body)
		namespaceOf(body)
	})
}
