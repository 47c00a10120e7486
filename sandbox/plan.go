// SPDX-License-Identifier: Apache-2.0

package sandbox

import (
	"net/netip"
	"slices"
	"strconv"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/kernel/link"
	"github.com/libnetwork/cnm/kernel/sysctl"
)

// What marks our objects inside a sandbox.
const (
	// Protocol is the routing protocol number on our routes and rules, the 'C' of
	// CNM; rt_protos(5) gives it to nobody.
	Protocol uint8 = 67
	// RulePriority is the priority of every endpoint's rules: after the local table
	// (0), before the main one (32766). No two of them match one packet.
	RulePriority uint32 = 20000
	// tableBit keeps our tables apart from those that people number.
	tableBit uint32 = 1 << 31
)

// TableOf is the routing table of the endpoint whose interface has this index.
func TableOf(index int) uint32 { return tableBit | uint32(index) } // an index is a positive int32

// localTable is RT_TABLE_LOCAL, the kernel's own.
const localTable = 255

// multicast is what the kernel routes by every link that has IPv6, in its own table: ff00::/8.
func multicast() netip.Prefix { return netip.PrefixFrom(netip.IPv6LinkLocalAllNodes(), 8).Masked() }

// kernelProtocol is RTPROT_KERNEL: the kernel made the route with an address.
const kernelProtocol uint8 = 2

// The kernel's metrics of IPv6 routes: with an address, and where none is asked for.
const (
	prefixMetric6  uint32 = 256
	defaultMetric6 uint32 = 1024
)

// plan is what an attachment wants to be so inside its sandbox. It is computed by
// planFor without looking at anything, and the same for a first plug, a repeated
// one and a repair. The zero plan, of an endpoint that has no link, wants nothing.
type plan struct {
	link       link.Change
	settings   []sysctl.Setting // before the link is up
	addresses  []link.Address
	connected  []link.Route // made by the kernel together with the addresses
	neighbours []link.Neighbour
	routes     []link.Route // ours, in the order to add them
	rules      []link.Rule
	moved      bool   // the link, its addresses and neighbours are another's to see to
	dead       string // what the interface is called after Unplug
}

// planFor computes the plan of an attachment. A link that was made elsewhere is seen to by whoever moves it here; see planMoved.
func planFor(at cnm.Attachment) (plan, error) {
	l := at.Join.Result.Link
	if !l.InPlace {
		return plan{}, nil
	}
	if l.Index <= 0 {
		return plan{}, cnm.Errorf(cnm.Invalid, "interface %s of endpoint %s has no index", l.Name, at.Endpoint.Name)
	}
	b := planner{at: at, index: l.Index, table: TableOf(l.Index)}
	if slices.Contains([]string{"", "all", "default", "lo"}, b.name()) {
		return plan{}, cnm.FieldErrorf(cnm.Invalid, "interface", "interface %q of endpoint %s: choose another name, this one has a meaning of its own",
			b.name(), at.Endpoint.Name)
	}
	if err := b.settings(); err != nil {
		return plan{}, err
	}
	b.addresses()
	b.linkChange()
	b.neighbours()
	b.mainRoutes()
	b.ownTable()
	b.dead = deadName(at)
	return b.plan, nil
}

// deadName is what an attachment's interface is called after Unplug.
func deadName(at cnm.Attachment) string {
	return "cnx" + strconv.FormatUint(at.Join.Number&(1<<60-1), 36)
}

// planner holds what the steps of planFor share.
type planner struct {
	plan
	at    cnm.Attachment
	index int
	table uint32
	own   []netip.Prefix // the endpoint's addresses that it gets here
}

// name is the interface's name in the sandbox.
func (b *planner) name() string {
	if b.at.Join.Interface != "" {
		return b.at.Join.Interface
	}
	return b.at.Join.Result.Link.Name
}

// has tells whether the endpoint has addresses of the family here.
func (b *planner) has(f cnm.Family) bool {
	return slices.ContainsFunc(b.own, func(p netip.Prefix) bool { return cnm.FamilyOf(p.Addr()) == f })
}

