// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"context"
	"errors"
	"net/netip"
	"slices"

	cnm "github.com/libnetwork/cnm"
)

func (p *Plugin) createEndpoint(ctx context.Context, r endpointRequest) (any, error) {
	nw, err := networkID(r.NetworkID)
	if err != nil {
		return nil, err
	}
	spec, err := endpointSpec(&r)
	if err != nil {
		return nil, err
	}
	if have, err := p.ctl.LookupAttachment(spec.ID); err == nil {
		return answerEndpoint(&r, &have.Endpoint), sameEndpoint(&have, nw, &spec)
	}
	ep, err := p.ctl.CreateEndpoint(ctx, nw, spec)
	if e, ok := errors.AsType[*cnm.Error](err); ok && e.Kind == cnm.Exists && e.Field == "ip" {
		if err := p.endForgotten(ctx, nw, spec.Addresses); err != nil {
			return nil, err
		}
		ep, err = p.ctl.CreateEndpoint(ctx, nw, spec)
	}
	if err != nil {
		return nil, p.explain(err, r.NetworkID)
	}
	return answerEndpoint(&r, &ep), nil
}

// sameEndpoint lets Docker ask again for what it has, and for nothing else by the same identifier.
func sameEndpoint(have *cnm.Attachment, nw cnm.NetworkID, want *cnm.EndpointSpec) error {
	same := have.Network.ID == nw && have.Endpoint.State.Settled() && (want.MAC == cnm.MAC{} || want.MAC == have.Endpoint.MAC)
	for _, a := range want.Addresses {
		same = same && have.Endpoint.Address(cnm.FamilyOf(a)) == a
	}
	if !same {
		return cnm.FieldErrorf(cnm.Exists, "EndpointID", "endpoint %s exists with other addresses, or is %s", have.Endpoint.ID, have.Endpoint.State)
	}
	return nil
}

// explain says what to do about a network that we do not have.
func (p *Plugin) explain(err error, id string) error {
	if e, ok := errors.AsType[*cnm.Error](err); ok && e.Kind == cnm.NotFound && e.Field == "network" {
		return cnm.FieldErrorf(cnm.NotFound, "network", "network %.12s is not here any more; remove it from Docker and make it again: %w", id, err)
	}
	return err
}

// endpointSpec is Docker's endpoint as a controller takes it.
func endpointSpec(r *endpointRequest) (cnm.EndpointSpec, error) {
	id, err := endpointID(r.EndpointID)
	if err != nil {
		return cnm.EndpointSpec{}, err
	}
	spec := cnm.EndpointSpec{ID: id, Name: r.EndpointID[:nameDigits], Labels: map[string]string{labelEndpoint: r.EndpointID}}
	for _, text := range []string{r.Interface.Address, r.Interface.AddressIPv6} {
		if text == "" {
			continue
		}
		a, err := netip.ParsePrefix(text)
		if err != nil {
			return cnm.EndpointSpec{}, cnm.FieldErrorf(cnm.Invalid, "ip", "address %.80q is no address with the length of its subnet", text)
		}
		spec.Addresses = append(spec.Addresses, a.Addr())
	}
	if r.Interface.MacAddress != "" {
		if spec.MAC, err = cnm.ParseMAC(r.Interface.MacAddress); err != nil {
			return cnm.EndpointSpec{}, err
		}
	}
	return spec, decodeEndpointOptions(r.Options, &spec)
}

// answerEndpoint tells what Docker left open; it takes no word about what it gave.
func answerEndpoint(r *endpointRequest, ep *cnm.Endpoint) endpointAnswer {
	var a endpointAnswer
	if r.Interface.MacAddress == "" {
		a.Interface.MacAddress = ep.MAC.String()
	}
	for _, f := range []struct {
		given  string
		answer *string
		family cnm.Family
	}{{r.Interface.Address, &a.Interface.Address, cnm.IPv4}, {r.Interface.AddressIPv6, &a.Interface.AddressIPv6, cnm.IPv6}} {
		i := slices.IndexFunc(ep.Addresses, func(p netip.Prefix) bool { return cnm.FamilyOf(p.Addr()) == f.family })
		if f.given == "" && i >= 0 {
			*f.answer = ep.Addresses[i].String()
		}
	}
	return a
}

func (p *Plugin) deleteEndpoint(ctx context.Context, r endpointRequest) (any, error) {
	id, err := endpointID(r.EndpointID)
	if err != nil {
		return nil, err
	}
	return nothing{}, p.away(ctx, id, func(ctx context.Context) error { return p.ctl.DeleteEndpoint(ctx, id, true) })
}

// endpointOperInfo has nothing that Docker could show.
func (p *Plugin) endpointOperInfo(_ context.Context, r endpointRequest) (any, error) {
	_, err := endpointID(r.EndpointID)
	return infoAnswer{Value: map[string]string{}}, err
}
