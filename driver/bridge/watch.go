// SPDX-License-Identifier: Apache-2.0

package bridge

import (
	"context"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/kernel/link"
	"github.com/libnetwork/cnm/kernel/sysctl"
)

const (
	// doubt is how long a link may look wrong before anybody is told: the messages that make one arrive one by one.
	doubt = 10 * time.Millisecond
	// gatherEvents is how long the announcements of a change are gathered before they are read: an attach is held up by each that is
	// not.
	gatherEvents = 5 * time.Millisecond
	// rereadEvery is the distance of looks at settings, whose changes the kernel does not announce.
	rereadEvery = 500 * time.Millisecond
)

// live are the links in service and what of theirs the kernel announces when it goes.
type live struct {
	links      map[string]liveLink
	neighbours map[neighbourKey]string // to the link's name
	homes      map[homeKey]home
	indexes    map[int]string
}

// homeKey is an endpoint's MAC on a bridge, home the port behind which it is there, and the endpoint's link.
type homeKey struct {
	bridge int
	mac    link.MAC
}

type home struct {
	port int
	name string
}

// wrong says in what a link looks wrong: what is right again takes the doubt back that it raised, and no other.
type wrong uint8

const (
	wrongLink wrong = 1 << iota
	wrongPort
	wrongEntry
)

// doubts are links that look wrong, by name.
type doubts map[string]wrong

func (d doubts) clear(name string, w wrong) {
	if d[name] &^= w; d[name] == 0 {
		delete(d, name)
	}
}

type liveLink struct {
	index, master int
	mtu           int
	hub           int
	trunk         int
	mac           link.MAC
	addresses     []netip.Addr
}

type neighbourKey struct {
	link int
	addr netip.Addr
}

func newLive() live {
	return live{links: map[string]liveLink{}, neighbours: map[neighbourKey]string{}, homes: map[homeKey]home{}, indexes: map[int]string{}}
}

// enlist notes that a link is in service as planned.
func (d *Driver) enlist(to site, p endpointPlan) {
	l := liveLink{index: p.index, master: to.bridge, mtu: to.mtu, hub: to.hub, trunk: to.trunk, mac: macLink(p.at.Endpoint.MAC)}
	for _, a := range p.at.Endpoint.Addresses {
		l.addresses = append(l.addresses, a.Addr())
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.live.links[p.host], d.live.indexes[l.index] = l, p.host
	for _, a := range l.addresses {
		d.live.neighbours[neighbourKey{l.hub, a}] = p.host
	}
	d.live.homes[homeKey{l.master, l.mac}] = home{l.index, p.host}
	if l.trunk != 0 {
		d.live.homes[homeKey{l.hub, l.mac}] = home{l.trunk, p.host}
	}
}

// delist notes that a link goes out of service by our own hand.
func (d *Driver) delist(at cnm.Attachment) {
	d.mu.Lock()
	defer d.mu.Unlock()
	name := portName(at.Join.Number)
	l, ok := d.live.links[name]
	if !ok {
		return
	}
	delete(d.live.links, name)
	delete(d.live.indexes, l.index)
	for _, a := range l.addresses {
		delete(d.live.neighbours, neighbourKey{l.hub, a})
	}
	for _, key := range []homeKey{{l.master, l.mac}, {l.hub, l.mac}} {
		if d.live.homes[key].name == name {
			delete(d.live.homes, key)
		}
	}
}

// Watch hints at links, forwarding entries, neighbours, bridges and settings that others deleted or altered, and keeps
// forwarding as it must be when links to the outside come and go.
func (d *Driver) Watch(ctx context.Context, hint func(cnm.Hint)) error {
	w, err := link.Watch(ctx, link.WatchOptions{
		Topics: link.Links | link.Addresses | link.Neighbours | link.Routes, Removals: link.Addresses | link.Routes, Gather: gatherEvents,
	})
	if err != nil {
		return cnm.Errorf(cnm.Internal, "watching links: %w", err)
	}
	hint(cnm.Hint{}) // what happened before is not announced
	doubtful := doubts{}
	settle := time.NewTimer(doubt)
	settle.Stop()
	defer settle.Stop()
	waits := false
	reread := time.NewTicker(rereadEvery)
	defer reread.Stop()
	for {
		select {
		case e, ok := <-w.Events():
			if !ok {
				return w.Err()
			}
			if d.judge(e, doubtful, hint) && !waits {
				waits = true
				settle.Reset(doubt)
			}
		case <-settle.C:
			waits = false
			d.follow(ctx, doubtful, hint)
		case <-reread.C:
			if d.settingsDiffer(ctx) {
				hint(cnm.Hint{})
			}
		}
	}
}

// outsideLinks stands among the doubtful links for those to the outside, of which some came or went.
const outsideLinks = ""

// follow hints at what is doubtful still. That links to the outside come and go is no drift, only forwarding has to follow them.
func (d *Driver) follow(ctx context.Context, doubtful doubts, hint func(cnm.Hint)) {
	for name := range doubtful {
		delete(doubtful, name)
		if strings.HasPrefix(name, portPrefix) {
			hint(cnm.Hint{Link: name})
			continue
		}
		if name != outsideLinks { // a bridge, or a link between bridges: everything behind it may be concerned
			hint(cnm.Hint{})
			continue
		}
		drifts, err := d.host.open(ctx)
		if err != nil && ctx.Err() == nil {
			d.log.ErrorContext(ctx, "forwarding of links to the outside", "error", err)
		}
		if len(drifts) > 0 {
			d.host.keep(drifts)
			hint(cnm.Hint{})
		}
	}
}

// judge decides what an event means. It returns true when a link has become doubtful.
func (d *Driver) judge(e link.Event, doubtful doubts, hint func(cnm.Hint)) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	suspect, why := "", wrongEntry
	switch e := e.(type) {
	case link.Overrun:
		hint(cnm.Hint{})
	case *link.LinkEvent:
		return d.judgeLink(e, doubtful, hint)
	case *link.AddressEvent:
		if e.Gone && d.isHub(e.Address.Link) {
			hint(cnm.Hint{})
		}
	case *link.RouteEvent:
		if e.Gone && d.isOfHub(e.Route) {
			hint(cnm.Hint{})
		}
	case *link.NeighbourEvent:
		n := e.Neighbour
		name := d.live.neighbours[neighbourKey{n.Link, n.Addr}]
		if name != "" && (e.Gone || n.State != link.Permanent || n.MAC != d.live.links[name].mac) {
			suspect = name
		}
	case *link.FDBEvent:
		if h := d.live.homes[homeKey{e.Entry.Bridge, e.Entry.MAC}]; e.Gone == (h.port == e.Entry.Link) {
			suspect = h.name // it is gone from its port, or has come to another
		}
	case *link.PortEvent:
		name := d.live.indexes[e.Link]
		if !e.Gone && asWanted(e.Port) && !closed(e.Flags, e.State) {
			doubtful.clear(name, wrongPort)
		} else {
			suspect, why = name, wrongPort
		}
	}
	if suspect != "" {
		doubtful[suspect] |= why
	}
	return suspect != ""
}

