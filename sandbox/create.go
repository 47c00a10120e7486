// SPDX-License-Identifier: Apache-2.0

package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/kernel/link"
	"github.com/libnetwork/cnm/kernel/netns"
)

// selfPath names the host's own stack for whoever is in it.
const selfPath = "/proc/self/ns/net"

// Create implements [cnm.Stack]. An owned namespace is made with loopback up, and
// furnished before a process is started in it. An adopted one keeps all its settings. Creating what was created before, by the recorded
// cookie, changes nothing.
func (s *Stack) Create(ctx context.Context, sb cnm.Sandbox, record func(cnm.Namespace) error) (cnm.Namespace, error) {
	if record == nil {
		record = func(cnm.Namespace) error { return nil }
	}
	if err := ctx.Err(); err != nil {
		return cnm.Namespace{}, sandboxError(sb, err, "create sandbox %s", sb.Name)
	}
	switch {
	case sb.Host:
		ns := cnm.Namespace{Path: selfPath, Cookie: uint64(s.host)}
		return ns, record(ns)
	case sb.Owned:
		return s.make(ctx, sb, record)
	default:
		return s.adopt(sb, record) //nolint:contextcheck // what follows it outlives the call
	}
}

// make makes and pins a namespace.
func (s *Stack) make(ctx context.Context, sb cnm.Sandbox, record func(cnm.Namespace) error) (cnm.Namespace, error) {
	if err := cnm.CheckName("sandbox", pinName(sb)); err != nil {
		return cnm.Namespace{}, err
	}
	pin := s.pin(sb)
	undo := s.claim(pin)
	var e *entered
	var unrecorded error
	_, err := netns.Make(pin, func(cookie netns.Cookie) (err error) {
		sb.Namespace = cnm.Namespace{Path: pin, Cookie: uint64(cookie)}
		if e, err = s.furnish(cookie); err != nil {
			return err
		}
		unrecorded = record(sb.Namespace)
		return unrecorded
	})
	if err != nil {
		undo()
		if e != nil {
			err = errors.Join(err, e.close())
		}
	}
	switch {
	case unrecorded != nil:
		return cnm.Namespace{}, unrecorded
	case e == nil && errors.Is(err, fs.ErrExist):
		return s.again(ctx, sb, record, err)
	case err != nil:
		return cnm.Namespace{}, sandboxError(sb, err, "make the namespace of sandbox %s", sb.Name)
	}
	e.isPinned(pin)
	s.remember(sb, e.cookie) //nolint:contextcheck // what follows it outlives the call
	if w := s.current(); w != nil && e.id != 0 {
		w.identified(e.cookie, e.id)
	}
	if err := s.keeper.give(e); err != nil {
		s.cfg.Log.Warn("namespace is not closed", "pin", pin, "error", err)
	}
	s.giveSecondName(sb)
	return sb.Namespace, nil
}

// claim keeps a pin from being taken for a foreign one, until undo.
func (s *Stack) claim(pin string) (undo func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.made[pin]; ok {
		return func() {}
	}
	s.made[pin] = struct{}{}
	return func() { s.disclaim(pin) }
}

func (s *Stack) disclaim(pin string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.made, pin)
}

// again is make where the pin is there already: right where it is the recorded one.
func (s *Stack) again(ctx context.Context, sb cnm.Sandbox, record func(cnm.Namespace) error, exists error) (cnm.Namespace, error) {
	if sb.Namespace.Cookie != 0 {
		ns, err := s.open(ctx, sb)
		if err == nil {
			return sb.Namespace, errors.Join(ns.Close(), record(sb.Namespace))
		}
	}
	return cnm.Namespace{}, &cnm.Error{
		Kind: cnm.Exists, Field: "name", Sandbox: sb.ID,
		Err: fmt.Errorf("a namespace is pinned at %s already; choose another name, or unmount and remove it: %w", s.pin(sb), exists),
	}
}

// furnish prepares the new namespace that the calling thread is in, and opens it for the calls that follow.
func (s *Stack) furnish(cookie netns.Cookie) (*entered, error) {
	conn, err := link.Dial(link.Here)
	if err != nil {
		return nil, err
	}
	e := &entered{conn: conn, cookie: cookie}
	if e.ns, err = netns.Current(); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	if e.id, err = s.ids.number(e.ns.Fd()); err == nil {
		err = conn.RaiseLoopback()
	}
	if err != nil {
		return nil, errors.Join(err, e.close())
	}
	return e, nil
}

