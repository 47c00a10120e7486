// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/kernel/nft"
)

// item is one element that an owner wants.
type item struct {
	set    setID
	link   string       // of a span that belongs to a link
	prefix netip.Prefix // of a span; else invalid
	elem   nft.Element
}

// itemID tells items apart: elements of one itemID are one in the kernel.
type itemID struct {
	set  setID
	bits int8 // of a span: prefixes of one address differ in it. IPv6's 128 is -128 here.
	key  nft.Tuple
}

func (it *item) id() itemID {
	return itemID{it.set, int8(it.prefix.Bits()), it.elem.Key}
}

// span tells whether the item is a prefix in a set of intervals.
func (it *item) span() bool { return it.prefix.IsValid() }

// String names the item as an nft command does.
func (it *item) String() string {
	key := it.elem
	key.Data, key.Verdict = nft.Tuple{}, nft.Verdict{}
	t := routesTable()
	if it.set >= firstFrameSet {
		t = framesTable()
	}
	return fmt.Sprintf("element %s %s %s", t, it.set, key)
}

// builder collects the items of one owner. The first error sticks.
type builder struct {
	items []item
	err   error
}

func (b *builder) add(it item) {
	if err := errors.Join(it.elem.Key.Err(), it.elem.Data.Err()); err != nil {
		b.fail("set %s: %w", it.set, err)
		return
	}
	b.items = append(b.items, it)
}

func (b *builder) fail(format string, args ...any) {
	if b.err == nil {
		b.err = cnm.Errorf(cnm.Invalid, "firewall rules: "+format, args...)
	}
}

func (b *builder) key(set setID, key nft.Tuple) { b.add(item{set: set, elem: nft.Key(key)}) }

func (b *builder) data(set setID, key, data nft.Tuple) {
	b.add(item{set: set, elem: nft.KeyData(key, data)})
}

// link adds a link to a set where on is true.
func (b *builder) link(on bool, set setID, name string) {
	if on {
		b.key(set, nft.Ifname(name))
	}
}

// span adds a prefix, of a link if it is not empty.
func (b *builder) span(set setID, link string, p netip.Prefix, data nft.Tuple) {
	i := nft.Interval{}
	if link != "" {
		i = i.Ifname(link)
	}
	elem := i.Prefix(p).Element()
	elem.Data = data
	if elem.End == elem.Key {
		elem.End = nft.Tuple{}
	}
	b.add(item{set: set, link: link, prefix: p, elem: elem})
}

// itemsOf gives the elements that r consists of.
func itemsOf(r *Rules) ([]item, error) {
	b := builder{items: make([]item, 0, 16)}
	for i := range r.Bridges {
		b.bridge(&r.Bridges[i])
	}
	for i := range r.Ports {
		b.port(&r.Ports[i])
	}
	for i := range r.Published {
		b.published(&r.Published[i])
	}
	for _, name := range r.Trunks {
		b.key(setTrunks, nft.Ifname(name))
		b.key(setSelf, nft.Ifname(name).Ifname(name))
	}
	for _, o := range r.Opened {
		b.link(o.Families.IPv4, setOpened4, o.Link)
		b.link(o.Families.IPv6, setOpened6, o.Link)
		b.talk(o.Link) // frames that are bridged are not in transit
	}
	return b.items, b.err
}

// talk lets what comes in by a link leave by it.
func (b *builder) talk(link string) {
	b.key(setPair, nft.Ifname(link).Ifname(link))
}

func (b *builder) bridge(r *Bridge) {
	b.link(true, setNets, r.Link)
	b.link(!r.Adopted, setIfs, r.Link)
	b.link(r.Adopted, setAdopted, r.Link)
	b.link(r.Internal, setInternal, r.Link)
	b.link(r.Internal || !r.HostAccess, setClosed, r.Link)
	b.link(r.Loopback, setLoop, r.Link)
	b.talk(r.Link)
	for _, p := range r.Subnets {
		if !p.IsValid() || p.Bits() == 0 || p.Addr().Is4In6() {
			b.fail("subnet %s of bridge %s is no IPv4 or IPv6 prefix of one bit or more", p, r.Link)
			return
		}
		b.subnet(r, p.Masked())
	}
}

