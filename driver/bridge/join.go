// SPDX-License-Identifier: Apache-2.0

package bridge

import (
	"context"
	"errors"

	"golang.org/x/sys/unix"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/kernel/link"
	"github.com/libnetwork/cnm/ports"
)

// Join holds the ports, commits the rules, and then makes the link in the sandbox's namespace with one message. Where that is not
// known yet, the sandbox's side waits in the host's stack, down, to be moved. What it did before a failure is undone by Leave.
func (d *Driver) Join(ctx context.Context, req cnm.JoinRequest) (cnm.JoinResult, error) {
	at := req.Attachment
	n, err := d.known(at.Network)
	if err != nil {
		return cnm.JoinResult{}, err
	}
	to, err := d.place(ctx, n, at.Endpoint.ID)
	if err != nil {
		return cnm.JoinResult{}, err
	}
	np := to.plan
	bound, err := d.hold(ctx, np, at)
	if err != nil {
		return cnm.JoinResult{}, err
	}
	p, err := planEndpoint(np, at, bound)
	if err != nil {
		return cnm.JoinResult{}, err
	}
	if err := d.fw.Set(ctx, endpointOwner(at.Endpoint.ID), p.rules); err != nil {
		return cnm.JoinResult{}, err
	}
	d.tell(np, bound, nil)
	d.reaper.running()
	if err := d.plug(p, to, req); err != nil && !d.joined(p, err) {
		return cnm.JoinResult{}, joinError(at, err)
	}
	d.enlist(to, p)
	r := p.result(np, to.mtu, bound)
	r.Link.Bridge = to.name
	if req.NamespaceFD < 0 {
		r.Link.Name, r.Link.Index, r.Link.InPlace = waitName(at.Join.Number), 0, false
	}
	return r, nil
}

// plug makes an endpoint's link.
func (d *Driver) plug(p endpointPlan, to site, req cnm.JoinRequest) error {
	var b link.Batch
	p.plug(&b, to, req.NamespaceFD)
	return d.conn.Do(&b)
}

// joined tells whether all that was refused is to make a link that is there from the same join: its name never comes again.
func (d *Driver) joined(p endpointPlan, err error) bool {
	refused, ok := errors.AsType[*link.Error](err)
	if !ok || len(link.Refusals(err)) > 1 || refused.Position != 0 || !errors.Is(err, unix.EEXIST) {
		return false
	}
	_, err = d.conn.Link(link.Named(p.host))
	return err == nil
}

// joinError says which of the names in a join is taken, where the kernel's errno means that.
func joinError(at cnm.Attachment, err error) error {
	if errors.Is(err, unix.EEXIST) || errors.Is(err, unix.EBUSY) {
		return cnm.FieldErrorf(cnm.Exists, "interface", "interface %q exists in sandbox %q; choose another with --interface: %w", at.Join.Interface, at.Sandbox.Name, err)
	}
	return cnm.Errorf(kindOf(err), "%w", err)
}

// known is the kernel's side of a network.
func (d *Driver) known(nw cnm.Network) (*network, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if n := d.nets[nw.ID]; n != nil {
		return n, nil
	}
	return nil, cnm.FieldErrorf(cnm.Unavailable, "network", "network %q is not up on this host; see the daemon's log for why", nw.Name)
}

func (d *Driver) planOf(n *network) networkPlan {
	d.mu.Lock()
	defer d.mu.Unlock()
	return n.plan
}

// plug appends the messages that make an endpoint's link, the other side in the namespace with that descriptor, or waiting in the
// host's stack where it is negative. The host side is made down and gets its attributes before it
// comes up, or the sandbox could send meanwhile. Forwarding entries and neighbours are static: nothing is learned and
// nothing unknown is flooded.
func (p endpointPlan) plug(b *link.Batch, to site, namespace int) {
	peer := link.Peer{Name: p.name, Index: p.index, MAC: macLink(p.at.Endpoint.MAC), MTU: to.mtu, Namespace: namespace}
	if namespace < 0 {
		// One stack has no room for two links of one index.
		peer.Name, peer.Index, peer.Namespace = waitName(p.at.Join.Number), 0, link.Here
	}
	b.CreateVeth(link.Veth{Name: p.host, Index: p.index, Master: to.bridge, MTU: to.mtu, Peer: peer})
	p.settle(b, to)
}

