// SPDX-License-Identifier: Apache-2.0

// Package host is the driver of networks that are the host's own stack: its endpoints have no link and no address of
// their own, and are in the one sandbox that is the host's namespace.
package host

import (
	"context"

	cnm "github.com/libnetwork/cnm"
)

// Driver makes host networks. The zero value is ready; it keeps nothing and is safe for concurrent use.
type Driver struct{}

var (
	_ cnm.Driver    = Driver{}
	_ cnm.Describer = Driver{}
)

// Describe says that endpoints join the host's own stack, have no addresses and publish no ports: what listens there listens on
// the host.
func (Driver) Describe(context.Context) cnm.Description {
	return cnm.Description{HostStack: true}
}

// CreateNetwork has nothing to make.
func (Driver) CreateNetwork(context.Context, cnm.Network) error { return nil }

// DeleteNetwork has nothing to remove.
func (Driver) DeleteNetwork(context.Context, cnm.Network) error { return nil }

// CreateEndpoint decides nothing, and refuses what the host's stack cannot give an endpoint.
func (Driver) CreateEndpoint(_ context.Context, nw cnm.Network, ep cnm.Endpoint) (cnm.EndpointPatch, error) {
	if ep.MAC.IsValid() {
		return cnm.EndpointPatch{}, cnm.FieldErrorf(cnm.Unsupported, "mac", "network %q is the host's own stack; an endpoint there has no mac of its own", nw.Name)
	}
	return cnm.EndpointPatch{}, nil
}

// DeleteEndpoint has nothing to forget.
func (Driver) DeleteEndpoint(context.Context, cnm.Network, cnm.Endpoint) error { return nil }

// Join makes no link: the sandbox is the host's stack already. Any other sandbox is refused.
func (Driver) Join(_ context.Context, req cnm.JoinRequest) (cnm.JoinResult, error) {
	if !req.Sandbox.Host {
		return cnm.JoinResult{}, cnm.FieldErrorf(cnm.Invalid, "sandbox", "network %q is the host's own; only the sandbox made with --netns host may be on it", req.Network.Name)
	}
	return cnm.JoinResult{}, nil
}

// Leave has nothing to undo.
func (Driver) Leave(context.Context, cnm.Attachment) error { return nil }
