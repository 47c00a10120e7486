// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"

	cnm "github.com/libnetwork/cnm"
)

// Controller is what the server needs of the orchestrator. All methods may be called concurrently; errors are [cnm.Error]
// values.
type Controller interface {
	Networks
	Sandboxes
	Endpoints
	Attachments
	Observer
}

// Networks finds, makes and deletes networks. A reference is a full ID, a name without regard to case, or an ID prefix of at least four digits, in
// that order; an ambiguous one is [cnm.Invalid] and lists the matches.
type Networks interface {
	LookupNetwork(ref string) (cnm.Network, error)
	CreateNetwork(ctx context.Context, spec cnm.NetworkSpec) (cnm.Network, error)
	// DeleteNetwork refuses a network that has endpoints with [cnm.Busy], unless forced: then they go first.
	DeleteNetwork(ctx context.Context, id cnm.NetworkID, force bool) error
}

// Sandboxes finds, makes and deletes sandboxes; references as for [Networks].
type Sandboxes interface {
	LookupSandbox(ref string) (cnm.Sandbox, error)
	CreateSandbox(ctx context.Context, spec cnm.SandboxSpec) (cnm.Sandbox, error)
	// Provide makes a sandbox that is on networks, with its name files written, or nothing at all. The ports of publish belong, per
	// family, to the endpoint that holds the default route.
	Provide(ctx context.Context, spec cnm.SandboxSpec, on []cnm.AttachSpec, publish []cnm.PortSpec) (cnm.Sandbox, []cnm.Attachment, cnm.NameFiles, error)
	// DeleteSandbox detaches what is in it.
	DeleteSandbox(ctx context.Context, id cnm.SandboxID) error
	// PruneSandbox refuses a sandbox that has endpoints with [cnm.Busy].
	PruneSandbox(ctx context.Context, id cnm.SandboxID) error
	// Files writes the sandbox's name files and tells where they are.
	Files(ctx context.Context, id cnm.SandboxID) (cnm.NameFiles, error)
}

// Endpoints finds, makes and deletes endpoints.
type Endpoints interface {
	// LookupEndpoint takes a reference of the network and the endpoint's name, ID or ID prefix in it.
	LookupEndpoint(network, name string) (cnm.Endpoint, error)
	// LookupEndpointID takes a full ID or an ID prefix.
	LookupEndpointID(ref string) (cnm.Endpoint, error)
	CreateEndpoint(ctx context.Context, nw cnm.NetworkID, spec cnm.EndpointSpec) (cnm.Endpoint, error)
	// DeleteEndpoint refuses an endpoint in a sandbox with [cnm.Busy], unless forced: then it leaves first.
	DeleteEndpoint(ctx context.Context, id cnm.EndpointID, force bool) error
}

// Attachments ties endpoints to sandboxes and publishes their ports.
type Attachments interface {
	Join(ctx context.Context, ep cnm.EndpointID, sb cnm.SandboxID, spec cnm.JoinSpec) (cnm.Attachment, error)
	Leave(ctx context.Context, ep cnm.EndpointID) error
	Attach(ctx context.Context, spec cnm.AttachSpec) (cnm.Attachment, error)
	Detach(ctx context.Context, sb cnm.SandboxID, nw cnm.NetworkID) error
	Publish(ctx context.Context, ep cnm.EndpointID, add, remove []cnm.PortSpec) (cnm.Attachment, error)
	// PublishOn acts on the sandbox's endpoint on nw; with "" on the one, per family, that holds the default gateway.
	PublishOn(ctx context.Context, sb cnm.SandboxID, nw cnm.NetworkID, add, remove []cnm.PortSpec) ([]cnm.Attachment, error)
}

// Observer tells what there is and what happens.
type Observer interface {
	// Records is a snapshot, sorted by creation.
	Records(ctx context.Context) cnm.Records
	Drivers(ctx context.Context) map[string]cnm.Description
	// Events is closed with ctx. A reader that is too slow gets one event with object "events" and action "lost" in place of those it missed.
	Events(ctx context.Context) <-chan cnm.Event
	// Ready checks the parts; an empty Err is a part that works.
	Ready(ctx context.Context) []Check
}

// Check is one part's health.
type Check = struct {
	Name string
	Err  error
}
