// SPDX-License-Identifier: Apache-2.0

package bridge

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/firewall"
	"github.com/libnetwork/cnm/kernel/link"
)

// Endpoints on one bridge. The kernel's work for a new port grows with the ports of its bridge, so no bridge gets more than
// 128: the hub keeps 32 of them for trunks, a shard one.
const (
	hubPorts   = 96
	shardPorts = 127
)

// shard is one bridge of a network; the first is the hub itself. Fields are guarded by the driver's mu. One that is not ready is
// being made by the call that added it.
type shard struct {
	name  string
	room  int // endpoints that still fit
	index int
	trunk int // index of the hub's end of the trunk; 0 at the hub
	ready chan struct{}
	err   error
}

// site is where the link of an endpoint goes: a copy of what is known of its network and shard.
type site struct {
	plan   networkPlan
	hub    int    // index
	name   string // of the bridge
	bridge int    // its index
	trunk  int    // index of the hub's end of the trunk; 0 at the hub
	mtu    int    // bytes
}

// site is called with the driver's mu held.
func (n *network) site(s *shard) site {
	return site{plan: n.plan, hub: n.hub, name: s.name, bridge: s.index, trunk: s.trunk, mtu: n.mtu}
}

func newShard(name string, room int) *shard {
	return &shard{name: name, room: room, ready: make(chan struct{})}
}

func (s *shard) isReady() bool {
	select {
	case <-s.ready:
		return true
	default:
		return false
	}
}

// made says that the shard is in the kernel. It is called with the driver's mu held.
func (s *shard) made(index, trunk int) {
	s.index, s.trunk, s.err = index, trunk, nil
	if !s.isReady() {
		close(s.ready)
	}
}

// place finds room for an endpoint and returns its shard, making one if all are full. The endpoint's place is given back by
// unplace.
func (d *Driver) place(ctx context.Context, n *network, ep cnm.EndpointID) (site, error) {
	s, fresh := d.reserve(n, ep)
	if fresh > 0 {
		// Others wait for it too: it does not end with the call that begins it.
		d.build(context.WithoutCancel(ctx), n, s, fresh)
	}
	select {
	case <-s.ready:
		d.mu.Lock()
		defer d.mu.Unlock()
		return n.site(s), s.err
	case <-ctx.Done():
		return site{}, cnm.Errorf(cnm.Unavailable, "waiting for bridge %s: %w", s.name, context.Cause(ctx))
	}
}

// reserve takes a place; fresh is the number of a shard that the caller has to build, or 0.
func (d *Driver) reserve(n *network, ep cnm.EndpointID) (s *shard, fresh int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if s := n.placed[ep]; s != nil {
		return s, 0
	}
	for _, s = range n.shards {
		if s.room > 0 && s.err == nil {
			s.room--
			n.placed[ep] = s
			return s, 0
		}
	}
	fresh = len(n.shards)
	s = newShard(shardName(n.plan.network.ID, fresh), shardPorts-1)
	n.shards = append(n.shards, s)
	n.placed[ep] = s
	return s, fresh
}

// unplace gives an endpoint's place back and returns where it was; ok is false if it had none.
func (d *Driver) unplace(nw cnm.NetworkID, ep cnm.EndpointID) (at site, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.nets[nw]
	if n == nil || n.placed[ep] == nil {
		return site{}, false
	}
	s := n.placed[ep]
	s.room++
	delete(n.placed, ep)
	return n.site(s), true
}

