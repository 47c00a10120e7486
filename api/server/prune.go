// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"errors"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/api/wire"
)

// unused is one object that a prune may delete.
type unused struct {
	name    string
	subject subject
	remove  func() error
}

// prune deletes what matches. What is in use or gone by now is no failure: it is not unused any more.
func prune(ctx context.Context, c *call, req *wire.Prune, found []unused) (any, error) {
	f, err := parseFilter(req.Filters)
	if err != nil {
		return nil, err
	}
	out := wire.Pruned{Deleted: []string{}, Errors: []wire.Error{}}
	for _, u := range found {
		if !f.match(u.subject) {
			continue
		}
		if req.DryRun {
			out.Deleted = append(out.Deleted, u.name)
			continue
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		err := u.remove()
		switch {
		case err == nil:
			c.note("deleted", u.name)
			out.Deleted = append(out.Deleted, u.name)
		case errors.Is(err, cnm.Busy), errors.Is(err, cnm.NotFound):
		default:
			out.Errors = append(out.Errors, wire.FromError(err))
		}
	}
	return out, nil
}

// pruneNetworks deletes networks without endpoints.
func (s *Server) pruneNetworks(ctx context.Context, c *call) (any, error) {
	req, err := decode[wire.Prune](c)
	if err != nil {
		return nil, err
	}
	v := s.view(ctx)
	var found []unused
	for i := range v.Networks {
		nw := &v.Networks[i]
		if len(v.members[nw.ID]) == 0 && nw.State.Settled() {
			found = append(found, unused{nw.Name, v.ofNetwork(nw), func() error { return s.ctl.DeleteNetwork(ctx, nw.ID, false) }})
		}
	}
	return prune(ctx, c, &req, found)
}

// pruneSandboxes deletes sandboxes without endpoints.
func (s *Server) pruneSandboxes(ctx context.Context, c *call) (any, error) {
	req, err := decode[wire.Prune](c)
	if err != nil {
		return nil, err
	}
	v := s.view(ctx)
	var found []unused
	for i := range v.Sandboxes {
		sb := &v.Sandboxes[i]
		if len(v.guests[sb.ID]) == 0 && sb.State.Settled() {
			found = append(found, unused{sb.Name, v.ofSandbox(sb), func() error { return s.ctl.PruneSandbox(ctx, sb.ID) }})
		}
	}
	return prune(ctx, c, &req, found)
}

// pruneEndpoints deletes endpoints that are in no sandbox and were not made to be kept.
func (s *Server) pruneEndpoints(ctx context.Context, c *call) (any, error) {
	req, err := decode[wire.Prune](c)
	if err != nil {
		return nil, err
	}
	v := s.view(ctx)
	var found []unused
	for i := range v.Endpoints {
		ep := &v.Endpoints[i]
		if v.joins[ep.ID] == nil && !ep.Keep && ep.State.Settled() {
			subject := v.ofEndpoint(ep)
			name := subject.names[len(subject.names)-1]
			found = append(found, unused{name, subject, func() error { return s.ctl.DeleteEndpoint(ctx, ep.ID, false) }})
		}
	}
	return prune(ctx, c, &req, found)
}
