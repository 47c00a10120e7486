// SPDX-License-Identifier: Apache-2.0

package servertest

import (
	"cmp"
	"context"
	"errors"
	"net/netip"
	"slices"

	cnm "github.com/libnetwork/cnm"
)

// LookupEndpoint implements the server's contract.
func (f *Fake) LookupEndpoint(network, name string) (cnm.Endpoint, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	nw, err := f.network(network)
	if err != nil {
		return cnm.Endpoint{}, err
	}
	var here []cnm.Endpoint
	for _, ep := range f.recs.Endpoints {
		if ep.Network == nw.ID {
			here = append(here, ep)
		}
	}
	return resolve("endpoint", name, here, endpointKey)
}

// LookupEndpointID implements the server's contract.
func (f *Fake) LookupEndpointID(ref string) (cnm.Endpoint, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return resolve("endpoint", ref, f.recs.Endpoints, func(e *cnm.Endpoint) (string, string) { return string(e.ID), "" })
}

func endpointKey(e *cnm.Endpoint) (string, string) { return string(e.ID), e.Name }

// CreateEndpoint implements the server's contract.
func (f *Fake) CreateEndpoint(ctx context.Context, id cnm.NetworkID, spec cnm.EndpointSpec) (cnm.Endpoint, error) {
	err := f.begin(ctx, "CreateEndpoint")
	defer f.mu.Unlock()
	if err != nil {
		return cnm.Endpoint{}, err
	}
	return f.create(id, spec)
}

func (f *Fake) create(id cnm.NetworkID, spec cnm.EndpointSpec) (cnm.Endpoint, error) {
	if err := cnm.CheckName("name", spec.Name); err != nil {
		return cnm.Endpoint{}, err
	}
	nw, err := f.network(string(id))
	if err != nil {
		return cnm.Endpoint{}, err
	}
	n := 2
	for _, ep := range f.recs.Endpoints {
		if ep.Network != id {
			continue
		}
		n++
		if cnm.FoldName(ep.Name) == cnm.FoldName(spec.Name) {
			return cnm.Endpoint{}, cnm.FieldErrorf(cnm.Exists, "name", "endpoint %q is already on network %q", spec.Name, nw.Name)
		}
	}
	ep := cnm.Endpoint{
		ID: cnm.EndpointID(f.id()), Network: id, Name: spec.Name, MAC: spec.MAC, Aliases: spec.Aliases, Publish: spec.Publish,
		Options: spec.Options, Labels: spec.Labels, Keep: spec.Keep, Created: f.now(), State: cnm.Ready,
	}
	if ep.MAC == (cnm.MAC{}) {
		ep.MAC = cnm.MAC{2, 0, 0, 0, 0, byte(n)}
	}
	for _, s := range nw.Subnets {
		a := addressOf(s.Prefix, n)
		if i := slices.IndexFunc(spec.Addresses, s.Prefix.Contains); i >= 0 {
			a = spec.Addresses[i]
		}
		ep.Addresses = append(ep.Addresses, netip.PrefixFrom(a, s.Prefix.Bits()))
	}
	f.recs.Endpoints = append(f.recs.Endpoints, ep)
	f.tell(cnm.Event{Object: "endpoint", Action: "create", Network: id, Endpoint: ep.ID, Name: ep.Name})
	return ep, nil
}

// DeleteEndpoint implements the server's contract.
func (f *Fake) DeleteEndpoint(ctx context.Context, id cnm.EndpointID, force bool) error {
	err := f.begin(ctx, "DeleteEndpoint")
	defer f.mu.Unlock()
	if err != nil {
		return err
	}
	if f.joinOf(id) != nil && !force {
		return cnm.Errorf(cnm.Busy, "the endpoint is in a sandbox; let it leave first, or use --force")
	}
	f.drop(id)
	return nil
}

func (f *Fake) drop(id cnm.EndpointID) {
	f.unjoin(id)
	f.recs.Endpoints = slices.DeleteFunc(f.recs.Endpoints, func(e cnm.Endpoint) bool { return e.ID == id })
	f.tell(cnm.Event{Object: "endpoint", Action: "delete", Endpoint: id})
}

func (f *Fake) unjoin(id cnm.EndpointID) {
	f.recs.Joins = slices.DeleteFunc(f.recs.Joins, func(j cnm.Join) bool { return j.Endpoint == id })
}

