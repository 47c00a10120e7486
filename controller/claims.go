// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"slices"
	"sync"
)

// claims are the locks of objects: a keyed lock, shared or exclusive, in the order of asking, bound by a context.
// A claim may be held across the kernel, a plugin or the disk; mu is not.
type claims struct {
	mu sync.Mutex // guards objects and every claim in it
	of map[key]*claim
}

// key names what is claimed. Whoever claims several takes them in the order driver, network, sandbox, endpoint.
type key struct {
	noun byte // 'd', 'n', 's', 'e'
	id   string
}

type claim struct {
	shared    int
	exclusive bool
	queue     []*waiter
}

type waiter struct {
	exclusive bool
	granted   chan struct{}
}

func newClaims() *claims { return &claims{of: map[key]*claim{}} }

// claimed is a set of claims held together.
type claimed struct {
	from *claims
	held []heldClaim
}

type heldClaim struct {
	key       key
	exclusive bool
}

// share and own add a claim, waiting for whoever asked before.
func (h *claimed) share(ctx context.Context, k key) error { return h.take(ctx, k, false) }
func (h *claimed) own(ctx context.Context, k key) error   { return h.take(ctx, k, true) }

func (h *claimed) take(ctx context.Context, k key, exclusive bool) error {
	if err := h.from.acquire(ctx, k, exclusive); err != nil {
		return err
	}
	h.held = append(h.held, heldClaim{k, exclusive})
	return nil
}

// release gives everything back, newest first. It may be called again.
func (h *claimed) release() {
	for _, v := range slices.Backward(h.held) {
		h.from.release(v.key, v.exclusive)
	}
	h.held = nil
}

func (c *claims) acquire(ctx context.Context, k key, exclusive bool) error {
	c.mu.Lock()
	cl := c.of[k]
	if cl == nil {
		cl = &claim{}
		c.of[k] = cl
	}
	if len(cl.queue) == 0 && cl.admits(exclusive) {
		cl.enter(exclusive)
		c.mu.Unlock()
		return nil
	}
	w := &waiter{exclusive: exclusive, granted: make(chan struct{})}
	cl.queue = append(cl.queue, w)
	c.mu.Unlock()
	select {
	case <-w.granted:
		return nil
	case <-ctx.Done():
		c.abandon(k, w)
		return context.Cause(ctx)
	}
}

// abandon takes w out of the queue; one that was granted in the same moment is given back.
func (c *claims) abandon(k key, w *waiter) {
	c.mu.Lock()
	defer c.mu.Unlock()
	cl := c.of[k]
	for i, q := range cl.queue {
		if q == w {
			cl.queue = append(cl.queue[:i], cl.queue[i+1:]...)
			c.grant(k, cl)
			return
		}
	}
	cl.leave(w.exclusive)
	c.grant(k, cl)
}

// held tells whether somebody has a claim now.
func (c *claims) held(k key) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.of[k] != nil
}

func (c *claims) release(k key, exclusive bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	cl := c.of[k]
	cl.leave(exclusive)
	c.grant(k, cl)
}

// grant admits from the head of the queue as long as it can, and forgets an idle claim.
func (c *claims) grant(k key, cl *claim) {
	for len(cl.queue) > 0 && cl.admits(cl.queue[0].exclusive) {
		w := cl.queue[0]
		cl.queue = cl.queue[1:]
		cl.enter(w.exclusive)
		close(w.granted)
	}
	if cl.shared == 0 && !cl.exclusive && len(cl.queue) == 0 {
		delete(c.of, k)
	}
}

func (cl *claim) admits(exclusive bool) bool {
	return !cl.exclusive && (!exclusive || cl.shared == 0)
}

func (cl *claim) enter(exclusive bool) {
	if exclusive {
		cl.exclusive = true
	} else {
		cl.shared++
	}
}

func (cl *claim) leave(exclusive bool) {
	if exclusive {
		cl.exclusive = false
	} else {
		cl.shared--
	}
}
