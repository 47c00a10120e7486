// SPDX-License-Identifier: Apache-2.0

package link

import "golang.org/x/sys/unix"

// Link is a link as the kernel reports it.
type Link struct {
	// Index is unique in the namespace for as long as the link lives.
	Index int
	// Name, and Alias, the free text beside it.
	Name, Alias string
	// Kind is "veth", "bridge", "macvlan", ...; empty for hardware and loopback.
	Kind string
	// MAC address; zero where the link has none of six bytes.
	MAC MAC
	// MTU in bytes.
	MTU int
	// Flags are the kernel's IFF_* bits.
	Flags uint32
	// Group is the link group.
	Group uint32
	// Master is the index of the bridge the link is in, 0 for none.
	Master int
	// Lower is the index of the veth peer or of the macvlan's parent, in the namespace
	// that LowerNamespace has the id of; 0 for none.
	Lower int
	// LowerNamespace is the id of the namespace that Lower is in, as the watching
	// namespace numbers it, or OwnNamespace.
	LowerNamespace int
	// MovedTo is the id of the namespace that the link moved to, in the event that
	// tells of its going, or OwnNamespace where it did not move.
	MovedTo int
	// AddrGenMode is how IPv6 link-local addresses are made; AddrGenKeep where the
	// link has no IPv6.
	AddrGenMode AddrGenMode
	// IPv4 are the settings of net.ipv4.conf; empty where the link has no IPv4.
	IPv4 Confs
	// SlaveKind is "bridge" for a port of one; Port then holds its attributes.
	SlaveKind string
	// Port attributes; zero for a link that is in no bridge.
	Port Port
	// PortState is zero for a link that is in no bridge.
	PortState PortState
	// Bridge holds a bridge's settings; zero for other kinds.
	Bridge BridgeOptions
	// Macvlan is a macvlan's mode; zero for other kinds.
	Macvlan MacvlanMode
}

// OwnNamespace is the namespace id that stands for the namespace itself.
const OwnNamespace = -1

// Up tells whether the link is administratively up.
func (l *Link) Up() bool { return l.Flags&unix.IFF_UP != 0 }

// Running tells whether it also has a carrier, so that it can pass packets.
func (l *Link) Running() bool { return l.Flags&unix.IFF_RUNNING != 0 }

func decodeLink(b []byte) (Link, error) {
	h, at, err := split(b, sizeIfinfo, "link")
	if err != nil {
		return Link{}, err
	}
	l := Link{Index: number(h[4:]), Flags: u32(h[8:]), LowerNamespace: OwnNamespace, MovedTo: OwnNamespace}
	for at.next() {
		l.decode(at.typ, at.val)
	}
	return l, nil
}

// decode takes one attribute.
func (l *Link) decode(typ uint16, val []byte) {
	switch typ {
	case unix.IFLA_IFNAME:
		l.Name = str(val)
	case unix.IFLA_IFALIAS:
		l.Alias = str(val)
	case unix.IFLA_ADDRESS:
		l.MAC = macOf(val)
	case unix.IFLA_MTU:
		l.MTU = number(val)
	case unix.IFLA_GROUP:
		l.Group = u32(val)
	case unix.IFLA_MASTER:
		l.Master = number(val)
	case unix.IFLA_LINK:
		l.Lower = number(val)
	case unix.IFLA_LINK_NETNSID:
		l.LowerNamespace = number(val)
	case unix.IFLA_NEW_NETNSID:
		l.MovedTo = number(val)
	case unix.IFLA_AF_SPEC:
		l.IPv4, l.AddrGenMode = decodeSpec(val)
	case unix.IFLA_LINKINFO:
		l.decodeInfo(val)
	}
}

// decodeInfo takes the attributes of the link's kind and of its master's kind.
// The kernel writes each kind before its data.
func (l *Link) decodeInfo(b []byte) {
	for a := attrsOf(b); a.next(); {
		switch a.typ {
		case unix.IFLA_INFO_KIND:
			l.Kind = str(a.val)
		case unix.IFLA_INFO_SLAVE_KIND:
			l.SlaveKind = str(a.val)
		case unix.IFLA_INFO_DATA:
			switch l.Kind {
			case "bridge":
				l.Bridge = decodeBridge(a.val)
			case "macvlan":
				l.Macvlan = decodeMacvlanMode(a.val)
			}
		case unix.IFLA_INFO_SLAVE_DATA:
			if l.SlaveKind == "bridge" {
				l.Port, l.PortState = decodePort(a.val)
			}
		}
	}
}

func decodeMacvlanMode(b []byte) MacvlanMode {
	for a := attrsOf(b); a.next(); {
		if a.typ == unix.IFLA_MACVLAN_MODE {
			return MacvlanMode(u32(a.val))
		}
	}
	return 0
}
