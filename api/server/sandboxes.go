// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"strings"

	cnm "github.com/libnetwork/cnm"
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
	for _, label := range c.query["label"] {
		if err := labelled(&sb, label); err != nil {
			return nil, err
		}
	}
	return nil, s.ctl.DeleteSandbox(ctx, sb.ID)
}

// labelled refuses a sandbox without the label KEY=VALUE: it is not the one that is meant.
func labelled(sb *cnm.Sandbox, label string) error {
	key, value, ok := strings.Cut(label, "=")
	if !ok || key == "" {
		return cnm.FieldErrorf(cnm.Invalid, "label", "label %q is not KEY=VALUE", label)
	}
	if has, ok := sb.Labels[key]; !ok || has != value {
		return cnm.FieldErrorf(cnm.NotFound, "label", "sandbox %q is not labelled %s", sb.Name, label)
	}
	return nil
}

// provide answers with the sandbox, what is in it, and where its name files are.
func (s *Server) provide(ctx context.Context, c *call) (any, error) {
	req, err := decode[wire.Provide](c)
	if err != nil {
		return nil, err
	}
	c.note("sandbox", req.Name)
	spec, on, publish, err := req.Specs()
	if err != nil {
		return nil, err
	}
	for i := range on {
		nw, err := s.ctl.LookupNetwork(req.Attach[i].Network)
		if err != nil {
			return nil, err
		}
		on[i].Network = nw.ID
	}
	sb, at, files, err := s.ctl.Provide(ctx, spec, on, publish)
	if err != nil {
		return nil, err
	}
	c.note("sandbox_id", string(sb.ID))
	return wire.FromProvided(&sb, at, files), nil
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
