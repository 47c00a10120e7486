// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"slices"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/internal/undo"
)

// begin claims new objects: it reserves their names and records them. If the verb fails, both are undone.
func (c *Controller) begin(ctx context.Context, u *undo.Stack, r cnm.Records) error {
	if err := c.reserve(u, r); err != nil {
		return err
	}
	return c.store.Put(ctx, r)
}

// beginWith is begin for what a driver is about to make. A [cnm.Reconciler] finds at the next start what it made and no record names:
// there the record is made once, of the outcome, and a process that is killed before has done nothing that lasts.
func (c *Controller) beginWith(ctx context.Context, u *undo.Stack, d cnm.Driver, r cnm.Records) error {
	if _, finds := d.(cnm.Reconciler); finds {
		return c.reserve(u, r)
	}
	return c.begin(ctx, u, r)
}

// reserve claims new objects in memory. If the verb fails, they are gone again, out of the store too. Records that the
// store does not let go of stay, without the addresses, which are given back: the next try to finish what was under way ends them.
func (c *Controller) reserve(u *undo.Stack, r cnm.Records) error {
	if err := c.table.add(r); err != nil {
		return err
	}
	k := keysOf(r)
	u.Push("forget the record", func(ctx context.Context) (err error) {
		defer c.owe(ctx, &err)
		if err = c.forget(ctx, k); err != nil {
			c.table.put(withoutAddresses(r))
		}
		return err
	})
	return nil
}

// change records objects that exist already; undone, they are as before.
func (c *Controller) change(ctx context.Context, u *undo.Stack, r, before cnm.Records) error {
	u.Push("restore the record", func(ctx context.Context) error {
		c.table.put(before)
		return c.store.Put(ctx, before)
	})
	c.table.put(r)
	return c.store.Put(ctx, r)
}

// commit records the outcome of a verb. It is the last step that can fail.
func (c *Controller) commit(ctx context.Context, u *undo.Stack, r cnm.Records) error {
	if err := c.store.Put(ctx, r); err != nil {
		return err
	}
	c.table.put(r)
	u.Commit()
	return nil
}

// commitWhile is commit of what the kernel goes on with by itself: the outcome is recorded meanwhile, and only then is that awaited. A
// process that is killed in between leaves a finished change; one that fails takes the record back.
func (c *Controller) commitWhile(ctx context.Context, u *undo.Stack, r, before cnm.Records, await func() error) error {
	u.Push("restore the record", func(ctx context.Context) error { return c.store.Put(ctx, before) })
	if err := c.store.Put(ctx, r); err != nil {
		return err
	}
	if err := await(); err != nil {
		return err
	}
	c.table.put(r)
	u.Commit()
	return nil
}

// forget ends objects: out of the store, then out of memory.
func (c *Controller) forget(ctx context.Context, k cnm.Keys) error {
	if err := c.store.Drop(ctx, k); err != nil {
		return err
	}
	c.table.drop(k)
	return nil
}

// withoutAddresses is r with endpoints that have given their addresses back.
func withoutAddresses(r cnm.Records) cnm.Records {
	r.Endpoints = slices.Clone(r.Endpoints)
	for i := range r.Endpoints {
		r.Endpoints[i].Addresses = nil
	}
	return r
}

func keysOf(r cnm.Records) cnm.Keys {
	var k cnm.Keys
	for _, v := range r.Networks {
		k.Networks = append(k.Networks, v.ID)
	}
	for _, v := range r.Endpoints {
		k.Endpoints = append(k.Endpoints, v.ID)
	}
	for _, v := range r.Sandboxes {
		k.Sandboxes = append(k.Sandboxes, v.ID)
	}
	for _, v := range r.Joins {
		k.Joins = append(k.Joins, v.Endpoint)
	}
	return k
}
