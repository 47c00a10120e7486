// SPDX-License-Identifier: Apache-2.0

package link

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// LinkFilter narrows a dump of links, in the kernel. Zero fields match all.
type LinkFilter struct {
	// Master is the index of a bridge whose ports are wanted.
	Master int
	// Kind is a kind as in Link.Kind.
	Kind string
}

// Links reads all links that match the filter.
func (c *Conn) Links(ctx context.Context, f LinkFilter) ([]Link, error) {
	q := query{subject: subject{op: "read", name: "links"}, typ: unix.RTM_GETLINK, body: func(e *encoder) {
		e.ifinfo(0, 0, 0)
		e.u32(unix.IFLA_EXT_MASK, extMaskSkipStats)
		e.index(unix.IFLA_MASTER, f.Master)
		if f.Kind != "" {
			info := e.nest(unix.IFLA_LINKINFO)
			e.text(unix.IFLA_INFO_KIND, f.Kind)
			e.shut(info)
		}
	}}
	return dump(ctx, c, q, decodeLink, func(l *Link) int { return l.Index })
}

// Link reads one link: ENODEV if there is none.
func (c *Conn) Link(r Ref) (Link, error) {
	s := subject{op: "read link", name: r.String()}
	if err := r.check(); err != nil {
		return Link{}, s.refused(0, unix.EINVAL, err.Error())
	}
	return one(c, query{subject: s, typ: unix.RTM_GETLINK, body: func(e *encoder) { e.askLink(r) }}, decodeLink)
}

// ReadLink appends the request for a link: where Do has no refusal of it, into is that link, or as it was where the answer cannot be read.
func (b *Batch) ReadLink(r Ref, into *Link) { b.add(readLink{r, into}) }

type readLink struct {
	Ref
	into *Link
}

func (r readLink) subject() subject { return subject{op: "read link", name: r.Ref.String()} }

func (r readLink) encode(e *encoder) (uint16, uint16) {
	e.askLink(r.Ref)
	return unix.RTM_GETLINK, 0
}

func (r readLink) print(*line) {}

func (r readLink) answer(typ uint16, body []byte) bool {
	if typ != unix.RTM_NEWLINK {
		return false
	}
	l, err := decodeLink(body)
	if err == nil {
		*r.into = l
	}
	return err == nil
}

// askLink appends the body of a request for one link.
func (e *encoder) askLink(r Ref) {
	e.ifinfo(r.Index, 0, 0)
	e.u32(unix.IFLA_EXT_MASK, extMaskSkipStats)
	e.text(unix.IFLA_IFNAME, r.Name)
}

// RaiseLoopback brings up the loopback of the namespace that the Conn belongs to. It is a call of the socket's and no message
// (netdevice(7)), which is all that a namespace without anything else needs.
func (c *Conn) RaiseLoopback() error {
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return fmt.Errorf("raise loopback: %w", err)
	}
	lo.SetUint16(unix.IFF_UP)
	if cerr := c.raw.Control(func(fd uintptr) { err = unix.IoctlIfreq(int(fd), unix.SIOCSIFFLAGS, lo) }); cerr != nil {
		return os.ErrClosed
	}
	return os.NewSyscallError("raise loopback", err)
}

// Addresses reads the addresses of both families of one link, or of all where
// link is 0.
func (c *Conn) Addresses(ctx context.Context, link int) ([]Address, error) {
	q := query{subject: subject{op: "read", name: "addresses"}, typ: unix.RTM_GETADDR, body: func(e *encoder) {
		e.b = append(e.b, unix.AF_UNSPEC, 0, 0, 0)
		e.long(uint32(link))
	}}
	return dump(ctx, c, q, decodeAddress, func(a *Address) Address {
		return Address{Link: a.Link, Prefix: a.Prefix} // the rest changes, as when detection of duplicates ends
	})
}

// Routes reads the routes of both families of one table, or of all tables where
// table is 0. A table that does not exist has no routes.
func (c *Conn) Routes(ctx context.Context, table uint32) ([]Route, error) {
	var all []Route
	for _, family := range []Family{IPv4, IPv6} {
		q := query{subject: subject{op: "read", name: family.String() + " routes"}, typ: unix.RTM_GETROUTE}
		q.body = func(e *encoder) {
			e.b = append(e.b, uint8(family))
			e.zero(sizeRoute - 1)
			e.some(unix.RTA_TABLE, table)
		}
		routes, err := dump(ctx, c, q, decodeRoute, func(r *Route) Route { return *r })
		if errors.Is(err, unix.ENOENT) && table != 0 {
			continue
		}
		if err != nil {
			return nil, err
		}
		all = append(all, routes...)
	}
	return all, nil
}

// Rules reads the rules of both families, in the order they are applied in each.
func (c *Conn) Rules(ctx context.Context) ([]Rule, error) {
	var all []Rule
	for _, family := range []Family{IPv4, IPv6} {
		q := query{subject: subject{op: "read", name: family.String() + " rules"}, typ: unix.RTM_GETRULE}
		q.body = func(e *encoder) {
			e.b = append(e.b, uint8(family))
			e.zero(sizeRoute - 1)
		}
		rules, err := dump(ctx, c, q, decodeRule, func(r *Rule) Rule { return *r })
		if err != nil {
			return nil, err
		}
		// A table that held still is in this order already.
		slices.SortStableFunc(rules, func(a, b Rule) int { return cmp.Compare(a.Priority, b.Priority) })
		all = append(all, rules...)
	}
	return all, nil
}

// Neighbours reads the neighbours of both families of one link, or of all where
// link is 0, and then the proxy entries.
func (c *Conn) Neighbours(ctx context.Context, link int) ([]Neighbour, error) {
	var all []Neighbour
	for _, flags := range []uint8{0, unix.NTF_PROXY} {
		q := query{subject: subject{op: "read", name: "neighbours"}, typ: unix.RTM_GETNEIGH, body: func(e *encoder) {
			e.neighbour(unix.AF_UNSPEC, 0, 0, flags)
			e.index(unix.NDA_IFINDEX, link)
		}}
		neighbours, err := dump(ctx, c, q, decodeNeighbour, func(n *Neighbour) Neighbour {
			return Neighbour{Link: n.Link, Addr: n.Addr, Proxy: n.Proxy}
		})
		if err != nil {
			return nil, err
		}
		all = append(all, neighbours...)
	}
	return all, nil
}

// FDB reads the forwarding entries of one bridge and its ports, or of every
// device where bridge is 0.
func (c *Conn) FDB(ctx context.Context, bridge int) ([]FDBEntry, error) {
	q := query{subject: subject{op: "read", name: "fdb"}, typ: unix.RTM_GETNEIGH, body: func(e *encoder) {
		e.neighbour(unix.AF_BRIDGE, 0, 0, 0)
		e.index(unix.NDA_MASTER, bridge)
	}}
	if bridge != 0 {
		q.where = "of bridge " + strconv.Itoa(bridge)
	}
	return dump(ctx, c, q, decodeFDB, func(f *FDBEntry) FDBEntry {
		return FDBEntry{Link: f.Link, MAC: f.MAC, VLAN: f.VLAN, Bridge: f.Bridge}
	})
}
