// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/kernel/link"
	"github.com/libnetwork/cnm/kernel/sysctl"
)

// Check compares records with everything in the kernel and returns one line for each thing that is missing, is not as
// recorded, or carries our mark without a record. Objects in the middle of a change are not looked at, and count as
// accounted for. The networks of drivers other than bridge have nothing on the host.
func Check(ctx context.Context, r cnm.Records, s Scope) []string {
	c := &checker{records: r, scope: s, known: map[string]bool{}}
	var found []string
	c.attachments, found = attachments(r)
	c.found = found
	if err := c.run(ctx); err != nil {
		c.say("audit: %v", err)
	}
	slices.Sort(c.found)
	return slices.Compact(c.found)
}

// checker holds what the parts of a check share.
type checker struct {
	records     cnm.Records
	scope       Scope
	attachments []cnm.Attachment
	host        host
	known       map[string]bool // names of host-side links that a record accounts for
	found       []string
}

func (c *checker) say(format string, args ...any) {
	c.found = append(c.found, fmt.Sprintf(format, args...))
}

// want says what is wrong unless ok.
func (c *checker) want(ok bool, format string, args ...any) {
	if !ok {
		c.say(format, args...)
	}
}

func (c *checker) run(ctx context.Context) error {
	conn, err := link.Dial(link.Here)
	if err != nil {
		return err
	}
	defer conn.Close()
	if c.host, err = readHost(ctx, conn); err != nil {
		return err
	}
	for _, nw := range c.bridgeNetworks() {
		c.network(nw)
	}
	for _, at := range c.attachments {
		if at.Network.Driver == "bridge" {
			c.hostSide(at)
		}
	}
	c.underWay()
	c.foreignLinks()
	c.foreignEntries()
	if err := c.firewall(ctx); err != nil {
		return err
	}
	if err := c.sandboxes(ctx); err != nil {
		return err
	}
	if err := c.pins(); err != nil {
		return err
	}
	return c.ports()
}

// bridgeNetworks are the settled networks of the bridge driver.
func (c *checker) bridgeNetworks() []cnm.Network {
	var all []cnm.Network
	for _, nw := range c.records.Networks {
		if nw.Driver == "bridge" && nw.State.Settled() {
			all = append(all, nw)
		}
	}
	return all
}

// network checks the hub, and the shards as far as there are any.
func (c *checker) network(nw cnm.Network) {
	o := optionsOf(nw)
	c.known[o.bridge] = true
	hub, ok := c.host.byName[o.bridge]
	if !ok {
		c.say("network %s: bridge %s is missing", nw.Name, o.bridge)
		return
	}
	c.want(hub.Kind == "bridge" && hub.Up(), "network %s: link %s is a %q, up %t, not a bridge that is up", nw.Name, o.bridge, hub.Kind, hub.Up())
	c.shards(nw, hub)
	localnet, err := sysctl.Read("net/ipv4/conf/" + o.bridge + "/route_localnet")
	c.want(localnet == "1" || o.adopted && localnet == "2", "network %s: setting route_localnet of %s is %q (%v), want 1, or on an adopted bridge 2", nw.Name, o.bridge, localnet, err)
	if !nw.Internal && nw.IPv4 {
		c.setting(nw, "ipv4/conf/"+o.bridge+"/forwarding", "1", "")
	}
	if !nw.Internal && nw.IPv6 {
		c.setting(nw, "ipv6/conf/"+o.bridge+"/force_forwarding", "1", "ipv6/conf/all/forwarding")
	}
	if o.adopted {
		return
	}
	c.want(hub.Port == (link.Port{}) && hub.Master == 0, "network %s: bridge %s is in %s", nw.Name, o.bridge, c.host.name(hub.Master))
	want := map[netip.Prefix]bool{}
	for _, s := range nw.Subnets {
		if s.Gateway.IsValid() {
			want[netip.PrefixFrom(s.Gateway, s.Prefix.Bits())] = true
		}
	}
	if nw.IPv6 {
		want[netip.PrefixFrom(linkLocal(cnm.MAC(hub.MAC)), 64)] = true
	}
	c.compareAddresses("network "+nw.Name+": bridge "+o.bridge, want, c.host.addresses, hub.Index)
}

