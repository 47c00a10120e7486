// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/internal/undo"
)

// RenameNetwork gives a network another name and other labels. A name that another has is an error of kind [cnm.Exists].
func (c *Controller) RenameNetwork(ctx context.Context, id cnm.NetworkID, name string, labels map[string]string) (err error) {
	defer func() { err = cnm.During("network rename", err) }()
	if err := c.renamable(name); err != nil {
		return err
	}
	before, h, err := c.ownNetwork(ctx, id)
	if err != nil {
		return err
	}
	defer h.release()
	if !before.State.Settled() {
		return cnm.FieldErrorf(cnm.Busy, "network", "network %q is %s", before.Name, before.State)
	}
	nw := before
	nw.Name, nw.Labels = name, labels
	if err := c.rename(ctx, cnm.Records{Networks: []cnm.Network{nw}}, cnm.Records{Networks: []cnm.Network{before}}, ""); err != nil {
		return err
	}
	c.tell(cnm.Event{Object: "network", Action: "rename", Network: id, Name: name})
	return nil
}

// RenameSandbox is RenameNetwork for a sandbox. One that we pinned has its pin by its name, and keeps that.
func (c *Controller) RenameSandbox(ctx context.Context, id cnm.SandboxID, name string, labels map[string]string) (err error) {
	defer func() { err = cnm.During("sandbox rename", err) }()
	if err := c.renamable(name); err != nil {
		return err
	}
	h := c.newClaimed()
	defer h.release()
	if err := h.own(ctx, sandboxKey(id)); err != nil {
		return waiting(err)
	}
	before, err := c.readySandbox(id)
	if err != nil {
		return err
	}
	if before.Owned && name != before.Name {
		return cnm.FieldErrorf(cnm.Unsupported, "name", "sandbox %q is pinned by its name; make another one", before.Name)
	}
	sb := before
	sb.Name, sb.Labels = name, labels
	if err := c.rename(ctx, cnm.Records{Sandboxes: []cnm.Sandbox{sb}}, cnm.Records{Sandboxes: []cnm.Sandbox{before}}, id); err != nil {
		return err
	}
	c.tell(cnm.Event{Object: "sandbox", Action: "rename", Sandbox: id, Name: name})
	return nil
}

// RenameEndpoint is RenameNetwork for an endpoint.
func (c *Controller) RenameEndpoint(ctx context.Context, id cnm.EndpointID, name string, labels map[string]string) (err error) {
	defer func() { err = cnm.During("endpoint rename", err) }()
	if err := c.renamable(name); err != nil {
		return err
	}
	at, h, err := c.claimEndpoint(ctx, id)
	if err != nil {
		return err
	}
	defer h.release()
	if !at.Endpoint.State.Settled() {
		return cnm.FieldErrorf(cnm.Busy, "endpoint", "endpoint %s/%s is %s", at.Network.Name, at.Endpoint.Name, at.Endpoint.State)
	}
	ep := at.Endpoint
	ep.Name, ep.Labels = name, labels
	if err := c.rename(ctx, cnm.Records{Endpoints: []cnm.Endpoint{ep}}, cnm.Records{Endpoints: []cnm.Endpoint{at.Endpoint}}, at.Join.Sandbox); err != nil {
		return err
	}
	c.tell(cnm.Event{Object: "endpoint", Action: "rename", Network: at.Network.ID, Endpoint: id, Sandbox: at.Sandbox.ID, Name: at.Network.Name + "/" + name})
	return nil
}

func (c *Controller) renamable(name string) error {
	if c.readOnly != nil {
		return c.readOnly
	}
	return cnm.CheckName("name", name)
}

// rename records claimed objects under their new names, and writes the names of the sandbox that they are in, "" for none.
func (c *Controller) rename(ctx context.Context, r, before cnm.Records, in cnm.SandboxID) (err error) {
	var u undo.Stack
	defer u.Rollback(ctx, &err)
	if err := c.table.rename(r); err != nil {
		return err
	}
	u.Push("restore the record", func(ctx context.Context) error {
		c.table.put(before)
		return c.store.Put(ctx, before)
	})
	if err := c.store.Put(ctx, r); err != nil {
		return err
	}
	if all := c.standing(in); len(all) > 0 {
		if err := c.names.Put(ctx, all[0].Sandbox, all); err != nil {
			return err
		}
	}
	u.Commit()
	return nil
}

// rename replaces records, all or none: a name that another has is an error.
func (t *table) rename(r cnm.Records) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	taken := func(noun, name, id string, ok bool, self string) error {
		if ok && id != self {
			return cnm.FieldErrorf(cnm.Exists, "name", "%s %q exists (%.12s); choose another name or remove it first", noun, name, id)
		}
		return nil
	}
	for _, nw := range r.Networks {
		id, ok := t.networkNames[cnm.FoldName(nw.Name)]
		if err := taken("network", nw.Name, string(id), ok, string(nw.ID)); err != nil {
			return err
		}
	}
	for _, sb := range r.Sandboxes {
		id, ok := t.sandboxNames[cnm.FoldName(sb.Name)]
		if err := taken("sandbox", sb.Name, string(id), ok, string(sb.ID)); err != nil {
			return err
		}
	}
	for _, ep := range r.Endpoints {
		id, ok := t.endpointNames[ep.Network][cnm.FoldName(ep.Name)]
		if err := taken("endpoint", ep.Name, string(id), ok, string(ep.ID)); err != nil {
			return err
		}
	}
	t.putLocked(r)
	return nil
}
