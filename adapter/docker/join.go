// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"context"
	"errors"
	"path"
	"strconv"

	cnm "github.com/libnetwork/cnm"
)

// join ties an endpoint to a container. Where the container's namespace is there, its interface is made in it, and Docker has
// nothing to do but the default route; where it is not there yet (Docker 20.10), Docker is told which link to move and what to
// give it.
func (p *Plugin) join(ctx context.Context, r joinRequest) (any, error) {
	id, err := endpointID(r.EndpointID)
	if err != nil {
		return nil, err
	}
	done, err := p.turns.take(ctx, r.SandboxKey)
	if err != nil {
		return nil, err
	}
	defer done()
	at, err := p.ctl.LookupAttachment(id)
	if err != nil {
		return nil, err
	}
	sb, err := p.sandbox(ctx, r.SandboxKey)
	if err != nil {
		return nil, err
	}
	switch {
	case at.Join.Endpoint != "" && at.Join.Sandbox == sb.ID && at.Join.State == cnm.Joined:
	case at.Join.Endpoint != "": // of a container that is no more
		if err := p.ctl.Leave(ctx, id); err != nil && !errors.Is(err, cnm.NotFound) {
			return nil, err
		}
		fallthrough
	default:
		if at, err = p.enter(ctx, &at, &sb); err != nil {
			return nil, errors.Join(err, p.leaveEmpty(ctx, r.SandboxKey))
		}
	}
	if at, err = p.publishRouted(ctx, at, r.Options); err != nil {
		return nil, errors.Join(err, p.ctl.Leave(ctx, id), p.leaveEmpty(ctx, r.SandboxKey))
	}
	return answerJoin(&at), nil
}

// sandbox is the container's, which is made of its namespace if it is not there. The caller has its turn.
func (p *Plugin) sandbox(ctx context.Context, key string) (cnm.Sandbox, error) {
	if !path.IsAbs(key) {
		return cnm.Sandbox{}, cnm.FieldErrorf(cnm.Unsupported, "SandboxKey", "sandbox key %.80q is no path; containers on the host's own stack have no other networks", key)
	}
	if id, ok := p.known(key); ok {
		if sb, err := p.ctl.LookupSandbox(string(id)); err == nil && sb.State == cnm.Ready {
			return sb, nil
		}
	}
	name := "docker-" + path.Base(key)
	if cnm.CheckName("name", name) != nil {
		return cnm.Sandbox{}, cnm.FieldErrorf(cnm.Invalid, "SandboxKey", "sandbox key %.80q does not end with an identifier", key)
	}
	sb, err := p.ctl.CreateSandbox(ctx, cnm.SandboxSpec{
		Name: name, Path: key, Await: true, Unrouted: true, Labels: map[string]string{labelSandbox: key},
	})
	if err != nil {
		return sb, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sandboxes[key] = sb.ID
	return sb, nil
}

func (p *Plugin) known(key string) (cnm.SandboxID, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	id, ok := p.sandboxes[key]
	return id, ok
}

// mostInterfaces bounds the search for the name of an interface.
const mostInterfaces = 64

// enter joins with the wanted name of the interface, or the first free one. What names there are only the namespace knows: Docker
// and the container's own processes make interfaces too.
func (p *Plugin) enter(ctx context.Context, at *cnm.Attachment, sb *cnm.Sandbox) (cnm.Attachment, error) {
	if err := settable(at, sb); err != nil {
		return cnm.Attachment{}, err
	}
	settings, err := sysctls(at.Endpoint.Labels[keySysctls])
	if err != nil {
		return cnm.Attachment{}, err
	}
	spec := cnm.JoinSpec{Sysctls: settings, Interface: at.Endpoint.Labels[keyIfname]}
	if spec.Interface != "" {
		return p.ctl.Join(ctx, at.Endpoint.ID, sb.ID, spec)
	}
	for i := 0; ; i++ {
		spec.Interface = prefixOf(&at.Network) + strconv.Itoa(i)
		joined, err := p.ctl.Join(ctx, at.Endpoint.ID, sb.ID, spec)
		if e, ok := errors.AsType[*cnm.Error](err); !ok || e.Kind != cnm.Exists || e.Field != "interface" || i == mostInterfaces {
			return joined, err
		}
	}
}

// settable refuses what only we could set, where Docker is going to move and name the interface itself.
func settable(at *cnm.Attachment, sb *cnm.Sandbox) error {
	if !sb.Awaited() {
		return nil
	}
	for _, key := range []string{keyIfname, keySysctls} {
		if at.Endpoint.Labels[key] != "" {
			return cnm.FieldErrorf(cnm.Unsupported, key,
				"option %s: this version of Docker makes the container's namespace after its interfaces, and sets none of it; leave it out, or use: docker network connect --driver-opt, while the container runs", key)
		}
	}
	return nil
}

// prefixOf begins the names of a network's interfaces.
func prefixOf(nw *cnm.Network) string {
	if s := nw.Labels[keyIfacePrefix]; s != "" {
		return s
	}
	return "eth"
}

// answerJoin tells Docker what is left for it to do. It chooses which of a container's networks has the default route, by the
// gateways it is told.
func answerJoin(at *cnm.Attachment) joinAnswer {
	a := joinAnswer{DisableGatewayService: true}
	res := &at.Join.Result
	if g := res.Gateway(cnm.IPv4); g.IsValid() {
		a.Gateway = g.String()
	}
	if g := res.Gateway(cnm.IPv6); g.IsValid() {
		a.GatewayIPv6 = g.String()
	}
	if res.Link.InPlace {
		return a
	}
	a.InterfaceName = &interfaceName{SrcName: res.Link.Name, DstPrefix: prefixOf(&at.Network)}
	for _, r := range res.Routes {
		s := staticRoute{Destination: r.Prefix.String(), RouteType: routeOnLink}
		if r.Via.IsValid() {
			s.RouteType, s.NextHop = routeByNextHop, r.Via.String()
		}
		a.StaticRoutes = append(a.StaticRoutes, s)
	}
	return a
}

func (p *Plugin) leave(ctx context.Context, r joinRequest) (any, error) {
	id, err := endpointID(r.EndpointID)
	if err != nil {
		return nil, err
	}
	return nothing{}, p.away(ctx, id, func(ctx context.Context) error { return p.ctl.Leave(ctx, id) })
}

// away takes an endpoint out of its container by do, and ends the container's sandbox with its last endpoint. What is not there is
// away already.
func (p *Plugin) away(ctx context.Context, id cnm.EndpointID, do func(context.Context) error) error {
	at, err := p.ctl.LookupAttachment(id)
	if errors.Is(err, cnm.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	key := at.Sandbox.Labels[labelSandbox]
	if key != "" {
		done, err := p.turns.take(ctx, key)
		if err != nil {
			return err
		}
		defer done()
	}
	if err := do(ctx); err != nil && !errors.Is(err, cnm.NotFound) {
		return err
	}
	if key == "" {
		return nil
	}
	return p.leaveEmpty(ctx, key)
}

// leaveEmpty ends a container's sandbox if nothing is in it. The caller has its turn.
func (p *Plugin) leaveEmpty(ctx context.Context, key string) error {
	id, ok := p.known(key)
	if !ok {
		return nil
	}
	for _, j := range p.ctl.Records(ctx).Joins {
		if j.Sandbox == id {
			return nil
		}
	}
	if err := p.ctl.DeleteSandbox(ctx, id); err != nil && !errors.Is(err, cnm.NotFound) {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.sandboxes, key)
	return nil
}
