// SPDX-License-Identifier: Apache-2.0

package bridge

import (
	"context"
	"errors"
	"slices"
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

// shard is one bridge of a network; the first is the hub itself. Fields are guarded by the driver's mu until ready is closed,
// after which index, trunk and err do not change.
type shard struct {
	name  string
	room  int // endpoints that still fit
	index int
	trunk int // index of the hub's end of the trunk; 0 at the hub
	ready chan struct{}
	err   error
}

func newShard(name string, room int) *shard {
	return &shard{name: name, room: room, ready: make(chan struct{})}
}

// made says that the shard is in the kernel. It is called with the driver's mu held.
func (s *shard) made(index, trunk int) {
	s.index, s.trunk = index, trunk
	select {
	case <-s.ready:
	default:
		close(s.ready)
	}
}

// place finds room for an endpoint and returns its shard, making one if all are full. The endpoint's place is given back by
// unplace.
func (d *Driver) place(ctx context.Context, n *network, ep cnm.EndpointID) (*shard, error) {
	s, fresh := d.reserve(n, ep)
	if fresh > 0 {
		d.build(ctx, n, s, fresh)
	}
	select {
	case <-s.ready:
		return s, s.err
	case <-ctx.Done():
		return nil, cnm.Errorf(cnm.Unavailable, "waiting for bridge %s: %w", s.name, context.Cause(ctx))
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

// unplace gives an endpoint's place back and returns the shard it was on.
func (d *Driver) unplace(nw cnm.NetworkID, ep cnm.EndpointID) *shard {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.nets[nw]
	if n == nil || n.placed[ep] == nil {
		return nil
	}
	s := n.placed[ep]
	s.room++
	delete(n.placed, ep)
	return s
}

// build makes a shard in the kernel and tells those who wait for it. One that cannot be made gives its number back.
func (d *Driver) build(ctx context.Context, n *network, s *shard, i int) {
	index, trunk, err := d.ensureShard(ctx, n, i)
	d.mu.Lock()
	defer d.mu.Unlock()
	if err != nil {
		s.err = err
		if last := len(n.shards) - 1; n.shards[last] == s {
			n.shards = n.shards[:last]
		}
	}
	s.made(index, trunk)
}

// ensureShard makes shard i and its trunk, or what is missing of them.
func (d *Driver) ensureShard(ctx context.Context, n *network, i int) (index, trunk int, err error) {
	id := n.plan.network.ID
	name, atHub, atShard := shardName(id, i), trunkHub(id, i), trunkShard(id, i)
	rules := firewall.Rules{Trunks: []string{atHub, atShard}}
	if err := d.fw.Set(ctx, shardOwner(id, name), rules); err != nil {
		return 0, 0, err
	}
	bridge, err := d.conn.Link(link.Named(name))
	if errors.Is(err, unix.ENODEV) {
		if err := d.createBridge(name, macOf("shard", name), n.mtu); err != nil {
			return 0, 0, err
		}
		if err := d.quiet(name); err != nil {
			return 0, 0, err
		}
		bridge, err = d.conn.Link(link.Named(name))
	}
	if err != nil {
		return 0, 0, cnm.Errorf(cnm.Internal, "bridge %s: %w", name, err)
	}
	if err := d.ensureTrunk(n, bridge.Index, atHub, atShard); err != nil {
		return 0, 0, err
	}
	end, err := d.conn.Link(link.Named(atHub))
	if err != nil {
		return 0, 0, cnm.Errorf(cnm.Internal, "trunk %s: %w", atHub, err)
	}
	return bridge.Index, end.Index, nil
}

// quiet brings a shard up without any address of its own: only the hub speaks.
func (d *Driver) quiet(name string) error {
	var b link.Batch
	b.SetLink(link.Change{Link: link.Named(name), AddrGenMode: link.AddrGenNone, Up: link.On})
	if err := d.conn.Do(&b); err != nil {
		return cnm.Errorf(kindOf(err), "%w", err)
	}
	return nil
}

// ensureTrunk joins a shard to the hub. Both ends are made down and put into their bridges before they come up. An unknown unicast
// address goes from a shard to the hub, which knows every endpoint, and from the hub nowhere.
func (d *Driver) ensureTrunk(n *network, shard int, atHub, atShard string) error {
	var b link.Batch
	if _, err := d.conn.Link(link.Named(atHub)); errors.Is(err, unix.ENODEV) {
		b.CreateVeth(link.Veth{Name: atHub, Master: n.hub, MTU: n.mtu, Peer: link.Peer{Name: atShard, MTU: n.mtu}})
	} else if err != nil {
		return cnm.Errorf(cnm.Internal, "trunk %s: %w", atHub, err)
	}
	b.SetLink(link.Change{Link: link.Named(atShard), Master: shard})
	b.SetLink(link.Change{
		Link: link.Named(atShard), AddrGenMode: link.AddrGenNone, Up: link.On,
		Port: link.Port{Learning: link.Off, UnicastFlood: link.On},
	})
	b.SetLink(link.Change{Link: link.Named(atHub), Master: n.hub})
	b.SetLink(link.Change{
		Link: link.Named(atHub), AddrGenMode: link.AddrGenNone, Up: link.On,
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
	const digits = "0123456789abcdefghijklmnopqrstuvwxyz"
	return strings.IndexByte(digits, rest[0])*len(digits) + strings.IndexByte(digits, rest[1]), true
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

// numbers of shards beyond the hub.
func (n *network) beyond() []int {
	var all []int
	for i := 1; i < len(n.shards); i++ {
		all = append(all, i)
	}
	return slices.Clip(all)
}
