// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"errors"

	cnm "github.com/libnetwork/cnm"
)

func (c *Controller) collect(ctx context.Context, gone []cnm.SandboxID) {
	for _, id := range gone {
		c.collectIfGone(ctx, id)
	}
}

// collectIfGone ends a sandbox whose namespace is gone: its endpoints are collected, but for those made to be kept, which
// only leave.
func (c *Controller) collectIfGone(ctx context.Context, id cnm.SandboxID) {
	sb, ok := c.table.sandbox(id)
	if !ok || sb.Awaited() {
		return
	}
	ns, err := c.stack.Open(ctx, sb)
	if err == nil {
		c.noteReconcile(ctx, "sandbox "+sb.Name, ns.Close())
		return
	}
	if !errors.Is(err, cnm.NotFound) {
		c.noteReconcile(ctx, "sandbox "+sb.Name, err)
		return
	}
	err = c.DeleteSandbox(ctx, id)
	if err != nil && !errors.Is(err, cnm.NotFound) {
		c.noteReconcile(ctx, "sandbox "+sb.Name, err)
		return
	}
	c.collected.Add(1)
	if err == nil {
		c.log.InfoContext(ctx, "collected, its namespace is gone", "sandbox", sb.Name)
		c.tell(cnm.Event{Object: "sandbox", Action: "collect", Sandbox: id, Name: sb.Name})
	}
}

// collectEnded collects every adopted sandbox whose namespace is gone. Where another call is at it already it waits for that.
func (c *Controller) collectEnded(ctx context.Context) {
	for _, sb := range c.Records(ctx).Sandboxes {
		if !sb.Owned && !sb.Host && (sb.State == cnm.Ready || sb.State == cnm.Deleting) {
			c.collectIfGone(ctx, sb.ID)
		}
	}
}

// report makes an event and a log line of each drift.
func (c *Controller) report(ctx context.Context, drifts []cnm.Drift) {
	if c.building {
		return
	}
	for _, d := range drifts {
		action := "report"
		if d.Repaired {
			action = "repair"
		}
		c.log.WarnContext(ctx, "drift", "object", d.Object, "what", d.What, "repaired", d.Repaired)
		c.tell(cnm.Event{Object: "drift", Action: action, Name: d.Object, Network: d.Network, Endpoint: d.Endpoint, Sandbox: d.Sandbox, Detail: map[string]string{"what": d.What}})
	}
}

func (c *Controller) noteReconcile(ctx context.Context, what string, err error) {
	if err != nil && ctx.Err() == nil {
		c.log.ErrorContext(ctx, "reconciling", "object", what, "error", err)
	}
}
