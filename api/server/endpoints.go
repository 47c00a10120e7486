// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"strings"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/api/wire"
)

func (s *Server) listEndpoints(ctx context.Context, c *call) (any, error) {
	f, err := parseFilter(c.query["filter"])
	if err != nil {
		return nil, err
	}
	v := s.view(ctx)
	out := []wire.Endpoint{}
	for i := range v.Endpoints {
		if ep := &v.Endpoints[i]; f.match(v.ofEndpoint(ep)) {
			out = append(out, v.endpoint(ep))
		}
	}
	return out, nil
}

// endpointAt finds the endpoint that a path names: by network and name, or by ID.
func (s *Server) endpointAt(c *call) (cnm.Endpoint, error) {
	if id := c.r.PathValue("id"); id != "" {
		return s.ctl.LookupEndpointID(id)
	}
	return s.ctl.LookupEndpoint(c.r.PathValue("network"), c.r.PathValue("name"))
}

// endpointRef finds the endpoint that a body names: NETWORK/NAME, or an ID.
func (s *Server) endpointRef(ref string) (cnm.Endpoint, error) {
	if network, name, ok := strings.Cut(ref, "/"); ok {
		return s.ctl.LookupEndpoint(network, name)
	}
	return s.ctl.LookupEndpointID(ref)
}

func (s *Server) inspectEndpoint(ctx context.Context, c *call) (any, error) {
	ep, err := s.endpointAt(c)
	if err != nil {
		return nil, err
	}
	return s.view(ctx).endpoint(&ep), nil
}

func (s *Server) createEndpoint(ctx context.Context, c *call) (any, error) {
	req, err := decode[wire.EndpointCreate](c)
	if err != nil {
		return nil, err
	}
	c.note("endpoint", req.Network+"/"+req.Name)
	spec, err := req.Spec()
	if err != nil {
		return nil, err
	}
	nw, err := s.ctl.LookupNetwork(req.Network)
	if err != nil {
		return nil, err
	}
	ep, err := s.ctl.CreateEndpoint(ctx, nw.ID, spec)
	if err != nil {
		return nil, err
	}
	c.note("endpoint_id", string(ep.ID))
	return wire.FromEndpoint(nw.Name, &ep), nil
}

func (s *Server) deleteEndpoint(ctx context.Context, c *call) (any, error) {
	force, err := c.force()
	if err != nil {
		return nil, err
	}
	ep, err := s.endpointAt(c)
	if err != nil {
		return nil, err
	}
	c.note("endpoint_id", string(ep.ID))
	return nil, s.ctl.DeleteEndpoint(ctx, ep.ID, force)
}

func (s *Server) join(ctx context.Context, c *call) (any, error) {
	req, err := decode[wire.Join](c)
	if err != nil {
		return nil, err
	}
	c.note("endpoint", req.Endpoint)
	c.note("sandbox", req.Sandbox)
	ep, err := s.endpointRef(req.Endpoint)
	if err != nil {
		return nil, err
	}
	sb, err := s.ctl.LookupSandbox(req.Sandbox)
	if err != nil {
		return nil, err
	}
	at, err := s.ctl.Join(ctx, ep.ID, sb.ID, req.JoinSettings.Spec())
	if err != nil {
		return nil, err
	}
	return wire.FromAttachment(&at), nil
}

func (s *Server) leave(ctx context.Context, c *call) (any, error) {
	req, err := decode[wire.Leave](c)
	if err != nil {
		return nil, err
	}
	c.note("endpoint", req.Endpoint)
	ep, err := s.endpointRef(req.Endpoint)
	if err != nil {
		return nil, err
	}
	return nil, s.ctl.Leave(ctx, ep.ID)
}
