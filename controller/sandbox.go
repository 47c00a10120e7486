// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"errors"
	"net/netip"
	"strings"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/internal/undo"
)

// CreateSandbox makes a sandbox with a namespace of its own, or adopts the one named.
func (c *Controller) CreateSandbox(ctx context.Context, spec cnm.SandboxSpec) (sb cnm.Sandbox, err error) {
	defer func() { err = cnm.During("sandbox create", err) }()
	if c.readOnly != nil {
		return cnm.Sandbox{}, c.readOnly
	}
	if sb, err = c.planSandbox(spec); err != nil {
		return cnm.Sandbox{}, err
	}
	if old, ok := c.table.sandboxNamed(sb.Name); ok && (old.State == cnm.Ready || old.State == cnm.Deleting) {
		// Whoever takes a name over may be faster than the news of the namespace's end, or than who collects it just now.
		c.collectIfGone(ctx, old.ID)
	}
	h := c.newClaimed()
	defer h.release()
	if err := h.own(ctx, sandboxKey(sb.ID)); err != nil {
		return cnm.Sandbox{}, waiting(err)
	}
	var u undo.Stack
	defer u.Rollback(ctx, &err)
	if err := c.reserve(&u, cnm.Records{Sandboxes: []cnm.Sandbox{sb}}); err != nil {
		return cnm.Sandbox{}, err
	}
	claimed := sb
	u.Push("delete the namespace", func(ctx context.Context) error { return c.stack.Delete(ctx, claimed) })
	record := func(ns cnm.Namespace) error {
		sb.Namespace = ns
		if err := c.table.adopt(sb); err != nil {
			return err
		}
		sb.State = cnm.Ready
		return c.store.Put(ctx, cnm.Records{Sandboxes: []cnm.Sandbox{sb}})
	}
	_, err = c.stack.Create(ctx, sb, record)
	if spec.Await && errors.Is(err, cnm.NotFound) {
		err = record(sb.Namespace)
	}
	if err != nil {
		return cnm.Sandbox{}, err
	}
	c.table.put(cnm.Records{Sandboxes: []cnm.Sandbox{sb}})
	u.Commit()
	c.tell(cnm.Event{Object: "sandbox", Action: "create", Sandbox: sb.ID, Name: sb.Name})
	return sb, nil
}

// planSandbox checks what was asked for. It changes nothing.
func (c *Controller) planSandbox(spec cnm.SandboxSpec) (cnm.Sandbox, error) {
	if err := cnm.CheckName("name", spec.Name); err != nil {
		return cnm.Sandbox{}, err
	}
	ways := 0
	for _, given := range []bool{spec.Path != "", spec.PID != 0, spec.Host} {
		if given {
			ways++
		}
	}
	if ways > 1 {
		return cnm.Sandbox{}, cnm.FieldErrorf(cnm.Invalid, "netns", "a sandbox is adopted by a path, by a pid or as the host's; give one of them")
	}
	if spec.PID < 0 {
		return cnm.Sandbox{}, cnm.FieldErrorf(cnm.Invalid, "pid", "pid %d is no process; give that of a running one", spec.PID)
	}
	if spec.Path == "" && spec.Await {
		return cnm.Sandbox{}, cnm.FieldErrorf(cnm.Invalid, "netns", "a namespace can be waited for at a path only; give one")
	}
	if spec.Hostname != "" {
		if err := cnm.CheckName("hostname", spec.Hostname); err != nil {
			return cnm.Sandbox{}, err
		}
	}
	for _, e := range spec.ExtraHosts {
		if err := cnm.CheckName("add-host", e.Name); err != nil {
			return cnm.Sandbox{}, err
		}
	}
	if err := checkServers(spec.DNS); err != nil {
		return cnm.Sandbox{}, err
	}
	for _, d := range spec.DNSSearch {
		if err := checkDomain(d); err != nil {
			return cnm.Sandbox{}, err
		}
	}
	return cnm.Sandbox{
		ID: cnm.NewSandboxID(), Name: spec.Name, Namespace: cnm.Namespace{Path: spec.Path}, PID: spec.PID,
		Owned: ways == 0, Host: spec.Host, Unrouted: spec.Unrouted,
		Hostname: spec.Hostname, DNS: spec.DNS, DNSSearch: spec.DNSSearch, ExtraHosts: spec.ExtraHosts,
		Labels: spec.Labels, Created: c.now(), State: cnm.Creating,
	}, nil
}

// checkServers refuses addresses that no name server has.
func checkServers(dns []netip.Addr) error {
	for _, a := range dns {
		if !a.IsValid() || a.IsUnspecified() || a.IsMulticast() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
			return cnm.FieldErrorf(cnm.Invalid, "dns", "dns %s cannot be the address of a name server; give that of one", a)
		}
	}
	return nil
}

// checkDomain refuses what cannot stand in a search list. "." is the root, and means no domain at all.
func checkDomain(d string) error {
	const most = 253 // octets of a name in text (RFC 1035, 2.3.4)
	bad := len(d) > most
	for label := range strings.SplitSeq(strings.TrimSuffix(d, "."), ".") {
		bad = bad || cnm.CheckName("dns-search", strings.TrimPrefix(label, "_")) != nil
	}
	if bad && d != "." {
		return cnm.FieldErrorf(cnm.Invalid, "dns-search", "dns-search %.80q is no domain; write it as example.com", d)
	}
	return nil
}

// adopt notes the namespace of a sandbox that is being made, or refuses one that is another sandbox already.
func (t *table) adopt(sb cnm.Sandbox) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if id, ok := t.byCookie[sb.Namespace.Cookie]; ok && id != sb.ID && sb.Namespace.Cookie != 0 {
		return adoptedTwice(sb, t.sandboxes[id].Name)
	}
	t.putLocked(cnm.Records{Sandboxes: []cnm.Sandbox{sb}})
	return nil
}

