// SPDX-License-Identifier: Apache-2.0

package link

import (
	"strconv"

	"golang.org/x/sys/unix"
)

// MacvlanMode says which frames a macvlan link gets and whom it reaches.
type MacvlanMode uint32

// The modes of linux/if_link.h.
const (
	MacvlanPrivate  MacvlanMode = 1
	MacvlanVEPA     MacvlanMode = 2
	MacvlanBridge   MacvlanMode = 4
	MacvlanPassthru MacvlanMode = 8
	MacvlanSource   MacvlanMode = 16
)

// String returns the mode's name as ip-link(8) has it.
func (m MacvlanMode) String() string {
	switch m {
	case MacvlanPrivate:
		return "private"
	case MacvlanVEPA:
		return "vepa"
	case MacvlanBridge:
		return "bridge"
	case MacvlanPassthru:
		return "passthru"
	case MacvlanSource:
		return "source"
	default:
		return "mode" + strconv.Itoa(int(m))
	}
}

// Macvlan is a link with a MAC address of its own on top of another one.
type Macvlan struct {
	// Name in its own namespace.
	Name string
	// Index wanted in its own namespace; 0 lets the kernel choose.
	Index int
	// Parent is the index of the lower link, in the namespace of the socket.
	Parent int
	// Mode is one of the five.
	Mode MacvlanMode
	// Sources are the addresses whose frames a link of mode source gets.
	Sources []MAC
	// MAC; zero lets the kernel choose one at random.
	MAC MAC
	// MTU in bytes; 0 takes the parent's.
	MTU int
	// Group is the link group; 0 is the default group.
	Group uint32
	// Namespace is an open descriptor of the namespace to be born in, or Here for
	// that of the socket.
	Namespace int
}

// CreateMacvlan appends the message that creates a macvlan link, down, inside its
// own namespace from the start. EEXIST if the name is taken there.
func (b *Batch) CreateMacvlan(m Macvlan) { b.add(createMacvlan(m)) }

type createMacvlan Macvlan

func (m createMacvlan) subject() subject {
	s := subject{op: "create macvlan", name: m.Name}
	if m.Namespace != Here {
		s.where = "in namespace"
	}
	return s
}

func (m createMacvlan) check() error {
	if err := checkName(m.Name); err != nil {
		return err
	}
	switch m.Mode {
	case MacvlanPrivate, MacvlanVEPA, MacvlanBridge, MacvlanPassthru, MacvlanSource:
	default:
		return invalid("macvlan mode %d: use private, vepa, bridge, passthru or source", m.Mode)
	}
	if m.Parent <= 0 {
		return invalid("parent index %d: name the lower link", m.Parent)
	}
	if len(m.Sources) > 0 && m.Mode != MacvlanSource {
		return invalid("source addresses in mode %s: only mode source takes them", m.Mode)
	}
	if len(m.Sources) > maxSources {
		return invalid("%d source addresses: use at most %d", len(m.Sources), maxSources)
	}
	return checkRange(m.Index, m.Parent, m.MTU, m.Namespace)
}

// maxSources keeps the list of source addresses inside one attribute.
const maxSources = 4096

func (m createMacvlan) encode(e *encoder) (uint16, uint16) {
	e.ifinfo(m.Index, 0, 0)
	e.text(unix.IFLA_IFNAME, m.Name)
	e.index(unix.IFLA_LINK, m.Parent)
	e.mac(unix.IFLA_ADDRESS, m.MAC)
	e.index(unix.IFLA_MTU, m.MTU)
	e.some(unix.IFLA_GROUP, m.Group)
	e.index(unix.IFLA_NET_NS_FD, m.Namespace)
	info, data := e.openKind("macvlan")
	e.u32(unix.IFLA_MACVLAN_MODE, uint32(m.Mode))
	if len(m.Sources) > 0 {
		e.u32(unix.IFLA_MACVLAN_MACADDR_MODE, macvlanMacaddrSet)
		list := e.nest(unix.IFLA_MACVLAN_MACADDR_DATA)
		for _, s := range m.Sources {
			e.mac(unix.IFLA_MACVLAN_MACADDR, s)
		}
		e.shut(list)
	}
	e.shut(data)
	e.shut(info)
	return unix.RTM_NEWLINK, unix.NLM_F_CREATE | unix.NLM_F_EXCL
}

func (m createMacvlan) print(l *line) {
	l.number("index", m.Index)
	l.number("parent", m.Parent)
	l.word("mode", m.Mode.String())
	for _, s := range m.Sources {
		l.mac("source", s)
	}
	l.mac("mac", m.MAC)
	l.number("mtu", m.MTU)
	l.unsigned("group", m.Group)
}
