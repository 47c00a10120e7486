// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"cmp"
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/internal/undo"
)

// checkPublish refuses ports a driver cannot publish.
func checkPublish(ctx context.Context, d cnm.Driver, nw cnm.Network, specs []cnm.PortSpec) error {
	if len(specs) == 0 {
		return nil
	}
	if _, ok := d.(cnm.Publisher); !ok || !describe(ctx, d).Publishes {
		return cnm.FieldErrorf(cnm.Unsupported, "publish", "driver %s of network %q publishes no ports; leave --publish out", nw.Driver, nw.Name)
	}
	for i, s := range specs {
		if s.Port == 0 || s.HostPort > s.HostPortEnd {
			return cnm.FieldErrorf(cnm.Invalid, "publish", "publish %s: not a port", s)
		}
		if slices.Contains(specs[:i], s) {
			return cnm.FieldErrorf(cnm.Invalid, "publish", "publish %s is there twice; leave one out", s)
		}
	}
	return nil
}

// Publish adds and removes published ports of an endpoint while it runs; ports in neither list are not touched.
// On an error nothing has changed.
func (c *Controller) Publish(ctx context.Context, id cnm.EndpointID, add, remove []cnm.PortSpec) (cnm.Attachment, error) {
	return c.publish(ctx, id, func(at cnm.Attachment) ([]cnm.PortSpec, error) { return republish(at, add, remove) })
}

// Republish replaces the whole list of an endpoint's published ports; ports in the old and the new list are not touched. On an
// error nothing has changed.
func (c *Controller) Republish(ctx context.Context, id cnm.EndpointID, specs []cnm.PortSpec) (cnm.Attachment, error) {
	return c.publish(ctx, id, func(cnm.Attachment) ([]cnm.PortSpec, error) { return specs, nil })
}

// publish gives an endpoint the list of published ports that want makes of it.
func (c *Controller) publish(ctx context.Context, id cnm.EndpointID, want func(cnm.Attachment) ([]cnm.PortSpec, error)) (at cnm.Attachment, err error) {
	defer func() { err = cnm.During("publish", err) }()
	at, h, err := c.claimEndpoint(ctx, id)
	if err != nil {
		return at, err
	}
	defer h.release()
	if !at.Endpoint.State.Settled() {
		return at, cnm.FieldErrorf(cnm.Busy, "endpoint", "endpoint %s/%s is %s", at.Network.Name, at.Endpoint.Name, at.Endpoint.State)
	}
	d, err := c.driver(at.Network)
	if err != nil {
		return at, err
	}
	before := at
	if at.Endpoint.Publish, err = want(at); err != nil {
		return before, err
	}
	if slices.Equal(at.Endpoint.Publish, before.Endpoint.Publish) {
		return before, nil // which any driver can do
	}
	if err := checkPublish(ctx, d, at.Network, at.Endpoint.Publish); err != nil {
		return before, err
	}
	if err := decode(d, at.Network, &at.Endpoint); err != nil {
		return before, err
	}
	var u undo.Stack
	defer u.Rollback(ctx, &err)
	if at, err = c.republishJoined(ctx, &u, d, before, at); err != nil {
		return before, err
	}
	c.tellPorts(at, before.Join.Result.Ports, at.Join.Result.Ports)
	return at, nil
}

