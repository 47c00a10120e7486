// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/api/wire"
)

// view is one snapshot of the records, indexed for showing.
type view struct {
	cnm.Records
	networks  map[cnm.NetworkID]*cnm.Network
	sandboxes map[cnm.SandboxID]*cnm.Sandbox
	joins     map[cnm.EndpointID]*cnm.Join
	members   map[cnm.NetworkID][]*cnm.Endpoint
	guests    map[cnm.SandboxID][]*cnm.Endpoint
}

func (s *Server) view(ctx context.Context) *view {
	v := &view{
		Records:   s.ctl.Records(ctx),
		networks:  map[cnm.NetworkID]*cnm.Network{},
		sandboxes: map[cnm.SandboxID]*cnm.Sandbox{},
		joins:     map[cnm.EndpointID]*cnm.Join{},
		members:   map[cnm.NetworkID][]*cnm.Endpoint{},
		guests:    map[cnm.SandboxID][]*cnm.Endpoint{},
	}
	for i := range v.Networks {
		v.networks[v.Networks[i].ID] = &v.Networks[i]
	}
	for i := range v.Sandboxes {
		v.sandboxes[v.Sandboxes[i].ID] = &v.Sandboxes[i]
	}
	for i := range v.Joins {
		v.joins[v.Joins[i].Endpoint] = &v.Joins[i]
	}
	for i := range v.Endpoints {
		ep := &v.Endpoints[i]
		v.members[ep.Network] = append(v.members[ep.Network], ep)
		if j := v.joins[ep.ID]; j != nil {
			v.guests[j.Sandbox] = append(v.guests[j.Sandbox], ep)
		}
	}
	return v
}

func (v *view) network(nw *cnm.Network) wire.Network {
	names := make([]string, 0, len(v.members[nw.ID]))
	for _, ep := range v.members[nw.ID] {
		names = append(names, ep.Name)
	}
	return wire.FromNetwork(nw, names)
}

func (v *view) sandbox(sb *cnm.Sandbox) wire.Sandbox {
	eps := make([]wire.Endpoint, 0, len(v.guests[sb.ID]))
	for _, ep := range v.guests[sb.ID] {
		eps = append(eps, v.endpoint(ep))
	}
	return wire.FromSandbox(sb, eps)
}

func (v *view) endpoint(ep *cnm.Endpoint) wire.Endpoint {
	at := cnm.Attachment{Endpoint: *ep}
	if nw := v.networks[ep.Network]; nw != nil {
		at.Network = *nw
	}
	j := v.joins[ep.ID]
	if j == nil {
		return wire.FromEndpoint(at.Network.Name, ep)
	}
	at.Join = *j
	if sb := v.sandboxes[j.Sandbox]; sb != nil {
		at.Sandbox = *sb
	}
	return wire.FromAttachment(&at)
}

// subjects of filters.

func (v *view) ofNetwork(nw *cnm.Network) subject {
	s := subject{id: string(nw.ID), names: []string{nw.Name}, labels: nw.Labels, state: string(nw.State)}
	s.drivers, s.networks = []string{nw.Driver}, []named{{string(nw.ID), nw.Name}}
	for _, ep := range v.members[nw.ID] {
		s.sandboxes = append(s.sandboxes, v.sandboxOf(ep)...)
	}
	return s
}

func (v *view) ofSandbox(sb *cnm.Sandbox) subject {
	s := subject{id: string(sb.ID), names: []string{sb.Name}, labels: sb.Labels, state: string(sb.State)}
	s.sandboxes = []named{{string(sb.ID), sb.Name}}
	for _, ep := range v.guests[sb.ID] {
		if nw := v.networks[ep.Network]; nw != nil {
			s.drivers = append(s.drivers, nw.Driver)
			s.networks = append(s.networks, named{string(nw.ID), nw.Name})
		}
	}
	return s
}

func (v *view) ofEndpoint(ep *cnm.Endpoint) subject {
	s := subject{id: string(ep.ID), names: []string{ep.Name}, labels: ep.Labels, state: string(ep.State)}
	s.sandboxes = v.sandboxOf(ep)
	if nw := v.networks[ep.Network]; nw != nil {
		s.names = append(s.names, nw.Name+"/"+ep.Name)
		s.drivers = []string{nw.Driver}
		s.networks = []named{{string(nw.ID), nw.Name}}
	}
	return s
}

func (v *view) sandboxOf(ep *cnm.Endpoint) []named {
	j := v.joins[ep.ID]
	if j == nil || v.sandboxes[j.Sandbox] == nil {
		return nil
	}
	return []named{{string(j.Sandbox), v.sandboxes[j.Sandbox].Name}}
}
