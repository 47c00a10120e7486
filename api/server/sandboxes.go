// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"

	"github.com/libnetwork/cnm/api/wire"
)

func (s *Server) listSandboxes(ctx context.Context, c *call) (any, error) {
	f, err := parseFilter(c.query["filter"])
	if err != nil {
		return nil, err
	}
	v := s.view(ctx)
	out := []wire.Sandbox{}
	for i := range v.Sandboxes {
		if sb := &v.Sandboxes[i]; f.match(v.ofSandbox(sb)) {
			out = append(out, v.sandbox(sb))
		}
	}
	return out, nil
}

func (s *Server) inspectSandbox(ctx context.Context, c *call) (any, error) {
	sb, err := s.ctl.LookupSandbox(c.r.PathValue("sandbox"))
	if err != nil {
		return nil, err
	}
	return s.view(ctx).sandbox(&sb), nil
}

func (s *Server) createSandbox(ctx context.Context, c *call) (any, error) {
	req, err := decode[wire.SandboxCreate](c)
	if err != nil {
		return nil, err
	}
	c.note("sandbox", req.Name)
	spec, err := req.Spec()
	if err != nil {
		return nil, err
	}
	sb, err := s.ctl.CreateSandbox(ctx, spec)
	if err != nil {
		return nil, err
	}
	c.note("sandbox_id", string(sb.ID))
	return wire.FromSandbox(&sb, nil), nil
}

func (s *Server) deleteSandbox(ctx context.Context, c *call) (any, error) {
	sb, err := s.ctl.LookupSandbox(c.r.PathValue("sandbox"))
	if err != nil {
		return nil, err
	}
	c.note("sandbox_id", string(sb.ID))
	return nil, s.ctl.DeleteSandbox(ctx, sb.ID)
}

// enterSandbox writes the sandbox's files and tells how to enter it.
func (s *Server) enterSandbox(ctx context.Context, c *call) (any, error) {
	sb, err := s.ctl.LookupSandbox(c.r.PathValue("sandbox"))
	if err != nil {
		return nil, err
	}
	c.note("sandbox_id", string(sb.ID))
	files, err := s.ctl.Files(ctx, sb.ID)
	if err != nil {
		return nil, err
	}
	return wire.FromEntry(&sb, files), nil
}
