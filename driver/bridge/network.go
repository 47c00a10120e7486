// SPDX-License-Identifier: Apache-2.0

package bridge

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"net/netip"
	"strconv"

	"golang.org/x/sys/unix"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/kernel/link"
)

// network is what is known of a network in the kernel: built when it is ensured, an index and no record.
type network struct {
	plan   networkPlan
	hub    int // index
	mtu    int // bytes, of every link of the network
	shards []*shard
	placed map[cnm.EndpointID]*shard
}

// ensureNetwork makes the network in the kernel as planned, or repairs it, and returns what differed. The host's forwarding is
// left to the caller: after a start it must not be touched before all networks are known.
func (d *Driver) ensureNetwork(ctx context.Context, nw cnm.Network) ([]cnm.Drift, error) {
	p, err := planNetwork(nw)
	if err != nil {
		return nil, err
	}
	if err := d.claimHub(p); err != nil {
		return nil, err
	}
	// An unlisted bridge would be unfiltered: its rules come first.
	if err := d.fw.Set(ctx, networkOwner(nw.ID), p.rules); err != nil {
		return nil, err
	}
	hub, drifts, err := d.ensureHub(ctx, p)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	delete(d.absent, p.hub)
	n := d.nets[nw.ID]
	if n == nil {
		n = &network{placed: map[cnm.EndpointID]*shard{}}
		d.nets[nw.ID] = n
	}
	if n.hub != hub.Index || p.settings.adopt {
		n.mtu = hub.MTU // as it was found
	}
	n.plan, n.hub, n.mtu = p, hub.Index, cmp.Or(nw.MTU, n.mtu)
	if len(n.shards) == 0 {
		n.shards = []*shard{newShard(p.hub, hubPorts)}
	}
	n.shards[0].made(hub.Index, 0)
	d.mu.Unlock()
	return drifts, nil
}

// hubs are all hubs that need forwarding, by name.
func (d *Driver) hubs() map[string]hubNeeds {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := map[string]hubNeeds{}
	for _, n := range d.nets {
		if nw := n.plan.network; !nw.Internal {
			all[n.plan.hub] = hubNeeds{cnm.FamilySet{IPv4: nw.IPv4, IPv6: nw.IPv6}, n.plan.settings.adopt}
		}
	}
	return all
}

// ensureHub finds or makes the hub and sets what is not as planned.
func (d *Driver) ensureHub(ctx context.Context, p networkPlan) (link.Link, []cnm.Drift, error) {
	var drifts []cnm.Drift
	hub, err := d.conn.Link(link.Named(p.hub))
	switch {
	case errors.Is(err, unix.ENODEV) && p.settings.adopt:
		d.mu.Lock()
		d.absent[p.hub] = true
		d.mu.Unlock()
		return hub, nil, cnm.FieldErrorf(cnm.NotFound, "opt", "bridge %q to adopt does not exist; make it first, or use option bridge=%s to have one made", p.hub, p.hub)
	case errors.Is(err, unix.ENODEV):
		made, refused := d.bringHub(ctx, p)
		if refused != nil {
			return hub, nil, refused
		}
		drifts = append(drifts, made)
		hub, err = d.conn.Link(link.Named(p.hub))
	}
	if err != nil {
		return hub, nil, cnm.Errorf(cnm.Internal, "bridge %s: %w", p.hub, err)
	}
	if err := d.checkHub(p, hub); err != nil {
		return hub, nil, err
	}
	altered, err := d.setHub(ctx, p, hub)
	return hub, append(drifts, altered...), err
}

// bringHub makes a hub that is not there, or gives it its name back.
func (d *Driver) bringHub(ctx context.Context, p networkPlan) (cnm.Drift, error) {
	was, found, err := d.renamedHub(ctx, p)
	if err != nil || found {
		return d.drift(p, "link "+p.hub, "altered: name "+was.Name), err
	}
	return d.drift(p, "link "+p.hub, "missing"), d.createBridge(p.hub, p.mac, d.mtu(ctx, p.network))
}

// claimHub refuses a hub that is another network's or no bridge, before any rule names it, and keeps it for this one until that is
// removed.
func (d *Driver) claimHub(p networkPlan) error {
	d.mu.Lock()
	owner, taken := d.claimed[p.hub]
	if !taken {
		d.claimed[p.hub] = p.network
	}
	d.mu.Unlock()
	if taken && owner.ID != p.network.ID {
		return cnm.FieldErrorf(cnm.Exists, "opt", "bridge %s is that of network %q; choose another name", p.hub, owner.Name)
	}
	hub, err := d.conn.Link(link.Named(p.hub))
	if err != nil {
		return nil //nolint:nilerr // it is not there yet, or ensureHub tells why not
	}
	return d.checkHub(p, hub)
}

