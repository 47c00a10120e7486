// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"errors"
	"slices"
	"strings"
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
	again := newRetry()
	defer again.timer.Stop()
	for {
		select {
		case <-ctx.Done():
			if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
				return err
			}
			return nil
		case <-tick.C:
			p.add(cnm.Hint{})
		case <-c.owed:
			again.soon()
		case <-again.timer.C:
			again.tried(c.finish(ctx, true))
		case <-p.some:
			if gather(ctx) {
				c.look(ctx, p.take(), again)
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
func (c *Controller) look(ctx context.Context, hints map[cnm.Hint]bool, again *retry) {
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
			// Our own detach hints too; where it was the last, nothing inside can be wrong.
			if sb, ok := c.sandboxOf(h.Cookie); ok && len(c.table.attachments(sb)) > 0 {
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
		c.expire(ctx)
		again.tried(c.finish(ctx, true))
		c.reconcileAll(ctx, false)
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
	waits, err := c.waits(ctx, &at.Sandbox)
	c.noteReconcile(ctx, "sandbox "+at.Sandbox.Name, err)
	if !waits && !c.opens(ctx, at.Sandbox) {
		h.release()
		c.collectIfGone(ctx, at.Sandbox.ID)
		return
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
	if waits {
		return
	}
	gone := c.reconcileStack(ctx, cnm.Wanted{Sandboxes: []cnm.Sandbox{at.Sandbox}, Attachments: c.standing(at.Sandbox.ID)})
	h.release()
	c.collect(ctx, gone)
}

// opens tells whether a sandbox's namespace is there, or cannot be looked at.
func (c *Controller) opens(ctx context.Context, sb cnm.Sandbox) bool {
	ns, err := c.stack.Open(ctx, sb)
	if err == nil {
		c.noteReconcile(ctx, "sandbox "+sb.Name, ns.Close())
	}
	return !errors.Is(err, cnm.NotFound)
}

// reconcileSandbox looks at one sandbox and what is in it, and collects it if it is gone.
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
	waits, err := c.waits(ctx, &sb)
	c.noteReconcile(ctx, "sandbox "+sb.Name, err)
	if waits {
		return
	}
	gone := c.reconcileStack(ctx, cnm.Wanted{Sandboxes: []cnm.Sandbox{sb}, Attachments: c.standing(id)})
	h.release()
	c.collect(ctx, gone)
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

// reconcileStack compares sandboxes, and returns those that are gone: that is no drift, but what sandboxes come to.
func (c *Controller) reconcileStack(ctx context.Context, w cnm.Wanted) (gone []cnm.SandboxID) {
	drifts, err := c.stack.Reconcile(ctx, w)
	drifts = slices.DeleteFunc(drifts, func(d cnm.Drift) bool {
		end := d.What == "missing" && strings.HasPrefix(d.Object, "namespace ")
		if end {
			gone = append(gone, d.Sandbox)
		}
		return end
	})
	c.report(ctx, drifts)
	c.noteReconcile(ctx, "sandboxes", err)
	return gone
}

// reconcileAll looks at everything and then collects the sandboxes that are gone. At a start, when no verb runs, it compares what
// is with all that should be; later verbs are kept out while the drivers do that, and sandboxes are looked at one by one.
func (c *Controller) reconcileAll(ctx context.Context, starting bool) {
	attachments := c.reconcileDrivers(ctx)
	if ctx.Err() != nil {
		return
	}
	w := cnm.Wanted{All: true, Attachments: attachments}
	for _, sb := range c.Records(ctx).Sandboxes {
		switch {
		case sb.State != cnm.Ready:
		case starting && !sb.Awaited():
			w.Sandboxes = append(w.Sandboxes, sb)
		default:
			c.reconcileSandbox(ctx, sb.ID)
		}
	}
	if starting {
		c.collect(ctx, c.reconcileStack(ctx, w))
		c.restoreNames(ctx, w.Sandboxes)
	}
}

// restoreNames brings the name files to what the records say: a verb that was killed may have been before them.
func (c *Controller) restoreNames(ctx context.Context, all []cnm.Sandbox) {
	for _, sb := range all {
		if _, ok := c.table.sandbox(sb.ID); ok {
			c.noteReconcile(ctx, "names of sandbox "+sb.Name, c.names.Put(ctx, sb, c.standing(sb.ID)))
		}
	}
}

// reconcileDrivers keeps every verb out that a driver has a part in. It returns all that is to be attached.
func (c *Controller) reconcileDrivers(ctx context.Context) []cnm.Attachment {
	h := c.newClaimed()
	defer h.release()
	names := sortedKeys(c.drivers)
	for _, name := range names {
		if err := h.own(ctx, driverKey(name)); err != nil {
			return nil // ctx ended
		}
	}
	var all []cnm.Attachment
	for _, name := range names {
		w := c.wanted(name)
		all = append(all, w.Attachments...)
		if r, ok := c.drivers[name].(cnm.Reconciler); ok {
			drifts, err := r.Reconcile(ctx, w)
			c.report(ctx, drifts)
			c.noteReconcile(ctx, "driver "+name, err)
		}
	}
	return all
}
