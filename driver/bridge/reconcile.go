// SPDX-License-Identifier: Apache-2.0

package bridge

import (
	"cmp"
	"context"
	"errors"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/firewall"
	"github.com/libnetwork/cnm/kernel/link"
	"github.com/libnetwork/cnm/kernel/netns"
)

// Declare states the rules of all networks, trunks and endpoints, and takes the published ports again. A record that makes no rules
// is told, and keeps nobody else from his.
func (d *Driver) Declare(ctx context.Context, w cnm.Wanted) ([]cnm.Drift, error) {
	if err := d.host.declare(ctx); err != nil {
		return nil, err
	}
	var drifts []cnm.Drift
	plans := map[cnm.NetworkID]networkPlan{}
	for _, nw := range w.Networks {
		p, err := planNetwork(nw)
		if err != nil {
			drifts = append(drifts, cnm.Drift{Object: "rules of network " + nw.Name, What: "missing: " + err.Error(), Network: nw.ID})
			continue
		}
		if err := d.fw.Set(ctx, networkOwner(nw.ID), p.rules); err != nil {
			return nil, err
		}
		plans[nw.ID] = p
	}
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
		p, err := planEndpoint(np, at, at.Join.Result.Ports)
		if err != nil {
			drifts = append(drifts, cnm.Drift{
				Object: "rules of endpoint " + np.network.Name + "/" + at.Endpoint.Name, What: "missing: " + err.Error(),
				Network: at.Network.ID, Endpoint: at.Endpoint.ID, Sandbox: at.Sandbox.ID,
			})
			continue
		}
		if err := d.fw.Set(ctx, endpointOwner(at.Endpoint.ID), p.rules); err != nil {
			return nil, err
		}
	}
	return drifts, nil
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
			drifts = append(drifts, d.retake(d.planOf(n), at)...)
		}
	}
	return drifts
}

// Reconcile compares networks and attachments with the kernel and repairs them.
func (d *Driver) Reconcile(ctx context.Context, w cnm.Wanted) ([]cnm.Drift, error) {
	var drifts []cnm.Drift
	var errs []error
	if w.All {
		errs = append(errs, d.reaper.find(ctx))
	}
	of := map[cnm.NetworkID][]cnm.Attachment{}
	for _, at := range w.Attachments {
		of[at.Network.ID] = append(of[at.Network.ID], at)
	}
	var links map[string]link.Link
	if len(w.Attachments) > 1 {
		var err error
		if links, err = d.veths(ctx); err != nil {
			return nil, err
		}
	}
	for _, nw := range w.Networks {
		got, err := d.reconcileNetwork(ctx, nw, view{all: w.All, links: links}, of[nw.ID])
		drifts = append(drifts, got...)
		if err != nil {
			errs = append(errs, cnm.Errorf(cnm.KindOf(err), "network %s: %w", nw.Name, err))
		}
	}
	if w.All {
		drifts = append(drifts, d.retakeAll(w)...)
		got, err := d.removeForeign(ctx, w)
		drifts, errs = append(drifts, got...), append(errs, err)
		got, err = d.host.open(ctx)
		drifts, errs = append(drifts, got...), append(errs, err)
	}
	return drifts, errors.Join(errs...)
}

// reconcileNetwork repairs the hub, the shards and the endpoints of a network.
func (d *Driver) reconcileNetwork(ctx context.Context, nw cnm.Network, have view, ats []cnm.Attachment) ([]cnm.Drift, error) {
	drifts, err := d.ensureNetwork(ctx, nw)
	if err != nil {
		return drifts, err
	}
	d.mu.Lock()
	n := d.nets[nw.ID]
	n.adoptPlaces(ats)
	beyond, plan, hub := n.beyond(have.all), n.plan, n.hub
	d.mu.Unlock()
	lost, err := d.ensureRoutes(ctx, plan, hub)
	drifts = append(drifts, lost...)
	if err != nil {
		return drifts, err
	}
	for i, s := range beyond {
		index, trunk, err := d.ensureShard(ctx, n, i)
		if err != nil {
			return drifts, err
		}
		d.mu.Lock()
		s.made(index, trunk)
		d.mu.Unlock()
	}
	got, err := d.reconcileEndpoints(ctx, n, have, ats)
	return append(drifts, got...), err
}