// adoptedTwice is the error of a namespace that is another sandbox already.
func adoptedTwice(sb cnm.Sandbox, other string) error {
	if sb.PID != 0 {
		return cnm.FieldErrorf(cnm.Exists, "pid", "pid %d is in sandbox %q already; use that one, or remove it first", sb.PID, other)
	}
	return cnm.FieldErrorf(cnm.Exists, "netns", "netns %s is sandbox %q already; use that one, or remove it first", sb.Namespace.Path, other)
}

// readySandbox is a sandbox that may get endpoints.
func (c *Controller) readySandbox(id cnm.SandboxID) (cnm.Sandbox, error) {
	sb, ok := c.table.sandbox(id)
	if !ok {
		return sb, noSandbox(id)
	}
	if sb.State != cnm.Ready {
		return sb, cnm.FieldErrorf(cnm.Busy, "sandbox", "sandbox %q is %s", sb.Name, sb.State)
	}
	return sb, nil
}

// DeleteSandbox takes all endpoints out of a sandbox (those that are kept stay, the others end) and ends it. A
// namespace that is not ours is left as it is.
func (c *Controller) DeleteSandbox(ctx context.Context, id cnm.SandboxID) (err error) {
	defer func() { err = cnm.During("sandbox delete", err) }()
	if c.readOnly != nil {
		return c.readOnly
	}
	sb, err := c.closeSandbox(ctx, id, false)
	if err != nil {
		return err
	}
	return c.endSandbox(ctx, sb)
}

// PruneSandbox is DeleteSandbox of one that is not in use. One with endpoints, or in the middle of a change, is Busy and stays as it is:
// that is decided when nobody else can change it any more.
func (c *Controller) PruneSandbox(ctx context.Context, id cnm.SandboxID) (err error) {
	defer func() { err = cnm.During("sandbox delete", err) }()
	if c.readOnly != nil {
		return c.readOnly
	}
	sb, err := c.closeSandbox(ctx, id, true)
	if err != nil {
		return err
	}
	return c.endSandbox(ctx, sb)
}

// closeSandbox refuses new endpoints from now on. One in use is left open where only unused ones are to be closed.
func (c *Controller) closeSandbox(ctx context.Context, id cnm.SandboxID, unused bool) (cnm.Sandbox, error) {
	h := c.newClaimed()
	defer h.release()
	if err := h.own(ctx, sandboxKey(id)); err != nil {
		return cnm.Sandbox{}, waiting(err)
	}
	sb, ok := c.table.sandbox(id)
	if !ok {
		return sb, noSandbox(id)
	}
	if n := len(c.table.attachments(id)); unused && (n > 0 || sb.State != cnm.Ready) {
		return sb, cnm.FieldErrorf(cnm.Busy, "sandbox", "sandbox %q is %s and has %d endpoints; detach them first", sb.Name, sb.State, n)
	}
	sb.State = cnm.Deleting
	if err := c.store.Put(ctx, cnm.Records{Sandboxes: []cnm.Sandbox{sb}}); err != nil {
		return sb, err
	}
	c.table.put(cnm.Records{Sandboxes: []cnm.Sandbox{sb}})
	return sb, nil
}

// endSandbox empties a closed sandbox and removes it. It may be repeated.
func (c *Controller) endSandbox(ctx context.Context, sb cnm.Sandbox) (err error) {
	defer c.owe(ctx, &err)
	var errs []error
	for _, at := range c.table.attachments(sb.ID) {
		if err := c.Detach(ctx, sb.ID, at.Network.ID); err != nil && !errors.Is(err, cnm.NotFound) {
			errs = append(errs, err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	h := c.newClaimed()
	defer h.release()
	if err := h.own(ctx, sandboxKey(sb.ID)); err != nil {
		return waiting(err)
	}
	if _, ok := c.table.sandbox(sb.ID); !ok {
		return nil // another call that had it deleted was faster
	}
	if err := errors.Join(c.stack.Delete(ctx, sb), c.names.Drop(ctx, sb.ID)); err != nil {
		return err
	}
	if err := c.forget(ctx, cnm.Keys{Sandboxes: []cnm.SandboxID{sb.ID}}); err != nil {
		return err
	}
	c.tell(cnm.Event{Object: "sandbox", Action: "delete", Sandbox: sb.ID, Name: sb.Name})
	return nil
}

// Files prepares the sandbox for a process to be started there: it writes the sandbox's name files, and returns where they are.
func (c *Controller) Files(ctx context.Context, id cnm.SandboxID) (f cnm.NameFiles, err error) {
	defer func() { err = cnm.During("sandbox enter", err) }()
	if c.readOnly != nil {
		return f, c.readOnly
	}
	h := c.newClaimed()
	defer h.release()
	if err := h.own(ctx, sandboxKey(id)); err != nil {
		return f, waiting(err)
	}
	sb, err := c.readySandbox(id)
	if err != nil {
		return f, err
	}
	if err := c.furnish(ctx, sb); err != nil {
		return f, err
	}
	return c.names.Files(ctx, sb, c.standing(id))
}

// furnish prepares a namespace of ours for processes, where the stack can.
func (c *Controller) furnish(ctx context.Context, sb cnm.Sandbox) error {
	f, ok := c.stack.(cnm.Furnisher)
	if !ok || !sb.Owned {
		return nil
	}
	ns, err := c.stack.Open(ctx, sb)
	if err != nil {
		return err
	}
	return errors.Join(f.Furnish(ctx, ns), ns.Close())
}
