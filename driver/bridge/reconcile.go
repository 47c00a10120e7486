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
	"github.com/libnetwork/cnm/kernel/netns"
)

// Declare states the rules of all networks, trunks and endpoints, and takes the published ports again.
func (d *Driver) Declare(ctx context.Context, w cnm.Wanted) ([]cnm.Drift, error) {
	if err := d.host.declare(ctx); err != nil {
		return nil, err
	}
	plans := map[cnm.NetworkID]networkPlan{}
	for _, nw := range w.Networks {
		p, err := planNetwork(nw)
		if err == nil {
			err = d.fw.Set(ctx, networkOwner(nw.ID), p.rules)
		}
		if err != nil {
			return nil, err
		}
		plans[nw.ID] = p
	}
	var drifts []cnm.Drift
	trunks := map[string]bool{}
	for _, at := range w.Attachments {
		np, ok := plans[at.Network.ID]
		if !ok {
			continue
		}
		if err := d.declareTrunk(ctx, np, at.Join.Result.Link.Bridge, trunks); err != nil {
			return nil, err
		}
		drifts = append(drifts, d.retake(np, at)...)
		if err := d.declareEndpoint(ctx, np, at); err != nil {
			return nil, err
		}
	}
	return drifts, nil
}

func (d *Driver) declareEndpoint(ctx context.Context, np networkPlan, at cnm.Attachment) error {
	p, err := planEndpoint(np, at, at.Join.Result.Ports)
	if err != nil {
		return err
	}
	return d.fw.Set(ctx, endpointOwner(at.Endpoint.ID), p.rules)
}

// declareTrunk states the rules of the trunks up to an endpoint's shard, once each.
func (d *Driver) declareTrunk(ctx context.Context, np networkPlan, bridge string, seen map[string]bool) error {
	last, ok := shardNumber(np, bridge)
	if !ok {
		return nil
	}
	id := np.network.ID
	for i := 1; i <= last; i++ {
		if name := shardName(id, i); !seen[name] {
			seen[name] = true
			rules := firewall.Rules{Trunks: []string{trunkHub(id, i), trunkShard(id, i)}}
			if err := d.fw.Set(ctx, shardOwner(id, name), rules); err != nil {
				return err
			}
		}
	}
	return nil
}

// retake holds the endpoint's host ports again. One that another took meanwhile is told, not fought for.
func (d *Driver) retake(np networkPlan, at cnm.Attachment) []cnm.Drift {
	if np.settings.routed || len(at.Join.Result.Ports) == 0 {
		return nil
	}
	var drifts []cnm.Drift
	req := portRequest(np, at)
	for _, s := range d.ports.Restore(req.Owner, req.Name, at.Join.Result.Ports, req.Targets) {
		drifts = append(drifts, cnm.Drift{
			Object: "port " + s.Port.String(), What: s.Err.Error(),
			Network: at.Network.ID, Endpoint: at.Endpoint.ID, Sandbox: at.Sandbox.ID,
		})
	}
	return drifts
}

// retakeAll takes the ports again that could not be had at the start. Those that are held are left as they are.
func (d *Driver) retakeAll(w cnm.Wanted) []cnm.Drift {
	var drifts []cnm.Drift
	for _, at := range w.Attachments {
		if n, err := d.known(at.Network); err == nil {
			np, _ := d.planOf(n)
			drifts = append(drifts, d.retake(np, at)...)
		}
	}
	return drifts
}

// Reconcile compares networks and attachments with the kernel and repairs them.
func (d *Driver) Reconcile(ctx context.Context, w cnm.Wanted) ([]cnm.Drift, error) {
	if err := d.reaper.find(ctx); err != nil {
		return nil, err
	}
	var drifts []cnm.Drift
	var errs []error
	of := map[cnm.NetworkID][]cnm.Attachment{}
	for _, at := range w.Attachments {
		of[at.Network.ID] = append(of[at.Network.ID], at)
	}
	for _, nw := range w.Networks {
		got, err := d.reconcileNetwork(ctx, nw, of[nw.ID])
		drifts = append(drifts, got...)
		if err != nil {
			errs = append(errs, cnm.Errorf(cnm.KindOf(err), "network %s: %w", nw.Name, err))
		}
	}
	if w.All {
		drifts = append(drifts, d.retakeAll(w)...)
		got, err := d.removeForeign(ctx, w)
		drifts, errs = append(drifts, got...), append(errs, err, d.host.open(ctx, d.hubs()))
	}
	return drifts, errors.Join(errs...)
}

