// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"errors"

	cnm "github.com/libnetwork/cnm"
)

// restore brings everything to what the records say after a start: addresses back into the allocators, then the whole
// firewall in one transaction, then what was under way finished or undone, then every object compared and repaired.
func (c *Controller) restore(ctx context.Context) error {
	c.replayAddresses(ctx)
	if err := c.declare(ctx); err != nil {
		return cnm.During("firewall restore", err)
	}
	c.finish(ctx, false)
	c.reconcileAll(ctx, true)
	if c.finish(ctx, true) {
		c.tryAgain()
	}
	return nil
}

// replayAddresses takes all recorded addresses again. One that cannot be taken is a record at odds with another: it is
// reported, and its endpoint left as it is.
func (c *Controller) replayAddresses(ctx context.Context) {
	r := c.Records(ctx)
	for _, nw := range r.Networks {
		if len(nw.Subnets) == 0 {
			continue
		}
		a, err := c.allocator(nw.IPAM)
		if err == nil {
			err = c.replaySubnets(ctx, a, nw)
		}
		if err != nil {
			c.log.ErrorContext(ctx, "replaying a network's addresses", "network", nw.Name, "error", err)
		}
	}
	for _, ep := range r.Endpoints {
		if err := c.replayEndpoint(ctx, ep); err != nil {
			c.log.ErrorContext(ctx, "replaying an endpoint's addresses", "endpoint", ep.Name, "error", err)
		}
	}
}

