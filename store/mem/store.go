// SPDX-License-Identifier: Apache-2.0

package mem

import (
	"cmp"
	"context"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"

	"github.com/libnetwork/cnm"
)

var _ cnm.Store = (*Store)(nil)

// Store is an empty store when made by [New]; its zero value is not one. It holds the records themselves, not copies: they are
// values that nobody changes. Its boot-scoped half is as old as the store, and always fresh. Methods are safe for concurrent use.
type Store struct {
	group uint32

	// mu guards all below. Nothing blocks while it is held.
	mu        sync.Mutex
	closed    bool
	networks  map[cnm.NetworkID]cnm.Network
	endpoints map[cnm.EndpointID]cnm.Endpoint
	sandboxes map[cnm.SandboxID]cnm.Sandbox
	joins     map[cnm.EndpointID]cnm.Join
}

// New returns an empty store.
func New() *Store {
	return &Store{
		group:     1 + rand.Uint32N(1<<31-1),
		networks:  map[cnm.NetworkID]cnm.Network{},
		endpoints: map[cnm.EndpointID]cnm.Endpoint{},
		sandboxes: map[cnm.SandboxID]cnm.Sandbox{},
		joins:     map[cnm.EndpointID]cnm.Join{},
	}
}

// Load returns everything, each slice in the order of its identifiers.
func (s *Store) Load(ctx context.Context) (cnm.Records, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(ctx); err != nil {
		return cnm.Records{}, err
	}
	return cnm.Records{
		Networks:  sorted(s.networks),
		Endpoints: sorted(s.endpoints),
		Sandboxes: sorted(s.sandboxes),
		Joins:     sorted(s.joins),
		Boot:      cnm.Boot{Fresh: true, Group: s.group},
	}, nil
}

// Put inserts or replaces the records. A record without identifier and an endpoint whose Keep differs from that of its record are
// refused as [cnm.Invalid]; then nothing has changed.
func (s *Store) Put(ctx context.Context, r cnm.Records) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(ctx); err != nil {
		return err
	}
	if err := s.check(r); err != nil {
		return err
	}
	for _, nw := range r.Networks {
		s.networks[nw.ID] = nw
	}
	for _, ep := range r.Endpoints {
		s.endpoints[ep.ID] = ep
	}
	for _, sb := range r.Sandboxes {
		s.sandboxes[sb.ID] = sb
	}
	for _, j := range r.Joins {
		s.joins[j.Endpoint] = j
	}
	return nil
}

// Drop removes what k names; what is not there is no error.
func (s *Store) Drop(ctx context.Context, k cnm.Keys) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(ctx); err != nil {
		return err
	}
	for _, id := range k.Networks {
		delete(s.networks, id)
	}
	for _, id := range k.Endpoints {
		delete(s.endpoints, id)
	}
	for _, id := range k.Sandboxes {
		delete(s.sandboxes, id)
	}
	for _, id := range k.Joins {
		delete(s.joins, id)
	}
	return nil
}

// Close makes all later calls fail. Closing again does nothing.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return nil
}

// usable tells why a call cannot begin. mu is held.
func (s *Store) usable(ctx context.Context) error {
	if s.closed {
		return cnm.Errorf(cnm.Unavailable, "the store is closed")
	}
	if ctx.Err() != nil {
		return cnm.Errorf(cnm.Unavailable, "the store was not touched: %w", context.Cause(ctx))
	}
	return nil
}

// check tells why r cannot be put. mu is held.
func (s *Store) check(r cnm.Records) error {
	for _, nw := range r.Networks {
		if nw.ID == "" {
			return cnm.Errorf(cnm.Invalid, "network %q has no identifier", nw.Name)
		}
	}
	for _, sb := range r.Sandboxes {
		if sb.ID == "" {
			return cnm.Errorf(cnm.Invalid, "sandbox %q has no identifier", sb.Name)
		}
	}
	for _, j := range r.Joins {
		if j.Endpoint == "" {
			return cnm.Errorf(cnm.Invalid, "a join to sandbox %q names no endpoint", j.Sandbox)
		}
	}
	return s.checkEndpoints(r.Endpoints)
}

// checkEndpoints sees to it that no endpoint changes its lifetime, neither against its record nor within one call. mu is held.
func (s *Store) checkEndpoints(endpoints []cnm.Endpoint) error {
	for i, ep := range endpoints {
		if ep.ID == "" {
			return cnm.Errorf(cnm.Invalid, "endpoint %q has no identifier", ep.Name)
		}
		old, known := s.endpoints[ep.ID]
		if !known {
			at := slices.IndexFunc(endpoints[:i], func(e cnm.Endpoint) bool { return e.ID == ep.ID })
			if known = at >= 0; known {
				old = endpoints[at]
			}
		}
		if known && old.Keep != ep.Keep {
			return cnm.FieldErrorf(cnm.Invalid, "keep", "endpoint %s (%s) was recorded with keep=%t and cannot become keep=%t; delete it and create it again", ep.ID, ep.Name, old.Keep, ep.Keep)
		}
	}
	return nil
}

// sorted lists the values of m in the order of their keys; nil if there are none.
func sorted[K cmp.Ordered, V any](m map[K]V) []V {
	if len(m) == 0 {
		return nil
	}
	list := make([]V, 0, len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		list = append(list, m[k])
	}
	return list
}
