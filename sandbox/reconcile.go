// SPDX-License-Identifier: Apache-2.0

package sandbox

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/kernel/link"
	"github.com/libnetwork/cnm/kernel/netns"
	"github.com/libnetwork/cnm/kernel/sysctl"
)

// Reconcile implements [cnm.Stack]. It checks every wanted sandbox, see
// [Stack.Check], gives back second names that are missing, and, where the records are
// all there are, removes pins in our directory that no wanted sandbox has and that this
// process did not make. A
// sandbox that cannot be checked does not keep the others from it; the errors are
// joined.
func (s *Stack) Reconcile(ctx context.Context, w cnm.Wanted) ([]cnm.Drift, error) {
	attachments := make(map[cnm.SandboxID][]cnm.Attachment)
	for _, at := range w.Attachments {
		attachments[at.Sandbox.ID] = append(attachments[at.Sandbox.ID], at)
	}
	var drifts []cnm.Drift
	var errs []error
	for _, sb := range w.Sandboxes {
		if err := ctx.Err(); err != nil {
			return drifts, errors.Join(append(errs, sandboxError(sb, err, "check sandbox %s", sb.Name))...)
		}
		found, err := s.Check(ctx, sb, attachments[sb.ID])
		drifts, errs = append(drifts, found...), append(errs, err)
	}
	if !w.All {
		return drifts, errors.Join(errs...)
	}
	found, err := s.reap(w.Sandboxes)
	return append(drifts, found...), errors.Join(append(errs, err)...)
}

// Check compares one sandbox and all of its attachments with the kernel and repairs
// what differs: the link's name, state, MTU, MAC and settings, addresses,
// neighbours, routes and rules. It is for a [cnm.Hint] that names the sandbox's
// cookie. What others added inside is left alone. A namespace that is gone, or is
// another, is a drift that is not repaired: the sandbox is gone.
func (s *Stack) Check(ctx context.Context, sb cnm.Sandbox, at []cnm.Attachment) ([]cnm.Drift, error) {
	if sb.Host {
		return nil, nil
	}
	n, err := s.open(ctx, sb)
	if errors.Is(err, cnm.NotFound) {
		return []cnm.Drift{{Object: "namespace " + sb.Namespace.Path, What: "missing", Sandbox: sb.ID}}, nil
	}
	if err != nil {
		return nil, err
	}
	defer n.Close()
	s.announce(sb, n.cookie, n.FD(), cnm.Link{})
	var drifts []cnm.Drift
	if d, ok := s.checkSecondName(sb); ok {
		drifts = append(drifts, d)
	}
	all, err := plans(at)
	if err != nil {
		return drifts, err
	}
	for i := range at {
		if at[i].Join.Result.Link.InPlace {
			s.holders.found(&at[i])
		}
	}
	movedErr := s.settleMoved(ctx, n, all)
	var links []link.Link
	find := func(seen picture) []repair {
		links = seen.links
		s.found(n.cookie, seen.links)
		all := withMoved(all, seen)
		return append(leftovers(seen, sb, all), compare(seen, all)...)
	}
	repairs, err := converge(ctx, n.conn, find)
	if errors.Is(err, unix.EACCES) { // somebody switched IPv6 off
		repairs, err = s.withIPv6(ctx, n, all, find, repairs)
	}
	s.updateCarriers(n, all, links)
	err = errors.Join(movedErr, err)
	for _, r := range repairs {
		drifts = append(drifts, r.drift)
	}
	var refused *link.Error
	if err != nil && !errors.As(err, &refused) { // a refusal is told by its drift
		return drifts, sandboxError(sb, err, "check sandbox %s", sb.Name)
	}
	return drifts, nil
}

// withIPv6 switches IPv6 on where endpoints have addresses of it, and goes on with what was refused without it.
func (s *Stack) withIPv6(ctx context.Context, n *Namespace, all []wanted, find func(picture) []repair, before []repair) ([]repair, error) {
	var on []sysctl.Setting
	for _, w := range all {
		if slices.ContainsFunc(w.plan.addresses, isIPv6) {
			on = append(on, ipv6On(w.plan.link.Rename))
		}
	}
	if err := n.write(on); err != nil {
		return before, err
	}
	after, err := converge(ctx, n.conn, find)
	for i, r := range before {
		before[i].drift.Repaired = !slices.ContainsFunc(after, func(a repair) bool { return a.drift.Object == r.drift.Object && !a.drift.Repaired })
	}
	return before, err
}

