// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"errors"
	"strings"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/internal/undo"
)

// CreateNetwork makes a network. The name must be free; overlapping subnets, unknown options and whatever the driver cannot
// do are refused before anything is recorded.
func (c *Controller) CreateNetwork(ctx context.Context, spec cnm.NetworkSpec) (nw cnm.Network, err error) {
	defer func() { err = cnm.During("network create", err) }()
	if c.readOnly != nil {
		return cnm.Network{}, c.readOnly
	}
	nw, err = c.planNetwork(ctx, spec)
	if err != nil {
		return cnm.Network{}, err
	}
	d := c.drivers[nw.Driver]
	h := c.newClaimed()
	defer h.release()
	if err := h.share(ctx, driverKey(nw.Driver)); err != nil {
		return cnm.Network{}, waiting(err)
	}
	if err := h.own(ctx, networkKey(nw.ID)); err != nil {
		return cnm.Network{}, waiting(err)
	}
	var u undo.Stack
	defer u.Rollback(ctx, &err)
	if nw.Subnets, err = c.allocateSubnets(ctx, &u, nw); err != nil {
		return cnm.Network{}, err
	}
	if err := c.begin(ctx, &u, cnm.Records{Networks: []cnm.Network{nw}}); err != nil {
		return cnm.Network{}, err
	}
	claimed := nw // nw itself is the result, and empty by the time of an undo
	u.Push("delete the network", func(ctx context.Context) error { return d.DeleteNetwork(ctx, claimed) })
	if err := d.CreateNetwork(ctx, nw); err != nil {
		return cnm.Network{}, err
	}
	nw.State = cnm.Ready
	if err := c.commit(ctx, &u, cnm.Records{Networks: []cnm.Network{nw}}); err != nil {
		return cnm.Network{}, err
	}
	c.keepPools(nw)
	c.tell(cnm.Event{Object: "network", Action: "create", Network: nw.ID, Name: nw.Name})
	return nw, nil
}

// planNetwork checks what was asked for and fills in the defaults. It changes nothing.
func (c *Controller) planNetwork(ctx context.Context, spec cnm.NetworkSpec) (cnm.Network, error) {
	if err := cnm.CheckName("name", spec.Name); err != nil {
		return cnm.Network{}, err
	}
	id, err := chosen(spec.ID, cnm.NewNetworkID)
	if err != nil {
		return cnm.Network{}, err
	}
	nw := cnm.Network{
		ID: id, Name: spec.Name, Driver: spec.Driver,
		IPv4: spec.IPv4 == nil || *spec.IPv4, IPv6: spec.IPv6 == nil || *spec.IPv6,
		Subnets: spec.Subnets, IPAM: spec.IPAM, IPAMOptions: spec.IPAMOptions,
		Internal: spec.Internal, IsolateEndpoints: spec.IsolateEndpoints, MTU: spec.MTU, DNS: spec.DNS,
		Options: spec.Options, Labels: spec.Labels, Created: c.now(), State: cnm.Creating,
	}
	if nw.Driver == "" {
		nw.Driver = "bridge"
	}
	d, ok := c.drivers[nw.Driver]
	if !ok {
		return cnm.Network{}, cnm.FieldErrorf(cnm.NotFound, "driver", "no driver %q; there are %s", nw.Driver, strings.Join(sortedKeys(c.drivers), ", "))
	}
	if err := c.planFamilies(&nw, describe(ctx, d)); err != nil {
		return cnm.Network{}, err
	}
	if nw.MTU != 0 && (nw.MTU < 68 || nw.MTU > 65535) {
		return cnm.Network{}, cnm.FieldErrorf(cnm.Invalid, "mtu", "mtu %d is outside 68 to 65535; leave it out to follow the default route", nw.MTU)
	}
	if nw.IPv6 && nw.MTU != 0 && nw.MTU < 1280 && len(nw.Subnets) > 0 {
		return cnm.Network{}, cnm.FieldErrorf(cnm.Invalid, "mtu", "mtu %d is below the 1280 that IPv6 needs (RFC 8200); raise it or switch IPv6 off", nw.MTU)
	}
	if err := checkServers(nw.DNS); err != nil {
		return cnm.Network{}, err
	}
	return nw, decode(d, nw, nil)
}

