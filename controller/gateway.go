// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"cmp"
	"context"
	"errors"
	"slices"

	cnm "github.com/libnetwork/cnm"
)

// defaults decides for a sandbox which of its attachments holds the default route, each family apart: of those that
// have a gateway, the one with the highest priority, then the oldest. It has no effects.
func defaults(ats []cnm.Attachment) map[cnm.EndpointID]cnm.FamilySet {
	ats = slices.Clone(ats)
	slices.SortFunc(ats, func(a, b cnm.Attachment) int {
		if a.Join.GatewayPriority != b.Join.GatewayPriority {
			return cmp.Compare(b.Join.GatewayPriority, a.Join.GatewayPriority)
		}
		return olderJoin(a, b)
	})
	held := map[cnm.EndpointID]cnm.FamilySet{}
	for _, f := range cnm.Families() {
		for _, at := range ats {
			if !routes(at, f) {
				continue
			}
			s := held[at.Endpoint.ID]
			s.IPv4, s.IPv6 = s.IPv4 || f == cnm.IPv4, s.IPv6 || f == cnm.IPv6
			held[at.Endpoint.ID] = s
			break
		}
	}
	return held
}

// routes tells whether the attachment has a gateway in the family: the driver's word once it has joined, before that
// what the records let one foresee.
func routes(at cnm.Attachment, f cnm.Family) bool {
	if at.Sandbox.Unrouted {
		return false
	}
	if at.Join.Result.Link.Name != "" {
		return at.Join.Result.Gateway(f).IsValid()
	}
	a := at.Endpoint.Address(f)
	if at.Network.Internal || !a.IsValid() {
		return false
	}
	s, ok := at.Network.SubnetOf(a)
	return ok && s.Gateway.IsValid()
}

// others are the joined attachments of at's sandbox beside itself.
func (t *table) others(at cnm.Attachment) []cnm.Attachment {
	all := t.attachments(at.Sandbox.ID)
	return slices.DeleteFunc(all, func(o cnm.Attachment) bool {
		return o.Endpoint.ID == at.Endpoint.ID || o.Join.State != cnm.Joined
	})
}

// moveDefaults brings the default routes of ats to want, and returns the joins that changed, not yet recorded.
func (c *Controller) moveDefaults(ctx context.Context, ns cnm.OpenNamespace, ats []cnm.Attachment, want map[cnm.EndpointID]cnm.FamilySet) ([]cnm.Join, error) {
	var moved []cnm.Join
	for _, at := range ats {
		if at.Join.Default == want[at.Endpoint.ID] {
			continue
		}
		at.Join.Default = want[at.Endpoint.ID]
		if err := c.plugAndGate(ctx, ns, at); err != nil {
			return nil, err
		}
		moved = append(moved, at.Join)
	}
	return moved, nil
}

// plugAndGate tells the sandbox and the driver that an attachment's default route changed.
func (c *Controller) plugAndGate(ctx context.Context, ns cnm.OpenNamespace, at cnm.Attachment) error {
	if err := c.stack.Plug(ctx, ns, at); err != nil {
		return err
	}
	if err := c.stack.Await(ctx, ns, at); err != nil {
		return err
	}
	d, err := c.driver(at.Network)
	if err != nil {
		return err
	}
	if g, ok := d.(cnm.Gatekeeper); ok {
		return g.Gate(ctx, at)
	}
	return nil
}

// restoreDefaults takes back what a join changed of the default routes of a sandbox's other attachments: its own plug replaced
// theirs, and they may have been told to give them up.
func (c *Controller) restoreDefaults(ctx context.Context, sb cnm.Sandbox, others []cnm.Attachment, want map[cnm.EndpointID]cnm.FamilySet) error {
	others = slices.DeleteFunc(slices.Clone(others), func(at cnm.Attachment) bool { return at.Join.Default == want[at.Endpoint.ID] })
	if len(others) == 0 {
		return nil
	}
	ns, err := c.stack.Open(ctx, sb)
	if errors.Is(err, cnm.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	defer ns.Close()
	var errs []error
	for _, at := range others {
		errs = append(errs, c.plugAndGate(ctx, ns, at))
	}
	return errors.Join(errs...)
}

// inherit gives the default routes that a leaving endpoint held to the others, and records it.
func (c *Controller) inherit(ctx context.Context, ns cnm.OpenNamespace, others []cnm.Attachment) error {
	moved, err := c.moveDefaults(ctx, ns, others, defaults(others))
	if err != nil || len(moved) == 0 {
		return err
	}
	if err := c.store.Put(ctx, cnm.Records{Joins: moved}); err != nil {
		return err
	}
	c.table.put(cnm.Records{Joins: moved})
	return nil
}