// compareAddresses compares what a link is to have with what it has.
func (c *checker) compareAddresses(of string, want map[netip.Prefix]bool, have []link.Address, index int) {
	for _, a := range have {
		switch {
		case a.Link != index:
		case !want[a.Prefix]:
			c.say("%s: address %s is foreign", of, a.Prefix)
		default:
			c.want(!a.Tentative && !a.DADFailed, "%s: address %s is not usable", of, a.Prefix)
			delete(want, a.Prefix)
		}
	}
	for p := range want {
		c.say("%s: address %s is missing", of, p)
	}
}

// shards checks the further bridges of a network, each with its trunk.
func (c *checker) shards(nw cnm.Network, hub link.Link) {
	for i := 1; i < most; i++ {
		name, atHub, atShard := shardNames(nw.ID, i)
		shard, ok := c.host.byName[name]
		if !ok {
			return // attachments say what bridges they need
		}
		c.known[name], c.known[atHub], c.known[atShard] = true, true, true
		c.want(shard.Kind == "bridge" && shard.Up(), "network %s: shard %s is a %q, up %t, not a bridge that is up", nw.Name, name, shard.Kind, shard.Up())
		c.setting(nw, "ipv4/conf/"+name+"/arp_ignore", "8", "")
		h, okH := c.host.byName[atHub]
		s, okS := c.host.byName[atShard]
		c.want(okH && h.Up() && h.Master == hub.Index && h.Port.Learning == link.Off && h.Port.UnicastFlood == link.Off, "network %s: trunk %s is not as it must be at the hub", nw.Name, atHub)
		c.want(okS && s.Up() && s.Master == shard.Index && s.Port.Learning == link.Off && s.Port.UnicastFlood == link.On, "network %s: trunk %s is not as it must be at the shard", nw.Name, atShard)
	}
}

// setting checks a setting; or is one whose value 1 serves as well, "" for none.
func (c *checker) setting(nw cnm.Network, key, want, or string) {
	v, err := sysctl.Read("net/" + key)
	if or != "" {
		if all, err := sysctl.Read("net/" + or); err == nil && all == "1" {
			return
		}
	}
	c.want(err == nil && v == want, "network %s: setting %s is %q (%v), want %s", nw.Name, key, v, err, want)
}

// hostSide checks the host's side of an attachment: the link, the forwarding entries, the neighbours.
func (c *checker) hostSide(at cnm.Attachment) {
	of := "endpoint " + at.Network.Name + "/" + at.Endpoint.Name
	recorded := at.Join.Result.Link
	c.known[recorded.Host] = true
	if !recorded.InPlace {
		c.known[recorded.Name] = true // it may have been moved by now, or not
		recorded.Index = c.host.byName[recorded.Host].Index
	}
	l, ok := c.host.byName[recorded.Host]
	if !ok {
		c.say("%s: link %s is missing", of, recorded.Host)
		return
	}
	c.want(l.Kind == "veth" && l.Up() && l.Group == 0 && l.Index == recorded.Index, "%s: link %s is a %q, up %t, group %d, number %d, not a veth that is up, in group 0, with number %d", of, l.Name, l.Kind, l.Up(), l.Group, l.Index, recorded.Index)
	c.want(l.MTU == at.Join.Result.MTU, "%s: link %s has mtu %d, want %d", of, l.Name, l.MTU, at.Join.Result.MTU)
	c.want(l.Port.Hairpin == link.On && l.Port.Learning == link.Off && l.Port.UnicastFlood == link.Off && l.Port.Isolated != link.On, "%s: link %s has port attributes %+v", of, l.Name, l.Port)
	c.want(c.host.name(l.Master) == recorded.Bridge, "%s: link %s is in %s, want %s", of, l.Name, c.host.name(l.Master), recorded.Bridge)
	hub := optionsOf(at.Network).bridge
	via := []string{l.Name}
	if recorded.Bridge != hub {
		via = append(via, c.trunkTo(at.Network.ID, recorded.Bridge, of))
	}
	for _, name := range via {
		c.want(c.hasEntry(name, at.Endpoint.MAC), "%s: forwarding entry %s on %s is missing", of, at.Endpoint.MAC, name)
	}
	for _, p := range at.Endpoint.Addresses {
		n := link.Neighbour{Link: c.host.byName[hub].Index, Addr: p.Addr(), MAC: link.MAC(at.Endpoint.MAC), State: link.Permanent, Protocol: ownProtocol}
		c.want(slices.Contains(c.host.neighbours, n), "%s: neighbour %s on %s is missing", of, p.Addr(), hub)
	}
}

