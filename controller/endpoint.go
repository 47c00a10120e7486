// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"net/netip"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/internal/undo"
)

// CreateEndpoint makes an endpoint that is in no sandbox yet: its name, addresses and MAC are taken.
func (c *Controller) CreateEndpoint(ctx context.Context, id cnm.NetworkID, spec cnm.EndpointSpec) (ep cnm.Endpoint, err error) {
	defer func() { err = cnm.During("endpoint create", err) }()
	h, err := c.claimAttachment(ctx, id, "", "")
	if err != nil {
		return cnm.Endpoint{}, err
	}
	defer h.release()
	nw, err := c.readyNetwork(id)
	if err != nil {
		return cnm.Endpoint{}, err
	}
	d, err := c.driver(nw)
	if err != nil {
		return cnm.Endpoint{}, err
	}
	var u undo.Stack
	defer u.Rollback(ctx, &err)
	if ep, err = c.planEndpoint(ctx, &u, nw, spec); err != nil {
		return cnm.Endpoint{}, err
	}
	if err := h.own(ctx, endpointKey(ep.ID)); err != nil {
		return cnm.Endpoint{}, waiting(err)
	}
	if err := c.beginWith(ctx, &u, d, cnm.Records{Endpoints: []cnm.Endpoint{ep}}); err != nil {
		return cnm.Endpoint{}, err
	}
	if ep, err = decideEndpoint(ctx, &u, d, nw, ep); err != nil {
		return cnm.Endpoint{}, err
	}
	ep.State = cnm.Ready
	if err := c.commit(ctx, &u, cnm.Records{Endpoints: []cnm.Endpoint{ep}}); err != nil {
		return cnm.Endpoint{}, err
	}
	c.tell(cnm.Event{Object: "endpoint", Action: "create", Network: nw.ID, Endpoint: ep.ID, Name: nw.Name + "/" + ep.Name})
	return ep, nil
}

// readyNetwork is a network that may get endpoints.
func (c *Controller) readyNetwork(id cnm.NetworkID) (cnm.Network, error) {
	nw, ok := c.table.network(id)
	if !ok {
		return nw, noNetwork(id)
	}
	if nw.State != cnm.Ready {
		return nw, cnm.FieldErrorf(cnm.Busy, "network", "network %q is %s", nw.Name, nw.State)
	}
	return nw, nil
}

// planEndpoint checks what was asked for and takes the addresses. It records nothing.
func (c *Controller) planEndpoint(ctx context.Context, u *undo.Stack, nw cnm.Network, spec cnm.EndpointSpec) (cnm.Endpoint, error) {
	id, err := chosen(spec.ID, cnm.NewEndpointID)
	if err != nil {
		return cnm.Endpoint{}, err
	}
	ep := cnm.Endpoint{
		ID: id, Network: nw.ID, Name: spec.Name, MAC: spec.MAC, Aliases: spec.Aliases,
		Publish: spec.Publish, Options: spec.Options, Labels: spec.Labels, Keep: spec.Keep,
		Created: c.now(), State: cnm.Creating,
	}
	if err := c.checkEndpoint(ctx, nw, &ep); err != nil {
		return ep, err
	}
	if err := checkWanted(nw, spec.Addresses); err != nil {
		return ep, err
	}
	ep.Addresses, err = c.allocateAddresses(ctx, u, nw, ep, spec.Addresses)
	return ep, err
}

// checkEndpoint checks names, MAC, ports and options.
func (c *Controller) checkEndpoint(ctx context.Context, nw cnm.Network, ep *cnm.Endpoint) error {
	if err := cnm.CheckName("name", ep.Name); err != nil {
		return err
	}
	for _, a := range ep.Aliases {
		if err := cnm.CheckName("alias", a); err != nil {
			return err
		}
	}
	d, err := c.driver(nw)
	if err != nil {
		return err
	}
	if ep.MAC != (cnm.MAC{}) && !ep.MAC.IsValid() {
		return cnm.FieldErrorf(cnm.Invalid, "mac", "mac %s is a group address; an interface needs an individual one (second digit even)", ep.MAC)
	}
	if err := checkPublish(ctx, d, nw, ep.Publish); err != nil {
		return err
	}
	return decode(d, nw, ep)
}

// checkWanted checks that each wanted address is in a subnet, at most one in each.
func checkWanted(nw cnm.Network, wanted []netip.Addr) error {
	seen := map[netip.Prefix]netip.Addr{}
	for _, w := range wanted {
		if !w.IsValid() || w.Zone() != "" || w.Is4In6() {
			return cnm.FieldErrorf(cnm.Invalid, "ip", "ip %q is no plain address", w)
		}
		s, ok := nw.SubnetOf(w)
		if !ok {
			return cnm.FieldErrorf(cnm.Invalid, "ip", "ip %s is in no subnet of network %q%s", w, nw.Name, listSubnets(nw))
		}
		if other, ok := seen[s.Prefix]; ok {
			return cnm.FieldErrorf(cnm.Invalid, "ip", "ip %s and %s are both in subnet %s; an endpoint has one address a subnet", other, w, s.Prefix)
		}
		seen[s.Prefix] = w
	}
	return nil
}

