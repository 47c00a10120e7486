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

// rename records claimed objects under their new names, and writes the names of the sandbox that they are in, "" for none. Nobody sees a new
// name before it is stored, so that a name once seen outlives the daemon.
func (c *Controller) rename(ctx context.Context, r, before cnm.Records, in cnm.SandboxID) (err error) {
	if err := c.table.promise(r); err != nil {
		return err
	}
	defer c.table.release(r)
	var u undo.Stack
	defer u.Rollback(ctx, &err)
	u.Push("restore the record", func(ctx context.Context) error {
		c.table.put(before)
		return c.store.Put(ctx, before)
	})
	if err := c.store.Put(ctx, r); err != nil {
		return err
	}
	c.table.put(r)
	if all := c.standing(in); len(all) > 0 {
		// What is stored is done: only the disk can refuse now, no caller that leaves.
		if err := c.names.Put(context.WithoutCancel(ctx), all[0].Sandbox, all); err != nil {
			return err
		}
	}
	u.Commit()
	return nil
}

// promised is a name that a record will have; network is where an endpoint's name is unique, "" for other nouns.
type promised struct{ noun, network, folded string }

// names calls each with the names of records, with the record that has each of them now, "" for none, and the one that asks. The caller
// holds mu.
func (t *table) names(r cnm.Records, each func(p promised, name, has, asks string)) {
	for _, nw := range r.Networks {
		folded := cnm.FoldName(nw.Name)
		each(promised{"network", "", folded}, nw.Name, string(t.networkNames[folded]), string(nw.ID))
	}
	for _, sb := range r.Sandboxes {
		folded := cnm.FoldName(sb.Name)
		each(promised{"sandbox", "", folded}, sb.Name, string(t.sandboxNames[folded]), string(sb.ID))
	}
	for _, ep := range r.Endpoints {
		folded := cnm.FoldName(ep.Name)
		each(promised{"endpoint", string(ep.Network), folded}, ep.Name, string(t.endpointNames[ep.Network][folded]), string(ep.ID))
	}
}

// promise keeps the names of records for them, all or none, while the records that are seen stay: a name that another has, or was
// promised, is an error.
func (t *table) promise(r cnm.Records) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.unpromised(r); err != nil {
		return err
	}
	t.names(r, func(p promised, _, _, asks string) { t.promised[p] = asks })
	return nil
}

// unpromised is nil where no other record has the names of these, or was promised them. The caller holds mu.
func (t *table) unpromised(r cnm.Records) (err error) {
	t.names(r, func(p promised, name, has, asks string) {
		if has == "" {
			has = t.promised[p]
		}
		if has != "" && has != asks {
			err = cnm.FieldErrorf(cnm.Exists, "name", "%s %q exists (%.12s); choose another name or remove it first", p.noun, name, has)
		}
	})
	return err
}

// release gives up the names that promise kept.
func (t *table) release(r cnm.Records) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.names(r, func(p promised, _, _, _ string) { delete(t.promised, p) })
}
