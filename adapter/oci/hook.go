// SPDX-License-Identifier: Apache-2.0

package oci

import (
	"cmp"
	"context"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/api/wire"
)

// Daemon is what is asked of the daemon; a client of the API has it.
type Daemon interface {
	Provide(ctx context.Context, req wire.Provide) (wire.Provided, error)
	Sandbox(ctx context.Context, ref string) (wire.Sandbox, error)
	Attach(ctx context.Context, req wire.Attach) (wire.Endpoint, error)
	Publish(ctx context.Context, req wire.Publish) ([]wire.Endpoint, error)
	Enter(ctx context.Context, ref string) (wire.Entry, error)
	DeleteSandbox(ctx context.Context, ref string, labels ...string) error
}

// The stages of a container's life at which we are called.
const (
	StageCreate = "create" // the runtime's createRuntime
	StageDelete = "delete" // the runtime's poststop
)

// undoTime bounds how long it may take to take back what failed.
const undoTime = 10 * time.Second

// Hook does what a runtime calls us for; in has the container's state. Both stages may be repeated. A container without
// annotations of ours is none of our business, and the daemon is not asked.
func Hook(ctx context.Context, stage string, in io.Reader, d Daemon) error {
	s, err := readState(in)
	if err != nil {
		return err
	}
	switch stage {
	case StageCreate:
		return create(ctx, &s, d)
	case StageDelete:
		return remove(ctx, &s, d)
	default:
		return cnm.FieldErrorf(cnm.Invalid, "stage", "there is no stage %q; there are %s and %s", stage, StageCreate, StageDelete)
	}
}

// create makes the container's sandbox, on its networks, and fills its files.
func create(ctx context.Context, s *state, d Daemon) error {
	r, err := Parse(s.Annotations)
	if err != nil || r == nil || r.Made != "" {
		return err
	}
	if s.PID <= 0 {
		return cnm.FieldErrorf(cnm.Invalid, "state", "container %q has no process yet or any more; this hook is for createRuntime", s.ID)
	}
	r.Name = cmp.Or(r.Name, sandboxName(s.ID))
	if r.Hostname == "" && cnm.CheckName("hostname", s.hostname) == nil {
		r.Hostname = s.hostname
	}
	r.PID, r.Labels = s.PID, s.labels()
	files, err := provide(ctx, s, r, d)
	if err != nil {
		return err
	}
	if err := fill(s.Bundle, files); err != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTime)
		defer cancel()
		return errors.Join(err, d.DeleteSandbox(ctx, r.Name, s.conditions()...))
	}
	return nil
}

// provide makes the sandbox, or finds it where it was made before.
func provide(ctx context.Context, s *state, r *Request, d Daemon) (wire.NameFiles, error) {
	made, err := d.Provide(ctx, r.Provide)
	if !errors.Is(err, cnm.Exists) {
		return made.Files, err
	}
	sb, looked := d.Sandbox(ctx, r.Name)
	switch {
	case errors.Is(looked, cnm.NotFound):
		return made.Files, err // it is something else that exists: an address, a port
	case looked != nil:
		return made.Files, errors.Join(err, looked)
	case !of(s, &sb):
		return made.Files, err
	case sb.PID != s.PID:
		return made.Files, cnm.FieldErrorf(cnm.Exists, "name", "sandbox %q is that of container %q with process %d, and its namespace lives; if that container is gone: cnm sandbox rm %s", sb.Name, s.ID, sb.PID, sb.Name)
	}
	if err := complete(ctx, r, &sb, d); err != nil {
		return made.Files, err
	}
	entry, err := d.Enter(ctx, string(sb.ID))
	return entry.Files, err
}

// of tells whether the sandbox is the container's.
func of(s *state, sb *wire.Sandbox) bool {
	for key, value := range s.labels() {
		if has, ok := sb.Labels[key]; !ok || has != value {
			return false
		}
	}
	return true
}

// complete adds what the sandbox lacks: a daemon that was killed in the middle may have left it with some of its networks.
func complete(ctx context.Context, r *Request, sb *wire.Sandbox, d Daemon) error {
	for i := range r.Attach {
		at := &r.Attach[i]
		if slices.ContainsFunc(sb.Endpoints, func(ep wire.Endpoint) bool { return isOn(&ep, at.Network) }) {
			continue
		}
		_, err := d.Attach(ctx, wire.Attach{
			Sandbox: string(sb.ID), Network: at.Network, Name: at.Name, EndpointSettings: at.EndpointSettings, JoinSettings: at.JoinSettings,
		})
		if err != nil {
			return err
		}
	}
	specs, err := wire.ParsePorts(r.Publish)
	if err != nil {
		return err
	}
	var missing []string
	for _, spec := range specs {
		if !slices.ContainsFunc(sb.Endpoints, func(ep wire.Endpoint) bool { return publishes(&ep, spec) }) {
			missing = append(missing, spec.String())
		}
	}
	if len(missing) == 0 {
		return nil
	}
	_, err = d.Publish(ctx, wire.Publish{Sandbox: string(sb.ID), Add: missing})
	return err
}

// isOn tells whether a reference names the endpoint's network: by name, or by ID or its beginning.
func isOn(ep *wire.Endpoint, network string) bool {
	return cnm.FoldName(ep.Network) == cnm.FoldName(network) || strings.HasPrefix(string(ep.NetworkID), network)
}

// publishes tells whether a port is bound as it was wanted.
func publishes(ep *wire.Endpoint, spec cnm.PortSpec) bool {
	return slices.ContainsFunc(ep.Ports, func(p wire.Port) bool {
		return p.Proto == spec.Proto.String() && p.Port == spec.Port &&
			(spec.HostPort == 0 || spec.HostPort <= p.HostPort && p.HostPort <= spec.HostPortEnd) &&
			(!spec.HostIP.IsValid() || spec.HostIP == p.HostIP)
	})
}

// remove deletes the container's sandbox. What is not there, or is another's by that name, is left to be: then the daemon has
// collected it already, or will.
func remove(ctx context.Context, s *state, d Daemon) error {
	name := sandboxName(s.ID)
	if s.known {
		ours := slices.ContainsFunc(slices.Collect(maps.Keys(s.Annotations)), func(key string) bool { return strings.HasPrefix(key, Prefix) })
		if _, made := s.Annotations[Prefix+sandboxKey]; made || !ours {
			return nil
		}
		name = cmp.Or(s.Annotations[Prefix+nameKey], name)
	}
	if !fit(name) {
		return nil // no sandbox was ever made with it
	}
	if err := d.DeleteSandbox(ctx, name, s.conditions()...); !errors.Is(err, cnm.NotFound) {
		return err
	}
	return nil
}

// fit tells whether a sandbox may have the name.
func fit(name string) bool { return cnm.CheckName(nameKey, name) == nil }
