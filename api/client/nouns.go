// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"strings"

	"github.com/libnetwork/cnm/api/wire"
)

// Networks lists networks. Filters are KEY=VALUE: values of one key are alternatives, keys must all match.
func (c *Client) Networks(ctx context.Context, filters ...string) (out []wire.Network, err error) {
	return out, c.call(ctx, "GET", at("v1", "networks").with("filter", filters...), nil, &out)
}

// Network shows one.
func (c *Client) Network(ctx context.Context, ref string) (out wire.Network, err error) {
	if err := checkRef("network", ref); err != nil {
		return out, err
	}
	return out, c.call(ctx, "GET", at("v1", "networks", ref), nil, &out)
}

// CreateNetwork makes one.
func (c *Client) CreateNetwork(ctx context.Context, req wire.NetworkCreate) (out wire.Network, err error) {
	return out, c.call(ctx, "POST", at("v1", "networks"), req, &out)
}

// DeleteNetwork deletes one; forced, its endpoints go first.
func (c *Client) DeleteNetwork(ctx context.Context, ref string, force bool) error {
	if err := checkRef("network", ref); err != nil {
		return err
	}
	return c.call(ctx, "DELETE", at("v1", "networks", ref).forced(force), nil, nil)
}

// PruneNetworks deletes networks without endpoints.
func (c *Client) PruneNetworks(ctx context.Context, req wire.Prune) (out wire.Pruned, err error) {
	return out, c.call(ctx, "POST", at("v1", "networks", "prune"), req, &out)
}

// Sandboxes lists sandboxes; filters as for [Client.Networks].
func (c *Client) Sandboxes(ctx context.Context, filters ...string) (out []wire.Sandbox, err error) {
	return out, c.call(ctx, "GET", at("v1", "sandboxes").with("filter", filters...), nil, &out)
}

// Sandbox shows one.
func (c *Client) Sandbox(ctx context.Context, ref string) (out wire.Sandbox, err error) {
	if err := checkRef("sandbox", ref); err != nil {
		return out, err
	}
	return out, c.call(ctx, "GET", at("v1", "sandboxes", ref), nil, &out)
}

// CreateSandbox makes one.
func (c *Client) CreateSandbox(ctx context.Context, req wire.SandboxCreate) (out wire.Sandbox, err error) {
	return out, c.call(ctx, "POST", at("v1", "sandboxes"), req, &out)
}

// DeleteSandbox detaches what is in it and deletes it. One that lacks any of the labels, KEY=VALUE, is not the one that is
// meant: that is [cnm.NotFound].
func (c *Client) DeleteSandbox(ctx context.Context, ref string, labels ...string) error {
	if err := checkRef("sandbox", ref); err != nil {
		return err
	}
	return c.call(ctx, "DELETE", at("v1", "sandboxes", ref).with("label", labels...), nil, nil)
}

// Provide makes a sandbox that is on networks and ready for a process, or nothing at all.
func (c *Client) Provide(ctx context.Context, req wire.Provide) (out wire.Provided, err error) {
	return out, c.call(ctx, "POST", at("v1", "provide"), req, &out)
}

// PruneSandboxes deletes sandboxes without endpoints.
func (c *Client) PruneSandboxes(ctx context.Context, req wire.Prune) (out wire.Pruned, err error) {
	return out, c.call(ctx, "POST", at("v1", "sandboxes", "prune"), req, &out)
}

// Enter has the sandbox's name files written and tells how to start a process in it.
func (c *Client) Enter(ctx context.Context, ref string) (out wire.Entry, err error) {
	if err := checkRef("sandbox", ref); err != nil {
		return out, err
	}
	return out, c.call(ctx, "POST", at("v1", "sandboxes", ref, "enter"), nil, &out)
}

// Endpoints lists endpoints; filters as for [Client.Networks].
func (c *Client) Endpoints(ctx context.Context, filters ...string) (out []wire.Endpoint, err error) {
	return out, c.call(ctx, "GET", at("v1", "endpoints").with("filter", filters...), nil, &out)
}

// endpointPath is NETWORK/NAME or an ID as a path.
func endpointPath(ref string) (target, error) {
	network, name, both := strings.Cut(ref, "/")
	if err := checkRef("endpoint", network); err != nil {
		return target{}, err
	}
	if !both {
		return at("v1", "endpoints", ref), nil
	}
	return at("v1", "endpoints", network, name), checkRef("endpoint", name)
}

// Endpoint shows one.
func (c *Client) Endpoint(ctx context.Context, ref string) (out wire.Endpoint, err error) {
	to, err := endpointPath(ref)
	if err != nil {
		return out, err
	}
	return out, c.call(ctx, "GET", to, nil, &out)
}

// CreateEndpoint makes one.
func (c *Client) CreateEndpoint(ctx context.Context, req wire.EndpointCreate) (out wire.Endpoint, err error) {
	return out, c.call(ctx, "POST", at("v1", "endpoints"), req, &out)
}

// DeleteEndpoint deletes one; forced, it leaves its sandbox first.
func (c *Client) DeleteEndpoint(ctx context.Context, ref string, force bool) error {
	to, err := endpointPath(ref)
	if err != nil {
		return err
	}
	return c.call(ctx, "DELETE", to.forced(force), nil, nil)
}

// PruneEndpoints deletes endpoints that are in no sandbox and were not made to be kept.
func (c *Client) PruneEndpoints(ctx context.Context, req wire.Prune) (out wire.Pruned, err error) {
	return out, c.call(ctx, "POST", at("v1", "endpoints", "prune"), req, &out)
}
