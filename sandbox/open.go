// SPDX-License-Identifier: Apache-2.0

package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync/atomic"

	"golang.org/x/sys/unix"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/kernel/link"
	"github.com/libnetwork/cnm/kernel/netns"
)

// Namespace is a sandbox's namespace held open for one call: its descriptor, and
// one rtnetlink socket that lives in it. Both keep it alive until Close, and one of ours a little
// longer if its pin stays: the next call finds it open.
type Namespace struct {
	*entered

	keeper *keeper
	begun  uint64 // messages that were sent before
	closed atomic.Bool
}

var _ cnm.OpenNamespace = (*Namespace)(nil)

// FD is the namespace's descriptor, owned by n; -1 once n is closed.
func (n *Namespace) FD() int {
	if n.closed.Load() {
		return -1
	}
	return n.ns.Fd()
}

// Close gives the namespace up. Closing again does nothing.
func (n *Namespace) Close() error {
	if n.closed.Swap(true) {
		return nil
	}
	return n.keeper.give(n.entered)
}

// RoundTrips counts the messages batches and queries sent into the namespace.
func (n *Namespace) RoundTrips() uint64 { return n.conn.RoundTrips() - n.begun }

// handOut makes e a caller's.
func (s *Stack) handOut(e *entered) *Namespace {
	return &Namespace{entered: e, keeper: s.keeper, begun: e.conn.RoundTrips()}
}

// Open implements [cnm.Stack]. Where the path or the process of an adopted
// namespace is gone it looks for another process inside, because the namespace
// lives on with it.
func (s *Stack) Open(ctx context.Context, sb cnm.Sandbox) (cnm.OpenNamespace, error) {
	n, err := s.open(ctx, sb)
	if err != nil {
		return nil, err // and no interface around a nil pointer
	}
	return n, nil
}

func (s *Stack) open(ctx context.Context, sb cnm.Sandbox) (*Namespace, error) {
	if sb.Host {
		sb.Namespace.Cookie = uint64(s.host)
	}
	if sb.Namespace.Cookie == 0 {
		return nil, &cnm.Error{Kind: cnm.NotFound, Sandbox: sb.ID, Err: fmt.Errorf("sandbox %s has no namespace yet", sb.Name)}
	}
	if sb.Owned {
		sb.Namespace.Path = s.pin(sb)
	}
	cookie := netns.Cookie(sb.Namespace.Cookie)
	e, err := s.lookIn(ctx, sb, cookie)
	if isGone(err) {
		return nil, &cnm.Error{Kind: cnm.NotFound, Sandbox: sb.ID, Err: fmt.Errorf("the namespace of sandbox %s is gone: %w", sb.Name, err)}
	}
	if err != nil {
		return nil, sandboxError(sb, err, "open the namespace of sandbox %s", sb.Name)
	}
	s.remember(sb, cookie) //nolint:contextcheck // what follows it outlives the call
	return s.handOut(e), nil
}

// lookIn finds and enters a sandbox's namespace. One of ours may be open still.
func (s *Stack) lookIn(ctx context.Context, sb cnm.Sandbox, cookie netns.Cookie) (*entered, error) {
	ours := sb.Owned && !sb.Host
	if ours {
		if e := s.keeper.take(sb.Namespace.Path, cookie); e != nil {
			return e, nil
		}
	}
	ns, err := find(sb)
	var e *entered
	if err == nil {
		e, err = enter(ns, cookie)
	}
	if err != nil && !sb.Owned && !sb.Host && isGone(err) {
		return survivor(ctx, cookie, err)
	}
	if err == nil && ours {
		e.isPinned(sb.Namespace.Path)
	}
	return e, err
}

// isPinned notes where the namespace is pinned, so that it is kept. One whose file cannot be told is not.
func (e *entered) isPinned(pin string) {
	var st unix.Stat_t
	if unix.Fstat(e.ns.Fd(), &st) == nil {
		e.pin, e.file = pin, fileOf(&st)
	}
}

// find opens a sandbox's namespace, whichever that is now.
func find(sb cnm.Sandbox) (*netns.NS, error) {
	switch {
	case sb.Host:
		return netns.Current()
	case sb.PID != 0:
		return netns.OfProcess(sb.PID)
	default:
		return netns.Open(sb.Namespace.Path)
	}
}

// enter takes ns over and gives it its socket, if it has the right cookie.
func enter(ns *netns.NS, cookie netns.Cookie) (*entered, error) {
	e := &entered{ns: ns, cookie: cookie}
	err := ns.DoAs(cookie, func() (err error) {
		e.conn, err = link.Dial(link.Here)
		return err
	})
	if err != nil {
		return nil, errors.Join(err, ns.Close())
	}
	return e, nil
}

// survivor opens the namespace by a process that is in it; it returns cause where
// there is none.
func survivor(ctx context.Context, cookie netns.Cookie, cause error) (*entered, error) {
	found, err := netns.Survivors(ctx, cookie)
	if err != nil {
		return nil, errors.Join(cause, err)
	}
	for _, pid := range found[cookie] {
		ns, err := netns.OfProcess(pid)
		if err != nil {
			continue
		}
		if e, err := enter(ns, cookie); err == nil {
			return e, nil
		}
	}
	return nil, cause
}

// isGone tells whether err says that the namespace is not to be found where it was.
func isGone(err error) bool {
	for _, e := range []error{fs.ErrNotExist, netns.ErrProcessGone, netns.ErrStale, netns.ErrNotNamespace, netns.ErrSymlink} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
