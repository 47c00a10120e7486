// SPDX-License-Identifier: Apache-2.0

package dns

import (
	"context"
	"sync"

	cnm "github.com/libnetwork/cnm"
)

// locks lets one call at a time work on a sandbox's files. Two at once could cut
// each other's file off.
type locks struct {
	mu   sync.Mutex // guards held and every lock's users; never held across a file
	held map[cnm.SandboxID]*lock
}

// lock is one sandbox's: a place for one token, and how many want it.
type lock struct {
	token chan struct{}
	users int
}

// take waits for the sandbox's lock until ctx ends and returns its release.
func (l *locks) take(ctx context.Context, id cnm.SandboxID) (func(), error) {
	l.mu.Lock()
	k := l.held[id]
	if k == nil {
		k = &lock{token: make(chan struct{}, 1)}
		l.held[id] = k
	}
	k.users++
	l.mu.Unlock()
	select {
	case k.token <- struct{}{}:
		return func() { <-k.token; l.leave(id, k) }, nil
	case <-ctx.Done():
		l.leave(id, k)
		return nil, ctx.Err()
	}
}

// leave forgets a lock that nobody wants any more.
func (l *locks) leave(id cnm.SandboxID, k *lock) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if k.users--; k.users == 0 {
		delete(l.held, id)
	}
}
