// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"context"
	"sync"

	cnm "github.com/libnetwork/cnm"
)

// turns let one call at a time work on a container's sandbox, which a call may make or end.
type turns struct {
	mu sync.Mutex // guards of
	of map[string]*turn
}

// turn has one token while nobody has it.
type turn struct {
	token chan struct{}
	users int
}

func newTurns() *turns { return &turns{of: map[string]*turn{}} }

// take waits for the turn at key, bound by ctx. done gives it on.
func (t *turns) take(ctx context.Context, key string) (done func(), err error) {
	t.mu.Lock()
	mine := t.of[key]
	if mine == nil {
		mine = &turn{token: make(chan struct{}, 1)}
		mine.token <- struct{}{}
		t.of[key] = mine
	}
	mine.users++
	t.mu.Unlock()
	leave := func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if mine.users--; mine.users == 0 {
			delete(t.of, key)
		}
	}
	select {
	case <-mine.token:
		return func() { mine.token <- struct{}{}; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, cnm.Errorf(cnm.Busy, "another call for %s is under way: %w", key, context.Cause(ctx))
	}
}