// republishJoined records the wanted ports, has the driver bind them where the endpoint is in a sandbox, and commits.
func (c *Controller) republishJoined(ctx context.Context, u *undo.Stack, d cnm.Driver, before, at cnm.Attachment) (cnm.Attachment, error) {
	if at.Join.Endpoint == "" {
		return at, c.commit(ctx, u, cnm.Records{Endpoints: []cnm.Endpoint{at.Endpoint}})
	}
	at.Endpoint.State = cnm.Updating
	if err := c.change(ctx, u, cnm.Records{Endpoints: []cnm.Endpoint{at.Endpoint}}, cnm.Records{Endpoints: []cnm.Endpoint{before.Endpoint}}); err != nil {
		return at, err
	}
	p, ok := d.(cnm.Publisher)
	if !ok {
		return at, cnm.Errorf(cnm.Unsupported, "driver %s publishes no ports", at.Network.Driver)
	}
	ports, err := p.Publish(ctx, at)
	if err != nil {
		return at, err
	}
	bound := at
	bound.Join.Result.Ports = ports
	u.Push("publish as before", func(ctx context.Context) error {
		back := before
		// Those of before count as held too, so that a port that was chosen is the same again.
		back.Join.Result.Ports = append(slices.Clone(ports), before.Join.Result.Ports...)
		_, err := p.Publish(ctx, back)
		return err
	})
	bound.Endpoint.State = cnm.Joined
	return bound, c.commit(ctx, u, cnm.Records{Endpoints: []cnm.Endpoint{bound.Endpoint}, Joins: []cnm.Join{bound.Join}})
}

// republish is the wanted list after adding and removing. Removing what is not published is an error.
func republish(at cnm.Attachment, add, remove []cnm.PortSpec) ([]cnm.PortSpec, error) {
	list := slices.Clone(at.Endpoint.Publish)
	for _, r := range remove {
		n := len(list)
		list = slices.DeleteFunc(list, func(w cnm.PortSpec) bool { return names(r, w, at.Join.Result.Ports) })
		if len(list) == n {
			return nil, cnm.FieldErrorf(cnm.NotFound, "publish", "endpoint %s/%s does not publish %s; it publishes %s", at.Network.Name, at.Endpoint.Name, r, listPorts(list))
		}
	}
	for _, a := range add {
		if slices.Contains(at.Endpoint.Publish, a) && slices.Contains(list, a) {
			return nil, cnm.FieldErrorf(cnm.Exists, "publish", "endpoint %s/%s publishes %s already", at.Network.Name, at.Endpoint.Name, a)
		}
		list = append(list, a)
	}
	return list, nil
}

func listPorts(specs []cnm.PortSpec) string {
	texts := make([]string, len(specs))
	for i, s := range specs {
		texts[i] = s.String()
	}
	return cmp.Or(strings.Join(texts, ", "), "nothing")
}

// names tells whether what a caller wrote means the published port w: what it leaves open fits anything, and a host port
// may be the one that was chosen.
func names(r, w cnm.PortSpec, bound []cnm.Port) bool {
	if r.Proto != w.Proto || r.Port != w.Port || r.HostIP.IsValid() && r.HostIP != w.HostIP {
		return false
	}
	if r.HostPort == 0 || r.HostPort == w.HostPort && r.HostPortEnd == w.HostPortEnd {
		return true
	}
	inRange := w.HostPort == 0 || w.HostPort <= r.HostPort && r.HostPort <= w.HostPortEnd
	return inRange && slices.ContainsFunc(bound, func(p cnm.Port) bool {
		return p.Proto == w.Proto && p.Port == w.Port && p.HostPort == r.HostPort
	})
}

// tellPorts tells of each port of an endpoint that was published and is not any more, and the reverse.
func (c *Controller) tellPorts(at cnm.Attachment, before, now []cnm.Port) {
	tell := func(action string, ports, except []cnm.Port) {
		for _, p := range ports {
			if !slices.Contains(except, p) {
				c.tell(cnm.Event{Object: "port", Action: action, Network: at.Network.ID, Endpoint: at.Endpoint.ID, Sandbox: at.Sandbox.ID, Name: at.Network.Name + "/" + at.Endpoint.Name, Detail: map[string]string{"port": p.String()}})
			}
		}
	}
	tell("unpublish", before, now)
	tell("publish", now, before)
}