// reconcileNetwork repairs the hub, the shards and the endpoints of a network.
func (d *Driver) reconcileNetwork(ctx context.Context, nw cnm.Network, ats []cnm.Attachment) ([]cnm.Drift, error) {
	drifts, err := d.ensureNetwork(ctx, nw)
	if err != nil {
		return drifts, err
	}
	d.mu.Lock()
	n := d.nets[nw.ID]
	n.adoptPlaces(ats)
	beyond := n.beyond()
	d.mu.Unlock()
	for _, i := range beyond {
		index, trunk, err := d.ensureShard(ctx, n, i)
		if err != nil {
			return drifts, err
		}
		d.mu.Lock()
		n.shards[i].made(index, trunk)
		d.mu.Unlock()
	}
	got, err := d.reconcileEndpoints(ctx, n, ats)
	return append(drifts, got...), err
}

// reconcileEndpoints compares the links, forwarding entries and neighbours of endpoints. Many are compared with one dump
// of each, one by one lookups.
func (d *Driver) reconcileEndpoints(ctx context.Context, n *network, ats []cnm.Attachment) ([]cnm.Drift, error) {
	if len(ats) == 0 {
		return nil, nil
	}
	have, err := d.view(ctx, n, ats)
	if err != nil {
		return nil, err
	}
	var drifts []cnm.Drift
	var errs []error
	for _, at := range ats {
		what, err := d.reconcileEndpoint(n, at, have)
		if err != nil {
			errs = append(errs, err)
		}
		if what != "" {
			drifts = append(drifts, cnm.Drift{
				Object: "link " + portName(at.Join.Number), What: what, Repaired: err == nil,
				Network: at.Network.ID, Endpoint: at.Endpoint.ID, Sandbox: at.Sandbox.ID,
			})
		}
	}
	return drifts, errors.Join(errs...)
}

// view is the kernel's side of a network's endpoints.
type view struct {
	links      map[string]link.Link
	fdb        map[fdbKey]bool
	neighbours map[link.Neighbour]bool
}

type fdbKey struct {
	link int
	mac  link.MAC
}

func (d *Driver) view(ctx context.Context, n *network, ats []cnm.Attachment) (view, error) {
	v := view{links: map[string]link.Link{}, fdb: map[fdbKey]bool{}, neighbours: map[link.Neighbour]bool{}}
	if len(ats) == 1 {
		l, err := d.conn.Link(link.Named(portName(ats[0].Join.Number)))
		if err != nil && !errors.Is(err, unix.ENODEV) {
			return v, cnm.Errorf(cnm.Internal, "%w", err)
		}
		v.links[l.Name] = l
	} else {
		links, err := d.conn.Links(ctx, link.LinkFilter{Kind: "veth"})
		if err != nil {
			return v, cnm.Errorf(cnm.Internal, "listing links: %w", err)
		}
		for _, l := range links {
			v.links[l.Name] = l
		}
	}
	neighbours, err := d.conn.Neighbours(ctx, n.hub)
	if err != nil {
		return v, cnm.Errorf(cnm.Internal, "listing neighbours: %w", err)
	}
	for _, x := range neighbours {
		v.neighbours[link.Neighbour{Link: n.hub, Addr: x.Addr, MAC: x.MAC, State: x.State}] = true
	}
	d.mu.Lock()
	shards := slices.Clone(n.shards)
	d.mu.Unlock()
	for _, s := range shards {
		entries, err := d.conn.FDB(ctx, s.index)
		if err != nil {
			return v, cnm.Errorf(cnm.Internal, "listing forwarding entries of %s: %w", s.name, err)
		}
		for _, e := range entries {
			v.fdb[fdbKey{e.Link, e.MAC}] = true
		}
	}
	return v, nil
}

