// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"errors"
	"time"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/internal/undo"
)

// Join ties an existing endpoint to a sandbox. On an error nothing has changed.
func (c *Controller) Join(ctx context.Context, id cnm.EndpointID, sb cnm.SandboxID, spec cnm.JoinSpec) (at cnm.Attachment, err error) {
	defer func() { err = cnm.During("endpoint join", err) }()
	ep, ok := c.table.endpoint(id)
	if !ok {
		return at, noEndpoint(id)
	}
	h, err := c.claimAttachment(ctx, ep.Network, sb, id)
	if err != nil {
		return at, err
	}
	defer h.release()
	now, ok := c.table.attachment(id)
	if !ok {
		return at, noEndpoint(id)
	}
	if now.Join.Endpoint != "" {
		return at, cnm.FieldErrorf(cnm.Exists, "endpoint", "endpoint %s/%s is in sandbox %q already; let it leave first", now.Network.Name, now.Endpoint.Name, now.Sandbox.Name)
	}
	if now.Endpoint.State != cnm.Ready {
		return at, cnm.FieldErrorf(cnm.Busy, "endpoint", "endpoint %s/%s is %s", now.Network.Name, now.Endpoint.Name, now.Endpoint.State)
	}
	at, d, err := c.planAttach(ctx, cnm.AttachSpec{Network: ep.Network, Sandbox: sb})
	if err != nil {
		return cnm.Attachment{}, err
	}
	at.Endpoint = now.Endpoint
	if at.Join, err = c.planJoin(at, spec); err != nil {
		return cnm.Attachment{}, err
	}
	var u undo.Stack
	defer u.Rollback(ctx, &err)
	if err := c.beginWith(ctx, &u, d, cnm.Records{Joins: []cnm.Join{at.Join}}); err != nil {
		return cnm.Attachment{}, err
	}
	if at, err = c.enter(ctx, &u, entry{d, at, spec.Interface == ""}); err != nil {
		return cnm.Attachment{}, err
	}
	c.tellJoin(at)
	return at, nil
}

// tellJoin tells of an endpoint in its sandbox, and of its ports.
func (c *Controller) tellJoin(at cnm.Attachment) {
	detail := map[string]string{"sandbox": at.Sandbox.Name, "interface": at.Join.Interface}
	for _, a := range at.Endpoint.Addresses {
		detail[cnm.FamilyOf(a.Addr()).String()] = a.String()
	}
	c.tell(cnm.Event{Object: "endpoint", Action: "join", Network: at.Network.ID, Endpoint: at.Endpoint.ID, Sandbox: at.Sandbox.ID, Name: at.Network.Name + "/" + at.Endpoint.Name, Detail: detail})
	c.tellPorts(at, nil, at.Join.Result.Ports)
}

// planJoin checks the interface's name or chooses one, and decides the default routes as far as they can be foreseen.
func (c *Controller) planJoin(at cnm.Attachment, spec cnm.JoinSpec) (cnm.Join, error) {
	j := cnm.Join{
		Endpoint: at.Endpoint.ID, Network: at.Network.ID, Sandbox: at.Sandbox.ID,
		Interface: spec.Interface, GatewayPriority: spec.GatewayPriority, Sysctls: spec.Sysctls,
		Number: newNumber(), State: cnm.Joining,
	}
	others := c.table.attachments(at.Sandbox.ID)
	j.Joined = afterAll(c.now(), others)
	used := map[string]string{}
	for _, o := range others {
		used[o.Join.Interface] = o.Network.Name
	}
	if j.Interface == "" {
		j.Interface = freeInterface(used)
	} else if err := checkInterface(j.Interface); err != nil {
		return j, err
	} else if nw := used[j.Interface]; nw != "" {
		return j, cnm.FieldErrorf(cnm.Exists, "interface", "interface %q of sandbox %q is on network %q; choose another with --interface", j.Interface, at.Sandbox.Name, nw)
	}
	at.Join = j
	j.Default = defaults(append(others, at))[at.Endpoint.ID]
	return j, nil
}

// afterAll is the time of a new join: now, but later than those of the sandbox's others whatever the clock was set to
// meanwhile, since who is older holds the default route. It is without the reading of the monotonic clock, which the store does not
// keep: the order is to be the same after a restart.
func afterAll(now time.Time, others []cnm.Attachment) time.Time {
	now = now.Round(0)
	for _, o := range others {
		if !now.After(o.Join.Joined) {
			now = o.Join.Joined.Round(0).Add(1)
		}
	}
	return now
}

// entry is a claimed join that is to be made real.
type entry struct {
	driver cnm.Driver
	at     cnm.Attachment
	// unnamed: the interface's name is of our choice.
	unnamed bool
}

