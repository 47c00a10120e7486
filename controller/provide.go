// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"errors"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/internal/undo"
)

// Provide makes a sandbox that a process can be started in: on the networks, joined in their order, with its name files
// written. The ports of publish belong, per family, to the endpoint that holds the default route in the end. On an error nothing has
// changed.
func (c *Controller) Provide(ctx context.Context, spec cnm.SandboxSpec, on []cnm.AttachSpec, publish []cnm.PortSpec) (sb cnm.Sandbox, at []cnm.Attachment, files cnm.NameFiles, err error) {
	before := c.collected.Load()
	sb, at, files, err = c.provide(ctx, spec, on, publish)
	if !errors.Is(err, cnm.Exists) {
		return sb, at, files, err
	}
	// Whoever comes after a container that ended, and wants what that had, may be faster than the news of the end.
	c.collectEnded(ctx)
	if c.collected.Load() == before {
		return sb, at, files, err
	}
	return c.provide(ctx, spec, on, publish)
}

func (c *Controller) provide(ctx context.Context, spec cnm.SandboxSpec, on []cnm.AttachSpec, publish []cnm.PortSpec) (sb cnm.Sandbox, at []cnm.Attachment, files cnm.NameFiles, err error) {
	if sb, err = c.CreateSandbox(ctx, spec); err != nil {
		return sb, nil, files, err
	}
	var u undo.Stack
	defer u.Rollback(ctx, &err)
	u.Push("delete the sandbox", func(ctx context.Context) error {
		if err := c.DeleteSandbox(ctx, sb.ID); !errors.Is(err, cnm.NotFound) {
			return err
		}
		return nil // its namespace died meanwhile, and it was collected
	})
	for _, a := range on {
		a.Sandbox = sb.ID
		if _, err := c.Attach(ctx, a); err != nil {
			return sb, nil, files, err
		}
	}
	if len(publish) > 0 {
		if _, err := c.PublishOn(ctx, sb.ID, "", publish, nil); err != nil {
			return sb, nil, files, err
		}
	}
	if files, err = c.Files(ctx, sb.ID); err != nil {
		return sb, nil, files, err
	}
	u.Commit()
	return sb, c.table.attachments(sb.ID), files, nil
}