// settings checks the endpoint's own sysctls and decides IPv6's switch.
func (b *planner) settings() error {
	own, err := settingsOf(b.at.Join.Sysctls, b.name())
	if err != nil {
		return err
	}
	off := slices.ContainsFunc(own, func(s sysctl.Setting) bool { return s == ipv6Off(b.name()) })
	for _, p := range b.at.Endpoint.Addresses {
		if !off || p.Addr().Is4() {
			b.own = append(b.own, p)
		}
	}
	if !off && !b.has(cnm.IPv6) {
		b.plan.settings = append(b.plan.settings, ipv6Off(b.name()))
	}
	b.plan.settings = append(b.plan.settings, own...)
	return nil
}

func (b *planner) linkChange() {
	b.link = link.Change{
		Link:   link.Numbered(b.index),
		Rename: b.name(),
		MTU:    b.at.Join.Result.MTU,
		MAC:    link.MAC(b.at.Endpoint.MAC),
		Up:     link.On,
	}
	if b.has(cnm.IPv4) {
		// Answer for this link's own addresses only, and ask with one of them: an
		// endpoint on several networks must not show the address of one on another.
		b.link.IPv4 = []link.Conf{{Key: link.ARPIgnore, Value: 1}, {Key: link.ARPAnnounce, Value: 2}}
	}
	if b.has(cnm.IPv6) {
		b.link.AddrGenMode = link.AddrGenNone
	}
}

func (b *planner) addresses() {
	for _, p := range b.own {
		a := link.Address{Link: b.index, Prefix: p, NoDAD: p.Addr().Is6()}
		if p.Addr().Is4() && p.Bits() < 31 {
			a.Broadcast = last(p)
		}
		b.plan.addresses = append(b.plan.addresses, a)
		if r, ok := b.connectedRoute(p); ok {
			b.connected = append(b.connected, r)
		}
	}
	if b.has(cnm.IPv6) && b.at.Endpoint.MAC.IsValid() {
		p := netip.PrefixFrom(linkLocal(b.at.Endpoint.MAC), 64)
		b.plan.addresses = append(b.plan.addresses, link.Address{Link: b.index, Prefix: p, NoDAD: true})
		r, _ := b.connectedRoute(p)
		b.connected = append(b.connected, r)
	}
}

// connectedRoute is the route that the kernel makes with an address; false for an
// address that is alone in its subnet.
func (b *planner) connectedRoute(p netip.Prefix) (link.Route, bool) {
	r := link.Route{Dst: p.Masked(), Link: b.index, Protocol: kernelProtocol}
	if p.Addr().Is4() {
		r.Source = p.Addr()
	} else {
		r.Metric = prefixMetric6
	}
	return r, !p.IsSingleIP()
}

func (b *planner) neighbours() {
	for _, n := range b.at.Join.Result.Neighbours {
		if b.has(cnm.FamilyOf(n.Address)) {
			b.plan.neighbours = append(b.plan.neighbours,
				link.Neighbour{Link: b.index, Addr: n.Address, MAC: link.MAC(n.MAC), State: link.Permanent})
		}
	}
}

// mainRoutes are the network's routes, and the default route where this endpoint
// holds it.
func (b *planner) mainRoutes() {
	b.networkRoutes(0)
	for _, f := range cnm.Families() {
		if b.at.Join.Default.Has(f) {
			b.defaultRoute(f, 0)
		}
	}
}

// ownTable is the endpoint's own table, and the rules that lead there.
func (b *planner) ownTable() {
	for _, p := range b.own {
		if r, ok := b.connectedRoute(p); ok && !b.planned(r.Dst, b.table) {
			r.Table, r.Protocol, r.Metric = b.table, Protocol, 0
			if p.Addr().Is6() {
				r.Metric = defaultMetric6
			}
			b.routes = append(b.routes, r)
		}
	}
	b.networkRoutes(b.table)
	for _, f := range cnm.Families() {
		b.defaultRoute(f, b.table)
	}
	for _, p := range b.own {
		from := netip.PrefixFrom(p.Addr(), p.Addr().BitLen())
		b.rules = append(b.rules, link.Rule{Priority: RulePriority, From: from, Table: b.table, Protocol: Protocol})
	}
}

// planned tells whether there is a route to dst in the table already.
func (b *planner) planned(dst netip.Prefix, table uint32) bool {
	return slices.ContainsFunc(b.routes, func(r link.Route) bool { return r.Dst == dst && r.Table == table })
}

