// SPDX-License-Identifier: Apache-2.0

package sandbox

import (
	"errors"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/libnetwork/cnm/kernel/link"
	"github.com/libnetwork/cnm/kernel/netns"
)

const (
	// keepFor is how long a namespace of ours stays open after a call: what a caller does with one sandbox comes in a row.
	keepFor = 2 * time.Second
	// keepMost is how many stay open at once.
	keepMost = 64
)

// entered is an open namespace with its socket inside.
type entered struct {
	ns     *netns.NS
	conn   *link.Conn
	cookie netns.Cookie
	id     int // in the host's namespace, where it was given here; 0 otherwise

	pin  string // where the namespace is pinned; "" if it is not ours, and then it is not kept
	file fileID // what the pin leads to while it is this namespace's
	used time.Time
}

// fileID is the identity of a file that is open: of a namespace, among those that live.
type fileID struct{ dev, inode uint64 }

func fileOf(st *unix.Stat_t) fileID { return fileID{uint64(st.Dev), st.Ino} } //nolint:unconvert // Dev has 32 bits elsewhere

// close gives the descriptor and the socket up.
func (e *entered) close() error { return errors.Join(e.conn.Close(), e.ns.Close()) }

// pinned tells whether the pin leads to the namespace still.
func (e *entered) pinned() bool {
	var st unix.Stat_t
	return unix.Lstat(e.pin, &st) == nil && fileOf(&st) == e.file
}

// keeper holds namespaces of ours open between calls, one of each pin, for a short while. An open namespace lives, so
// that one is let go of as soon as its sandbox is deleted or its pin vanishes, and is used only while the pin leads to it.
type keeper struct {
	log *slog.Logger

	mu     sync.Mutex // guards the fields below; never held across the kernel
	idle   map[string]*entered
	after  time.Duration // how long one is kept that nobody uses
	timer  *time.Timer   // runs while one is kept; nil otherwise
	closed bool
}

func newKeeper(log *slog.Logger) *keeper {
	return &keeper{log: log, idle: make(map[string]*entered), after: keepFor}
}

// take hands out the namespace that is kept for a pin, if it is the wanted one. It is the caller's alone.
func (k *keeper) take(pin string, cookie netns.Cookie) *entered {
	k.mu.Lock()
	e := k.idle[pin]
	delete(k.idle, pin)
	k.mu.Unlock()
	if e == nil {
		return nil
	}
	if e.cookie != cookie || !e.pinned() {
		k.end(e)
		return nil
	}
	return e
}

// give keeps e, which nobody uses any more, or closes it.
func (k *keeper) give(e *entered) error {
	if e.pin == "" || e.conn.Reset() != nil {
		return e.close()
	}
	rest := k.put(e)
	// Looked at now, a pin that vanishes unseen does so later, and whoever sees that finds e here.
	if !e.pinned() && k.remove(e) {
		rest = append(rest, e)
	}
	var errs []error
	for _, e := range rest {
		errs = append(errs, e.close())
	}
	return errors.Join(errs...)
}

// put keeps e, and returns what has to be closed instead.
func (k *keeper) put(e *entered) (rest []*entered) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return []*entered{e}
	}
	if other := k.idle[e.pin]; other != nil {
		rest = append(rest, other) // two calls at the same time
	} else if len(k.idle) == keepMost {
		rest = append(rest, k.oldest())
		delete(k.idle, rest[0].pin)
	}
	e.used = time.Now()
	k.idle[e.pin] = e
	if k.timer == nil {
		k.timer = time.AfterFunc(k.after, k.expire)
	}
	return rest
}

// oldest is the one that was not used for longest.
func (k *keeper) oldest() *entered {
	var oldest *entered
	for _, e := range k.idle {
		if oldest == nil || e.used.Before(oldest.used) {
			oldest = e
		}
	}
	return oldest
}

// remove tells whether e was kept; it is the caller's now.
func (k *keeper) remove(e *entered) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.idle[e.pin] != e {
		return false
	}
	delete(k.idle, e.pin)
	return true
}

// expire closes those that nobody used for long enough.
func (k *keeper) expire() {
	now := time.Now()
	next := time.Duration(-1)
	k.dropThose(func(e *entered) bool {
		left := k.after - now.Sub(e.used)
		if left > 0 && (next < 0 || left < next) {
			next = left
		}
		return left <= 0
	}, func() {
		if k.timer = nil; next >= 0 && !k.closed {
			k.timer = time.AfterFunc(next, k.expire)
		}
	})
}

// dropPin lets go of the namespace of a pin.
func (k *keeper) dropPin(pin string) {
	k.dropThose(func(e *entered) bool { return e.pin == pin }, nil)
}

// dropCookie lets go of a namespace.
func (k *keeper) dropCookie(cookie netns.Cookie) {
	k.dropThose(func(e *entered) bool { return e.cookie == cookie }, nil)
}

// close lets go of all, and of those that are in use when they are given back.
func (k *keeper) close() {
	k.dropThose(func(*entered) bool { return true }, func() {
		k.closed = true
		if k.timer != nil {
			k.timer.Stop()
		}
	})
}

// dropThose closes those that are chosen. then runs under the lock.
func (k *keeper) dropThose(chosen func(*entered) bool, then func()) {
	k.mu.Lock()
	var rest []*entered
	for pin, e := range k.idle {
		if chosen(e) {
			delete(k.idle, pin)
			rest = append(rest, e)
		}
	}
	if then != nil {
		then()
	}
	k.mu.Unlock()
	for _, e := range rest {
		k.end(e)
	}
}

// end closes what no caller waits for.
func (k *keeper) end(e *entered) {
	if err := e.close(); err != nil {
		k.log.Warn("namespace is not closed", "pin", e.pin, "error", err)
	}
}