// reconcileEndpoints compares the links, forwarding entries and neighbours of endpoints. Many are compared with one dump
// of each, one by one lookups.
func (d *Driver) reconcileEndpoints(ctx context.Context, n *network, have view, ats []cnm.Attachment) ([]cnm.Drift, error) {
	if len(ats) == 0 && !have.all {
		return nil, nil
	}
	if err := d.look(ctx, n, &have, ats); err != nil {
		return nil, err
	}
	var drifts []cnm.Drift
	var errs []error
	if have.all {
		got, err := d.removeStrays(n, have, ats)
		drifts, errs = append(drifts, got...), append(errs, err)
	}
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
	all        bool                 // all records are compared, and nothing of theirs is in the middle of a change
	links      map[string]link.Link // all veths by name; nil: to be looked up
	fdb        map[fdbKey]bool
	neighbours map[link.Neighbour]bool
	marked     []link.Neighbour // those that carry our mark
	trunked    []link.FDBEntry  // static ones behind trunks
}

type fdbKey struct {
	link int
	mac  link.MAC
}

// veths are all veths by name.
func (d *Driver) veths(ctx context.Context) (map[string]link.Link, error) {
	links, err := d.conn.Links(ctx, link.LinkFilter{Kind: "veth"})
	if err != nil {
		return nil, cnm.Errorf(cnm.Internal, "listing links: %w", err)
	}
	all := make(map[string]link.Link, len(links))
	for _, l := range links {
		all[l.Name] = l
	}
	return all, nil
}

// look fills in the view of a network.
func (d *Driver) look(ctx context.Context, n *network, v *view, ats []cnm.Attachment) error {
	v.fdb, v.neighbours = map[fdbKey]bool{}, map[link.Neighbour]bool{}
	if v.links == nil {
		v.links = map[string]link.Link{}
		for _, at := range ats {
			l, err := d.conn.Link(link.Named(portName(at.Join.Number)))
			if err != nil && !errors.Is(err, unix.ENODEV) {
				return cnm.Errorf(cnm.Internal, "%w", err)
			}
			v.links[l.Name] = l
		}
	}
	d.mu.Lock()
	hub, sites := n.hub, make([]site, len(n.shards))
	for i, s := range n.shards {
		sites[i] = n.site(s)
	}
	d.mu.Unlock()
	neighbours, err := d.conn.Neighbours(ctx, hub)
	if err != nil {
		return cnm.Errorf(cnm.Internal, "listing neighbours: %w", err)
	}
	for _, x := range neighbours {
		v.neighbours[link.Neighbour{Link: hub, Addr: x.Addr, MAC: x.MAC, State: x.State}] = true
		if x.Protocol == protocol {
			v.marked = append(v.marked, x)
		}
	}
	trunks := map[int]bool{}
	for _, s := range sites {
		trunks[s.trunk] = s.trunk != 0
	}
	for _, s := range sites {
		entries, err := d.conn.FDB(ctx, s.bridge)
		if err != nil {
			return cnm.Errorf(cnm.Internal, "listing forwarding entries of %s: %w", s.name, err)
		}
		for _, e := range entries {
			v.fdb[fdbKey{e.Link, e.MAC}] = true
			if trunks[e.Link] && e.Master && e.State == link.NoARP {
				v.trunked = append(v.trunked, e)
			}
		}
	}
	return nil
}

// reconcileEndpoint repairs one endpoint's link and says what was wrong with it.
func (d *Driver) reconcileEndpoint(n *network, at cnm.Attachment, have view) (string, error) {
	d.mu.Lock()
	s := n.placed[at.Endpoint.ID]
	if s == nil {
		d.mu.Unlock()
		return "", nil
	}
	to := n.site(s)
	d.mu.Unlock()
	to.mtu = cmp.Or(at.Join.Result.MTU, to.mtu) // as its other side was told
	p, err := planEndpoint(to.plan, at, at.Join.Result.Ports)
	if err != nil {
		return "", err
	}
	d.enlist(to, p)
	l, there := have.links[p.host]
	if !there {
		if l, there = d.renamed(p); !there {
			return "missing", d.remake(to, p)
		}
	}
	if closed(l.Flags, l.PortState) {
		// A carrier that has just come opens the port a moment later. Asking for the link alone brings it up to date (Linux 6.8).
		if again, err := d.conn.Link(link.Numbered(l.Index)); err == nil {
			l = again
		}
	}
	what := p.differs(to, l, have)
	if what == "" {
		return "", nil
	}
	if err := d.mend(p, to, l); err != nil {
		return what, cnm.Errorf(kindOf(err), "%w", err)
	}
	return what, nil
}