func listSubnets(nw cnm.Network) string {
	text := ""
	for i, s := range nw.Subnets {
		if i == 0 {
			text = "; it has " + s.Prefix.String()
			continue
		}
		text += ", " + s.Prefix.String()
	}
	return text
}

// decideEndpoint has the driver decide what was left open.
func decideEndpoint(ctx context.Context, u *undo.Stack, d cnm.Driver, nw cnm.Network, ep cnm.Endpoint) (cnm.Endpoint, error) {
	u.Push("delete the endpoint", func(ctx context.Context) error { return d.DeleteEndpoint(ctx, nw, ep) })
	patch, err := d.CreateEndpoint(ctx, nw, ep)
	if err != nil {
		return ep, err
	}
	if patch.MAC != (cnm.MAC{}) {
		ep.MAC = patch.MAC
	}
	if len(patch.Addresses) > 0 {
		ep.Addresses = patch.Addresses
	}
	return ep, nil
}

// DeleteEndpoint removes an endpoint. One in a sandbox is refused, or, with force, leaves it first.
func (c *Controller) DeleteEndpoint(ctx context.Context, id cnm.EndpointID, force bool) (err error) {
	defer func() { err = cnm.During("endpoint delete", err) }()
	at, h, err := c.claimEndpoint(ctx, id)
	if err != nil {
		return err
	}
	defer h.release()
	if at.Join.Endpoint != "" && at.Join.State == cnm.Joined && !force {
		return cnm.FieldErrorf(cnm.Busy, "endpoint", "endpoint %s/%s is in sandbox %q; let it leave first or use --force", at.Network.Name, at.Endpoint.Name, at.Sandbox.Name)
	}
	return c.endEndpoint(ctx, at)
}

// claimEndpoint claims an endpoint with the sandbox it is in. The sandbox may change while the call waits; then it asks again.
func (c *Controller) claimEndpoint(ctx context.Context, id cnm.EndpointID) (cnm.Attachment, claimed, error) {
	for {
		at, ok := c.table.attachment(id)
		if !ok {
			return at, c.newClaimed(), noEndpoint(id)
		}
		h, err := c.claimAttachment(ctx, at.Network.ID, at.Join.Sandbox, id)
		if err != nil {
			return at, h, err
		}
		now, ok := c.table.attachment(id)
		if !ok {
			h.release()
			return at, h, noEndpoint(id)
		}
		if now.Join.Sandbox == at.Join.Sandbox {
			return now, h, nil
		}
		h.release()
	}
}

// endEndpoint is the teardown of a claimed endpoint: out of its sandbox, then out of the records. It may be
// repeated; what could not be done keeps its record.
func (c *Controller) endEndpoint(ctx context.Context, at cnm.Attachment) (err error) {
	defer c.owe(ctx, &err)
	d, err := c.driver(at.Network)
	if err != nil {
		return err
	}
	at.Endpoint.State = cnm.Deleting
	if at.Join.Endpoint != "" {
		err = c.exit(ctx, d, &at)
	} else {
		err = c.mark(ctx, at)
	}
	if err != nil {
		return err
	}
	return c.endLeft(ctx, d, at)
}

// endLeft is the second half of endEndpoint, for an endpoint that is in no sandbox any more.
func (c *Controller) endLeft(ctx context.Context, d cnm.Driver, at cnm.Attachment) error {
	if err := d.DeleteEndpoint(ctx, at.Network, at.Endpoint); err != nil {
		return err
	}
	if err := c.releaseAddresses(ctx, at.Network, at.Endpoint); err != nil {
		return err
	}
	k := cnm.Keys{Endpoints: []cnm.EndpointID{at.Endpoint.ID}}
	if at.Join.Endpoint != "" {
		k.Joins = k.Endpoints
	}
	if err := c.forget(ctx, k); err != nil {
		// Given back a second time, the addresses might be another's.
		c.table.put(withoutAddresses(cnm.Records{Endpoints: []cnm.Endpoint{at.Endpoint}}))
		return err
	}
	c.tell(cnm.Event{Object: "endpoint", Action: "delete", Network: at.Network.ID, Endpoint: at.Endpoint.ID, Sandbox: at.Join.Sandbox, Name: at.Network.Name + "/" + at.Endpoint.Name})
	return nil
}

// mark records the states of an attachment under teardown.
func (c *Controller) mark(ctx context.Context, at cnm.Attachment) error {
	r := cnm.Records{Endpoints: []cnm.Endpoint{at.Endpoint}}
	if at.Join.Endpoint != "" {
		r.Joins = []cnm.Join{at.Join}
	}
	if err := c.store.Put(ctx, r); err != nil {
		return err
	}
	c.table.put(r)
	return nil
}