// decode has a driver check options. One that decodes none gets none.
func decode(d cnm.Driver, nw cnm.Network, ep *cnm.Endpoint) error {
	if dec, ok := d.(cnm.Decoder); ok {
		return dec.Decode(nw, ep)
	}
	options := nw.Options
	if ep != nil {
		options = ep.Options
	}
	for k := range options {
		return cnm.FieldErrorf(cnm.Invalid, "opt", "option %q is unknown; driver %s takes none", k, nw.Driver)
	}
	return nil
}

// DeleteNetwork removes a network. One in use is refused with the names of its endpoints, or, with force,
// its endpoints are removed first.
func (c *Controller) DeleteNetwork(ctx context.Context, id cnm.NetworkID, force bool) (err error) {
	defer func() { err = cnm.During("network delete", err) }()
	if c.readOnly != nil {
		return c.readOnly
	}
	if force {
		if err := c.emptyNetwork(ctx, id); err != nil {
			return err
		}
	}
	nw, h, err := c.ownNetwork(ctx, id)
	if force && errors.Is(err, cnm.NotFound) {
		return nil // another call that had it deleted was faster
	}
	if err != nil {
		return err
	}
	defer h.release()
	if eps := c.table.endpointsOf(id); len(eps) > 0 {
		return cnm.FieldErrorf(cnm.Busy, "network", "network %q is in use by %s; remove them first or use --force", nw.Name, c.nameUsers(eps))
	}
	return c.endNetwork(ctx, nw)
}

// ownNetwork claims a network alone.
func (c *Controller) ownNetwork(ctx context.Context, id cnm.NetworkID) (cnm.Network, claimed, error) {
	h := c.newClaimed()
	nw, ok := c.table.network(id)
	if !ok {
		return nw, h, noNetwork(id)
	}
	err := h.share(ctx, driverKey(nw.Driver))
	if err == nil {
		err = h.own(ctx, networkKey(id))
	}
	if err != nil {
		h.release()
		return nw, h, waiting(err)
	}
	if nw, ok = c.table.network(id); !ok {
		h.release()
		return nw, h, noNetwork(id)
	}
	return nw, h, nil
}

// emptyNetwork refuses new endpoints from now on and removes those there are.
func (c *Controller) emptyNetwork(ctx context.Context, id cnm.NetworkID) (err error) {
	defer c.owe(ctx, &err)
	nw, h, err := c.ownNetwork(ctx, id)
	if err != nil {
		return err
	}
	nw.State = cnm.Deleting
	err = c.store.Put(ctx, cnm.Records{Networks: []cnm.Network{nw}})
	if err == nil {
		c.table.put(cnm.Records{Networks: []cnm.Network{nw}})
	}
	h.release()
	if err != nil {
		return err
	}
	var errs []error
	for _, ep := range c.table.endpointsOf(id) {
		if err := c.DeleteEndpoint(ctx, ep.ID, true); err != nil && !errors.Is(err, cnm.NotFound) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// endNetwork is the teardown of a claimed network without endpoints. It may be repeated.
func (c *Controller) endNetwork(ctx context.Context, nw cnm.Network) (err error) {
	defer c.owe(ctx, &err)
	d, err := c.driver(nw)
	if err != nil {
		return err
	}
	nw.State = cnm.Deleting
	if err := c.store.Put(ctx, cnm.Records{Networks: []cnm.Network{nw}}); err != nil {
		return err
	}
	c.table.put(cnm.Records{Networks: []cnm.Network{nw}})
	if err := d.DeleteNetwork(ctx, nw); err != nil {
		return err
	}
	if err := c.releaseSubnets(ctx, nw); err != nil {
		return err
	}
	if err := c.forget(ctx, cnm.Keys{Networks: []cnm.NetworkID{nw.ID}}); err != nil {
		return err
	}
	c.tell(cnm.Event{Object: "network", Action: "delete", Network: nw.ID, Name: nw.Name})
	return nil
}

// nameUsers lists endpoints with their sandboxes, a handful at most.
func (c *Controller) nameUsers(eps []cnm.Endpoint) string {
	const most = 5
	var b strings.Builder
	for i, ep := range eps {
		if i == most {
			b.WriteString(" and " + itoa(len(eps)-most) + " more")
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString("endpoint " + ep.Name)
		if at, ok := c.table.attachment(ep.ID); ok && at.Sandbox.Name != "" && at.Sandbox.Name != ep.Name {
			b.WriteString(" (sandbox " + at.Sandbox.Name + ")")
		}
	}
	return b.String()
}