// enter makes a claimed join real and commits it: ports and rules, the link, what is inside, the names.
func (c *Controller) enter(ctx context.Context, u *undo.Stack, e entry) (cnm.Attachment, error) {
	waits, err := c.waits(ctx, &e.at.Sandbox)
	d, at := e.driver, e.at
	if err != nil {
		return at, err
	}
	if waits {
		return c.enterAwaited(ctx, u, d, at)
	}
	ns, err := c.stack.Open(ctx, at.Sandbox)
	if err != nil {
		return at, err
	}
	defer ns.Close()
	// The undo stands before the step: a driver that fails half-way is cleaned up like one that did not.
	u.Push("leave", func(ctx context.Context) error { return d.Leave(ctx, at) })
	if at.Join, err = c.link(ctx, ns, e); err != nil {
		return at, err
	}
	others := c.table.others(at)
	want := defaults(append(others, at))
	at.Join.Default = want[at.Endpoint.ID]
	if at.Join.Result.Link == (cnm.Link{}) {
		at.Join.Interface = "" // there is none
	}
	u.Push("restore the default routes", func(ctx context.Context) error { return c.restoreDefaults(ctx, at.Sandbox, others, want) })
	u.Push("unplug", func(ctx context.Context) error { return c.unplug(ctx, at) })
	if err := c.stack.Plug(ctx, ns, at); err != nil {
		return at, err
	}
	moved, err := c.moveDefaults(ctx, ns, others, want)
	if err != nil {
		return at, err
	}
	if err := c.putNames(ctx, u, at.Sandbox, others, append(others, at)); err != nil {
		return at, err
	}
	before := cnm.Records{Endpoints: []cnm.Endpoint{at.Endpoint}, Joins: []cnm.Join{at.Join}}
	for _, o := range others {
		before.Joins = append(before.Joins, o.Join)
	}
	at.Join.State, at.Endpoint.State = cnm.Joined, cnm.Joined
	r := cnm.Records{Endpoints: []cnm.Endpoint{at.Endpoint}, Joins: append(moved, at.Join)}
	return at, c.commitWhile(ctx, u, r, before, func() error { return c.stack.Await(ctx, ns, at) })
}

// putNames brings the sandbox's name files up to date.
func (c *Controller) putNames(ctx context.Context, u *undo.Stack, sb cnm.Sandbox, before, after []cnm.Attachment) error {
	u.Push("restore the names", func(ctx context.Context) error { return c.names.Put(ctx, sb, before) })
	return c.names.Put(ctx, sb, after)
}

// unplug undoes Plug where the namespace is still there.
func (c *Controller) unplug(ctx context.Context, at cnm.Attachment) error {
	ns, err := c.stack.Open(ctx, at.Sandbox)
	if errors.Is(err, cnm.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	defer ns.Close()
	return c.stack.Unplug(ctx, ns, at)
}

// Leave unties an endpoint from its sandbox. The endpoint stays, with its addresses.
func (c *Controller) Leave(ctx context.Context, id cnm.EndpointID) (err error) {
	defer func() { err = cnm.During("endpoint leave", err) }()
	at, h, err := c.claimEndpoint(ctx, id)
	if err != nil {
		return err
	}
	defer h.release()
	if at.Join.Endpoint == "" {
		return cnm.FieldErrorf(cnm.NotFound, "endpoint", "endpoint %s/%s is in no sandbox", at.Network.Name, at.Endpoint.Name)
	}
	return c.leave(ctx, at)
}

// leave is the teardown of a claimed join. It may be repeated.
func (c *Controller) leave(ctx context.Context, at cnm.Attachment) (err error) {
	defer c.owe(ctx, &err)
	d, err := c.driver(at.Network)
	if err != nil {
		return err
	}
	at.Endpoint.State = cnm.Leaving
	if err := c.exit(ctx, d, &at); err != nil {
		return err
	}
	at.Endpoint.State = cnm.Ready
	if err := c.store.Put(ctx, cnm.Records{Endpoints: []cnm.Endpoint{at.Endpoint}}); err != nil {
		return err
	}
	c.table.put(cnm.Records{Endpoints: []cnm.Endpoint{at.Endpoint}})
	return c.forget(ctx, cnm.Keys{Joins: []cnm.EndpointID{at.Endpoint.ID}})
}

// exit takes an endpoint out of its sandbox: first the rules, the ports and the link, then what is inside, then the default
// routes of the others. It goes on after a failure and tells all of them.
func (c *Controller) exit(ctx context.Context, d cnm.Driver, at *cnm.Attachment) error {
	at.Join.State = cnm.Leaving
	if err := c.mark(ctx, *at); err != nil {
		return err
	}
	errs := []error{d.Leave(ctx, *at)}
	others := c.table.others(*at)
	if ns, err := c.stack.Open(ctx, at.Sandbox); err == nil {
		errs = append(errs, c.stack.Unplug(ctx, ns, *at), c.inherit(ctx, ns, others), ns.Close())
	} else if !errors.Is(err, cnm.NotFound) {
		errs = append(errs, err)
	}
	errs = append(errs, c.names.Put(ctx, at.Sandbox, others))
	if err := errors.Join(errs...); err != nil {
		return err
	}
	c.tellPorts(*at, at.Join.Result.Ports, nil)
	c.tell(cnm.Event{Object: "endpoint", Action: "leave", Network: at.Network.ID, Endpoint: at.Endpoint.ID, Sandbox: at.Sandbox.ID, Name: at.Network.Name + "/" + at.Endpoint.Name})
	return nil
}