// build makes a shard in the kernel and tells those who wait for it. One that cannot be made gives its number back.
func (d *Driver) build(ctx context.Context, n *network, s *shard, i int) {
	index, trunk, err := d.ensureShard(ctx, n, i)
	if err != nil {
		err = errors.Join(err, d.removeShard(ctx, d.planOf(n).network.ID, i))
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err != nil {
		if last := len(n.shards) - 1; n.shards[last] == s {
			n.shards = n.shards[:last]
		}
	}
	s.made(index, trunk)
	s.err = err
}

// ensureShard makes shard i and its trunk, or what is missing of them.
func (d *Driver) ensureShard(ctx context.Context, n *network, i int) (index, trunk int, err error) {
	d.mu.Lock()
	id, hub, mtu := n.plan.network.ID, n.hub, n.mtu
	d.mu.Unlock()
	name, atHub, atShard := shardName(id, i), trunkHub(id, i), trunkShard(id, i)
	rules := firewall.Rules{Trunks: []string{atHub, atShard}}
	if err := d.fw.Set(ctx, shardOwner(id, name), rules); err != nil {
		return 0, 0, err
	}
	bridge, err := d.conn.Link(link.Named(name))
	if errors.Is(err, unix.ENODEV) {
		if err := d.createBridge(name, macOf("shard", name), mtu); err != nil {
			return 0, 0, err
		}
		bridge, err = d.conn.Link(link.Named(name))
	}
	if err != nil {
		return 0, 0, cnm.Errorf(cnm.Internal, "bridge %s: %w", name, err)
	}
	if err := d.quiet(bridge); err != nil {
		return 0, 0, err
	}
	if err := d.ensureTrunk(joint{hub, bridge.Index, mtu, atHub, atShard}); err != nil {
		return 0, 0, err
	}
	end, err := d.conn.Link(link.Named(atHub))
	if err != nil {
		return 0, 0, cnm.Errorf(cnm.Internal, "trunk %s: %w", atHub, err)
	}
	return bridge.Index, end.Index, nil
}

// noReply is the value of arp_ignore that answers for no address at all. Without it the host would answer on a shard for each of its
// own, the gateway's too, and with the shard's MAC. IPv6 answers for the addresses of the link itself only.
const noReply = 8

// quiet brings a shard up, if it is not as it is to be, without any address of its own: only the hub speaks.
func (d *Driver) quiet(bridge link.Link) error {
	if v, ok := bridge.IPv4.Value(link.ARPIgnore); ok && v == noReply && bridge.Up() {
		return nil
	}
	var b link.Batch
	b.SetLink(link.Change{
		Link: link.Numbered(bridge.Index), AddrGenMode: link.AddrGenNone, Up: link.On, IPv4: []link.Conf{{Key: link.ARPIgnore, Value: noReply}},
	})
	if err := d.conn.Do(&b); err != nil {
		return cnm.Errorf(kindOf(err), "%w", err)
	}
	return nil
}

// joint is what joins a shard to its hub: a trunk and the two bridges at its ends.
type joint struct {
	hub, shard     int // indexes
	mtu            int // bytes
	atHub, atShard string
}

// ensureTrunk joins a shard to the hub. Both ends are made down and put into their bridges before they come up. An unknown unicast
// address goes from a shard to the hub, which knows every endpoint, and from the hub nowhere.
func (d *Driver) ensureTrunk(t joint) error {
	var b link.Batch
	if _, err := d.conn.Link(link.Named(t.atHub)); errors.Is(err, unix.ENODEV) {
		b.CreateVeth(link.Veth{Name: t.atHub, Master: t.hub, MTU: t.mtu, Peer: link.Peer{Name: t.atShard, MTU: t.mtu}})
	} else if err != nil {
		return cnm.Errorf(cnm.Internal, "trunk %s: %w", t.atHub, err)
	}
	b.SetLink(link.Change{Link: link.Named(t.atShard), Master: t.shard})
	b.SetLink(link.Change{
		Link: link.Named(t.atShard), AddrGenMode: link.AddrGenNone, Up: link.On,
		Port: link.Port{Learning: link.Off, UnicastFlood: link.On},
	})
	b.SetLink(link.Change{Link: link.Named(t.atHub), Master: t.hub})
	b.SetLink(link.Change{
		Link: link.Named(t.atHub), AddrGenMode: link.AddrGenNone, Up: link.On,
		Port: link.Port{Learning: link.Off, UnicastFlood: link.Off, Hairpin: link.On},
	})
	if err := d.conn.Do(&b); err != nil {
		return cnm.Errorf(kindOf(err), "%w", err)
	}
	return nil
}

// removeShard deletes a shard and its trunk, then what the rules say of it.
func (d *Driver) removeShard(ctx context.Context, id cnm.NetworkID, i int) error {
	name := shardName(id, i)
	return errors.Join(d.deleteLink(trunkHub(id, i)), d.deleteLink(name), d.fw.Drop(ctx, shardOwner(id, name)))
}

// shardNumber is which shard of the network a bridge's name means: 0 is the hub; ok is false for another's.
func shardNumber(p networkPlan, name string) (i int, ok bool) {
	if name == p.hub || name == "" {
		return 0, true
	}
	prefix := strings.TrimSuffix(shardName(p.network.ID, 0), base36(0, 2))
	rest, ok := strings.CutPrefix(name, prefix)
	if !ok || len(rest) != 2 {
		return 0, false
	}
	n, err := strconv.ParseUint(rest, 36, 16)
	return int(n), err == nil
}

// adopt gives endpoints that are in the kernel their places again after a start, as their records say.
func (n *network) adoptPlaces(ats []cnm.Attachment) {
	for _, at := range ats {
		i, ok := shardNumber(n.plan, at.Join.Result.Link.Bridge)
		if !ok || n.placed[at.Endpoint.ID] != nil {
			continue
		}
		for len(n.shards) <= i {
			n.shards = append(n.shards, newShard(shardName(n.plan.network.ID, len(n.shards)), shardPorts))
		}
		n.shards[i].room--
		n.placed[at.Endpoint.ID] = n.shards[i]
	}
}

// beyond are the shards beyond the hub by number. Without all, those are left out that somebody is making.
func (n *network) beyond(all bool) map[int]*shard {
	some := map[int]*shard{}
	for i, s := range n.shards {
		if i > 0 && (all || s.isReady()) {
			some[i] = s
		}
	}
	return some
}
