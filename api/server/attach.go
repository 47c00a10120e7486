// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/api/wire"
)

func (s *Server) attach(ctx context.Context, c *call) (any, error) {
	req, err := decode[wire.Attach](c)
	if err != nil {
		return nil, err
	}
	spec, err := req.Specs()
	if err != nil {
		return nil, err
	}
	if spec.Sandbox, spec.Network, err = s.pair(c, req.Sandbox, req.Network); err != nil {
		return nil, err
	}
	at, err := s.ctl.Attach(ctx, spec)
	if err != nil {
		return nil, err
	}
	c.note("endpoint_id", string(at.Endpoint.ID))
	return wire.FromAttachment(&at), nil
}

// pair finds a sandbox and a network.
func (s *Server) pair(c *call, sandbox, network string) (cnm.SandboxID, cnm.NetworkID, error) {
	c.note("sandbox", sandbox)
	sb, err := s.ctl.LookupSandbox(sandbox)
	if err != nil {
		return "", "", err
	}
	c.note("network", network)
	nw, err := s.ctl.LookupNetwork(network)
	return sb.ID, nw.ID, err
}

func (s *Server) detach(ctx context.Context, c *call) (any, error) {
	req, err := decode[wire.Detach](c)
	if err != nil {
		return nil, err
	}
	sb, nw, err := s.pair(c, req.Sandbox, req.Network)
	if err != nil {
		return nil, err
	}
	return nil, s.ctl.Detach(ctx, sb, nw)
}

// publish answers with the endpoints whose ports changed.
func (s *Server) publish(ctx context.Context, c *call) (any, error) {
	req, err := decode[wire.Publish](c)
	if err != nil {
		return nil, err
	}
	add, remove, err := req.Specs()
	if err != nil {
		return nil, err
	}
	var at []cnm.Attachment
	if req.Endpoint != "" {
		at, err = s.publishEndpoint(ctx, c, req.Endpoint, add, remove)
	} else {
		at, err = s.publishSandbox(ctx, c, &req, add, remove)
	}
	if err != nil {
		return nil, err
	}
	out := make([]wire.Endpoint, 0, len(at))
	for i := range at {
		out = append(out, wire.FromAttachment(&at[i]))
	}
	return out, nil
}

func (s *Server) publishEndpoint(ctx context.Context, c *call, ref string, add, remove []cnm.PortSpec) ([]cnm.Attachment, error) {
	c.note("endpoint", ref)
	ep, err := s.endpointRef(ref)
	if err != nil {
		return nil, err
	}
	at, err := s.ctl.Publish(ctx, ep.ID, add, remove)
	return []cnm.Attachment{at}, err
}

func (s *Server) publishSandbox(ctx context.Context, c *call, req *wire.Publish, add, remove []cnm.PortSpec) ([]cnm.Attachment, error) {
	c.note("sandbox", req.Sandbox)
	sb, err := s.ctl.LookupSandbox(req.Sandbox)
	if err != nil {
		return nil, err
	}
	var nw cnm.Network
	if req.Network != "" {
		c.note("network", req.Network)
		if nw, err = s.ctl.LookupNetwork(req.Network); err != nil {
			return nil, err
		}
	}
	return s.ctl.PublishOn(ctx, sb.ID, nw.ID, add, remove)
}
