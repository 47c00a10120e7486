// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"context"
	"errors"
	"net/netip"
	"slices"

	cnm "github.com/libnetwork/cnm"
)

// programExternalConnectivity publishes a container's ports on the endpoint that holds its default route now. Where another one holds
// that of IPv6, Docker says so; to the other it says nothing, and tells it first.
func (p *Plugin) programExternalConnectivity(ctx context.Context, r joinRequest) (any, error) {
	id, err := endpointID(r.EndpointID)
	if err != nil {
		return nil, err
	}
	at, err := p.ctl.LookupAttachment(id)
	if err != nil {
		return nil, err
	}
	if isRouted(&at.Network) {
		_, err := p.publishRouted(ctx, at, r.Options)
		return nothing{}, err
	}
	specs, err := bindings(r.Options)
	if err != nil {
		return nil, err
	}
	var onlyIPv4 bool
	if err := r.Options.get(keyNoProxy, &onlyIPv4); err != nil {
		return nil, err
	}
	others := p.beside(ctx, &at)
	if !onlyIPv4 {
		if slices.ContainsFunc(others, func(o cnm.Attachment) bool { return len(o.Endpoint.Publish) > 0 }) {
			specs = ofFamily(specs, cnm.IPv6)
		}
		_, err = p.ctl.Republish(ctx, id, specs)
		return nothing{}, err
	}
	for _, o := range others {
		if err := p.giveUpIPv4(ctx, &o); err != nil {
			return nil, err
		}
	}
	_, err = p.ctl.Republish(ctx, id, ofFamily(specs, cnm.IPv4))
	return nothing{}, err
}

// giveUpIPv4 takes an endpoint's IPv4 ports back. One socket may hold a port for both families, and is closed with the second: so all
// are taken back first.
func (p *Plugin) giveUpIPv4(ctx context.Context, at *cnm.Attachment) error {
	left := ofFamily(at.Endpoint.Publish, cnm.IPv6)
	if slices.Equal(left, at.Endpoint.Publish) {
		return nil
	}
	if _, err := p.ctl.Republish(ctx, at.Endpoint.ID, nil); err != nil {
		return err
	}
	_, err := p.ctl.Republish(ctx, at.Endpoint.ID, left)
	return err
}

// beside are the container's other endpoints, but for those on routed networks, whose ports are their own.
func (p *Plugin) beside(ctx context.Context, at *cnm.Attachment) []cnm.Attachment {
	var all []cnm.Attachment
	for _, j := range p.ctl.Records(ctx).Joins {
		if j.Sandbox != at.Sandbox.ID || j.Endpoint == at.Endpoint.ID {
			continue
		}
		if o, err := p.ctl.LookupAttachment(j.Endpoint); err == nil && !isRouted(&o.Network) {
			all = append(all, o)
		}
	}
	return all
}

// revokeExternalConnectivity takes the ports back, but from a routed network: there they are open on the container's own addresses,
// whoever holds its default route.
func (p *Plugin) revokeExternalConnectivity(ctx context.Context, r joinRequest) (any, error) {
	id, err := endpointID(r.EndpointID)
	if err != nil {
		return nil, err
	}
	at, err := p.ctl.LookupAttachment(id)
	if errors.Is(err, cnm.NotFound) || err == nil && isRouted(&at.Network) {
		return nothing{}, nil
	}
	if err == nil {
		_, err = p.ctl.Republish(ctx, id, nil)
	}
	if errors.Is(err, cnm.NotFound) {
		err = nil
	}
	return nothing{}, err
}

func isRouted(nw *cnm.Network) bool { return nw.Options["gateway-mode"] == "routed" }

// publishRouted opens a container's ports on a routed network. The host's side of them has no meaning there.
func (p *Plugin) publishRouted(ctx context.Context, at cnm.Attachment, o options) (cnm.Attachment, error) {
	if !isRouted(&at.Network) {
		return at, nil
	}
	specs, err := bindings(o)
	if err != nil {
		return at, err
	}
	var open []cnm.PortSpec
	for _, s := range specs {
		if s = (cnm.PortSpec{Proto: s.Proto, Port: s.Port}); !slices.Contains(open, s) {
			open = append(open, s)
		}
	}
	if slices.Equal(open, at.Endpoint.Publish) {
		return at, nil
	}
	return p.ctl.Republish(ctx, at.Endpoint.ID, open)
}

// bindings are the ports that a container publishes, each once.
func bindings(o options) ([]cnm.PortSpec, error) {
	var all []portBinding
	if err := o.get(keyPortMap, &all); err != nil {
		return nil, err
	}
	var specs []cnm.PortSpec
	for _, b := range all {
		s, err := b.spec()
		if err != nil {
			return nil, err
		}
		if !slices.Contains(specs, s) {
			specs = append(specs, s)
		}
	}
	return specs, nil
}

func (b *portBinding) spec() (cnm.PortSpec, error) {
	s := cnm.PortSpec{Proto: cnm.Protocol(b.Proto), Port: b.Port, HostPort: b.HostPort, HostPortEnd: max(b.HostPort, b.HostPortEnd)}
	if !slices.Contains([]cnm.Protocol{cnm.TCP, cnm.UDP, cnm.SCTP}, s.Proto) {
		return s, cnm.FieldErrorf(cnm.Unsupported, "publish", "protocol %d cannot be published; use tcp, udp or sctp", b.Proto)
	}
	if b.Port == 0 {
		return s, cnm.FieldErrorf(cnm.Invalid, "publish", "port 0 of a container cannot be published")
	}
	if b.IP != "" {
		return s, cnm.FieldErrorf(cnm.Unsupported, "publish", "port %d is to be published for the container's address %.80q alone, which is not supported", b.Port, b.IP)
	}
	if b.HostIP == "" {
		return s, nil
	}
	a, err := netip.ParseAddr(b.HostIP)
	if err != nil || a.Zone() != "" || a.Is4In6() {
		return s, cnm.FieldErrorf(cnm.Invalid, "publish", "host address %.80q is no plain IPv4 or IPv6 address", b.HostIP)
	}
	s.HostIP = a
	return s, nil
}

// ofFamily leaves the other family's ports to another of the container's endpoints.
func ofFamily(specs []cnm.PortSpec, f cnm.Family) []cnm.PortSpec {
	var out []cnm.PortSpec
	for _, s := range specs {
		if !s.HostIP.IsValid() {
			if s.HostIP = netip.IPv6Unspecified(); f == cnm.IPv4 {
				s.HostIP = netip.IPv4Unspecified()
			}
		}
		if cnm.FamilyOf(s.HostIP) == f && !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}