func (f *Fake) joinOf(id cnm.EndpointID) *cnm.Join {
	for i := range f.recs.Joins {
		if f.recs.Joins[i].Endpoint == id {
			return &f.recs.Joins[i]
		}
	}
	return nil
}

// Join implements the server's contract.
func (f *Fake) Join(ctx context.Context, ep cnm.EndpointID, sb cnm.SandboxID, spec cnm.JoinSpec) (cnm.Attachment, error) {
	err := f.begin(ctx, "Join")
	defer f.mu.Unlock()
	if err != nil {
		return cnm.Attachment{}, err
	}
	return f.join(ep, sb, spec)
}

func (f *Fake) join(id cnm.EndpointID, sb cnm.SandboxID, spec cnm.JoinSpec) (cnm.Attachment, error) {
	if f.joinOf(id) != nil {
		return cnm.Attachment{}, cnm.Errorf(cnm.Busy, "the endpoint is in a sandbox already")
	}
	ep := &f.recs.Endpoints[slices.IndexFunc(f.recs.Endpoints, func(e cnm.Endpoint) bool { return e.ID == id })]
	first := !slices.ContainsFunc(f.recs.Joins, func(j cnm.Join) bool { return j.Sandbox == sb })
	j := cnm.Join{
		Endpoint: id, Network: ep.Network, Sandbox: sb, Interface: cmp.Or(spec.Interface, "eth0"),
		GatewayPriority: spec.GatewayPriority, Sysctls: spec.Sysctls, Joined: f.now(), State: cnm.Joined,
		Result: cnm.JoinResult{Link: cnm.Link{Host: "cnv" + string(id[:8])}, MTU: 1500},
	}
	nw, err := f.network(string(ep.Network))
	if err != nil {
		return cnm.Attachment{}, err
	}
	for _, s := range nw.Subnets {
		if s.Gateway.IsValid() {
			j.Result.Gateways = append(j.Result.Gateways, s.Gateway)
			j.Default.IPv4 = j.Default.IPv4 || first && s.Gateway.Is4()
			j.Default.IPv6 = j.Default.IPv6 || first && s.Gateway.Is6()
		}
	}
	j.Result.Ports = f.bind(ep.Publish)
	ep.State = cnm.Joined
	f.recs.Joins = append(f.recs.Joins, j)
	f.tell(cnm.Event{Object: "endpoint", Action: "join", Network: ep.Network, Endpoint: id, Sandbox: sb, Name: ep.Name})
	return f.attachment(*ep, j), nil
}

func (f *Fake) attachment(ep cnm.Endpoint, j cnm.Join) cnm.Attachment {
	nw, errN := f.network(string(ep.Network))
	sb, errS := f.sandbox(string(j.Sandbox))
	if errN != nil || errS != nil {
		return cnm.Attachment{}
	}
	return cnm.Attachment{Network: nw, Endpoint: ep, Sandbox: sb, Join: j}
}

// bind chooses a port where none is wanted.
func (f *Fake) bind(specs []cnm.PortSpec) []cnm.Port {
	var out []cnm.Port
	for _, s := range specs {
		p := cnm.Port{Proto: s.Proto, HostIP: s.HostIP, HostPort: s.HostPort, Port: s.Port}
		if !p.HostIP.IsValid() {
			p.HostIP = netip.IPv4Unspecified()
		}
		if p.HostPort == 0 {
			p.HostPort = f.ports
			f.ports++
		}
		out = append(out, p)
	}
	return out
}

// Leave implements the server's contract.
func (f *Fake) Leave(ctx context.Context, id cnm.EndpointID) error {
	err := f.begin(ctx, "Leave")
	defer f.mu.Unlock()
	if err != nil {
		return err
	}
	if f.joinOf(id) == nil {
		return cnm.Errorf(cnm.NotFound, "the endpoint is in no sandbox")
	}
	f.unjoin(id)
	f.tell(cnm.Event{Object: "endpoint", Action: "leave", Endpoint: id})
	return nil
}

