// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"time"

	cnm "github.com/libnetwork/cnm"
)

// collect ends what Docker made and forgot, until ctx ends: a Docker daemon that is killed between two calls remembers nothing of
// the first. What is in a container whose namespace is gone is collected without us.
func (p *Plugin) collect(ctx context.Context) {
	tick := time.NewTicker(p.abandoned / 2)
	defer tick.Stop()
	idle := map[string]time.Time{}
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			idle = p.collectIdle(ctx, idle, now)
		}
	}
}

// collectIdle ends what was idle long enough. It returns what is idle now, and since when.
func (p *Plugin) collectIdle(ctx context.Context, before map[string]time.Time, now time.Time) map[string]time.Time {
	idle := map[string]time.Time{}
	old := func(id string) bool {
		since, ok := before[id]
		if !ok {
			since = now
		}
		idle[id] = since
		return now.Sub(since) >= p.abandoned
	}
	for _, at := range p.idleEndpoints(ctx) {
		if old(string(at.Endpoint.ID)) {
			id := at.Endpoint.ID
			p.note(ctx, "endpoint "+at.Endpoint.Name, p.away(ctx, id, func(ctx context.Context) error {
				if now, err := p.ctl.LookupAttachment(id); err != nil || !isIdle(&now) {
					return err
				}
				return p.ctl.DeleteEndpoint(ctx, id, true)
			}))
		}
	}
	for key, id := range p.emptySandboxes(ctx) {
		if old(string(id)) {
			p.note(ctx, "sandbox of "+key, p.endEmpty(ctx, key))
		}
	}
	p.forgetEnded()
	return idle
}

// endForgotten ends the endpoints of a network that have addresses which Docker gives out now. It gives none twice: it has forgotten those.
func (p *Plugin) endForgotten(ctx context.Context, nw cnm.NetworkID, addrs []netip.Addr) error {
	var errs []error
	for _, ep := range p.ctl.Records(ctx).Endpoints {
		if ep.Network != nw || ep.Labels[labelEndpoint] == "" ||
			!slices.ContainsFunc(ep.Addresses, func(a netip.Prefix) bool { return slices.Contains(addrs, a.Addr()) }) {
			continue
		}
		err := p.away(ctx, ep.ID, func(ctx context.Context) error { return p.ctl.DeleteEndpoint(ctx, ep.ID, true) })
		p.note(ctx, "endpoint "+ep.Name, err)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// forgetEnded drops containers whose sandbox was collected.
func (p *Plugin) forgetEnded() {
	p.mu.Lock()
	known := maps.Clone(p.sandboxes)
	p.mu.Unlock()
	for key, id := range known {
		if _, err := p.ctl.LookupSandbox(string(id)); !errors.Is(err, cnm.NotFound) {
			continue
		}
		p.mu.Lock()
		if p.sandboxes[key] == id {
			delete(p.sandboxes, key)
		}
		p.mu.Unlock()
	}
}

// isIdle tells whether an endpoint is in no container, or in one whose namespace has never come.
func isIdle(at *cnm.Attachment) bool {
	return at.Join.Endpoint == "" && at.Endpoint.State == cnm.Ready || at.Join.State == cnm.Joined && at.Sandbox.Awaited()
}

func (p *Plugin) idleEndpoints(ctx context.Context) []cnm.Attachment {
	var idle []cnm.Attachment
	for _, ep := range p.ctl.Records(ctx).Endpoints {
		if _, ok := ep.Labels[labelEndpoint]; !ok {
			continue
		}
		if at, err := p.ctl.LookupAttachment(ep.ID); err == nil && isIdle(&at) {
			idle = append(idle, at)
		}
	}
	return idle
}

// emptySandboxes are those of containers that are on no network of ours.
func (p *Plugin) emptySandboxes(ctx context.Context) map[string]cnm.SandboxID {
	r := p.ctl.Records(ctx)
	empty := map[string]cnm.SandboxID{}
	for _, sb := range r.Sandboxes {
		if key, ok := sb.Labels[labelSandbox]; ok && sb.State == cnm.Ready {
			empty[key] = sb.ID
		}
	}
	for _, j := range r.Joins {
		for key, id := range empty {
			if id == j.Sandbox {
				delete(empty, key)
			}
		}
	}
	return empty
}

func (p *Plugin) endEmpty(ctx context.Context, key string) error {
	done, err := p.turns.take(ctx, key)
	if err != nil {
		return err
	}
	defer done()
	return p.leaveEmpty(ctx, key)
}

func (p *Plugin) note(ctx context.Context, what string, err error) {
	switch {
	case err == nil:
		p.log.InfoContext(ctx, "docker forgot", slog.String("object", what))
	case ctx.Err() == nil && !errors.Is(err, cnm.NotFound):
		p.log.WarnContext(ctx, "docker forgot", slog.String("object", what), slog.String("error", err.Error()))
	}
}
