// SPDX-License-Identifier: Apache-2.0

package bridge

import (
	"context"
	"strings"
	"sync"
	"time"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/kernel/link"
)

// Sizes of a burial. Deleting a link costs about 20 ms alone and 0.7 ms among many, since the kernel waits for its readers
// once a message; and while it deletes, nobody else can make a link.
//
// Whoever makes a link meanwhile takes the kernel's lock some thirty times, and so waits out nearly every burial that falls into that
// time: 0.7 ms for each of its links. The larger half of the 20 ms is after the lock, for others to use.
const (
	smallBurial = 4   // while links are being made, and one more for every growAt that wait
	growAt      = 48  // so three times that before manyWait: a thousand are gone within a second
	largeBurial = 256 // when nothing else runs, or when many wait
	manyWait    = 512
	// quietAfter is how long nothing must have run for a large burial.
	quietAfter = 50 * time.Millisecond
	// gatherFor is how long the first of the dead waits for others.
	gatherFor = 5 * time.Millisecond
)

// reaper deletes fenced links, many with one message. Names that wait are in memory; after a crash the group tells.
type reaper struct {
	conn  *link.Conn
	group uint32 // fenced links; the links of one burial go to group^1, so that a message deletes no more than it names

	mu      sync.Mutex // guards the fields below; never held across the kernel
	waiting []string
	last    time.Time // when a link was made or fenced

	kick chan struct{}
	stop context.CancelFunc
	done chan struct{}
}

func newReaper(group uint32) (*reaper, error) {
	conn, err := link.Dial(link.Here)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	r := &reaper{conn: conn, group: group&^1 | 2, kick: make(chan struct{}, 1), stop: stop, done: make(chan struct{})}
	go r.run(ctx)
	return r, nil
}

func (r *reaper) close() {
	r.stop()
	<-r.done
	_ = r.conn.Close() // the socket has no state that closing could fail to keep
}

// running notes that links are being made or fenced now.
func (r *reaper) running() {
	r.mu.Lock()
	r.last = time.Now()
	r.mu.Unlock()
}

// bury hands a fenced link over.
func (r *reaper) bury(names ...string) {
	if len(names) == 0 {
		return
	}
	r.mu.Lock()
	r.waiting = append(r.waiting, names...)
	r.mu.Unlock()
	select {
	case r.kick <- struct{}{}:
	default:
	}
}

func (r *reaper) run(ctx context.Context) {
	defer close(r.done)
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.kick:
		}
		t := time.NewTimer(gatherFor)
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-t.C:
		}
		for ctx.Err() == nil {
			names := r.take()
			if len(names) == 0 {
				break
			}
			_ = r.inter(names) // they stay down and in a group of the dead: the next look at everything finds them
		}
	}
}

// take is the next burial.
func (r *reaper) take() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := smallBurial + len(r.waiting)/growAt
	if len(r.waiting) > manyWait || time.Since(r.last) > quietAfter {
		n = largeBurial
	}
	n = min(n, len(r.waiting))
	names := r.waiting[:n:n]
	r.waiting = r.waiting[n:]
	if len(r.waiting) == 0 {
		r.waiting = nil
	}
	return names
}

// inter moves links to the burial group and deletes that. A name that is gone already is passed over.
func (r *reaper) inter(names []string) error {
	if len(names) == 0 {
		return nil
	}
	var b link.Batch
	for _, name := range names {
		b.SetLink(link.Change{Link: link.Named(name), Up: link.Off, Group: r.group ^ 1})
	}
	b.DeleteGroup(r.group ^ 1)
	if err := r.conn.Do(&b); err != nil && !onlyAbsent(err) {
		return cnm.Errorf(kindOf(err), "%w", err)
	}
	return nil
}

// find hands over what an earlier run left in the groups of the dead, and which is not waiting already.
func (r *reaper) find(ctx context.Context) error {
	known := map[string]bool{}
	r.mu.Lock()
	for _, n := range r.waiting {
		known[n] = true
	}
	r.mu.Unlock()
	links, err := r.conn.Links(ctx, link.LinkFilter{Kind: "veth"})
	if err != nil {
		return cnm.Errorf(cnm.Internal, "listing links: %w", err)
	}
	var names []string
	for _, l := range links {
		switch {
		case l.Group != r.group && l.Group != r.group^1:
		case !strings.HasPrefix(l.Name, portPrefix):
			return cnm.Errorf(cnm.Exists, "link %s is in group %d, which is ours for links to be deleted; take it out with: ip link set %s group 0", l.Name, l.Group, l.Name)
		case !known[l.Name]:
			names = append(names, l.Name)
		}
	}
	r.bury(names...)
	return nil
}
