// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"errors"
	"sync"
	"time"

	cnm "github.com/libnetwork/cnm"
)

const (
	// settle is how long hints are gathered before they are looked at: what comes in bursts is handled once.
	settle = 20 * time.Millisecond
	// lookEvery is the distance of looks at everything, for what the kernel does not announce.
	lookEvery = time.Minute
)

// Run repairs what others delete or alter and collects endpoints whose sandbox is gone, until ctx ends. It is called
// once.
func (c *Controller) Run(ctx context.Context) error {
	if c.readOnly != nil {
		<-ctx.Done()
		return nil
	}
	p := newPending()
	ctx, stop := context.WithCancelCause(ctx)
	var wg sync.WaitGroup
	for name, w := range c.watchers() {
		wg.Go(func() {
			if err := w.Watch(ctx, p.add); err != nil && ctx.Err() == nil {
				stop(cnm.Errorf(cnm.Internal, "watching %s: %w", name, err))
			}
		})
	}
	defer wg.Wait()
	defer stop(nil)
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
				return err
			}
			return nil
		case <-tick.C:
			p.add(cnm.Hint{})
		case <-p.some:
			if gather(ctx) {
				c.look(ctx, p.take())
			}
		}
	}
}

// gather waits out a burst of hints; false if ctx ended.
func gather(ctx context.Context) bool {
	t := time.NewTimer(settle)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// watchers are the parts that hear of changes from outside.
func (c *Controller) watchers() map[string]cnm.Watcher {
	all := map[string]cnm.Watcher{}
	for name, d := range c.drivers {
		if w, ok := d.(cnm.Watcher); ok {
			all["driver "+name] = w
		}
	}
	if w, ok := c.stack.(cnm.Watcher); ok {
		all["sandboxes"] = w
	}
	return all
}

// pending gathers hints, each once.
type pending struct {
	mu    sync.Mutex // guards hints
	hints map[cnm.Hint]bool
	some  chan struct{} // has one token while hints is not empty
}

func newPending() *pending {
	return &pending{hints: map[cnm.Hint]bool{}, some: make(chan struct{}, 1)}
}

func (p *pending) add(h cnm.Hint) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hints[h] = true
	select {
	case p.some <- struct{}{}:
	default:
	}
}

func (p *pending) take() map[cnm.Hint]bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	hints := p.hints
	p.hints = map[cnm.Hint]bool{}
	return hints
}

// look follows hints: to a sandbox or an endpoint where they name one, else to everything. What a hint names and we do not
// know any more has ended. Namespaces that are gone come first, since their links are gone with them.
func (c *Controller) look(ctx context.Context, hints map[cnm.Hint]bool) {
	for h := range hints {
		if sb, ok := c.sandboxOf(h.Cookie); ok && h.Gone {
			c.collectIfGone(ctx, sb)
		}
	}
	all := false
	for h := range hints {
		switch {
		case h.Gone:
		case h.Cookie != 0:
			if sb, ok := c.sandboxOf(h.Cookie); ok {
				c.reconcileSandbox(ctx, sb)
			}
		case h.Link != "":
			if ep, ok := c.endpointOf(h.Link); ok {
				c.reconcileEndpoint(ctx, ep)
			}
		default:
			all = true
		}
	}
	if all {
		c.finish(ctx, true)
		c.reconcileAll(ctx)
	}
}

func (c *Controller) sandboxOf(cookie uint64) (cnm.SandboxID, bool) {
	c.table.mu.RLock()
	defer c.table.mu.RUnlock()
	id, ok := c.table.byCookie[cookie]
	return id, ok
}

func (c *Controller) endpointOf(link string) (cnm.EndpointID, bool) {
	c.table.mu.RLock()
	defer c.table.mu.RUnlock()
	id, ok := c.table.byHostLink[link]
	return id, ok
}

// reconcileEndpoint looks at one attachment: the driver's half, then the sandbox's. One whose namespace is gone is collected.
func (c *Controller) reconcileEndpoint(ctx context.Context, id cnm.EndpointID) {
	at, h, err := c.claimEndpoint(ctx, id)
	if err != nil {
		return // it ended meanwhile
	}
	defer h.release()
	if !stands(at) {
		return
	}
	switch ns, err := c.stack.Open(ctx, at.Sandbox); {
	case errors.Is(err, cnm.NotFound):
		h.release()
		c.collectIfGone(ctx, at.Sandbox.ID)
		return
	case err == nil:
		c.noteReconcile(ctx, "sandbox "+at.Sandbox.Name, ns.Close())
	}
	d, err := c.driver(at.Network)
	if err != nil {
		return
	}
	if r, ok := d.(cnm.Reconciler); ok {
		drifts, err := r.Reconcile(ctx, cnm.Wanted{Networks: []cnm.Network{at.Network}, Attachments: []cnm.Attachment{at}})
		c.report(ctx, drifts)
		c.noteReconcile(ctx, "endpoint "+at.Endpoint.Name, err)
	}
	c.reconcileStack(ctx, cnm.Wanted{Sandboxes: []cnm.Sandbox{at.Sandbox}, Attachments: c.standing(at.Sandbox.ID)})
}