// settle appends the messages that give a link that exists everything else it needs.
func (p endpointPlan) settle(b *link.Batch, to site) {
	mac := macLink(p.at.Endpoint.MAC)
	b.SetLink(link.Change{
		Link: link.Named(p.host), AddrGenMode: link.AddrGenNone, Up: link.On, Port: endpointPort(),
	})
	b.ReplaceFDB(link.FDBEntry{Link: p.index, MAC: mac, State: link.NoARP, Master: true})
	if to.trunk != 0 {
		b.ReplaceFDB(link.FDBEntry{Link: to.trunk, MAC: mac, State: link.NoARP, Master: true})
	}
	for _, a := range p.at.Endpoint.Addresses {
		b.ReplaceNeighbour(link.Neighbour{Link: to.hub, Addr: a.Addr(), MAC: mac, State: link.Permanent, Protocol: protocol})
	}
}

// endpointPort are the attributes of every endpoint's port that are not the kernel's defaults.
func endpointPort() link.Port {
	return link.Port{Hairpin: link.On, Learning: link.Off, UnicastFlood: link.Off}
}

// wholePort are all that somebody else could have altered so that the endpoint is cut off, or hears what it should not.
func wholePort() link.Port {
	p := endpointPort()
	p.MulticastFlood, p.BroadcastFlood = link.On, link.On
	p.Isolated, p.Guard, p.RootBlock, p.NeighSuppress, p.Locked = link.Off, link.Off, link.Off, link.Off, link.Off
	return p
}

// Leave withdraws the rules, releases the ports, and fences the link: down, and in the group of the dead, which the reaper
// deletes many at a time. It succeeds on what is not there.
func (d *Driver) Leave(ctx context.Context, at cnm.Attachment) error {
	d.delist(at)
	owner := endpointOwner(at.Endpoint.ID)
	err := d.fw.Drop(ctx, owner)
	if err == nil && len(at.Endpoint.Publish)+len(at.Join.Result.Ports) > 0 {
		d.ports.ReleaseAll(string(owner)) // a port that rules still lead to is nobody else's
	}
	to, placed := d.unplace(at.Network.ID, at.Endpoint.ID)
	traces := []site{to}
	if !placed {
		traces = d.traces(at)
	}
	return errors.Join(err, d.fence(at, traces))
}

// fence takes the link out of service in one message, with what names the endpoint at the sites.
func (d *Driver) fence(at cnm.Attachment, traces []site) error {
	if at.Join.Number == 0 {
		return nil
	}
	name := portName(at.Join.Number)
	mac := at.Endpoint.MAC
	if !mac.IsValid() {
		mac = macOf("endpoint", string(at.Endpoint.ID)) // as CreateEndpoint decided, and nobody lived to record
	}
	var b link.Batch
	known := at.Join.Result.Link.Host != ""
	if known {
		b.SetLink(link.Change{Link: link.Named(name), Up: link.Off, Group: d.reaper.group})
	} else {
		// The join did not come to its end. Its sandbox is told nothing of the link, whose name there has to be free at once.
		b.DeleteLink(link.Named(name))
	}
	for _, t := range traces {
		if t.trunk != 0 {
			b.DeleteFDB(link.FDBEntry{Link: t.trunk, MAC: macLink(mac), Master: true})
		}
		for _, a := range at.Endpoint.Addresses {
			if t.hub != 0 {
				b.DeleteNeighbour(link.Neighbour{Link: t.hub, Addr: a.Addr()})
			}
		}
	}
	d.reaper.running()
	err := d.conn.Do(&b)
	if known {
		d.reaper.bury(name)
	}
	if err != nil && !onlyAbsent(err) {
		return cnm.Errorf(kindOf(err), "%w", err)
	}
	return nil
}

