// SPDX-License-Identifier: Apache-2.0

package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/kernel/link"
	"github.com/libnetwork/cnm/kernel/netns"
)

// Namespace is a sandbox's namespace held open for one call: its descriptor, and
// one rtnetlink socket that lives in it. Both keep it alive until Close.
type Namespace struct {
	ns     *netns.NS
	conn   *link.Conn
	cookie netns.Cookie
}

var _ cnm.OpenNamespace = (*Namespace)(nil)

// FD is the namespace's descriptor, owned by n.
func (n *Namespace) FD() int { return n.ns.Fd() }

// Close gives the namespace up.
func (n *Namespace) Close() error { return errors.Join(n.conn.Close(), n.ns.Close()) }

// RoundTrips counts the messages batches and queries sent into the namespace.
func (n *Namespace) RoundTrips() uint64 { return n.conn.RoundTrips() }

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
	ns, err := find(sb)
	var n *Namespace
	if err == nil {
		n, err = enter(ns, cookie)
	}
	if err != nil && !sb.Owned && !sb.Host && isGone(err) {
		n, err = survivor(ctx, cookie, err)
	}
	if isGone(err) {
		return nil, &cnm.Error{Kind: cnm.NotFound, Sandbox: sb.ID, Err: fmt.Errorf("the namespace of sandbox %s is gone: %w", sb.Name, err)}
	}
	if err != nil {
		return nil, sandboxError(sb, err, "open the namespace of sandbox %s", sb.Name)
	}
	s.remember(sb, cookie) //nolint:contextcheck // what follows it outlives the call
	return n, nil
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
func enter(ns *netns.NS, cookie netns.Cookie) (*Namespace, error) {
	n := &Namespace{ns: ns, cookie: cookie}
	err := ns.DoAs(cookie, func() (err error) {
		n.conn, err = link.Dial(link.Here)
		return err
	})
	if err != nil {
		return nil, errors.Join(err, ns.Close())
	}
	return n, nil
}

// survivor opens the namespace by a process that is in it; it returns cause where
// there is none.
func survivor(ctx context.Context, cookie netns.Cookie, cause error) (*Namespace, error) {
	found, err := netns.Survivors(ctx, cookie)
	if err != nil {
		return nil, errors.Join(cause, err)
	}
	for _, pid := range found[cookie] {
		ns, err := netns.OfProcess(pid)
		if err != nil {
			continue
		}
		if n, err := enter(ns, cookie); err == nil {
			return n, nil
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