func (b *planner) networkRoutes(table uint32) {
	for _, r := range b.at.Join.Result.Routes {
		dst := r.Prefix.Masked()
		f := cnm.FamilyOf(dst.Addr())
		// A default route among them goes where a gateway's would.
		held := table != 0 || dst.Bits() > 0 || b.at.Join.Default.Has(f)
		if b.has(f) && held && !b.planned(dst, table) {
			b.route(dst, r.Via, table)
		}
	}
}

func (b *planner) defaultRoute(f cnm.Family, table uint32) {
	gw := b.at.Join.Result.Gateway(f)
	all := netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	if f == cnm.IPv6 {
		all = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	}
	if gw.IsValid() && b.has(f) && !b.planned(all, table) {
		b.route(all, gw, table)
	}
}

// route appends a route of ours. A gateway outside of the endpoint's subnets is
// taken to be on the link all the same: its network says so.
func (b *planner) route(dst netip.Prefix, via netip.Addr, table uint32) {
	r := link.Route{Dst: dst, Gateway: via.WithZone(""), Link: b.index, Table: table, Protocol: Protocol}
	if dst.Addr().Is6() {
		r.Metric = defaultMetric6
	}
	if via.IsValid() && !(via.Is6() && via.IsLinkLocalUnicast()) {
		r.Onlink = !slices.ContainsFunc(b.own, func(p netip.Prefix) bool { return p.Contains(via) && !p.IsSingleIP() })
	}
	b.routes = append(b.routes, r)
}

// batch is the plan as messages, for a link that has nothing of it yet: what is
// there already is refused with EEXIST, but for what may be another's before.
func (p plan) batch() *link.Batch {
	b := &link.Batch{}
	if p.none() {
		return b
	}
	b.SetLink(link.Change{Link: link.Named("lo"), Up: link.On})
	// The link was made with its MAC. Setting even the same again would empty its
	// neighbour table.
	l := p.link
	l.MAC = link.MAC{}
	b.SetLink(l)
	for _, a := range p.addresses {
		b.AddAddress(a)
	}
	for _, n := range p.neighbours {
		b.ReplaceNeighbour(n)
	}
	for _, r := range p.routes {
		addRoute(b, r)
	}
	for _, r := range p.rules {
		b.AddRule(r)
	}
	return b
}

// addRoute adds a route; the main table's default route takes the place of the
// endpoint's that held it before.
func addRoute(b *link.Batch, r link.Route) {
	if r.Table == 0 && r.Dst.Bits() == 0 {
		b.ReplaceRoute(r)
		return
	}
	b.AddRoute(r)
}

// removal is the batch that takes back what batch did. The kernel itself drops
// routes, neighbours and IPv6 addresses with the link that goes down, but not IPv4
// addresses: the sandbox would go on taking them for its own.
func (p plan) removal() *link.Batch {
	b := &link.Batch{}
	if p.none() {
		return b
	}
	for _, r := range p.rules {
		b.DeleteRule(r)
	}
	for _, a := range p.addresses {
		if a.Prefix.Addr().Is4() {
			b.DeleteAddress(link.Address{Link: a.Link, Prefix: a.Prefix})
		}
	}
	// Two messages: before Linux 6.2 a link is renamed only while it is down.
	b.SetLink(link.Change{Link: p.link.Link, Up: link.Off})
	b.SetLink(link.Change{Link: p.link.Link, Rename: p.dead})
	return b
}

// last is the highest address of an IPv4 prefix.
func last(p netip.Prefix) netip.Addr {
	a := p.Addr().As4()
	for i := range a {
		if host := 32 - p.Bits() - 8*(3-i); host > 0 {
			a[i] |= byte(1<<min(host, 8) - 1)
		}
	}
	return netip.AddrFrom4(a)
}

// linkLocal is the EUI-64 address of a MAC address (RFC 4291, appendix A).
func linkLocal(m cnm.MAC) netip.Addr {
	return netip.AddrFrom16([16]byte{0: 0xfe, 1: 0x80, 8: m[0] ^ 2, 9: m[1], 10: m[2], 11: 0xff, 12: 0xfe, 13: m[3], 14: m[4], 15: m[5]})
}
