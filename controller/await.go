// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"errors"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/internal/undo"
)

// An awaited sandbox is one whose namespace somebody else has yet to make. Its endpoints' links are made in the host's stack, and
// moved by that somebody, who also sees to all inside that concerns them.

// waits tells whether a claimed sandbox's namespace is not there yet; if it has come meanwhile, sb is that and recorded.
func (c *Controller) waits(ctx context.Context, sb *cnm.Sandbox) (bool, error) {
	if !sb.Awaited() {
		return false, nil
	}
	ns, err := c.stack.Create(ctx, *sb, nil)
	if errors.Is(err, cnm.NotFound) || errors.Is(err, cnm.Invalid) { // the path may be there before the namespace is mounted on it
		return true, nil
	}
	if err != nil {
		return true, err
	}
	arrived := *sb
	arrived.Namespace = ns
	if err := c.table.adopt(arrived); err != nil {
		return true, err
	}
	if err := c.store.Put(ctx, cnm.Records{Sandboxes: []cnm.Sandbox{arrived}}); err != nil {
		c.table.put(cnm.Records{Sandboxes: []cnm.Sandbox{*sb}})
		return true, err
	}
	*sb = arrived
	c.tell(cnm.Event{Object: "sandbox", Action: "adopt", Sandbox: sb.ID, Name: sb.Name})
	return false, nil
}

// enterAwaited is enter for a sandbox whose namespace is not there yet.
func (c *Controller) enterAwaited(ctx context.Context, u *undo.Stack, d cnm.Driver, at cnm.Attachment) (_ cnm.Attachment, err error) {
	u.Push("leave", func(ctx context.Context) error { return d.Leave(ctx, at) })
	if at.Join.Result, err = d.Join(ctx, cnm.JoinRequest{Attachment: at, NamespaceFD: -1}); err != nil {
		return at, err
	}
	at.Join.Default = cnm.FamilySet{}
	others := c.table.others(at)
	if err := c.putNames(ctx, u, at.Sandbox, others, append(others, at)); err != nil {
		return at, err
	}
	at.Join.State, at.Endpoint.State = cnm.Joined, cnm.Joined
	return at, c.commit(ctx, u, cnm.Records{Endpoints: []cnm.Endpoint{at.Endpoint}, Joins: []cnm.Join{at.Join}})
}