// checkHub refuses a link that is not what the plan means. A bridge that we made has the planned MAC, unless that was altered
// after we had seen it.
func (d *Driver) checkHub(p networkPlan, hub link.Link) error {
	d.mu.Lock()
	n := d.nets[p.network.ID]
	seen := n != nil && n.hub == hub.Index
	d.mu.Unlock()
	if hub.Kind != "bridge" {
		return cnm.FieldErrorf(cnm.Invalid, "opt", "link %s is no bridge; choose another name", p.hub)
	}
	if !p.settings.adopt && !seen && hub.MAC != macLink(p.mac) {
		return cnm.FieldErrorf(cnm.Exists, "opt", "bridge %s exists and is not of this network; choose another name, or use it with option adopt=%s", p.hub, p.hub)
	}
	return nil
}

// createBridge makes a bridge, down. Its MTU is fixed, or it would follow its ports.
func (d *Driver) createBridge(name string, mac cnm.MAC, mtu int) error {
	var b link.Batch
	b.CreateBridge(link.Bridge{Name: name, MAC: macLink(mac), MTU: mtu, Options: bridgeOptions()})
	b.SetLink(link.Change{Link: link.Named(name), AddrGenMode: link.AddrGenNone})
	if err := d.conn.Do(&b); err != nil {
		return cnm.Errorf(kindOf(err), "%w", err)
	}
	return nil
}

// setHub gives the hub its addresses and settings where they differ, and brings it up.
func (d *Driver) setHub(ctx context.Context, p networkPlan, hub link.Link) ([]cnm.Drift, error) {
	change, drifts := d.hubChange(p, hub)
	var b link.Batch
	if len(drifts) > 0 { // one that changes nothing would be announced all the same
		b.SetLink(change)
	}
	settings, err := d.writeSettings(p)
	if err != nil {
		return nil, err
	}
	drifts = append(drifts, settings...)
	missing, err := d.missingAddresses(ctx, p, hub)
	if err != nil {
		return nil, err
	}
	for _, a := range missing {
		drifts = append(drifts, d.drift(p, "address "+a.String()+" of "+p.hub, "missing"))
		b.ReplaceAddress(link.Address{Link: hub.Index, Prefix: a, NoDAD: true})
	}
	if b.Len() == 0 {
		return drifts, nil
	}
	if err := d.conn.Do(&b); err != nil {
		return nil, cnm.Errorf(kindOf(err), "bridge %s: %w", p.hub, err)
	}
	return drifts, nil
}

// hubChange is what differs of the hub's own settings. An adopted bridge gets no more than it needs.
func (d *Driver) hubChange(p networkPlan, hub link.Link) (link.Change, []cnm.Drift) {
	c := link.Change{Link: link.Numbered(hub.Index)}
	var drifts []cnm.Drift
	add := func(object, what string) { drifts = append(drifts, d.drift(p, object+p.hub, "altered: "+what)) }
	if v, ok := hub.IPv4.Value(link.RouteLocalnet); !ok || v != localnetOn && (v == 0 || !p.settings.adopt) {
		c.IPv4 = []link.Conf{{Key: link.RouteLocalnet, Value: localnetOn}}
		if p.settings.adopt {
			c.IPv4[0].Value = localnetByUs
		}
		add("setting route_localnet of ", strconv.Itoa(int(v)))
	}
	if hub.Flags&unix.IFF_UP == 0 {
		c.Up = link.On
		add("link ", "down")
	}
	if p.settings.adopt {
		return c, drifts
	}
	if mac := macLink(p.mac); hub.MAC != mac {
		c.MAC = mac
		add("link ", "mac "+hub.MAC.String())
	}
	if mtu := d.mtuOf(p, hub); mtu != 0 && hub.MTU != mtu {
		c.MTU = mtu
		add("link ", "mtu "+strconv.Itoa(hub.MTU))
	}
	if c.Bridge = alteredOptions(hub.Bridge); c.Bridge != (link.BridgeOptions{}) {
		add("link ", "bridge settings")
	}
	return c, drifts
}

// missingAddresses are the planned addresses that the hub has not.
func (d *Driver) missingAddresses(ctx context.Context, p networkPlan, hub link.Link) ([]netip.Prefix, error) {
	want := hubAddresses(p)
	if len(want) == 0 {
		return nil, nil
	}
	have, err := d.conn.Addresses(ctx, hub.Index)
	if err != nil {
		return nil, cnm.Errorf(cnm.Internal, "addresses of %s: %w", p.hub, err)
	}
	set := map[netip.Prefix]bool{}
	for _, a := range have {
		set[a.Prefix] = true
	}
	var missing []netip.Prefix
	for _, w := range want {
		if !set[w] {
			missing = append(missing, w)
		}
	}
	return missing, nil
}

