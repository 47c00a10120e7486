// SPDX-License-Identifier: Apache-2.0

package sandbox

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/kernel/link"
	"github.com/libnetwork/cnm/kernel/sysctl"
)

// Plug implements [cnm.Stack]. The endpoint is in service when [Stack.Await] has returned. The first plug of a link is one message batch and
// reads nothing, preceded by a look at the namespace's files only where the
// endpoint has sysctls, has no IPv6, may hear of routers, or is in an adopted namespace. Where the
// kernel answers that something is there already, the namespace is read and what
// differs is changed: missing things are added, and what was ours and is no longer
// wanted is removed.
func (s *Stack) Plug(ctx context.Context, ns cnm.OpenNamespace, at cnm.Attachment) error {
	n, err := mine(ns)
	if err != nil {
		return err
	}
	p, err := planFor(at)
	if err != nil || p.none() {
		return err
	}
	b := p.batch()
	if err := b.Err(); err != nil { // before a sysctl's key is made of the interface's name
		return endpointError(at, err, "plug endpoint %s", at.Endpoint.Name)
	}
	if err := n.write(p.before(at)); err != nil {
		return n.settingsError(at, p, err)
	}
	if slices.ContainsFunc(p.addresses, isIPv6) {
		if err := n.conn.HearAddresses(); err != nil {
			return endpointError(at, err, "plug endpoint %s", at.Endpoint.Name)
		}
	}
	if s.pace.hurried(time.Now()) {
		b.ReadLink(p.link.Link, new(link.Link)) // asked for it, the kernel does now what follows from the carrier
	}
	err = n.conn.Do(b)
	if errors.Is(err, unix.EACCES) && slices.ContainsFunc(p.addresses, isIPv6) {
		// The namespace begins with IPv6 off; this link is an endpoint's that has it.
		if err = n.write([]sysctl.Setting{ipv6On(p.link.Rename)}); err == nil {
			err = n.conn.Do(b)
		}
	}
	again, rest := without(err, unix.EEXIST)
	if rest == nil && again {
		rest = settle(ctx, n, at, p)
	}
	if rest != nil {
		return endpointError(at, rest, "plug endpoint %s into sandbox %s", at.Endpoint.Name, at.Sandbox.Name)
	}
	s.left(n.cookie, link.Link{Index: loopbackIndex, Flags: unix.IFF_UP})
	s.left(n.cookie, link.Link{Index: p.link.Link.Index, MTU: p.link.MTU, MAC: p.link.MAC, Flags: unix.IFF_UP})
	return nil
}

// serviceDeadline bounds the wait for what the kernel does in a worker. It takes well under a millisecond, unless many
// namespaces die at the time.
const serviceDeadline = 10 * time.Second

// Await implements [cnm.Stack]: the endpoint's IPv6 addresses answer, the bridge lets its frames through, and what others
// change inside is heard of.
func (s *Stack) Await(ctx context.Context, ns cnm.OpenNamespace, at cnm.Attachment) error {
	n, err := mine(ns)
	if err != nil || !at.Join.Result.Link.InPlace {
		return err
	}
	s.announce(at.Sandbox, n.cookie, n.FD(), at.Join.Result.Link)
	ctx, cancel := context.WithTimeout(ctx, serviceDeadline)
	defer cancel()
	if err := n.conn.AwaitAddresses(ctx); err != nil {
		return endpointError(at, err, "plug endpoint %s into sandbox %s", at.Endpoint.Name, at.Sandbox.Name)
	}
	if err := s.introduce(n, &at, at.Join.Result.Link.Index); err != nil { // it works; its neighbours find out by themselves
		s.cfg.Log.Warn("neighbours are not told of an endpoint", "endpoint", at.Endpoint.Name, "sandbox", at.Sandbox.Name, "error", err)
	}
	return nil
}

// settle brings an endpoint that was plugged before to what p says.
func settle(ctx context.Context, n *Namespace, at cnm.Attachment, p plan) error {
	find := func(seen picture) []repair { return compare(seen, []wanted{{at: at, plan: p}}) }
	_, err := converge(ctx, n.conn, find)
	return err
}

// Unplug implements [cnm.Stack]. It is one message batch. The interface's name is
// free when it returns: the link is down and has another, until whoever made it
// removes it.
func (s *Stack) Unplug(ctx context.Context, ns cnm.OpenNamespace, at cnm.Attachment) error {
	n, err := mine(ns)
	if err != nil {
		return err
	}
	if isMoved(&at) {
		if err := s.unplugMoved(ctx, n, &at); err != nil {
			return endpointError(at, err, "unplug endpoint %s from sandbox %s", at.Endpoint.Name, at.Sandbox.Name)
		}
		return nil
	}
	at.Join.Sysctls = nil // what they were does not matter any more, not even if they were wrong
	p, err := planFor(at)
	if err != nil {
		// Such a record cannot have been plugged.
		return nil //nolint:nilerr // see above
	}
	_, rest := without(n.conn.Do(p.removal()),
		unix.ENODEV, unix.ENOENT, unix.ESRCH, unix.EADDRNOTAVAIL, unix.EAFNOSUPPORT, unix.EOPNOTSUPP)
	if rest != nil {
		return endpointError(at, rest, "unplug endpoint %s from sandbox %s", at.Endpoint.Name, at.Sandbox.Name)
	}
	return nil
}

// mine is ns as this package opened it.
func mine(ns cnm.OpenNamespace) (*Namespace, error) {
	n, ok := ns.(*Namespace)
	if !ok {
		return nil, cnm.Errorf(cnm.Invalid, "namespace of type %T was not opened by this stack", ns)
	}
	return n, nil
}

// write applies settings in the namespace.
func (n *Namespace) write(settings []sysctl.Setting) error {
	if len(settings) == 0 {
		return nil
	}
	return n.ns.Do(func() error { return write(settings) })
}

// settingsError is the error of settings that were refused. A key that does not exist
// is the caller's fault, unless it is the link that does not.
func (n *Namespace) settingsError(at cnm.Attachment, p plan, err error) error {
	kind := kindOf(err)
	if _, gone := n.conn.Link(p.link.Link); gone == nil && kind == cnm.NotFound {
		kind = cnm.Invalid
	}
	return &cnm.Error{
		Kind: kind, Field: "sysctl", Network: at.Network.ID, Endpoint: at.Endpoint.ID, Sandbox: at.Sandbox.ID,
		Err: fmt.Errorf("settings of endpoint %s in sandbox %s: %w", at.Endpoint.Name, at.Sandbox.Name, err),
	}
}

// none tells whether the plan wants nothing.
func (p plan) none() bool { return p.link.Link == (link.Ref{}) }

// before are the settings to write before the link is up.
func (p plan) before(at cnm.Attachment) []sysctl.Setting {
	if at.Sandbox.Owned && !at.Join.Result.Routers || !slices.ContainsFunc(p.addresses, isIPv6) {
		return p.settings
	}
	return append([]sysctl.Setting{noRouters(p.link.Rename)}, p.settings...)
}

func isIPv6(a link.Address) bool { return a.Prefix.Addr().Is6() }
