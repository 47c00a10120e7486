// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"strings"
	"time"

	cnm "github.com/libnetwork/cnm"
)

// Renames gives objects the names and labels that Docker's users know.
type Renames interface {
	RenameNetwork(ctx context.Context, id cnm.NetworkID, name string, labels map[string]string) error
	RenameSandbox(ctx context.Context, id cnm.SandboxID, name string, labels map[string]string) error
	RenameEndpoint(ctx context.Context, id cnm.EndpointID, name string, labels map[string]string) error
}

// Keys of labels that Docker's API is asked for.
const (
	labelNetworkName   = "com.docker.network.name"
	labelContainer     = "com.docker.container.id"
	labelContainerName = "com.docker.container.name"
)

// learn takes over Docker's names, and ends networks that Docker has no more.
func (p *Plugin) learn(ctx context.Context, e *engine) error {
	// Ours first: what Docker makes from now on is in its lists, or not in ours.
	ours, now := p.ctl.Records(ctx), time.Now()
	var networks []engineNetwork
	if err := e.list(ctx, "/networks", &networks); err != nil {
		return err
	}
	var containers []engineContainer
	if err := e.list(ctx, "/containers/json", &containers); err != nil {
		return err
	}
	theirs := map[string]*engineNetwork{}
	for i := range networks {
		theirs[networks[i].ID] = &networks[i]
	}
	for i := range ours.Networks {
		nw := &ours.Networks[i]
		id := nw.Labels[labelNetwork]
		switch docker := theirs[id]; {
		case id == "":
		case docker != nil:
			p.nameNetwork(ctx, nw, docker)
		case now.Sub(nw.Created) >= p.abandoned: // Docker lists a network only when we have made it
			// What is in use stays: a Docker daemon with other data may be here by mistake.
			if err := p.ctl.DeleteNetwork(ctx, nw.ID, false); !errors.Is(err, cnm.Busy) {
				p.note(ctx, "network "+nw.Name, err)
			}
		}
	}
	p.nameContainers(ctx, &ours, containers)
	return nil
}

func (p *Plugin) nameNetwork(ctx context.Context, nw *cnm.Network, docker *engineNetwork) {
	labels := merged(nw.Labels, docker.Labels, map[string]string{labelNetworkName: docker.Name})
	p.rename(ctx, nw.Name, docker.Name, nw.Labels, labels, func(name string) error {
		return p.ctl.RenameNetwork(ctx, nw.ID, name, labels)
	})
}

func (p *Plugin) nameContainers(ctx context.Context, ours *cnm.Records, containers []engineContainer) {
	by := map[cnm.EndpointID]*engineContainer{}
	for i := range containers {
		for _, at := range containers[i].NetworkSettings.Networks {
			if id, err := endpointID(at.EndpointID); err == nil {
				by[id] = &containers[i]
			}
		}
	}
	of := map[cnm.SandboxID]*engineContainer{}
	for _, j := range ours.Joins {
		if c := by[j.Endpoint]; c != nil {
			of[j.Sandbox] = c
		}
	}
	for i := range ours.Endpoints {
		ep := &ours.Endpoints[i]
		if c := by[ep.ID]; c != nil && ep.Labels[labelEndpoint] != "" && ep.State.Settled() {
			labels := merged(ep.Labels, c.Labels, c.own())
			p.rename(ctx, ep.Name, c.name(), ep.Labels, labels, func(name string) error {
				return p.ctl.RenameEndpoint(ctx, ep.ID, name, labels)
			})
		}
	}
	for i := range ours.Sandboxes {
		sb := &ours.Sandboxes[i]
		if c := of[sb.ID]; c != nil && sb.Labels[labelSandbox] != "" && sb.State == cnm.Ready {
			labels := merged(sb.Labels, c.Labels, c.own())
			p.rename(ctx, sb.Name, c.name(), sb.Labels, labels, func(name string) error {
				return p.ctl.RenameSandbox(ctx, sb.ID, name, labels)
			})
		}
	}
}

// name is without the slash that Docker writes first; a name with another is a link's.
func (c *engineContainer) name() string {
	for _, n := range c.Names {
		if n = strings.TrimPrefix(n, "/"); !strings.Contains(n, "/") {
			return n
		}
	}
	return ""
}

func (c *engineContainer) own() map[string]string {
	return map[string]string{labelContainer: c.ID, labelContainerName: c.name()}
}

// merged are Docker's labels with ours of before and now on top.
func merged(before, docker, now map[string]string) map[string]string {
	labels := maps.Clone(docker)
	if labels == nil {
		labels = map[string]string{}
	}
	for _, key := range []string{labelNetwork, labelEndpoint, labelSandbox, keyIfname, keySysctls, keyIfacePrefix} {
		delete(labels, key)
		if v, ok := before[key]; ok {
			labels[key] = v
		}
	}
	maps.Copy(labels, now)
	return labels
}

// rename gives an object Docker's name where that is free and one of ours could have it, and its labels in any case.
func (p *Plugin) rename(ctx context.Context, have, want string, before, labels map[string]string, do func(name string) error) {
	if cnm.CheckName("name", want) != nil {
		want = have
	}
	if have == want && maps.Equal(before, labels) {
		return
	}
	err := do(want)
	if errors.Is(err, cnm.Exists) {
		if maps.Equal(before, labels) {
			return
		}
		err = do(have)
	}
	if err != nil && !errors.Is(err, cnm.NotFound) && !errors.Is(err, cnm.Busy) && ctx.Err() == nil {
		p.log.WarnContext(ctx, "docker's name", slog.String("name", want), slog.String("error", err.Error()))
	}
}
