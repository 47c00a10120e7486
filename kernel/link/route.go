// SPDX-License-Identifier: Apache-2.0

package link

import (
	"net/netip"
	"strconv"

	"golang.org/x/sys/unix"
)

// Routing tables with a meaning of their own.
const (
	TableDefault uint32 = unix.RT_TABLE_DEFAULT
	TableMain    uint32 = unix.RT_TABLE_MAIN
	TableLocal   uint32 = unix.RT_TABLE_LOCAL
)

// RouteType says what becomes of a packet that a route matches.
type RouteType uint8

// The types of linux/rtnetlink.h that are of use to add; dumps show others too.
const (
	Unicast     RouteType = unix.RTN_UNICAST
	Blackhole   RouteType = unix.RTN_BLACKHOLE   // dropped
	Unreachable RouteType = unix.RTN_UNREACHABLE // answered: host unreachable
	Prohibit    RouteType = unix.RTN_PROHIBIT    // answered: administratively prohibited
)

// String returns the type's name as ip-route(8) has it.
func (t RouteType) String() string {
	return nameOf([]string{
		"unspec", "unicast", "local", "broadcast", "anycast", "multicast",
		"blackhole", "unreachable", "prohibit", "throw", "nat", "xresolve",
	}, int(t))
}

// Scope says how far a destination is.
type Scope uint8

// Scopes, as RT_SCOPE_* with two changes: zero chooses, and universe, the kernel's
// zero, has a number the kernel does not use.
const (
	// ScopeAuto is link for an IPv4 unicast route without a gateway, else universe;
	// in a deletion it matches every scope.
	ScopeAuto     Scope = 0
	ScopeUniverse Scope = 1
	ScopeLink     Scope = unix.RT_SCOPE_LINK
	ScopeHost     Scope = unix.RT_SCOPE_HOST
)

// Route is one entry of a routing table. It is what a batch adds and what a dump
// reads.
type Route struct {
	// Dst is the destination; the default route is 0.0.0.0/0 or ::/0. Required.
	Dst netip.Prefix
	// Type is Unicast where zero.
	Type RouteType
	// Gateway of the same family; zero for a destination on the link.
	Gateway netip.Addr
	// Link is the index of the outgoing link; the kernel derives it from the gateway
	// where 0. IPv6 routes that reject are shown on the loopback link.
	Link int
	// Table is TableMain where zero.
	Table uint32
	// Scope is ScopeAuto where zero; IPv6 knows no other.
	Scope Scope
	// Source is the preferred source address of local packets.
	Source netip.Addr
	// Metric orders equal routes, lowest first; IPv6 turns 0 into 1024.
	Metric uint32
	// Onlink takes the gateway to be on Link whatever the addresses say.
	Onlink bool
	// Protocol marks who made the route, RTPROT_STATIC (4) where zero; in a
	// deletion zero matches every one.
	Protocol uint8
	// Multipath is read only: the route has several next hops, which are not shown.
	Multipath bool
}

// AddRoute appends the message that adds a route: EEXIST if there is one to the
// same destination with the same metric in the table.
func (b *Batch) AddRoute(r Route) {
	b.add(routeChange{r, "add route", unix.RTM_NEWROUTE, unix.NLM_F_CREATE | unix.NLM_F_EXCL})
}

// ReplaceRoute appends the message that adds a route or takes the place of the
// one with the same destination and metric.
func (b *Batch) ReplaceRoute(r Route) {
	b.add(routeChange{r, "replace route", unix.RTM_NEWROUTE, unix.NLM_F_CREATE | unix.NLM_F_REPLACE})
}

// DeleteRoute appends the message that deletes the first route that matches every
// field that is set: ESRCH if there is none.
func (b *Batch) DeleteRoute(r Route) {
	b.add(routeChange{r, "delete route", unix.RTM_DELROUTE, 0})
}

type routeChange struct {
	Route
	op         string
	typ, flags uint16
}

func (r routeChange) subject() subject {
	s := subject{op: r.op, name: r.Dst.String(), where: onLink(r.Link)}
	if r.Table != 0 {
		s.where += " in table " + strconv.FormatUint(uint64(r.Table), 10)
		if r.Link == 0 {
			s.where = s.where[1:]
		}
	}
	return s
}