// reconcileSandbox looks at one sandbox and what is in it.
func (c *Controller) reconcileSandbox(ctx context.Context, id cnm.SandboxID) {
	h := c.newClaimed()
	defer h.release()
	if err := h.own(ctx, sandboxKey(id)); err != nil {
		return // ctx ended
	}
	sb, err := c.readySandbox(id)
	if err != nil {
		return // it ended meanwhile
	}
	c.reconcileStack(ctx, cnm.Wanted{Sandboxes: []cnm.Sandbox{sb}, Attachments: c.standing(id)})
}

func (c *Controller) standing(id cnm.SandboxID) []cnm.Attachment {
	var all []cnm.Attachment
	for _, at := range c.table.attachments(id) {
		if stands(at) {
			all = append(all, at)
		}
	}
	return all
}

func (c *Controller) reconcileStack(ctx context.Context, w cnm.Wanted) {
	drifts, err := c.stack.Reconcile(ctx, w)
	c.report(ctx, drifts)
	c.noteReconcile(ctx, "sandboxes", err)
}

// reconcileAll keeps every verb out, looks at everything, and then collects the sandboxes that are gone.
func (c *Controller) reconcileAll(ctx context.Context) {
	gone := c.reconcileExclusive(ctx)
	for _, id := range gone {
		c.collectIfGone(ctx, id)
	}
}

func (c *Controller) reconcileExclusive(ctx context.Context) []cnm.SandboxID {
	h := c.newClaimed()
	defer h.release()
	for _, name := range append(sortedKeys(c.drivers), stackKey().id) {
		if err := h.own(ctx, key{'d', name}); err != nil {
			return nil // ctx ended
		}
	}
	stack := cnm.Wanted{All: true}
	for _, name := range sortedKeys(c.drivers) {
		w := c.wanted(name)
		stack.Attachments = append(stack.Attachments, w.Attachments...)
		if r, ok := c.drivers[name].(cnm.Reconciler); ok {
			drifts, err := r.Reconcile(ctx, w)
			c.report(ctx, drifts)
			c.noteReconcile(ctx, "driver "+name, err)
		}
	}
	for _, sb := range c.Records(ctx).Sandboxes {
		if sb.State == cnm.Ready {
			stack.Sandboxes = append(stack.Sandboxes, sb)
		}
	}
	drifts, err := c.stack.Reconcile(ctx, stack)
	c.report(ctx, drifts)
	c.noteReconcile(ctx, "sandboxes", err)
	var gone []cnm.SandboxID
	for _, d := range drifts {
		if d.Sandbox != "" && d.Endpoint == "" && !d.Repaired {
			gone = append(gone, d.Sandbox)
		}
	}
	return gone
}

// collectIfGone ends a sandbox whose namespace is gone: its endpoints are collected, but for those made to be kept, which
// only leave.
func (c *Controller) collectIfGone(ctx context.Context, id cnm.SandboxID) {
	sb, ok := c.table.sandbox(id)
	if !ok {
		return
	}
	ns, err := c.stack.Open(ctx, sb)
	if err == nil {
		c.noteReconcile(ctx, "sandbox "+sb.Name, ns.Close())
		return
	}
	if !errors.Is(err, cnm.NotFound) {
		c.noteReconcile(ctx, "sandbox "+sb.Name, err)
		return
	}
	if err := c.DeleteSandbox(ctx, id); err != nil {
		if !errors.Is(err, cnm.NotFound) {
			c.noteReconcile(ctx, "sandbox "+sb.Name, err)
		}
		return
	}
	c.tell(cnm.Event{Object: "sandbox", Action: "collect", Sandbox: id, Name: sb.Name})
}

// report makes an event and a log line of each drift.
func (c *Controller) report(ctx context.Context, drifts []cnm.Drift) {
	if c.building {
		return
	}
	for _, d := range drifts {
		action := "report"
		if d.Repaired {
			action = "repair"
		}
		c.log.WarnContext(ctx, "drift", "object", d.Object, "what", d.What, "repaired", d.Repaired)
		c.tell(cnm.Event{Object: "drift", Action: action, Name: d.Object, Network: d.Network, Endpoint: d.Endpoint, Sandbox: d.Sandbox, Detail: map[string]string{"what": d.What}})
	}
}

func (c *Controller) noteReconcile(ctx context.Context, what string, err error) {
	if err != nil && ctx.Err() == nil {
		c.log.ErrorContext(ctx, "reconciling", "object", what, "error", err)
	}
}
