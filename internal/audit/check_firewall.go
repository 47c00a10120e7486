// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"context"
	"net"
	"net/netip"
	"slices"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/kernel/link"
	"github.com/libnetwork/cnm/kernel/nft"
)

// elements are what the sets of our tables are to hold, as text, by table and set.
type elements map[string]map[string]bool

func (e elements) add(set, element string) {
	if e[set] == nil {
		e[set] = map[string]bool{}
	}
	e[set][element] = true
}

const (
	routes = "inet cnm "   // the table of packets
	frames = "bridge cnm " // the table of frames
)

func (e elements) key(set string, key nft.Tuple) { e.add(set, nft.Key(key).String()) }

// link adds a link to a set if on is true.
func (e elements) link(on bool, set, name string) {
	if on {
		e.key(set, nft.Ifname(name))
	}
}

// span adds a prefix, of a link unless that is "", with data unless that is empty.
func (e elements) span(set, name string, p netip.Prefix, data nft.Tuple) {
	i := nft.Interval{}
	if name != "" {
		i = i.Ifname(name)
	}
	el := i.Prefix(p.Masked()).Element()
	el.Data = data
	if el.End == el.Key {
		el.End = nft.Tuple{}
	}
	e.add(set, el.String())
}

// family is a set's name with the number of the family.
func family(set string, a netip.Addr) string {
	if a.Is4() {
		return set + "4"
	}
	return set + "6"
}

// firewall compares the elements of both tables with what the records need.
func (c *checker) firewall(ctx context.Context) error {
	all, err := readFirewall(ctx)
	if err != nil {
		return err
	}
	want := elements{}
	for _, nw := range c.bridgeNetworks() {
		c.networkElements(want, nw)
	}
	for _, at := range c.attachments {
		if at.Network.Driver == "bridge" {
			endpointElements(want, at)
		}
	}
	tables := map[string]*nft.Snapshot{}
	for _, s := range all {
		tables[s.Table.TableID.String()+" "] = s
	}
	for _, name := range []string{routes, frames} {
		if tables[name] == nil {
			c.want(len(want) == 0, "table %sis missing", name)
			continue
		}
		c.compareTable(name, tables[name], want)
	}
	return nil
}

// compareTable compares the sets of one table.
func (c *checker) compareTable(table string, s *nft.Snapshot, want elements) {
	for _, set := range s.Sets {
		name := table + set.Name
		if name == routes+"opened4" || name == routes+"opened6" {
			c.opened(set.Elements)
			continue
		}
		for _, e := range set.Elements {
			if name == routes+"pair" && !want[name][e.String()] && c.isOpened(e, s) {
				continue
			}
			text := e.String()
			c.want(want[name][text], "element %s %s is foreign", name, text)
			delete(want[name], text)
		}
		for text := range want[name] {
			c.say("element %s %s is missing", name, text)
		}
		delete(want, name)
	}
	for name, rest := range want {
		if len(name) > len(table) && name[:len(table)] == table {
			c.want(len(rest) == 0, "set %s is missing", name)
		}
	}
}

// opened checks the links that forward for our sake only: there are some only while a network needs it.
func (c *checker) opened(have []nft.Element) {
	needed := slices.ContainsFunc(c.records.Networks, func(nw cnm.Network) bool { return nw.Driver == "bridge" && !nw.Internal })
	for _, e := range have {
		exists := slices.ContainsFunc(c.host.links, func(l link.Link) bool { return nft.Ifname(l.Name) == e.Key })
		c.want(needed && exists, "element %sopened %s is foreign", routes, e)
	}
}

// isOpened tells whether an element lets what is bridged pass on a link that forwards for our sake.
func (c *checker) isOpened(e nft.Element, s *nft.Snapshot) bool {
	return slices.ContainsFunc(c.host.links, func(l link.Link) bool {
		return e.Key == nft.Ifname(l.Name).Ifname(l.Name) && slices.ContainsFunc([]string{"opened4", "opened6"}, func(name string) bool {
			set := s.Set(name)
			return set != nil && slices.ContainsFunc(set.Elements, func(o nft.Element) bool { return o.Key == nft.Ifname(l.Name) })
		})
	})
}

// networkElements are those of a network and its trunks.
func (c *checker) networkElements(want elements, nw cnm.Network) {
	o := optionsOf(nw)
	want.link(true, routes+"nets", o.bridge)
	want.link(!o.adopted, routes+"ifs", o.bridge)
	want.link(o.adopted, routes+"adopted", o.bridge)
	want.link(nw.Internal, routes+"internal", o.bridge)
	want.link(nw.Internal || !o.hostAccess, routes+"closed", o.bridge)
	want.link(true, routes+"loop", o.bridge)
	want.add(routes+"pair", nft.Key(nft.Ifname(o.bridge).Ifname(o.bridge)).String())
	for _, s := range nw.Subnets {
		c.subnetElements(want, nw, o, s.Prefix)
	}
	for i := 1; i < most; i++ {
		name, atHub, atShard := shardNames(nw.ID, i)
		if _, ok := c.host.byName[name]; !ok {
			return
		}
		want.link(true, frames+"trunks", atHub)
		want.link(true, frames+"trunks", atShard)
		want.key(frames+"self", nft.Ifname(atHub).Ifname(atHub))
		want.key(frames+"self", nft.Ifname(atShard).Ifname(atShard))
	}
}

