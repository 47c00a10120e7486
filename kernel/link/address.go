// SPDX-License-Identifier: Apache-2.0

package link

import (
	"net/netip"
	"strconv"

	"golang.org/x/sys/unix"
)

// Address is an address of a link. It is what a batch adds and what a dump reads.
type Address struct {
	// Link is the index of the link.
	Link int
	// Prefix is the address itself with the length of its subnet.
	Prefix netip.Prefix
	// Broadcast address, IPv4 only; the zero value sets none.
	Broadcast netip.Addr
	// NoDAD makes an IPv6 address usable at once, without duplicate detection.
	NoDAD bool
	// NoPrefixRoute leaves out the route to the subnet.
	NoPrefixRoute bool
	// Tentative and DADFailed are read only: detection goes on, or found a duplicate.
	Tentative, DADFailed bool
	// LinkLocal is read only: the kernel gave the address link scope.
	LinkLocal bool
}

// AddAddress appends the message that adds an address: EEXIST if the link has it.
func (b *Batch) AddAddress(a Address) {
	b.add(addressChange{a, "add address", unix.RTM_NEWADDR, unix.NLM_F_CREATE | unix.NLM_F_EXCL})
}

// ReplaceAddress appends the message that adds an address or renews an equal one.
func (b *Batch) ReplaceAddress(a Address) {
	b.add(addressChange{a, "replace address", unix.RTM_NEWADDR, unix.NLM_F_CREATE | unix.NLM_F_REPLACE})
}

// DeleteAddress appends the message that deletes an address, chosen by Link and
// Prefix: EADDRNOTAVAIL if the link does not have it.
func (b *Batch) DeleteAddress(a Address) {
	b.add(addressChange{a, "delete address", unix.RTM_DELADDR, 0})
}

type addressChange struct {
	Address
	op         string
	typ, flags uint16
}

func (a addressChange) subject() subject {
	return subject{op: a.op, name: a.Prefix.String(), where: onLink(a.Link)}
}

func (a addressChange) check() error {
	if !a.Prefix.IsValid() || a.Prefix.Addr().Is4In6() {
		return invalid("address %v: give an IPv4 or IPv6 address with a length", a.Prefix)
	}
	if a.Broadcast.IsValid() && !(a.Broadcast.Is4() && a.Prefix.Addr().Is4()) {
		return invalid("broadcast address %v: only an IPv4 address has one", a.Broadcast)
	}
	return checkLink(a.Link)
}

func (a addressChange) encode(e *encoder) (uint16, uint16) {
	var flags uint32
	if a.NoDAD {
		flags |= unix.IFA_F_NODAD
	}
	if a.NoPrefixRoute {
		flags |= unix.IFA_F_NOPREFIXROUTE
	}
	addr := a.Prefix.Addr()
	scope := uint8(unix.RT_SCOPE_UNIVERSE)
	if addr.IsLinkLocalUnicast() && addr.Is6() {
		scope = unix.RT_SCOPE_LINK
	}
	e.b = append(e.b, familyOf(addr), uint8(a.Prefix.Bits()), uint8(flags), scope)
	e.long(uint32(a.Link))
	e.addr(unix.IFA_LOCAL, addr)
	e.addr(unix.IFA_ADDRESS, addr)
	e.addr(unix.IFA_BROADCAST, a.Broadcast)
	if flags > 0xff {
		e.u32(unix.IFA_FLAGS, flags)
	}
	return a.typ, a.flags
}

func (a addressChange) print(l *line) {
	l.addr("broadcast", a.Broadcast)
	l.flag(a.NoDAD, "nodad")
	l.flag(a.NoPrefixRoute, "noprefixroute")
}

func decodeAddress(b []byte) (Address, error) {
	h, at, err := split(b, sizeIfaddr, "address")
	if err != nil {
		return Address{}, err
	}
	flags := uint32(h[2])
	a := Address{Link: number(h[4:]), LinkLocal: h[3] == unix.RT_SCOPE_LINK}
	var local, address netip.Addr
	for at.next() {
		switch at.typ {
		case unix.IFA_LOCAL:
			local = addrOf(at.val)
		case unix.IFA_ADDRESS:
			address = addrOf(at.val)
		case unix.IFA_BROADCAST:
			a.Broadcast = addrOf(at.val)
		case unix.IFA_FLAGS:
			flags = u32(at.val)
		}
	}
	if !local.IsValid() { // IPv6 addresses carry IFA_LOCAL only on point-to-point links
		local = address
	}
	a.Prefix = prefixOf(local, h[1], h[0])
	a.NoDAD = flags&unix.IFA_F_NODAD != 0
	a.NoPrefixRoute = flags&unix.IFA_F_NOPREFIXROUTE != 0
	a.Tentative = flags&unix.IFA_F_TENTATIVE != 0
	a.DADFailed = flags&unix.IFA_F_DADFAILED != 0
	return a, nil
}

// onLink says in an error which link an object belongs to.
func onLink(index int) string {
	if index == 0 {
		return ""
	}
	return "on link " + strconv.Itoa(index)
}

func checkLink(index int) error {
	if index <= 0 {
		return invalid("link index %d: give the index of the link", index)
	}
	return checkRange(index)
}

// unspecified is the all-zero address of a family.
func unspecified(family uint8) netip.Addr {
	switch family {
	case unix.AF_INET:
		return netip.IPv4Unspecified()
	case unix.AF_INET6:
		return netip.IPv6Unspecified()
	default:
		return netip.Addr{}
	}
}