// updateCarriers asks for links that are up and do not run, at both ends: the kernel then does at once what follows from a
// carrier that has come (Linux 6.8), and not when a worker comes to it, up to seconds later. Until then packets are dropped.
func (s *Stack) updateCarriers(n *Namespace, all []wanted, links []link.Link) {
	for _, w := range all {
		index := w.plan.link.Link.Index
		if host := w.at.Join.Result.Link.Host; host != "" && slices.ContainsFunc(links, func(l link.Link) bool { return l.Index == index && !l.Running() }) {
			_, _ = n.conn.Link(link.Numbered(index)) // it runs a little later without an answer, too
			_, _ = s.conn.Link(link.Named(host))
		}
	}
}

// plans computes the plan of each attachment.
func plans(at []cnm.Attachment) ([]wanted, error) {
	all := make([]wanted, len(at))
	for i, a := range at {
		p, err := planFor(a)
		if err != nil {
			return nil, err
		}
		all[i] = wanted{at: a, plan: p}
	}
	return all, nil
}

// checkSecondName gives an owned sandbox its second name back.
func (s *Stack) checkSecondName(sb cnm.Sandbox) (cnm.Drift, bool) {
	name := s.linkName(sb)
	if name == "" || !sb.Owned {
		return cnm.Drift{}, false
	}
	if target, err := os.Readlink(name); err == nil && target == s.pin(sb) {
		return cnm.Drift{}, false
	}
	s.giveSecondName(sb)
	return cnm.Drift{Object: "link " + name, What: "missing", Repaired: s.isSecondName(name), Sandbox: sb.ID}, true
}

// reap removes pins and second names of no wanted sandbox.
func (s *Stack) reap(all []cnm.Sandbox) ([]cnm.Drift, error) {
	keep := make(map[string]bool)
	for _, sb := range all {
		if sb.Owned {
			keep[pinName(sb)] = true
		}
	}
	var drifts []cnm.Drift
	foreign, err := s.foreign(keep)
	for _, name := range foreign {
		pin := filepath.Join(s.pinDir, name)
		d := cnm.Drift{Object: "pin " + pin, What: "foreign", Repaired: true}
		s.keeper.dropPin(pin)
		if unpinErr := netns.Unpin(pin); unpinErr != nil {
			d.Repaired = false
			d.What += ": " + unpinErr.Error()
		}
		drifts = append(drifts, d)
	}
	return append(drifts, s.reapSecondNames()...), err
}

// foreign lists the pins that nobody wants.
func (s *Stack) foreign(keep map[string]bool) ([]string, error) {
	entries, err := os.ReadDir(s.pinDir)
	if err != nil {
		return nil, cnm.Errorf(kindOf(err), "list namespaces: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var names []string
	for _, e := range entries {
		if _, made := s.made[filepath.Join(s.pinDir, e.Name())]; !made && !keep[e.Name()] {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// reapSecondNames removes second names whose pin is gone.
func (s *Stack) reapSecondNames() []cnm.Drift {
	if s.cfg.LinkDir == "" {
		return nil
	}
	entries, err := os.ReadDir(s.cfg.LinkDir)
	if err != nil {
		return nil // there is no directory, so there are no names in it
	}
	var drifts []cnm.Drift
	for _, e := range entries {
		name := filepath.Join(s.cfg.LinkDir, e.Name())
		if !strings.HasPrefix(e.Name(), linkPrefix) || !s.isSecondName(name) {
			continue
		}
		if _, err := os.Stat(name); err == nil {
			continue
		}
		drifts = append(drifts, cnm.Drift{Object: "link " + name, What: "foreign", Repaired: os.Remove(name) == nil})
	}
	return drifts
}