func (d *Driver) drift(p networkPlan, object, what string) cnm.Drift {
	return cnm.Drift{Object: object, What: what, Repaired: true, Network: p.network.ID}
}

// removeNetwork is the teardown of a network without endpoints. It goes on after a failure and may be repeated.
func (d *Driver) removeNetwork(ctx context.Context, p networkPlan) error {
	d.mu.Lock()
	n := d.nets[p.network.ID]
	delete(d.nets, p.network.ID)
	owner, taken := d.claimed[p.hub]
	foreign := taken && owner.ID != p.network.ID // this network was refused it
	if !foreign {
		delete(d.claimed, p.hub)
		delete(d.absent, p.hub)
	}
	d.mu.Unlock()
	last := 0
	if n != nil {
		last = len(n.shards) - 1
	}
	var errs []error
	// A network whose deletion was cut short by a crash has shards that only the kernel knows.
	for i := 1; i <= last || d.exists(shardName(p.network.ID, i)) || d.exists(trunkHub(p.network.ID, i)); i++ {
		errs = append(errs, d.removeShard(ctx, p.network.ID, i))
	}
	switch {
	case foreign:
	case p.settings.adopt:
		errs = append(errs, giveBack(p.hub))
	default:
		errs = append(errs, d.deleteOwn(p))
	}
	_, err := d.host.open(ctx)
	if err = errors.Join(append(errs, err)...); err != nil {
		return err // what is still there stays under its rules
	}
	return d.fw.Drop(ctx, networkOwner(p.network.ID))
}

// Values of route_localnet, which lets packets to 127.0.0.0/8 in. For the kernel any but 0 is on; the second says on an adopted bridge
// that it was us, in the one place that is not lost with our records.
const (
	localnetOn   = 1
	localnetByUs = 2
)

// giveBack takes from an adopted bridge what would be a hole in the host without our rules, if it was us who opened it.
func giveBack(hub string) error {
	const off = "0"
	key := "net/ipv4/conf/" + hub + "/route_localnet"
	v, err := procSettings{}.read(key)
	if err == nil && v == strconv.Itoa(localnetByUs) {
		err = procSettings{}.write(key, off)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func (d *Driver) exists(name string) bool {
	_, err := d.conn.Link(link.Named(name))
	return err == nil
}

// deleteOwn deletes the hub if it is the one this network made.
func (d *Driver) deleteOwn(p networkPlan) error {
	hub, err := d.conn.Link(link.Named(p.hub))
	if errors.Is(err, unix.ENODEV) {
		return nil
	}
	if err == nil {
		if foreign := d.checkHub(p, hub); foreign != nil {
			return nil //nolint:nilerr // another's link of that name is not ours to delete
		}
		err = d.deleteLink(p.hub)
	}
	if err != nil {
		return cnm.Errorf(cnm.Internal, "bridge %s: %w", p.hub, err)
	}
	return nil
}

// deleteLink deletes a link by name; one that is not there is no error.
func (d *Driver) deleteLink(name string) error {
	var b link.Batch
	b.DeleteLink(link.Named(name))
	if err := d.conn.Do(&b); err != nil && !errors.Is(err, unix.ENODEV) {
		return cnm.Errorf(kindOf(err), "%w", err)
	}
	return nil
}

// mtu is the network's, or that of the host's default route, IPv4's first; 1500 without one.
func (d *Driver) mtu(ctx context.Context, nw cnm.Network) int {
	const ethernet = 1500
	if nw.MTU != 0 {
		return nw.MTU
	}
	routes, err := d.conn.Routes(ctx, link.TableMain)
	if err != nil {
		d.log.WarnContext(ctx, "reading the default route for its mtu", "error", err)
		return ethernet
	}
	for _, f := range cnm.Families() {
		for _, r := range routes {
			if r.Dst.Bits() != 0 || cnm.FamilyOf(r.Dst.Addr()) != f || r.Link == 0 {
				continue
			}
			if l, err := d.conn.Link(link.Numbered(r.Link)); err == nil && l.MTU > 0 && l.Flags&unix.IFF_LOOPBACK == 0 {
				return l.MTU
			}
		}
	}
	return ethernet
}

// kindOf classes a refusal of the kernel.
func kindOf(err error) cnm.Kind {
	switch {
	case errors.Is(err, unix.EEXIST), errors.Is(err, unix.EBUSY):
		return cnm.Exists
	case errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENOENT):
		return cnm.NotFound
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return cnm.NotPermitted
	case errors.Is(err, unix.EOPNOTSUPP):
		return cnm.Unsupported
	case errors.Is(err, unix.EXFULL), errors.Is(err, unix.ENOMEM), errors.Is(err, unix.ENOBUFS):
		return cnm.Exhausted
	case errors.Is(err, unix.EINVAL):
		return cnm.Invalid
	}
	return cnm.Internal
}