// PublishOn is Publish on a sandbox's endpoint: that on network nw, or with no network, per family, the one that
// holds the default route.
func (c *Controller) PublishOn(ctx context.Context, sb cnm.SandboxID, nw cnm.NetworkID, add, remove []cnm.PortSpec) ([]cnm.Attachment, error) {
	if nw != "" {
		at, ok := c.table.joined(sb, nw)
		if !ok {
			return nil, cnm.During("publish", c.notOn(sb, nw))
		}
		at, err := c.Publish(ctx, at.Endpoint.ID, add, remove)
		return []cnm.Attachment{at}, err
	}
	s, ok := c.table.sandbox(sb)
	if !ok {
		return nil, cnm.During("publish", noSandbox(sb))
	}
	held := holders(c.table.attachments(sb))
	switch {
	case len(held) == 0:
		return nil, cnm.During("publish", cnm.FieldErrorf(cnm.Invalid, "network", "sandbox %q has no default route; name the network with --network", s.Name))
	case len(held) == 1:
		at, err := c.Publish(ctx, held[0].Endpoint.ID, add, remove)
		return []cnm.Attachment{at}, err
	}
	return c.publishSplit(ctx, held, add, remove)
}

// holders are the attachments that hold a default route, IPv4's first.
func holders(ats []cnm.Attachment) []cnm.Attachment {
	var held []cnm.Attachment
	for _, f := range cnm.Families() {
		for _, at := range ats {
			if at.Join.Default.Has(f) && !slices.ContainsFunc(held, func(h cnm.Attachment) bool { return h.Endpoint.ID == at.Endpoint.ID }) {
				held = append(held, at)
			}
		}
	}
	return held
}

// publishSplit gives each family's ports to the endpoint that holds its default route. What the first endpoint did is
// taken back when the second refuses.
func (c *Controller) publishSplit(ctx context.Context, held []cnm.Attachment, add, remove []cnm.PortSpec) ([]cnm.Attachment, error) {
	for _, r := range remove {
		if !slices.ContainsFunc(held, func(at cnm.Attachment) bool { return publishes(at, r) }) {
			return nil, cnm.During("publish", cnm.FieldErrorf(cnm.NotFound, "publish", "sandbox %q does not publish %s on the networks of its default routes", held[0].Sandbox.Name, r))
		}
	}
	var done, before []cnm.Attachment
	for _, at := range held {
		a := ofFamilies(add, at)
		r := slices.DeleteFunc(slices.Clone(remove), func(r cnm.PortSpec) bool { return !publishes(at, r) })
		if len(a)+len(r) == 0 {
			continue
		}
		now, err := c.Publish(ctx, at.Endpoint.ID, a, r)
		if err != nil {
			return nil, errors.Join(err, c.republishAs(context.WithoutCancel(ctx), before))
		}
		done, before = append(done, now), append(before, at)
	}
	return done, nil
}

// republishAs gives endpoints the published ports that they had.
func (c *Controller) republishAs(ctx context.Context, before []cnm.Attachment) error {
	var errs []error
	for _, at := range before {
		_, err := c.Republish(ctx, at.Endpoint.ID, at.Endpoint.Publish)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// publishes tells whether what a caller wrote means one of an endpoint's published ports.
func publishes(at cnm.Attachment, r cnm.PortSpec) bool {
	return slices.ContainsFunc(at.Endpoint.Publish, func(w cnm.PortSpec) bool { return names(r, w, at.Join.Result.Ports) })
}

// ofFamilies narrows specifications to the families whose default route an endpoint holds. One without a host address gets the
// family's any-address, unless the endpoint has no other family: then it takes those of its network.
func ofFamilies(specs []cnm.PortSpec, at cnm.Attachment) []cnm.PortSpec {
	fs := at.Join.Default
	whole := !slices.ContainsFunc(at.Endpoint.Addresses, func(p netip.Prefix) bool { return !fs.Has(cnm.FamilyOf(p.Addr())) })
	var out []cnm.PortSpec
	for _, s := range specs {
		if !s.HostIP.IsValid() && whole {
			out = append(out, s)
			continue
		}
		if s.HostIP.IsValid() {
			if fs.Has(cnm.FamilyOf(s.HostIP)) {
				out = append(out, s)
			}
			continue
		}
		if fs.IPv4 {
			s.HostIP = netip.IPv4Unspecified()
			out = append(out, s)
		}
		if fs.IPv6 {
			s.HostIP = netip.IPv6Unspecified()
			out = append(out, s)
		}
	}
	return out
}
