// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"sync"

	cnm "github.com/libnetwork/cnm"
)

// eventBacklog is how many events a slow reader may fall behind before it loses some.
const eventBacklog = 1024

// events hands each event to every subscriber.
type events struct {
	mu   sync.Mutex // guards subs; held for the sends too, which never block
	subs map[chan cnm.Event]*bool
}

func newEvents() *events { return &events{subs: map[chan cnm.Event]*bool{}} }

// subscribe returns a channel of what happens from now until ctx ends, when it is closed. A reader that falls behind finds one event with object
// "events" and action "lost" where others are missing.
func (e *events) subscribe(ctx context.Context) <-chan cnm.Event {
	ch := make(chan cnm.Event, eventBacklog)
	e.mu.Lock()
	e.subs[ch] = new(bool)
	e.mu.Unlock()
	context.AfterFunc(ctx, func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		delete(e.subs, ch)
		close(ch)
	})
	return ch
}

func (e *events) publish(ev cnm.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for ch, lost := range e.subs {
		// The last place is kept for the notice that others are missing.
		switch free := cap(ch) - len(ch); {
		case free > 1:
			*lost = false
			ch <- ev
		case !*lost && free == 1:
			*lost = true
			ch <- cnm.Event{Time: ev.Time, Object: "events", Action: "lost"}
		}
	}
}

// Events delivers what happens from now until ctx ends; then the channel is closed.
func (c *Controller) Events(ctx context.Context) <-chan cnm.Event { return c.events.subscribe(ctx) }

// tell publishes an event with the time of now.
func (c *Controller) tell(ev cnm.Event) {
	ev.Time = c.now()
	c.events.publish(ev)
}
