// SPDX-License-Identifier: Apache-2.0

package bridge

import (
	"context"
	"errors"
	"net/netip"
	"strings"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/kernel/link"
)

// removeStrays ends neighbours and forwarding entries of no record. They stay behind where a join or a teardown was killed: the rest of
// it goes with the link.
func (d *Driver) removeStrays(n *network, have view, ats []cnm.Attachment) ([]cnm.Drift, error) {
	addrs, macs := map[netip.Addr]bool{}, map[link.MAC]bool{}
	for _, at := range ats {
		macs[macLink(at.Endpoint.MAC)] = true
		for _, a := range at.Endpoint.Addresses {
			addrs[a.Addr()] = true
		}
	}
	var b link.Batch
	var drifts []cnm.Drift
	stray := func(object string) {
		drifts = append(drifts, cnm.Drift{Object: object, What: "foreign", Repaired: true, Network: n.plan.network.ID})
	}
	for _, x := range have.marked {
		if !addrs[x.Addr] {
			b.DeleteNeighbour(x)
			stray("neighbour " + x.Addr.String())
		}
	}
	for _, e := range have.trunked {
		if !macs[e.MAC] {
			b.DeleteFDB(link.FDBEntry{Link: e.Link, MAC: e.MAC, Master: true})
			stray("forwarding entry " + e.MAC.String())
		}
	}
	if err := d.conn.Do(&b); err != nil && !onlyAbsent(err) {
		return drifts, cnm.Errorf(kindOf(err), "%w", err)
	}
	return drifts, nil
}

// removeForeign ends links that carry our prefixes and are in no record, and gives bridges back that a network had adopted whose
// record is lost.
func (d *Driver) removeForeign(ctx context.Context, w cnm.Wanted) ([]cnm.Drift, error) {
	links, err := d.conn.Links(ctx, link.LinkFilter{})
	if err != nil {
		return nil, cnm.Errorf(cnm.Internal, "listing links: %w", err)
	}
	known := knownLinks(w)
	var drifts []cnm.Drift
	var errs []error
	var ports []string
	for _, l := range links {
		if v, ok := l.IPv4.Value(link.RouteLocalnet); ok && v == localnetByUs && !known.names[l.Name] {
			err := giveBack(l.Name)
			drifts = append(drifts, cnm.Drift{Object: "setting route_localnet of " + l.Name, What: "foreign", Repaired: err == nil})
			errs = append(errs, err)
		}
		if known.has(l.Name) || l.Group == d.reaper.group || l.Group == d.reaper.group^1 || !made(l) {
			continue
		}
		drifts = append(drifts, cnm.Drift{Object: "link " + l.Name, What: "foreign", Repaired: true})
		if strings.HasPrefix(l.Name, portPrefix) {
			ports = append(ports, l.Name)
			continue
		}
		errs = append(errs, d.deleteLink(l.Name))
	}
	// At once, since what they are called in their sandboxes has to be free.
	return drifts, errors.Join(append(errs, d.reaper.inter(ports))...)
}

// made tells whether a link has a name of ours and is of the kind that we make with it.
func made(l link.Link) bool {
	kind := "veth"
	if strings.HasPrefix(l.Name, hubPrefix) || strings.HasPrefix(l.Name, shardPrefix) {
		kind = "bridge"
	}
	return ours(l.Name) && l.Kind == kind
}

// known are the links that records account for: by name, and the shards and trunks of networks by the digits of the network.
type known struct {
	names    map[string]bool
	networks map[string]bool
}

func (k known) has(name string) bool {
	if k.names[name] {
		return true
	}
	rest, shard := strings.CutPrefix(name, shardPrefix)
	if !shard {
		rest, shard = strings.CutPrefix(name, trunkPrefix)
	}
	return shard && len(rest) > shardDigits && k.networks[rest[:shardDigits]]
}

func knownLinks(w cnm.Wanted) known {
	k := known{map[string]bool{}, map[string]bool{}}
	for _, nw := range w.Networks {
		k.networks[shardSuffix(nw.ID, 0)[:shardDigits]] = true
		if p, err := planNetwork(nw); err == nil {
			k.names[p.hub] = true
		}
	}
	for _, at := range w.Attachments {
		k.names[portName(at.Join.Number)], k.names[waitName(at.Join.Number)] = true, true
	}
	return k
}
