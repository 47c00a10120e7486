// SPDX-License-Identifier: Apache-2.0

package link

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// FDBEntry says behind which port of a bridge a MAC address is. It is what a
// batch adds and what a dump reads.
type FDBEntry struct {
	// Link is the index of the port, or of the bridge itself.
	Link int
	// MAC address.
	MAC MAC
	// State is NoARP (a static entry) where zero; Permanent is an address of the
	// bridge itself, Reachable one that ages.
	State NeighState
	// Master puts the entry into the table of the bridge that Link is a port of.
	// Self puts it into the device's own (a macvlan, a VXLAN, or Link as a bridge).
	// At least one is needed.
	Master, Self bool
	// Bridge is read only: the index of the bridge whose table this is, 0 for the
	// device's own.
	Bridge int
	// VLAN is the entry's VLAN, 0 for none.
	VLAN uint16
}

// AddFDB appends the message that adds a forwarding entry: EEXIST if the address
// has one.
func (b *Batch) AddFDB(f FDBEntry) {
	b.add(fdbChange{f, "add fdb", unix.RTM_NEWNEIGH, unix.NLM_F_CREATE | unix.NLM_F_EXCL})
}

// ReplaceFDB appends the message that adds a forwarding entry or moves it here.
func (b *Batch) ReplaceFDB(f FDBEntry) {
	b.add(fdbChange{f, "replace fdb", unix.RTM_NEWNEIGH, unix.NLM_F_CREATE | unix.NLM_F_REPLACE})
}

// DeleteFDB appends the message that deletes the entry with this Link, MAC, VLAN
// and table: ENOENT if there is none.
func (b *Batch) DeleteFDB(f FDBEntry) {
	b.add(fdbChange{f, "delete fdb", unix.RTM_DELNEIGH, 0})
}

type fdbChange struct {
	FDBEntry
	op         string
	typ, flags uint16
}

func (f fdbChange) subject() subject {
	return subject{op: f.op, name: f.MAC.String(), where: onLink(f.Link)}
}

func (f fdbChange) check() error {
	if f.MAC.IsZero() {
		return invalid("no MAC address: give one")
	}
	if !f.Master && !f.Self {
		return invalid("neither master nor self: say whose table")
	}
	if f.VLAN > 4094 {
		return invalid("VLAN %d: use 1 to 4094, or 0 for none", f.VLAN)
	}
	return checkLink(f.Link)
}

func (f fdbChange) encode(e *encoder) (uint16, uint16) {
	var flags uint8
	if f.Master {
		flags |= unix.NTF_MASTER
	}
	if f.Self {
		flags |= unix.NTF_SELF
	}
	state := f.State
	if state == 0 {
		state = NoARP
	}
	e.neighbour(unix.AF_BRIDGE, f.Link, state, flags)
	e.mac(unix.NDA_LLADDR, f.MAC)
	if f.VLAN != 0 {
		e.u16(unix.NDA_VLAN, f.VLAN)
	}
	return f.typ, f.flags
}

func (f fdbChange) print(l *line) {
	if f.State != 0 {
		l.word("", f.State.String())
	}
	l.number("vlan", int(f.VLAN))
	l.flag(f.Master, "master")
	l.flag(f.Self, "self")
}

func decodeFDB(b []byte) (FDBEntry, error) {
	h, at, err := split(b, sizeNeighbour, "fdb")
	if err != nil {
		return FDBEntry{}, err
	}
	f := FDBEntry{Link: number(h[4:]), State: NeighState(u16(h[8:])), Self: h[10]&unix.NTF_SELF != 0}
	for at.next() {
		switch at.typ {
		case unix.NDA_LLADDR:
			f.MAC = macOf(at.val)
		case unix.NDA_MASTER:
			f.Bridge, f.Master = number(at.val), true
		case unix.NDA_VLAN:
			f.VLAN = u16(at.val)
		}
	}
	return f, nil
}

func putState(b []byte, s NeighState) { binary.NativeEndian.PutUint16(b, uint16(s)) }
