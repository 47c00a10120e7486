// SPDX-License-Identifier: Apache-2.0

package link

import (
	"strconv"

	"golang.org/x/sys/unix"
)

// Change alters one existing link. Zero fields change nothing.
type Change struct {
	// Link is the link to alter, in the namespace of the socket.
	Link Ref
	// Up brings the link up (On), after all else, or down (Off).
	Up Switch
	// Master is the index of the bridge the link is put into.
	Master int
	// NoMaster takes the link out of its bridge.
	NoMaster bool
	// MTU in bytes.
	MTU int
	// MAC address.
	MAC MAC
	// Group is the new link group.
	Group uint32
	// Rename is the new name; the link must be given by index, and down (before 6.2).
	Rename string
	// Alias is free text of at most 255 bytes beside the name.
	Alias string
	// AddrGenMode is how the IPv6 link-local address is made.
	AddrGenMode AddrGenMode
	// IPv4 are settings of net.ipv4.conf. The kernel stores them as given and sends
	// no netconf notification.
	IPv4 []Conf
	// Port holds bridge port attributes: EOPNOTSUPP where the link is in no bridge.
	Port Port
	// Bridge holds a bridge's own settings; it does not go together with Port.
	Bridge BridgeOptions
}

// SetLink appends what alters a link: ENODEV if it does not exist. The link may be
// one that an earlier message of the same batch creates.
//
// It is one message wherever that is enough, and up to three where the kernel's
// own order inside a message is the wrong one: port attributes are set before the
// master, and up before the address mode and the IPv4 settings, so that a link
// with a carrier would get the link-local address that it was told not to have.
func (b *Batch) SetLink(c Change) {
	if c.Master != 0 && !c.NoMaster && c.Port != (Port{}) {
		b.add(setLink{Link: c.Link, Master: c.Master})
		c.Master = 0
	}
	if c.Up == On && (c.AddrGenMode != AddrGenKeep || len(c.IPv4) > 0) {
		c.Up = Keep
		b.add(setLink(c))
		c = Change{Link: c.Link, Up: On}
	}
	b.add(setLink(c))
}

type setLink Change

func (c setLink) subject() subject { return subject{op: "set link", name: c.Link.String()} }

func (c setLink) check() error {
	if err := c.Link.check(); err != nil {
		return err
	}
	if c.Rename != "" {
		if c.Link.Index == 0 {
			return invalid("rename to %q by name: the kernel renames a link given by index only", c.Rename)
		}
		if err := checkName(c.Rename); err != nil {
			return err
		}
	}
	switch {
	case c.Master != 0 && c.NoMaster:
		return invalid("master %d and no master: choose one", c.Master)
	case c.NoMaster && c.Port != (Port{}):
		return invalid("no master and port attributes: choose one")
	case c.Bridge != (BridgeOptions{}) && c.Port != (Port{}):
		return invalid("a bridge's settings and port attributes: choose one")
	case len(c.Alias) >= aliasSize:
		return invalid("alias of %d bytes: use at most %d", len(c.Alias), aliasSize-1)
	case c.AddrGenMode > AddrGenRandom:
		return invalid("address mode %d: unknown", c.AddrGenMode)
	}
	for _, conf := range c.IPv4 {
		if conf.Key == 0 || conf.Key > nlaTypeMask {
			return invalid("IPv4 setting %d: unknown", conf.Key)
		}
	}
	return checkRange(c.Master, c.MTU)
}

func (c setLink) encode(e *encoder) (uint16, uint16) {
	var flags, change uint32
	if c.Up != Keep {
		change = unix.IFF_UP
		flags = uint32(c.Up.bit()) * unix.IFF_UP
	}
	e.ifinfo(c.Link.Index, flags, change)
	e.text(unix.IFLA_IFNAME, c.Link.Name)
	e.text(unix.IFLA_IFNAME, c.Rename)
	e.index(unix.IFLA_MASTER, c.Master)
	if c.NoMaster {
		e.u32(unix.IFLA_MASTER, 0)
	}
	e.index(unix.IFLA_MTU, c.MTU)
	e.mac(unix.IFLA_ADDRESS, c.MAC)
	e.some(unix.IFLA_GROUP, c.Group)
	e.text(unix.IFLA_IFALIAS, c.Alias)
	encodeSpec(e, c.IPv4, c.AddrGenMode)
	c.Port.encode(e)
	if c.Bridge != (BridgeOptions{}) {
		info, data := e.openKind("bridge")
		c.Bridge.encode(e)
		e.shut(data)
		e.shut(info)
	}
	// RTM_NEWLINK without NLM_F_CREATE: unlike RTM_SETLINK it takes slave data.
	return unix.RTM_NEWLINK, 0
}

func (c setLink) print(l *line) {
	l.word("rename", c.Rename)
	l.number("master", c.Master)
	l.flag(c.NoMaster, "nomaster")
	l.number("mtu", c.MTU)
	l.mac("mac", c.MAC)
	l.unsigned("group", c.Group)
	l.quoted("alias", c.Alias)
	for _, conf := range c.IPv4 {
		l.word(conf.Key.String(), strconv.Itoa(int(conf.Value)))
	}
	if c.AddrGenMode != AddrGenKeep {
		l.word("addr-gen-mode", c.AddrGenMode.String())
	}
	c.Port.describe(l)
	c.Bridge.describe(l)
	l.flag(c.Up == On, "up")
	l.flag(c.Up == Off, "down")
}

// Move takes a link into another namespace. It is slow, about 20 ms, and loses
// addresses and routes: create links in place where that is possible.
type Move struct {
	// Link to move; by index where Name is set.
	Link Ref
	// Namespace is an open descriptor of the namespace to move to.
	Namespace int
	// Name wanted there; empty keeps the name. EEXIST if it is taken.
	Name string
	// Index wanted there; 0 keeps the index where it is free (kernel 5.13).
	Index int
}

// MoveLink appends the message that moves a link into another namespace and gives
// it its name there in one step. The link arrives down.
func (b *Batch) MoveLink(m Move) { b.add(moveLink(m)) }

type moveLink Move

func (m moveLink) subject() subject {
	return subject{op: "move link", name: m.Link.String(), where: "to namespace"}
}

func (m moveLink) check() error {
	if err := m.Link.check(); err != nil {
		return err
	}
	if m.Namespace <= 0 {
		return invalid("namespace descriptor %d: give an open one", m.Namespace)
	}
	if m.Name != "" {
		if m.Link.Index == 0 {
			return invalid("rename to %q by name: the kernel renames a link given by index only", m.Name)
		}
		if err := checkName(m.Name); err != nil {
			return err
		}
	}
	return checkRange(m.Index)
}

func (m moveLink) encode(e *encoder) (uint16, uint16) {
	e.ifinfo(m.Link.Index, 0, 0)
	e.text(unix.IFLA_IFNAME, m.Link.Name)
	e.text(unix.IFLA_IFNAME, m.Name)
	e.index(unix.IFLA_NET_NS_FD, m.Namespace)
	e.index(unix.IFLA_NEW_IFINDEX, m.Index)
	return unix.RTM_SETLINK, 0
}

func (m moveLink) print(l *line) {
	l.word("name", m.Name)
	l.number("index", m.Index)
}