// traces are all places where something may name an endpoint that has no place: after a crash only the kernel knows.
func (d *Driver) traces(at cnm.Attachment) []site {
	p, err := planNetwork(at.Network)
	if err != nil {
		return nil
	}
	hub, err := d.conn.Link(link.Named(p.hub))
	if err != nil {
		return nil // without it there is nothing either
	}
	all := []site{{hub: hub.Index}}
	for i := 1; ; i++ {
		trunk, err := d.conn.Link(link.Named(trunkHub(at.Network.ID, i)))
		if err != nil {
			return all
		}
		all = append(all, site{trunk: trunk.Index})
	}
}

// onlyAbsent tells whether all refusals of a batch say that something was not there.
func onlyAbsent(err error) bool {
	for _, e := range link.Refusals(err) {
		if !errors.Is(e, unix.ENODEV) && !errors.Is(e, unix.ENOENT) && !errors.Is(e, unix.ESRCH) {
			return false
		}
	}
	return true
}

// hold takes the host ports that the endpoint wants. A routed network holds none: its ports open on the endpoints' own
// addresses.
func (d *Driver) hold(ctx context.Context, np networkPlan, at cnm.Attachment) ([]cnm.Port, error) {
	if np.settings.routed {
		return openPorts(at), nil
	}
	if len(at.Endpoint.Publish) == 0 && len(at.Join.Result.Ports) == 0 {
		return nil, nil
	}
	return d.ports.Hold(ctx, portRequest(np, at))
}

func portRequest(np networkPlan, at cnm.Attachment) ports.Request {
	return ports.Request{
		Owner: string(endpointOwner(at.Endpoint.ID)), Name: at.Network.Name + "/" + at.Endpoint.Name,
		Specs: at.Endpoint.Publish, Addresses: np.settings.publishAddresses(),
		Targets: ports.Targets{V4: at.Endpoint.Address(cnm.IPv4), V6: at.Endpoint.Address(cnm.IPv6)},
		Held:    at.Join.Result.Ports,
	}
}

// openPorts are the published ports of an endpoint on a routed network.
func openPorts(at cnm.Attachment) []cnm.Port {
	var all []cnm.Port
	for _, s := range at.Endpoint.Publish {
		for _, a := range at.Endpoint.Addresses {
			all = append(all, cnm.Port{Proto: s.Proto, HostIP: a.Addr(), HostPort: s.Port, Port: s.Port})
		}
	}
	return all
}

// Publish replaces an endpoint's published ports. Ports in the old and the new list stay held and open throughout.
func (d *Driver) Publish(ctx context.Context, at cnm.Attachment) ([]cnm.Port, error) {
	n, err := d.known(at.Network)
	if err != nil {
		return nil, err
	}
	np := d.planOf(n)
	before := at.Join.Result.Ports
	bound, err := d.hold(ctx, np, at)
	if err != nil {
		return nil, err
	}
	p, err := planEndpoint(np, at, bound)
	if err == nil {
		err = d.fw.Set(ctx, endpointOwner(at.Endpoint.ID), p.rules)
	}
	if err != nil {
		d.ports.Release(string(endpointOwner(at.Endpoint.ID)), without(bound, before))
		return nil, err
	}
	d.ports.Release(string(endpointOwner(at.Endpoint.ID)), without(before, bound))
	d.tell(np, bound, before)
	return bound, nil
}

// tell tells of newly published ports of the protocol that has no connections: a client that goes on sending datagrams keeps
// its old flow.
func (d *Driver) tell(np networkPlan, bound, before []cnm.Port) {
	if np.settings.routed {
		return
	}
	for _, p := range without(bound, before) {
		if p.Proto == cnm.UDP {
			d.told(p)
		}
	}
}

// without are the ports of a that are not in b.
func without(a, b []cnm.Port) []cnm.Port {
	in := make(map[cnm.Port]bool, len(b))
	for _, p := range b {
		in[p] = true
	}
	var out []cnm.Port
	for _, p := range a {
		if !in[p] {
			out = append(out, p)
		}
	}
	return out
}