func (c *Controller) replaySubnets(ctx context.Context, a cnm.Allocator, nw cnm.Network) error {
	var errs []error
	for _, s := range nw.Subnets {
		_, err := a.CreatePool(ctx, cnm.PoolRequest{Network: nw.ID, Family: cnm.FamilyOf(s.Prefix.Addr()), Subnet: s, Options: nw.IPAMOptions, Overlap: true})
		if err == nil {
			_, err = c.takeFixed(ctx, a, s, true)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (c *Controller) replayEndpoint(ctx context.Context, ep cnm.Endpoint) error {
	nw, ok := c.table.network(ep.Network)
	if !ok {
		return noNetwork(ep.Network)
	}
	var errs []error
	for _, p := range ep.Addresses {
		s, ok := nw.SubnetOf(p.Addr())
		if !ok {
			continue
		}
		a, err := c.allocator(nw.IPAM)
		if err == nil {
			_, err = a.Allocate(ctx, cnm.AddressRequest{Pool: s.Pool, Address: p.Addr(), Owner: ep.ID, MAC: ep.MAC, Replay: true})
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// declare states the rules of every settled record of every driver in one firewall transaction.
func (c *Controller) declare(ctx context.Context) error {
	return c.together(ctx, func(ctx context.Context) error {
		for _, name := range sortedKeys(c.drivers) {
			d, ok := c.drivers[name].(cnm.Declarer)
			if !ok {
				continue
			}
			drifts, err := d.Declare(ctx, c.wanted(name))
			if err != nil {
				return err
			}
			c.report(ctx, drifts)
		}
		return nil
	})
}

// wanted is all of a driver's settled records. One whose change was under way is left out: it will be undone or finished.
func (c *Controller) wanted(driver string) cnm.Wanted {
	t := c.table
	t.mu.RLock()
	defer t.mu.RUnlock()
	w := cnm.Wanted{All: true}
	for _, nw := range t.networks {
		if nw.Driver == driver && nw.State.Settled() {
			w.Networks = append(w.Networks, nw)
		}
	}
	for id := range t.joins {
		at, ok := t.attachmentLocked(id)
		if ok && at.Network.Driver == driver && stands(at) {
			w.Attachments = append(w.Attachments, at)
		}
	}
	return w
}

// stands tells whether an attachment is to be in the kernel. A change of its ports under way does not matter: the record wins.
func stands(at cnm.Attachment) bool {
	return at.Join.State == cnm.Joined && (at.Endpoint.State == cnm.Joined || at.Endpoint.State == cnm.Updating)
}

// finish completes deletions that were under way and undoes what was being made, and tells whether something is left: what cannot be
// finished keeps its record, and what somebody is changing just now is his to finish. Ports are published only where updates says so:
// their networks have to be up.
func (c *Controller) finish(ctx context.Context, updates bool) (left bool) {
	ctx = context.WithValue(ctx, finishing{}, true)
	r := c.Records(ctx)
	try := func(k key, what, name string, do func() error) {
		if c.claims.held(k) {
			left = true
			return
		}
		if err := do(); err != nil && !errors.Is(err, cnm.NotFound) {
			left = true
			c.log.WarnContext(ctx, "finishing what was under way", "object", what, "name", name, "error", err)
		}
	}
	for _, ep := range r.Endpoints {
		if at, ok := c.table.attachment(ep.ID); ok && !rests(at) && (updates || at.Endpoint.State != cnm.Updating) {
			try(endpointKey(ep.ID), "endpoint", ep.Name, func() error { return c.finishEndpoint(ctx, ep.ID) })
		}
	}
	for _, j := range r.Joins {
		if _, ok := c.table.endpoint(j.Endpoint); !ok {
			try(endpointKey(j.Endpoint), "join", string(j.Endpoint), func() error { return c.forget(ctx, cnm.Keys{Joins: []cnm.EndpointID{j.Endpoint}}) })
		}
	}
	for _, sb := range r.Sandboxes {
		if now, ok := c.table.sandbox(sb.ID); ok && !now.State.Settled() {
			try(sandboxKey(sb.ID), "sandbox", sb.Name, func() error { return c.finishSandbox(ctx, sb.ID) })
		}
	}
	for _, nw := range r.Networks {
		if now, ok := c.table.network(nw.ID); ok && !now.State.Settled() {
			try(networkKey(nw.ID), "network", nw.Name, func() error { return c.finishNetwork(ctx, nw.ID) })
		}
	}
	return left
}

// finishSandbox deletes a sandbox that is in the middle of a change which nobody makes any more.
func (c *Controller) finishSandbox(ctx context.Context, id cnm.SandboxID) error {
	if !c.abandoned(ctx, sandboxKey(id), func() bool { now, ok := c.table.sandbox(id); return ok && !now.State.Settled() }) {
		return nil
	}
	return c.DeleteSandbox(ctx, id)
}

// finishNetwork is finishSandbox for a network.
func (c *Controller) finishNetwork(ctx context.Context, id cnm.NetworkID) error {
	if !c.abandoned(ctx, networkKey(id), func() bool { now, ok := c.table.network(id); return ok && !now.State.Settled() }) {
		return nil
	}
	return c.DeleteNetwork(ctx, id, true)
}

// abandoned tells whether an object is in the middle of a change that nobody makes any more: it still is when nobody else
// has its claim. One that another call was making when the records were read is not.
func (c *Controller) abandoned(ctx context.Context, k key, transitional func() bool) bool {
	h := c.newClaimed()
	defer h.release()
	return h.own(ctx, k) == nil && transitional()
}

// rests tells whether nothing is under way with an endpoint, neither by its own state nor by its join's, which a crash between
// the store's two files may leave apart.
func rests(at cnm.Attachment) bool {
	if at.Network.ID == "" {
		return false
	}
	if at.Join.Endpoint == "" {
		return at.Endpoint.State == cnm.Ready
	}
	return at.Endpoint.State == cnm.Joined && at.Join.State == cnm.Joined
}

// finishEndpoint brings one endpoint out of a transitional state.
func (c *Controller) finishEndpoint(ctx context.Context, id cnm.EndpointID) error {
	if at, ok := c.table.attachment(id); ok && at.Network.ID == "" {
		// Its network was lost with the state directory.
		return c.forget(ctx, cnm.Keys{Endpoints: []cnm.EndpointID{id}, Joins: []cnm.EndpointID{id}})
	}
	at, h, err := c.claimEndpoint(ctx, id)
	if err != nil {
		return err
	}
	defer h.release()
	switch at.Endpoint.State {
	case cnm.Creating, cnm.Deleting:
		return c.endEndpoint(ctx, at)
	case cnm.Updating:
		return c.finishUpdate(ctx, at)
	case cnm.Ready, cnm.Joined, cnm.Joining, cnm.Leaving:
	}
	switch {
	case rests(at):
		return nil
	case at.Join.Endpoint != "":
		return c.leave(ctx, at)
	}
	// The join was boot-scoped and went with the boot; the endpoint was made to be kept.
	at.Endpoint.State = cnm.Ready
	return c.mark(ctx, at)
}

// finishUpdate publishes what the record wants.
func (c *Controller) finishUpdate(ctx context.Context, at cnm.Attachment) error {
	at.Endpoint.State = cnm.Ready
	if at.Join.Endpoint == "" {
		return c.mark(ctx, at)
	}
	at.Endpoint.State = cnm.Joined
	d, err := c.driver(at.Network)
	if err != nil {
		return err
	}
	before := at.Join.Result.Ports
	if p, ok := d.(cnm.Publisher); ok {
		if at.Join.Result.Ports, err = p.Publish(ctx, at); err != nil {
			return err
		}
	}
	if err := c.mark(ctx, at); err != nil {
		return err
	}
	c.tellPorts(at, before, at.Join.Result.Ports)
	return nil
}
