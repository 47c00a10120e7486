// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/api/wire"
)

func (s *Server) listNetworks(ctx context.Context, c *call) (any, error) {
	f, err := parseFilter(c.query["filter"])
	if err == nil && c.role < Change {
		err = f.public()
	}
	if err != nil {
		return nil, err
	}
	v := s.view(ctx)
	out := []wire.Network{}
	for i := range v.Networks {
		if nw := &v.Networks[i]; f.match(v.ofNetwork(nw)) {
			out = append(out, c.show(v.network(nw)))
		}
	}
	return out, nil
}

// show leaves out what the caller may not see.
func (c *call) show(nw wire.Network) wire.Network {
	if c.role < Change {
		return nw.Public()
	}
	return nw
}

func (s *Server) inspectNetwork(ctx context.Context, c *call) (any, error) {
	nw, err := s.ctl.LookupNetwork(c.r.PathValue("network"))
	if err != nil {
		return nil, err
	}
	return c.show(s.view(ctx).network(&nw)), nil
}

func (s *Server) createNetwork(ctx context.Context, c *call) (any, error) {
	req, err := decode[wire.NetworkCreate](c)
	if err != nil {
		return nil, err
	}
	c.note("network", req.Name)
	spec, err := req.Spec()
	if err != nil {
		return nil, err
	}
	nw, err := s.ctl.CreateNetwork(ctx, spec)
	if err != nil {
		return nil, err
	}
	c.note("network_id", string(nw.ID))
	return wire.FromNetwork(&nw, nil), nil
}

func (s *Server) deleteNetwork(ctx context.Context, c *call) (any, error) {
	force, err := c.force()
	if err != nil {
		return nil, err
	}
	nw, err := s.ctl.LookupNetwork(c.r.PathValue("network"))
	if err != nil {
		return nil, err
	}
	c.note("network_id", string(nw.ID))
	return nil, s.ctl.DeleteNetwork(ctx, nw.ID, force)
}

// force reads ?force=true.
func (c *call) force() (bool, error) {
	values := c.query["force"]
	switch {
	case len(values) == 0:
		return false, nil
	case len(values) == 1 && values[0] == "true":
		return true, nil
	case len(values) == 1 && values[0] == "false":
		return false, nil
	default:
		return false, cnm.FieldErrorf(cnm.Invalid, "force", "query force is %q; it is true or false", values)
	}
}
