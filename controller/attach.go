// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/internal/undo"
)

// Attach creates an endpoint and joins it to the sandbox. When it returns, the endpoint's rules are in force, its ports
// are published and its addresses answer. On an error nothing has changed.
func (c *Controller) Attach(ctx context.Context, spec cnm.AttachSpec) (at cnm.Attachment, err error) {
	defer func() { err = cnm.During("attach", err) }()
	h, err := c.claimAttachment(ctx, spec.Network, spec.Sandbox, "")
	if err != nil {
		return cnm.Attachment{}, err
	}
	defer h.release()
	at, d, err := c.planAttach(ctx, spec)
	if err != nil {
		return cnm.Attachment{}, err
	}
	var u undo.Stack
	defer u.Rollback(ctx, &err)
	if spec.Endpoint.Name == "" {
		spec.Endpoint.Name = at.Sandbox.Name
	}
	if at.Endpoint, err = c.planEndpoint(ctx, &u, at.Network, spec.Endpoint); err != nil {
		return cnm.Attachment{}, err
	}
	if err := h.own(ctx, endpointKey(at.Endpoint.ID)); err != nil {
		return cnm.Attachment{}, waiting(err)
	}
	if at.Join, err = c.planJoin(at, spec.Join); err != nil {
		return cnm.Attachment{}, err
	}
	if err := c.beginWith(ctx, &u, d, cnm.Records{Endpoints: []cnm.Endpoint{at.Endpoint}, Joins: []cnm.Join{at.Join}}); err != nil {
		return cnm.Attachment{}, err
	}
	if at.Endpoint, err = decideEndpoint(ctx, &u, d, at.Network, at.Endpoint); err != nil {
		return cnm.Attachment{}, err
	}
	if at, err = c.enter(ctx, &u, entry{d, at, spec.Join.Interface == ""}); err != nil {
		return cnm.Attachment{}, err
	}
	c.tell(cnm.Event{Object: "endpoint", Action: "create", Network: at.Network.ID, Endpoint: at.Endpoint.ID, Name: at.Network.Name + "/" + at.Endpoint.Name})
	c.tellJoin(at)
	return at, nil
}

// planAttach checks that the network and the sandbox may be tied together.
func (c *Controller) planAttach(ctx context.Context, spec cnm.AttachSpec) (cnm.Attachment, cnm.Driver, error) {
	nw, err := c.readyNetwork(spec.Network)
	if err != nil {
		return cnm.Attachment{}, nil, err
	}
	sb, err := c.readySandbox(spec.Sandbox)
	if err != nil {
		return cnm.Attachment{}, nil, err
	}
	d, err := c.driver(nw)
	if err != nil {
		return cnm.Attachment{}, nil, err
	}
	return cnm.Attachment{Network: nw, Sandbox: sb}, d, c.checkPair(ctx, d, nw, sb)
}

// checkPair refuses a second endpoint on one network, and keeps the host's own stack and other stacks apart.
func (c *Controller) checkPair(ctx context.Context, d cnm.Driver, nw cnm.Network, sb cnm.Sandbox) error {
	if other, ok := c.table.joined(sb.ID, nw.ID); ok {
		return cnm.FieldErrorf(cnm.Exists, "network", "sandbox %q is on network %q already, by endpoint %s; detach it first", sb.Name, nw.Name, other.Endpoint.Name)
	}
	hostStack := describe(ctx, d).HostStack
	if hostStack && !sb.Host {
		return cnm.FieldErrorf(cnm.Invalid, "sandbox", "network %q is the host's own; only the sandbox made with --netns host may be on it", nw.Name)
	}
	if !hostStack && sb.Host {
		return cnm.FieldErrorf(cnm.Invalid, "network", "sandbox %q is the host's own stack; it joins networks of driver host only", sb.Name)
	}
	return nil
}

// Detach takes the sandbox's endpoint out of the network and deletes it; one that is kept only leaves.
func (c *Controller) Detach(ctx context.Context, sb cnm.SandboxID, nw cnm.NetworkID) (err error) {
	defer func() { err = cnm.During("detach", err) }()
	at, ok := c.table.joined(sb, nw)
	if !ok {
		return c.notOn(sb, nw)
	}
	at, h, err := c.claimEndpoint(ctx, at.Endpoint.ID)
	if err != nil {
		return err
	}
	defer h.release()
	if at.Join.Sandbox != sb {
		return c.notOn(sb, nw)
	}
	if at.Endpoint.Keep {
		return c.leave(ctx, at)
	}
	return c.endEndpoint(ctx, at)
}

// notOn says which of the two does not exist, or that they are not tied together.
func (c *Controller) notOn(sb cnm.SandboxID, nw cnm.NetworkID) error {
	s, ok := c.table.sandbox(sb)
	if !ok {
		return noSandbox(sb)
	}
	n, ok := c.table.network(nw)
	if !ok {
		return noNetwork(nw)
	}
	return cnm.FieldErrorf(cnm.NotFound, "network", "sandbox %q is not on network %q", s.Name, n.Name)
}