func (r routeChange) check() error {
	dst := r.Dst.Addr()
	if !r.Dst.IsValid() || dst.Is4In6() {
		return invalid("destination %v: give an IPv4 or IPv6 prefix", r.Dst)
	}
	if r.Dst.Masked() != r.Dst {
		return invalid("destination %v: has host bits, use %v", r.Dst, r.Dst.Masked())
	}
	for _, a := range []netip.Addr{r.Gateway, r.Source} {
		if a.IsValid() && familyOf(a) != familyOf(dst) {
			return invalid("%v beside destination %v: give addresses of one family", a, r.Dst)
		}
	}
	if r.Multipath {
		return invalid("a multipath route is read only: add one next hop")
	}
	return checkRange(r.Link)
}

func (r routeChange) encode(e *encoder) (uint16, uint16) {
	kind, protocol := r.Type, r.Protocol
	if r.typ == unix.RTM_NEWROUTE {
		if kind == 0 {
			kind = Unicast
		}
		if protocol == 0 {
			protocol = unix.RTPROT_STATIC
		}
	}
	table := r.Table
	if table == 0 {
		table = TableMain
	}
	short := uint8(unix.RT_TABLE_UNSPEC)
	if table <= 0xff {
		short = uint8(table)
	}
	e.b = append(e.b, familyOf(r.Dst.Addr()), uint8(r.Dst.Bits()), 0, 0, short, protocol, r.scope(), uint8(kind))
	var flags uint32
	if r.Onlink {
		flags = unix.RTNH_F_ONLINK
	}
	e.long(flags)
	e.u32(unix.RTA_TABLE, table)
	if r.Dst.Bits() > 0 {
		e.addr(unix.RTA_DST, r.Dst.Addr())
	}
	e.addr(unix.RTA_GATEWAY, r.Gateway)
	e.addr(unix.RTA_PREFSRC, r.Source)
	e.index(unix.RTA_OIF, r.Link)
	e.some(unix.RTA_PRIORITY, r.Metric)
	return r.typ, r.flags
}

// scope is what goes into rtm_scope.
func (r routeChange) scope() uint8 {
	switch {
	case r.Scope == ScopeUniverse:
		return unix.RT_SCOPE_UNIVERSE
	case r.Scope != ScopeAuto:
		return uint8(r.Scope)
	case r.typ == unix.RTM_DELROUTE:
		return unix.RT_SCOPE_NOWHERE
	case r.Dst.Addr().Is4() && !r.Gateway.IsValid() && r.Type <= Unicast:
		return unix.RT_SCOPE_LINK
	default:
		return unix.RT_SCOPE_UNIVERSE
	}
}

func (r routeChange) print(l *line) {
	if r.Type > Unicast {
		l.word("type", r.Type.String())
	}
	l.addr("via", r.Gateway)
	l.addr("source", r.Source)
	l.unsigned("metric", r.Metric)
	if r.Scope != ScopeAuto {
		l.number("scope", int(r.scope()))
	}
	l.number("protocol", int(r.Protocol))
	l.flag(r.Onlink, "onlink")
}

func decodeRoute(b []byte) (Route, error) {
	h, at, err := split(b, sizeRoute, "route")
	if err != nil {
		return Route{}, err
	}
	r := Route{Table: uint32(h[4]), Protocol: h[5], Scope: Scope(h[6]), Type: RouteType(h[7])}
	if r.Scope == unix.RT_SCOPE_UNIVERSE {
		r.Scope = ScopeUniverse
	}
	r.Onlink = u32(h[8:])&unix.RTNH_F_ONLINK != 0
	var dst netip.Addr
	for at.next() {
		switch at.typ {
		case unix.RTA_DST:
			dst = addrOf(at.val)
		case unix.RTA_GATEWAY:
			r.Gateway = addrOf(at.val)
		case unix.RTA_PREFSRC:
			r.Source = addrOf(at.val)
		case unix.RTA_OIF:
			r.Link = number(at.val)
		case unix.RTA_PRIORITY:
			r.Metric = u32(at.val)
		case unix.RTA_TABLE:
			r.Table = u32(at.val)
		case unix.RTA_MULTIPATH:
			r.Multipath = true
		}
	}
	r.Dst = prefixOf(dst, h[1], h[0])
	return r, nil
}
