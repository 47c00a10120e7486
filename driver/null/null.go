// SPDX-License-Identifier: Apache-2.0

// Package null is the driver of networks that connect nothing: a sandbox on one has a loopback interface only.
package null

import (
	"context"

	cnm "github.com/libnetwork/cnm"
)

// Driver makes null networks. The zero value is ready; it keeps nothing and is safe for concurrent use.
type Driver struct{}

var (
	_ cnm.Driver    = Driver{}
	_ cnm.Describer = Driver{}
)

// Describe says that there are no addresses and no ports.
func (Driver) Describe(context.Context) cnm.Description { return cnm.Description{} }

// CreateNetwork has nothing to make.
func (Driver) CreateNetwork(context.Context, cnm.Network) error { return nil }

// DeleteNetwork has nothing to remove.
func (Driver) DeleteNetwork(context.Context, cnm.Network) error { return nil }

// CreateEndpoint decides nothing, and refuses what a network without links cannot give.
func (Driver) CreateEndpoint(_ context.Context, nw cnm.Network, ep cnm.Endpoint) (cnm.EndpointPatch, error) {
	if ep.MAC.IsValid() {
		return cnm.EndpointPatch{}, cnm.FieldErrorf(cnm.Unsupported, "mac", "network %q has no links; an endpoint there has no mac", nw.Name)
	}
	return cnm.EndpointPatch{}, nil
}

// DeleteEndpoint has nothing to forget.
func (Driver) DeleteEndpoint(context.Context, cnm.Network, cnm.Endpoint) error { return nil }

// Join makes no link.
func (Driver) Join(context.Context, cnm.JoinRequest) (cnm.JoinResult, error) {
	return cnm.JoinResult{}, nil
}

// Leave has nothing to undo.
func (Driver) Leave(context.Context, cnm.Attachment) error { return nil }