func (b *builder) subnet(r *Bridge, p netip.Prefix) {
	six := p.Addr().Is6()
	home := setCnet4
	if r.Adopted {
		home = setLAN4
	}
	b.span(home.of(six), "", p, nft.Tuple{})
	if r.Internal {
		return
	}
	for _, t := range r.Trusted {
		b.span(setTrust4.of(six), t, p, nft.Tuple{})
	}
	source := r.Source4
	if six {
		source = r.Source6
	}
	switch {
	case !r.Masquerade.Has(cnm.FamilyOf(p.Addr())):
	case !source.IsValid():
		b.span(setMasq4.of(six), "", p, nft.Tuple{})
	case source.Is6() != six || source.Is4In6():
		b.fail("source address %s of bridge %s is not of the family of subnet %s", source, r.Link, p)
	default:
		b.span(setSnat4.of(six), "", p, nft.Addr(source))
	}
}

func (b *builder) port(p *BridgePort) {
	b.link(true, setPorts, p.Link)
	b.key(setSelf, nft.Ifname(p.Link).Ifname(p.Link))
	b.link(p.AnySource, setAnySource, p.Link)
	b.link(p.AllowRA, setRouters, p.Link)
	b.link(p.AllowDHCPServer, setDHCP, p.Link)
	b.link(p.Adopted, setLANPorts, p.Link)
	b.link(p.Isolated, setIsoPorts, p.Link)
	mac := net.HardwareAddr(p.MAC[:])
	switch {
	case p.MAC.IsValid():
		b.key(setMACs, nft.Ifname(p.Link).MAC(mac))
		if p.Isolated {
			b.key(setIsoMACs, nft.MAC(mac))
		}
	case !p.AnySource:
		b.fail("port %s has no MAC to be bound to", p.Link)
	}
	for _, a := range p.Addresses {
		if !a.IsValid() || a.Is4In6() || a.IsUnspecified() || a.IsMulticast() || a.Zone() != "" {
			b.fail("address %s of port %s is none that an endpoint can have", a, p.Link)
			return
		}
		b.address(p, mac, a)
	}
}

func (b *builder) address(p *BridgePort, mac net.HardwareAddr, a netip.Addr) {
	six := a.Is6()
	if p.MAC.IsValid() {
		b.key(setBound4.of(six), nft.Ifname(p.Link).MAC(mac).Addr(a))
	}
	if a.IsLinkLocalUnicast() {
		return // never routed
	}
	if p.Adopted {
		b.key(setEnd4.of(six), nft.Addr(a))
	} else {
		b.key(setHome4.of(six), nft.Ifname(p.Bridge).Addr(a))
	}
	if p.Isolated {
		b.key(setIso4.of(six), nft.Ifname(p.Bridge).Addr(a))
	}
}

// published adds what leads to an endpoint, and what keeps its flows alive.
func (b *builder) published(p *Published) {
	to, proto := p.To, nft.Protocol(p.Proto)
	if !to.Addr().IsValid() || to.Addr().Is4In6() || to.Addr().Zone() != "" || to.Port() == 0 {
		b.fail("port published to %s leads nowhere", to)
		return
	}
	six := to.Addr().Is6()
	if p.Host == (netip.AddrPort{}) {
		b.key(setOpen4.of(six), nft.Addr(to.Addr()).Proto(proto).Port(to.Port()))
		return
	}
	host := p.Host
	if !host.Addr().IsValid() || host.Addr().Is4In6() || host.Addr().Is6() != six || host.Addr().Zone() != "" || host.Port() == 0 {
		b.fail("port published on %s is no port of the family of %s", host, to)
		return
	}
	target := nft.Addr(to.Addr()).Port(to.Port())
	live := nft.Tuple{}.Proto(proto).Addr(to.Addr()).Port(to.Port())
	if host.Addr().IsUnspecified() {
		b.data(setPubAny4.of(six), nft.Tuple{}.Proto(proto).Port(host.Port()), target)
		b.key(setLiveAny4.of(six), live.Port(host.Port()))
		return
	}
	if host.Addr() == netip.IPv6Loopback() {
		return // a socket serves it
	}
	b.data(setPub4.of(six), nft.Addr(host.Addr()).Proto(proto).Port(host.Port()), target)
	b.key(setLive4.of(six), live.Addr(host.Addr()).Port(host.Port()))
	if host.Addr().IsLoopback() {
		b.key(setLo4, nft.Tuple{}.Proto(proto).Port(host.Port()))
	}
}