// Furnish implements [cnm.Furnisher]: ping sockets and low ports are open to everybody inside.
func (s *Stack) Furnish(_ context.Context, ns cnm.OpenNamespace) error {
	n, err := mine(ns)
	if err != nil {
		return err
	}
	if err := n.write(processSettings(s.groups)); err != nil {
		return cnm.Errorf(kindOf(err), "settings for processes: %w", err)
	}
	return nil
}

// adopt looks at a namespace that somebody else owns.
func (s *Stack) adopt(sb cnm.Sandbox, record func(cnm.Namespace) error) (cnm.Namespace, error) {
	path := sb.Namespace.Path
	if sb.PID != 0 {
		path = fmt.Sprintf("/proc/%d/ns/net", sb.PID)
	} else if !filepath.IsAbs(path) {
		return cnm.Namespace{}, cnm.FieldErrorf(cnm.Invalid, "netns", "netns %q is no absolute path; write it as /run/netns/NAME", path)
	}
	ns, err := find(sb)
	if err != nil {
		return cnm.Namespace{}, adoptError(sb, err)
	}
	defer ns.Close()
	cookie, err := ns.Cookie()
	if err != nil {
		return cnm.Namespace{}, adoptError(sb, err)
	}
	if cookie == s.host && sb.PID != 0 {
		return cnm.Namespace{}, cnm.FieldErrorf(cnm.Invalid, "pid", "pid %d is in the host's own stack; ask for that by its name, as --netns host", sb.PID)
	}
	if cookie == s.host {
		return cnm.Namespace{}, cnm.FieldErrorf(cnm.Invalid, "netns", "netns %s is the host's own stack; ask for that by its name, as --netns host", path)
	}
	sb.Namespace = cnm.Namespace{Path: path, Cookie: uint64(cookie)}
	if err := record(sb.Namespace); err != nil {
		return cnm.Namespace{}, err
	}
	s.remember(sb, cookie)
	s.announce(sb, cookie, ns.Fd(), cnm.Link{}) // one of ours waits for its first endpoint
	return sb.Namespace, nil
}

// Delete implements [cnm.Stack]. Processes in an owned namespace go on in it; it
// ends with the last of them.
func (s *Stack) Delete(_ context.Context, sb cnm.Sandbox) error {
	if sb.Namespace.Cookie != 0 {
		s.forget(netns.Cookie(sb.Namespace.Cookie))
	}
	if !sb.Owned || sb.Host {
		return nil
	}
	if err := cnm.CheckName("sandbox", pinName(sb)); err != nil {
		return err
	}
	pin := s.pin(sb)
	err := errors.Join(s.takeSecondName(sb), netns.Unpin(pin))
	s.keeper.dropPin(pin) // last, as one given back meanwhile has its pin no more
	if err != nil {
		return sandboxError(sb, err, "delete the namespace of sandbox %s", sb.Name)
	}
	s.disclaim(pin)
	return nil
}

// giveSecondName makes the second name. It is a convenience: what is in its way is
// logged and left alone.
func (s *Stack) giveSecondName(sb cnm.Sandbox) {
	name := s.linkName(sb)
	if name == "" {
		return
	}
	err := os.MkdirAll(s.cfg.LinkDir, 0o755)
	if err == nil {
		err = os.Symlink(s.pin(sb), name)
	}
	if errors.Is(err, fs.ErrExist) && s.isSecondName(name) {
		err = errors.Join(os.Remove(name), os.Symlink(s.pin(sb), name))
	}
	if err != nil {
		s.cfg.Log.Warn("sandbox has no second name", "sandbox", sb.Name, "link", name, "error", err)
	}
}

// takeSecondName removes the second name if it is one of ours.
func (s *Stack) takeSecondName(sb cnm.Sandbox) error {
	name := s.linkName(sb)
	if name == "" || !s.isSecondName(name) {
		return nil
	}
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// isSecondName tells whether name is a symbolic link to one of our pins.
func (s *Stack) isSecondName(name string) bool {
	target, err := os.Readlink(name)
	return err == nil && filepath.Dir(target) == s.pinDir
}
