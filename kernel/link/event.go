// SPDX-License-Identifier: Apache-2.0

package link

import "golang.org/x/sys/unix"

// Event is one announced change: a *LinkEvent, *PortEvent, *AddressEvent,
// *RouteEvent, *RuleEvent, *NeighbourEvent, *FDBEvent, *NamespaceEvent or Overrun.
//
// Namespace in each is the id of the namespace the change happened in, or
// OwnNamespace. Gone is true where the object was removed, and false where it was
// added or altered, which the kernel does not tell apart.
type Event interface{ event() }

// LinkEvent tells of a link. Its Link may be the same as before: the kernel
// announces more than what a Link shows.
type LinkEvent struct {
	Namespace int
	Gone      bool
	Link      Link
}

// PortEvent tells of a link's life as a bridge port. Gone means that it left its
// bridge; the link itself may live on. A change of port attributes is announced
// by it alone.
type PortEvent struct {
	Namespace int
	Gone      bool
	Link      int    // index of the port
	Bridge    int    // index of the bridge
	Flags     uint32 // IFF_* bits of the link
	Port      Port
	State     PortState
}

// AddressEvent tells of an address.
type AddressEvent struct {
	Namespace int
	Gone      bool
	Address   Address
}

// RouteEvent tells of a route. IPv4 routes that die with their link or address
// are not all announced.
type RouteEvent struct {
	Namespace int
	Gone      bool
	Route     Route
}

// RuleEvent tells of a rule.
type RuleEvent struct {
	Namespace int
	Gone      bool
	Rule      Rule
}

// NeighbourEvent tells of a neighbour.
type NeighbourEvent struct {
	Namespace int
	Gone      bool
	Neighbour Neighbour
}

// FDBEvent tells of a forwarding entry.
type FDBEvent struct {
	Namespace int
	Gone      bool
	Entry     FDBEntry
}

// NamespaceEvent tells of a namespace id. Gone means that the namespace is really
// dead: no process, descriptor or socket keeps it.
type NamespaceEvent struct {
	Namespace int
	Gone      bool
	ID        int
}

// Overrun means that the receive buffer was full and changes were lost: whoever
// keeps a picture of the kernel reads it anew. A change that happens after it was
// delivered is announced again, or followed by another Overrun.
type Overrun struct{}

func (*LinkEvent) event()      {}
func (*PortEvent) event()      {}
func (*AddressEvent) event()   {}
func (*RouteEvent) event()     {}
func (*RuleEvent) event()      {}
func (*NeighbourEvent) event() {}
func (*FDBEvent) event()       {}
func (*NamespaceEvent) event() {}
func (Overrun) event()         {}

// decodeEvent reads one announcement from namespace ns; nil for one of a type or
// family that this package does not know, and for one that cannot be read.
func decodeEvent(ns int, typ uint16, body []byte) Event {
	switch typ {
	case unix.RTM_NEWLINK, unix.RTM_DELLINK:
		return decodeLinkEvent(ns, typ == unix.RTM_DELLINK, body)
	case unix.RTM_NEWNEIGH, unix.RTM_DELNEIGH:
		return decodeNeighbourEvent(ns, typ == unix.RTM_DELNEIGH, body)
	case unix.RTM_NEWADDR, unix.RTM_DELADDR:
		if a, err := decodeAddress(body); err == nil {
			return &AddressEvent{ns, typ == unix.RTM_DELADDR, a}
		}
	case unix.RTM_NEWROUTE, unix.RTM_DELROUTE:
		if r, err := decodeRoute(body); err == nil {
			return &RouteEvent{ns, typ == unix.RTM_DELROUTE, r}
		}
	case unix.RTM_NEWRULE, unix.RTM_DELRULE:
		if r, err := decodeRule(body); err == nil {
			return &RuleEvent{ns, typ == unix.RTM_DELRULE, r}
		}
	case unix.RTM_NEWNSID, unix.RTM_DELNSID:
		if id, err := decodeNamespaceID(body); err == nil {
			return &NamespaceEvent{ns, typ == unix.RTM_DELNSID, id}
		}
	}
	return nil
}

func decodeLinkEvent(ns int, gone bool, body []byte) Event {
	switch u8(body) {
	case unix.AF_UNSPEC:
		if l, err := decodeLink(body); err == nil {
			return &LinkEvent{ns, gone, l}
		}
	case unix.AF_BRIDGE:
		return decodePortEvent(ns, gone, body)
	}
	return nil
}

func decodePortEvent(ns int, gone bool, body []byte) Event {
	h, at, err := split(body, sizeIfinfo, "port")
	if err != nil {
		return nil
	}
	e := &PortEvent{Namespace: ns, Gone: gone, Link: number(h[4:]), Flags: u32(h[8:])}
	for at.next() {
		switch at.typ {
		case unix.IFLA_MASTER:
			e.Bridge = number(at.val)
		case unix.IFLA_PROTINFO:
			e.Port, e.State = decodePort(at.val)
		}
	}
	return e
}

func decodeNeighbourEvent(ns int, gone bool, body []byte) Event {
	if u8(body) == unix.AF_BRIDGE {
		if f, err := decodeFDB(body); err == nil {
			return &FDBEvent{ns, gone, f}
		}
		return nil
	}
	if n, err := decodeNeighbour(body); err == nil {
		return &NeighbourEvent{ns, gone, n}
	}
	return nil
}