// Attach implements the server's contract.
func (f *Fake) Attach(ctx context.Context, spec cnm.AttachSpec) (cnm.Attachment, error) {
	err := f.begin(ctx, "Attach")
	defer f.mu.Unlock()
	if err != nil {
		return cnm.Attachment{}, err
	}
	sb, err := f.sandbox(string(spec.Sandbox))
	if err != nil {
		return cnm.Attachment{}, err
	}
	spec.Endpoint.Name = cmp.Or(spec.Endpoint.Name, sb.Name)
	ep, err := f.create(spec.Network, spec.Endpoint)
	if err != nil {
		return cnm.Attachment{}, err
	}
	return f.join(ep.ID, sb.ID, spec.Join)
}

// Detach implements the server's contract.
func (f *Fake) Detach(ctx context.Context, sb cnm.SandboxID, nw cnm.NetworkID) error {
	err := f.begin(ctx, "Detach")
	defer f.mu.Unlock()
	if err != nil {
		return err
	}
	for _, j := range f.recs.Joins {
		if j.Sandbox == sb && j.Network == nw {
			f.drop(j.Endpoint)
			return nil
		}
	}
	return cnm.Errorf(cnm.NotFound, "the sandbox is not on that network")
}

// Publish implements the server's contract.
func (f *Fake) Publish(ctx context.Context, id cnm.EndpointID, add, remove []cnm.PortSpec) (cnm.Attachment, error) {
	err := f.begin(ctx, "Publish")
	defer f.mu.Unlock()
	if err != nil {
		return cnm.Attachment{}, err
	}
	return f.publish(id, add, remove)
}

func (f *Fake) publish(id cnm.EndpointID, add, remove []cnm.PortSpec) (cnm.Attachment, error) {
	j := f.joinOf(id)
	if j == nil {
		return cnm.Attachment{}, cnm.Errorf(cnm.NotFound, "the endpoint is in no sandbox")
	}
	ep := &f.recs.Endpoints[slices.IndexFunc(f.recs.Endpoints, func(e cnm.Endpoint) bool { return e.ID == id })]
	for _, r := range remove {
		at := slices.Index(ep.Publish, r)
		if at < 0 {
			return cnm.Attachment{}, cnm.FieldErrorf(cnm.NotFound, "publish", "%s is not published", r)
		}
		ep.Publish = slices.Delete(slices.Clone(ep.Publish), at, at+1)
		j.Result.Ports = slices.Delete(slices.Clone(j.Result.Ports), at, at+1)
	}
	ep.Publish = append(slices.Clone(ep.Publish), add...)
	j.Result.Ports = append(slices.Clone(j.Result.Ports), f.bind(add)...)
	return f.attachment(*ep, *j), nil
}

// PublishOn implements the server's contract.
func (f *Fake) PublishOn(ctx context.Context, sb cnm.SandboxID, nw cnm.NetworkID, add, remove []cnm.PortSpec) ([]cnm.Attachment, error) {
	err := f.begin(ctx, "PublishOn")
	defer f.mu.Unlock()
	if err != nil {
		return nil, err
	}
	for _, j := range f.recs.Joins {
		if j.Sandbox == sb && (j.Network == nw || nw == "" && j.Default.Any()) {
			at, err := f.publish(j.Endpoint, add, remove)
			return []cnm.Attachment{at}, err
		}
	}
	return nil, cnm.Errorf(cnm.NotFound, "the sandbox has no endpoint to publish on")
}

// Provide implements the server's contract.
func (f *Fake) Provide(ctx context.Context, spec cnm.SandboxSpec, on []cnm.AttachSpec, publish []cnm.PortSpec) (cnm.Sandbox, []cnm.Attachment, cnm.NameFiles, error) {
	sb, err := f.CreateSandbox(ctx, spec)
	if err != nil {
		return sb, nil, cnm.NameFiles{}, err
	}
	var all []cnm.Attachment
	for _, a := range on {
		a.Sandbox = sb.ID
		at, err := f.Attach(ctx, a)
		if err != nil {
			return sb, nil, cnm.NameFiles{}, errors.Join(err, f.DeleteSandbox(ctx, sb.ID))
		}
		all = append(all, at)
	}
	if len(publish) > 0 {
		if all, err = f.PublishOn(ctx, sb.ID, "", publish, nil); err != nil {
			return sb, nil, cnm.NameFiles{}, errors.Join(err, f.DeleteSandbox(ctx, sb.ID))
		}
	}
	files, err := f.Files(ctx, sb.ID)
	return sb, all, files, err
}