// subnetElements are those of a subnet. One within another of the same set is not sent to the kernel.
func (c *checker) subnetElements(want elements, nw cnm.Network, o options, p netip.Prefix) {
	a := p.Addr()
	span := func(set, name string, data nft.Tuple, same func(cnm.Network, options) bool) {
		for _, other := range c.bridgeNetworks() {
			if !same(other, optionsOf(other)) {
				continue
			}
			for _, s := range other.Subnets {
				if s.Prefix.Bits() < p.Bits() && s.Prefix.Contains(a) {
					return
				}
			}
		}
		want.span(routes+family(set, a), name, p, data)
	}
	whose := "cnet"
	if o.adopted {
		whose = "lan"
	}
	span(whose, "", nft.Tuple{}, func(_ cnm.Network, x options) bool { return x.adopted == o.adopted })
	if nw.Internal {
		return
	}
	for _, t := range o.trusted {
		span("trust", t, nft.Tuple{}, func(x cnm.Network, xo options) bool { return !x.Internal && slices.Contains(xo.trusted, t) })
	}
	if o.routed || !o.masquerade {
		return
	}
	translated := func(x cnm.Network, xo options) bool { return !x.Internal && !xo.routed && xo.masquerade }
	for _, source := range o.snat {
		if source.Is4() == a.Is4() {
			span("snat", "", nft.Addr(source), translated)
			return
		}
	}
	span("masq", "", nft.Tuple{}, translated)
}

// endpointElements are those of an attachment.
func endpointElements(want elements, at cnm.Attachment) {
	o, g := optionsOf(at.Network), guardOf(at.Network, at.Endpoint)
	name, mac := at.Join.Result.Link.Host, net.HardwareAddr(at.Endpoint.MAC[:])
	isolated := at.Network.IsolateEndpoints
	want.link(true, frames+"ports", name)
	want.key(frames+"self", nft.Ifname(name).Ifname(name))
	want.link(g.anySource, frames+"anysource", name)
	want.link(g.router, frames+"routers", name)
	want.link(g.dhcp, frames+"dhcp", name)
	want.link(o.adopted, frames+"lanports", name)
	want.link(isolated, frames+"isoports", name)
	want.key(frames+"macs", nft.Ifname(name).MAC(mac))
	if isolated {
		want.key(frames+"isomacs", nft.MAC(mac))
	}
	for _, p := range at.Endpoint.Addresses {
		a := p.Addr()
		want.key(frames+family("bound", a), nft.Ifname(name).MAC(mac).Addr(a))
		if o.adopted {
			want.key(routes+family("end", a), nft.Addr(a))
		} else {
			want.key(routes+family("home", a), nft.Ifname(o.bridge).Addr(a))
		}
		if isolated {
			want.key(routes+family("iso", a), nft.Ifname(o.bridge).Addr(a))
		}
	}
	if at.Endpoint.Address(cnm.IPv6).IsValid() {
		want.key(frames+"bound6", nft.Ifname(name).MAC(mac).Addr(linkLocal(at.Endpoint.MAC)))
	}
	for _, p := range at.Join.Result.Ports {
		portElements(want, at, o, p)
	}
}

// portElements are those of a published port.
func portElements(want elements, at cnm.Attachment, o options, p cnm.Port) {
	to := at.Endpoint.Address(cnm.FamilyOf(p.HostIP))
	proto := nft.Protocol(p.Proto)
	switch {
	case !to.IsValid() || p.HostIP == netip.IPv6Loopback() && !o.routed:
		return // a socket serves it
	case o.routed:
		want.key(routes+family("open", to), nft.Addr(to).Proto(proto).Port(p.Port))
		return
	}
	target := nft.Addr(to).Port(p.Port)
	flow := nft.Tuple{}.Proto(proto).Addr(to).Port(p.Port)
	if p.HostIP.IsUnspecified() {
		want.add(routes+family("pub", to)+"any", nft.KeyData(nft.Tuple{}.Proto(proto).Port(p.HostPort), target).String())
		want.key(routes+family("live", to)+"any", flow.Port(p.HostPort))
		return
	}
	want.add(routes+family("pub", to), nft.KeyData(nft.Addr(p.HostIP).Proto(proto).Port(p.HostPort), target).String())
	want.key(routes+family("live", to), flow.Addr(p.HostIP).Port(p.HostPort))
	if p.HostIP.IsLoopback() {
		want.key(routes+"lo4", nft.Tuple{}.Proto(proto).Port(p.HostPort))
	}
}
