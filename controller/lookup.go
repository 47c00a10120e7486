// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"errors"
	"slices"
	"strings"

	cnm "github.com/libnetwork/cnm"
)

// A reference is looked up as full ID, then name, then ID prefix of prefixMin digits or more.
const prefixMin = 4

// LookupNetwork finds a network by reference. An ambiguous one is an error that lists the matches.
func (c *Controller) LookupNetwork(ref string) (cnm.Network, error) {
	t := c.table
	t.mu.RLock()
	defer t.mu.RUnlock()
	id, err := find("network", ref, t.networks, t.networkNames, func(nw cnm.Network) string { return nw.Name })
	if err != nil {
		return cnm.Network{}, err
	}
	return t.networks[id], nil
}

// LookupSandbox finds a sandbox by reference, as LookupNetwork.
func (c *Controller) LookupSandbox(ref string) (cnm.Sandbox, error) {
	t := c.table
	t.mu.RLock()
	defer t.mu.RUnlock()
	id, err := find("sandbox", ref, t.sandboxes, t.sandboxNames, func(sb cnm.Sandbox) string { return sb.Name })
	if err != nil {
		return cnm.Sandbox{}, err
	}
	return t.sandboxes[id], nil
}

// LookupEndpoint finds an endpoint of a network by reference.
func (c *Controller) LookupEndpoint(networkRef, ref string) (cnm.Endpoint, error) {
	nw, err := c.LookupNetwork(networkRef)
	if err != nil {
		return cnm.Endpoint{}, err
	}
	t := c.table
	t.mu.RLock()
	defer t.mu.RUnlock()
	names := t.endpointNames[nw.ID]
	of := make(map[cnm.EndpointID]cnm.Endpoint, len(names))
	if id, ok := names[cnm.FoldName(ref)]; ok && !isID(ref) {
		return t.endpoints[id], nil
	}
	for _, id := range names {
		of[id] = t.endpoints[id]
	}
	id, err := find("endpoint", ref, of, names, func(ep cnm.Endpoint) string { return nw.Name + "/" + ep.Name })
	if errors.Is(err, cnm.NotFound) {
		return cnm.Endpoint{}, cnm.FieldErrorf(cnm.NotFound, "endpoint", "no endpoint %q on network %q", ref, nw.Name)
	}
	if err != nil {
		return cnm.Endpoint{}, err
	}
	return of[id], nil
}

// LookupEndpointID finds an endpoint by ID, ID prefix or NETWORK/NAME.
func (c *Controller) LookupEndpointID(ref string) (cnm.Endpoint, error) {
	if nw, name, ok := strings.Cut(ref, "/"); ok {
		return c.LookupEndpoint(nw, name)
	}
	t := c.table
	t.mu.RLock()
	defer t.mu.RUnlock()
	id, err := find("endpoint", ref, t.endpoints, nil, func(ep cnm.Endpoint) string { return t.networks[ep.Network].Name + "/" + ep.Name })
	if errors.Is(err, cnm.NotFound) {
		return cnm.Endpoint{}, cnm.FieldErrorf(cnm.NotFound, "endpoint", "no endpoint %q; write it as NETWORK/NAME, or as an ID", ref)
	}
	if err != nil {
		return cnm.Endpoint{}, err
	}
	return t.endpoints[id], nil
}

// isID tells whether s has the form of a full identifier.
func isID(s string) bool {
	return len(s) == 32 && strings.Trim(s, "0123456789abcdef") == ""
}

// chosen is the identifier that a caller drew, or a fresh one.
func chosen[ID ~string](id ID, draw func() ID) (ID, error) {
	if id == "" {
		return draw(), nil
	}
	if !isID(string(id)) {
		return "", cnm.FieldErrorf(cnm.Invalid, "id", "id %.80q is not 32 lower-case hexadecimal digits drawn at random; leave it out to have one drawn", string(id))
	}
	return id, nil
}

// find resolves a reference among the objects of one noun.
func find[ID ~string, T any](noun, ref string, of map[ID]T, names map[string]ID, name func(T) string) (ID, error) {
	if _, ok := of[ID(ref)]; ok {
		return ID(ref), nil
	}
	if id, ok := names[cnm.FoldName(ref)]; ok {
		return id, nil
	}
	var match []ID
	if len(ref) >= prefixMin && strings.Trim(ref, "0123456789abcdef") == "" {
		for id := range of {
			if strings.HasPrefix(string(id), ref) {
				match = append(match, id)
			}
		}
	}
	switch len(match) {
	case 0:
		return "", cnm.FieldErrorf(cnm.NotFound, noun, "no %s %q", noun, ref)
	case 1:
		return match[0], nil
	}
	slices.Sort(match)
	list := make([]string, len(match))
	for i, id := range match {
		list[i] = string(id[:12]) + " (" + name(of[id]) + ")"
	}
	return "", cnm.FieldErrorf(cnm.Invalid, noun, "%s %q is ambiguous: %s; give more digits", noun, ref, strings.Join(list, ", "))
}

// LookupAttachment finds an endpoint by its full ID, with the records around it; without a join, those of Join and Sandbox are zero.
func (c *Controller) LookupAttachment(id cnm.EndpointID) (cnm.Attachment, error) {
	at, ok := c.table.attachment(id)
	if !ok {
		return cnm.Attachment{}, noEndpoint(id)
	}
	return at, nil
}

// Records is a snapshot of all settled and unsettled records, oldest first. The caller owns the slices.
func (c *Controller) Records(context.Context) cnm.Records {
	t := c.table
	t.mu.RLock()
	defer t.mu.RUnlock()
	var r cnm.Records
	for _, v := range t.networks {
		r.Networks = append(r.Networks, v)
	}
	for _, v := range t.sandboxes {
		r.Sandboxes = append(r.Sandboxes, v)
	}
	for _, v := range t.endpoints {
		r.Endpoints = append(r.Endpoints, v)
	}
	for _, v := range t.joins {
		r.Joins = append(r.Joins, v)
	}
	slices.SortFunc(r.Networks, func(a, b cnm.Network) int {
		return earlier(a.Created.Compare(b.Created), string(a.ID), string(b.ID))
	})
	slices.SortFunc(r.Sandboxes, func(a, b cnm.Sandbox) int {
		return earlier(a.Created.Compare(b.Created), string(a.ID), string(b.ID))
	})
	slices.SortFunc(r.Endpoints, func(a, b cnm.Endpoint) int {
		return earlier(a.Created.Compare(b.Created), string(a.ID), string(b.ID))
	})
	slices.SortFunc(r.Joins, func(a, b cnm.Join) int {
		return earlier(a.Joined.Compare(b.Joined), string(a.Endpoint), string(b.Endpoint))
	})
	return r
}

func earlier(byTime int, a, b string) int {
	if byTime != 0 {
		return byTime
	}
	return strings.Compare(a, b)
}
