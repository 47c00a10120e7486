// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"context"
	"sync"
	"sync/atomic"
)

// batchLength is how many requests are taken at once.
const batchLength = 256

// request is one call: a change, or something to do with the tables at rest.
type request struct {
	change change
	do     func(ctx context.Context) error

	state atomic.Int32 // waiting, then taken or left
	done  chan error   // gets one value once taken
}

// The states of a request.
const (
	waiting int32 = iota
	taken         // by the call that has the turn
	left          // by its caller
)

// queue are the requests that nobody has taken, oldest first.
type queue struct {
	mu  sync.Mutex // guards the list; never held across the kernel
	all []*request
}

func (q *queue) add(r *request) {
	r.done = make(chan error, 1)
	q.mu.Lock()
	defer q.mu.Unlock()
	q.all = append(q.all, r)
}

// take gives the requests that still wait, up to one that is no change.
func (q *queue) take() []*request {
	q.mu.Lock()
	defer q.mu.Unlock()
	var batch []*request
	n := 0
	for _, r := range q.all {
		n++
		if r.state.CompareAndSwap(waiting, taken) {
			batch = append(batch, r)
		}
		if r.do != nil || len(batch) == batchLength {
			break
		}
	}
	rest := copy(q.all, q.all[n:])
	clear(q.all[rest:])
	q.all = q.all[:rest]
	return batch
}

// submit waits for a request to be done. One that has been taken is not called back.
//
// The caller that gets the turn does it, with all others that wait. Most callers are alone, and find the turn free.
func (f *Firewall) submit(ctx context.Context, r *request) error {
	if err := ctx.Err(); err != nil {
		return kindly(err)
	}
	f.queue.add(r)
	select {
	case err := <-r.done:
		return kindly(err)
	case f.turn <- struct{}{}:
		f.serve(r)
	case <-f.closed:
	case <-ctx.Done():
		if r.state.CompareAndSwap(waiting, left) {
			return kindly(ctx.Err())
		}
	}
	select { // it is done, or will be by the call that took it
	case err := <-r.done:
		return kindly(err)
	case <-f.closed:
	}
	select { // it may have been done just before the end
	case err := <-r.done:
		return kindly(err)
	default:
		return kindly(errClosed)
	}
}

// serve has the turn: it takes what waits until r is done, and lets go of the turn.
func (f *Firewall) serve(r *request) {
	defer func() { <-f.turn }()
	for len(r.done) == 0 && f.life.Err() == nil {
		f.round(f.life, f.queue.take())
	}
}

// round serves requests, of which only the last may be no change.
func (f *Firewall) round(ctx context.Context, batch []*request) {
	if n := len(batch); n > 0 && batch[n-1].do != nil {
		f.commit(ctx, batch[:n-1])
		batch[n-1].done <- batch[n-1].do(ctx)
		return
	}
	f.commit(ctx, batch)
}