// reconcileEndpoint repairs one endpoint's link and says what was wrong with it.
func (d *Driver) reconcileEndpoint(n *network, at cnm.Attachment, have view) (string, error) {
	d.mu.Lock()
	s := n.placed[at.Endpoint.ID]
	d.mu.Unlock()
	if s == nil {
		return "", nil
	}
	p, err := planEndpoint(n.plan, at, at.Join.Result.Ports)
	if err != nil {
		return "", err
	}
	d.enlist(n.hub, s, p)
	l, there := have.links[p.host]
	if !there {
		return "missing", d.remake(n, s, p)
	}
	what := p.differs(n.hub, s, l, have)
	if what == "" {
		return "", nil
	}
	var b link.Batch
	if l.Master != s.index || l.MTU != n.mtu || l.Group != 0 {
		b.SetLink(link.Change{Link: link.Named(p.host), Master: s.index, MTU: n.mtu})
	}
	p.settle(&b, n.hub, s)
	if err := d.conn.Do(&b); err != nil {
		return what, cnm.Errorf(kindOf(err), "%w", err)
	}
	return what, nil
}

// differs compares a link with its plan.
func (p endpointPlan) differs(hub int, s *shard, l link.Link, have view) string {
	var what []string
	add := func(bad bool, text string) {
		if bad {
			what = append(what, text)
		}
	}
	mac := macLink(p.at.Endpoint.MAC)
	add(l.Master != s.index, "in another bridge")
	add(l.Flags&unix.IFF_UP == 0, "down")
	want := endpointPort()
	add(l.Port.Hairpin != want.Hairpin || l.Port.Learning != want.Learning || l.Port.UnicastFlood != want.UnicastFlood, "port settings")
	add(!have.fdb[fdbKey{l.Index, mac}] || s.trunk != 0 && !have.fdb[fdbKey{s.trunk, mac}], "forwarding entry")
	for _, a := range p.at.Endpoint.Addresses {
		add(!have.neighbours[link.Neighbour{Link: hub, Addr: a.Addr(), MAC: mac, State: link.Permanent}], "neighbour "+a.Addr().String())
	}
	if len(what) == 0 {
		return ""
	}
	return "altered: " + strings.Join(what, ", ")
}

// remake makes a lost link again in the sandbox's namespace, if that is still there.
func (d *Driver) remake(n *network, s *shard, p endpointPlan) error {
	ns, err := netns.Open(p.at.Sandbox.Namespace.Path)
	if err != nil {
		return cnm.Errorf(cnm.NotFound, "namespace of sandbox %s: %w", p.at.Sandbox.Name, err)
	}
	defer ns.Close()
	cookie, err := ns.Cookie()
	if err != nil || uint64(cookie) != p.at.Sandbox.Namespace.Cookie {
		return cnm.Errorf(cnm.NotFound, "namespace of sandbox %s is another", p.at.Sandbox.Name)
	}
	var b link.Batch
	p.plug(&b, n.hub, s, n.mtu, ns.Fd())
	if err := d.conn.Do(&b); err != nil {
		return cnm.Errorf(kindOf(err), "%w", err)
	}
	return nil
}

// removeForeign ends links that carry our prefixes and are in no record.
func (d *Driver) removeForeign(ctx context.Context, w cnm.Wanted) ([]cnm.Drift, error) {
	links, err := d.conn.Links(ctx, link.LinkFilter{})
	if err != nil {
		return nil, cnm.Errorf(cnm.Internal, "listing links: %w", err)
	}
	known := d.knownLinks(w)
	var drifts []cnm.Drift
	var errs []error
	for _, l := range links {
		if known[l.Name] || l.Group == d.reaper.group || l.Group == d.reaper.group^1 || !ours(l.Name) {
			continue
		}
		drifts = append(drifts, cnm.Drift{Object: "link " + l.Name, What: "foreign", Repaired: true})
		if strings.HasPrefix(l.Name, portPrefix) {
			var b link.Batch
			b.SetLink(link.Change{Link: link.Named(l.Name), Up: link.Off, Group: d.reaper.group})
			if err := d.conn.Do(&b); err != nil && !onlyAbsent(err) {
				errs = append(errs, err)
			}
			d.reaper.bury(l.Name)
			continue
		}
		errs = append(errs, d.deleteLink(l.Name))
	}
	return drifts, errors.Join(errs...)
}

// knownLinks are the names of all links that records account for.
func (d *Driver) knownLinks(w cnm.Wanted) map[string]bool {
	known := map[string]bool{}
	for _, nw := range w.Networks {
		if p, err := planNetwork(nw); err == nil {
			known[p.hub] = true
		}
	}
	for _, at := range w.Attachments {
		known[portName(at.Join.Number)] = true
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for id, n := range d.nets {
		for i := range n.shards {
			known[shardName(id, i)], known[trunkHub(id, i)], known[trunkShard(id, i)] = true, true, true
		}
	}
	return known
}
