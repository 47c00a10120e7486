// SPDX-License-Identifier: Apache-2.0

package link

import (
	"net/netip"
	"strconv"

	"golang.org/x/sys/unix"
)

// NeighState is the state of a neighbour or forwarding entry, bits of NUD_*.
type NeighState uint16

// States of use to set. A permanent neighbour is never garbage collected and does
// not count against the table's limit.
const (
	Permanent NeighState = unix.NUD_PERMANENT // a neighbour for good; in an FDB: an address of the bridge itself
	NoARP     NeighState = unix.NUD_NOARP     // never asked for; in an FDB: a static entry
	Reachable NeighState = unix.NUD_REACHABLE // known now, ages; in an FDB: a dynamic entry
)

// String returns the state's name as ip-neighbour(8) has it, or its number.
func (s NeighState) String() string {
	switch s {
	case Permanent:
		return "permanent"
	case NoARP:
		return "noarp"
	case Reachable:
		return "reachable"
	default:
		return "state" + strconv.Itoa(int(s))
	}
}

// Neighbour ties an IP address to a MAC address on a link. It is what a batch
// adds and what a dump reads.
type Neighbour struct {
	// Link is the index of the link.
	Link int
	// Addr is the neighbour's address.
	Addr netip.Addr
	// MAC of the neighbour; zero for a proxy entry.
	MAC MAC
	// State is Permanent where zero.
	State NeighState
	// Proxy makes this host answer for the address instead.
	Proxy bool
	// Protocol says who made the entry, as that of a [Route] does; 0 where nobody does.
	Protocol uint8
}

// AddNeighbour appends the message that adds a neighbour: EEXIST if there is one.
func (b *Batch) AddNeighbour(n Neighbour) {
	b.add(neighbourChange{n, "add neighbour", unix.RTM_NEWNEIGH, unix.NLM_F_CREATE | unix.NLM_F_EXCL})
}

// ReplaceNeighbour appends the message that adds a neighbour or changes it.
func (b *Batch) ReplaceNeighbour(n Neighbour) {
	b.add(neighbourChange{n, "replace neighbour", unix.RTM_NEWNEIGH, unix.NLM_F_CREATE | unix.NLM_F_REPLACE})
}

// DeleteNeighbour appends the message that deletes the neighbour with this Link,
// Addr and Proxy: ENOENT if there is none.
func (b *Batch) DeleteNeighbour(n Neighbour) {
	b.add(neighbourChange{n, "delete neighbour", unix.RTM_DELNEIGH, 0})
}

type neighbourChange struct {
	Neighbour
	op         string
	typ, flags uint16
}

func (n neighbourChange) subject() subject {
	return subject{op: n.op, name: n.Addr.String(), where: onLink(n.Link)}
}

func (n neighbourChange) check() error {
	if !n.Addr.IsValid() || n.Addr.Is4In6() {
		return invalid("address %v: give an IPv4 or IPv6 address", n.Addr)
	}
	if n.typ == unix.RTM_NEWNEIGH && n.Proxy != n.MAC.IsZero() {
		return invalid("MAC address %v: a neighbour needs one, a proxy entry takes none", n.MAC)
	}
	return checkLink(n.Link)
}

func (n neighbourChange) encode(e *encoder) (uint16, uint16) {
	var flags uint8
	if n.Proxy {
		flags = unix.NTF_PROXY
	}
	state := n.State
	if state == 0 {
		state = Permanent
	}
	e.neighbour(familyOf(n.Addr), n.Link, state, flags)
	e.addr(unix.NDA_DST, n.Addr)
	e.mac(unix.NDA_LLADDR, n.MAC)
	if n.Protocol != 0 {
		e.u8(ndaProtocol, n.Protocol)
	}
	return n.typ, n.flags
}

func (n neighbourChange) print(l *line) {
	l.mac("mac", n.MAC)
	if n.State != 0 {
		l.word("", n.State.String())
	}
	l.flag(n.Proxy, "proxy")
	l.number("protocol", int(n.Protocol))
}

// neighbour appends a struct ndmsg.
func (e *encoder) neighbour(family uint8, index int, state NeighState, flags uint8) {
	e.b = append(e.b, family, 0, 0, 0)
	e.long(uint32(index))
	at := len(e.b)
	e.zero(4)
	putState(e.b[at:], state)
	e.b[at+2] = flags
}

func decodeNeighbour(b []byte) (Neighbour, error) {
	h, at, err := split(b, sizeNeighbour, "neighbour")
	if err != nil {
		return Neighbour{}, err
	}
	n := Neighbour{Link: number(h[4:]), State: NeighState(u16(h[8:])), Proxy: h[10]&unix.NTF_PROXY != 0}
	for at.next() {
		switch at.typ {
		case unix.NDA_DST:
			n.Addr = addrOf(at.val)
		case unix.NDA_LLADDR:
			n.MAC = macOf(at.val)
		case ndaProtocol:
			n.Protocol = u8(at.val)
		}
	}
	return n, nil
}