// mend gives a link that exists everything that it needs.
func (d *Driver) mend(p endpointPlan, to site, l link.Link) error {
	var b link.Batch
	if l.Name != p.host || closed(l.Flags, l.PortState) { // a port opens when its link comes up
		b.SetLink(link.Change{Link: link.Numbered(l.Index), Up: link.Off})
	}
	if l.Name != p.host {
		b.SetLink(link.Change{Link: link.Numbered(l.Index), Rename: p.host})
	}
	if l.Master != to.bridge || l.MTU != to.mtu {
		b.SetLink(link.Change{Link: link.Named(p.host), Master: to.bridge, MTU: to.mtu})
	}
	if missing := l.Port.Missing(wholePort()); missing != (link.Port{}) && l.Master == to.bridge {
		b.SetLink(link.Change{Link: link.Named(p.host), Port: missing})
	}
	p.settle(&b, to)
	if err := d.conn.Do(&b); err != nil {
		return err
	}
	// Asking has the kernel open the port at once where the carrier has come (Linux 6.8), and not when a worker comes to it.
	_, err := d.conn.Link(link.Named(p.host))
	return err
}

// renamed is an endpoint's link that somebody gave another name: no other has its index, and on the other side.
func (d *Driver) renamed(p endpointPlan) (link.Link, bool) {
	if !p.at.Join.Result.Link.InPlace {
		return link.Link{}, false
	}
	l, err := d.conn.Link(link.Numbered(p.index))
	return l, err == nil && l.Kind == "veth" && l.Lower == p.index && !ours(l.Name)
}

// asWanted tells whether a port has the attributes of an endpoint's.
func asWanted(p link.Port) bool { return p.Missing(wholePort()) == (link.Port{}) }

// closed tells whether a port lets nothing through although its link could.
func closed(flags uint32, s link.PortState) bool {
	const carrier = unix.IFF_RUNNING | unix.IFF_LOWER_UP
	return flags&carrier == carrier && s != link.PortUnknown && s != link.PortForwarding
}

// differs compares a link with its plan.
func (p endpointPlan) differs(to site, l link.Link, have view) string {
	var what []string
	add := func(bad bool, text string) {
		if bad {
			what = append(what, text)
		}
	}
	mac := macLink(p.at.Endpoint.MAC)
	add(l.Name != p.host, "name "+l.Name)
	add(l.Master != to.bridge, "in another bridge")
	add(l.MTU != to.mtu, "mtu "+strconv.Itoa(l.MTU))
	add(l.Flags&unix.IFF_UP == 0, "down")
	add(!asWanted(l.Port), "port settings")
	add(closed(l.Flags, l.PortState), "port closed")
	add(!have.fdb[fdbKey{l.Index, mac}] || to.trunk != 0 && !have.fdb[fdbKey{to.trunk, mac}], "forwarding entry")
	for _, a := range p.at.Endpoint.Addresses {
		add(!have.neighbours[link.Neighbour{Link: to.hub, Addr: a.Addr(), MAC: mac, State: link.Permanent}], "neighbour "+a.Addr().String())
	}
	if len(what) == 0 {
		return ""
	}
	return "altered: " + strings.Join(what, ", ")
}

// remake makes a lost link again in the sandbox's namespace, if that is still there.
func (d *Driver) remake(to site, p endpointPlan) error {
	if !p.at.Join.Result.Link.InPlace {
		return cnm.Errorf(cnm.NotFound, "link %s of endpoint %s/%s was moved into its sandbox by somebody else, who has to attach it anew", p.host, p.at.Network.Name, p.at.Endpoint.Name)
	}
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
	p.plug(&b, to, ns.Fd())
	if err := d.conn.Do(&b); err != nil {
		return cnm.Errorf(kindOf(err), "%w", err)
	}
	return nil
}