// judgeLink is judge for links, with mu held. A good state takes a doubt back.
func (d *Driver) judgeLink(e *link.LinkEvent, doubtful doubts, hint func(cnm.Hint)) bool {
	l, known := d.live.links[e.Link.Name]
	was := d.live.indexes[e.Link.Index]
	switch {
	case !known && was != "" && !e.Gone && e.Link.Kind == "veth" && !ours(e.Link.Name): // renamed
		doubtful[was] |= wrongLink
		return true
	case known && (e.Gone || e.Link.Flags&unix.IFF_UP == 0 || e.Link.Master != l.master || e.Link.MTU != l.mtu || !asWanted(e.Link.Port)):
		doubtful[e.Link.Name] |= wrongLink
		return true
	case known:
		doubtful.clear(e.Link.Name, wrongLink)
	case strings.HasPrefix(e.Link.Name, portPrefix):
		// On its way in or out by our own hand.
	case strings.HasPrefix(e.Link.Name, waitPrefix):
		if e.Gone { // moved into its sandbox, whose namespace is there then
			hint(cnm.Hint{Link: portPrefix + strings.TrimPrefix(e.Link.Name, waitPrefix)})
		}
	case d.isBridge(e.Link.Index):
		if e.Gone || e.Link.Flags&unix.IFF_UP == 0 || d.alteredHub(e.Link) { // or it is just being made
			doubtful[e.Link.Name] |= wrongLink
			return true
		}
		doubtful.clear(e.Link.Name, wrongLink)
	case d.absent[e.Link.Name]:
		hint(cnm.Hint{}) // the bridge that a network waits for
	case !ours(e.Link.Name):
		doubtful[outsideLinks] |= wrongLink
		return true
	}
	return false
}

// alteredHub tells whether a link is a hub of ours that is not as planned any more.
func (d *Driver) alteredHub(l link.Link) bool {
	for _, n := range d.nets {
		if n.hub == l.Index {
			return !n.plan.settings.adopt && (l.Name != n.plan.hub || l.MAC != macLink(n.plan.mac) || l.MTU != n.mtu ||
				alteredOptions(l.Bridge) != link.BridgeOptions{})
		}
	}
	return false
}

// isOfHub tells whether a route came with an address of a hub.
func (d *Driver) isOfHub(r link.Route) bool {
	if r.Table != link.TableMain || r.Protocol != kernelProtocol {
		return false
	}
	for _, n := range d.nets {
		if n.hub == r.Link {
			return slices.ContainsFunc(connected(n.plan, n.hub), func(c link.Route) bool { return c.Dst == r.Dst })
		}
	}
	return false
}

func (d *Driver) isHub(index int) bool {
	for _, n := range d.nets {
		if n.hub == index {
			return true
		}
	}
	return false
}

func (d *Driver) isBridge(index int) bool {
	for _, n := range d.nets {
		for _, s := range n.shards {
			if s.index == index || s.trunk == index && index != 0 {
				return true
			}
		}
	}
	return false
}

// settingsDiffer reads the settings that keep hubs working and shards silent.
func (d *Driver) settingsDiffer(ctx context.Context) bool {
	for hub := range d.hubs() {
		if d.host.is("net/ipv4/conf/"+hub+"/route_localnet", "0") {
			return true
		}
	}
	for _, s := range d.hubRouterSettings() {
		if v, err := d.host.host.read(s.Key); err == nil && v != s.Value {
			return true
		}
	}
	for _, shard := range d.shardNames() {
		v, err := d.host.host.read("net/ipv4/conf/" + shard + "/arp_ignore")
		if err == nil && v != strconv.Itoa(noReply) {
			return true
		}
	}
	return ctx.Err() == nil && d.host.differs()
}

// hubRouterSettings are those of hubs that no announcement tells of. The other is told by the addresses that go.
func (d *Driver) hubRouterSettings() []sysctl.Setting {
	d.mu.Lock()
	defer d.mu.Unlock()
	var all []sysctl.Setting
	for _, n := range d.nets {
		if n.plan.network.IPv6 {
			all = append(all, routerSetting(n.plan)...)
		}
	}
	return all
}

// shardNames are the shards of all networks, without those that somebody is making.
func (d *Driver) shardNames() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var all []string
	for _, n := range d.nets {
		for _, s := range n.beyond(false) {
			all = append(all, s.name)
		}
	}
	return all
}
