// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"time"
)

// firstRetry is the pause before what could not be finished is tried again. It doubles with each try that leaves something, up to the
// distance of looks at everything.
const firstRetry = 100 * time.Millisecond

// finishing marks the context of what finishes half-done changes.
type finishing struct{}

// owe has finished before long what a change left half done by its failure. What finishes such changes tells of failures itself.
func (c *Controller) owe(ctx context.Context, err *error) {
	if *err != nil && ctx.Value(finishing{}) == nil {
		c.tryAgain()
	}
}

func (c *Controller) tryAgain() {
	select {
	case c.owed <- struct{}{}:
	default:
	}
}

// retry is the timer of tries to finish half-done changes. It belongs to one goroutine.
type retry struct {
	timer *time.Timer
	pause time.Duration // before the next try; 0: there is nothing to try
}

func newRetry() *retry {
	r := &retry{timer: time.NewTimer(lookEvery)}
	r.timer.Stop()
	return r
}

// soon is called when a change has failed: the pauses begin anew. A try that is as near is left where it is, or failures one
// after the other would put it off.
func (r *retry) soon() {
	if r.pause != firstRetry {
		r.pause = firstRetry
		r.timer.Reset(r.pause)
	}
}

// tried is called after a try, with whether it left something.
func (r *retry) tried(left bool) {
	switch {
	case !left:
		r.pause = 0
		r.timer.Stop()
		return
	case r.pause == 0:
		r.pause = firstRetry
	default:
		r.pause = min(2*r.pause, lookEvery)
	}
	r.timer.Reset(r.pause)
}