// trunkTo is the hub's end of the trunk to a shard.
func (c *checker) trunkTo(id cnm.NetworkID, bridge, of string) string {
	for i := 1; i < most; i++ {
		if name, atHub, _ := shardNames(id, i); name == bridge {
			return atHub
		}
	}
	c.say("%s: bridge %s is none of its network", of, bridge)
	return ""
}

func (c *checker) hasEntry(name string, mac cnm.MAC) bool {
	return slices.ContainsFunc(c.host.fdb, func(e link.FDBEntry) bool {
		return e.Bridge != 0 && c.host.name(e.Link) == name && e.MAC == link.MAC(mac) && e.State&link.NoARP != 0
	})
}

// underWay accounts for what belongs to objects that are being changed.
func (c *checker) underWay() {
	for _, j := range c.records.Joins {
		if host := j.Result.Link.Host; host != "" {
			c.known[host] = true
			c.known[j.Result.Link.Name] = c.known[j.Result.Link.Name] || !j.Result.Link.InPlace
		}
	}
	for _, nw := range c.records.Networks {
		if nw.Driver == "bridge" {
			c.known[optionsOf(nw).bridge] = true
		}
	}
}

// foreignLinks names links with a name of ours that nothing accounts for. Links that wait to be deleted are accounted for.
func (c *checker) foreignLinks() {
	for _, l := range c.host.links {
		other := l // a link that waits goes with its other side
		if digits, waits := strings.CutPrefix(l.Name, waitPrefix); waits {
			other = c.host.byName[portPrefix+digits]
		}
		if isOurs(l.Name) && !c.known[l.Name] && !isFenced(other) {
			c.say("link %s is foreign", l.Name)
		}
	}
}

// foreignEntries names neighbours and forwarding entries on our bridges that nothing accounts for.
func (c *checker) foreignEntries() {
	macs := map[link.MAC]bool{}
	addresses := map[netip.Addr]bool{}
	for _, at := range c.attachments {
		macs[link.MAC(at.Endpoint.MAC)] = true
		for _, p := range at.Endpoint.Addresses {
			addresses[p.Addr()] = true
		}
	}
	ours := func(index int) bool {
		name := c.host.name(index)
		return strings.HasPrefix(name, hubPrefix) || strings.HasPrefix(name, shardPrefix)
	}
	for _, n := range c.host.neighbours {
		if n.State == link.Permanent && ours(n.Link) && !addresses[n.Addr] {
			c.say("neighbour %s on %s is foreign", n.Addr, c.host.name(n.Link))
		}
	}
	for _, e := range c.host.fdb {
		l := c.host.byIndex[e.Link]
		if ours(e.Bridge) && e.State == link.NoARP && e.Master && !macs[e.MAC] && e.MAC[0]&1 == 0 && !isFenced(l) {
			c.say("forwarding entry %s on %s is foreign", e.MAC, l.Name)
		}
	}
}
