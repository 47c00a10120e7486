// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"time"

	cnm "github.com/libnetwork/cnm"
)

// Event tells of one change, after it happened. An event with object "events" and action "lost" says that the reader was
// too slow and that events are missing here.
type Event struct {
	Time       time.Time         `json:"time"`
	Object     string            `json:"object"`
	Action     string            `json:"action"`
	Name       string            `json:"name"`
	NetworkID  cnm.NetworkID     `json:"network_id"`
	EndpointID cnm.EndpointID    `json:"endpoint_id"`
	SandboxID  cnm.SandboxID     `json:"sandbox_id"`
	Detail     map[string]string `json:"detail"`
}

// FromEvent shows an event.
func FromEvent(e *cnm.Event) Event {
	return Event{
		Time: e.Time, Object: e.Object, Action: e.Action, Name: e.Name,
		NetworkID: e.Network, EndpointID: e.Endpoint, SandboxID: e.Sandbox, Detail: dict(e.Detail),
	}
}

// Driver is a driver as the API shows it.
type Driver struct {
	Name      string   `json:"name"`
	Addresses bool     `json:"addresses"`  // its networks have subnets
	HostStack bool     `json:"host_stack"` // its endpoints join the host's own stack
	Publishes bool     `json:"publishes"`
	Options   []Option `json:"options"`
	Unfit     []string `json:"unfit"` // features this kernel lacks, each with the version that has it
}

// Option is one key of a driver's options.
type Option struct {
	Key     string `json:"key"`
	On      string `json:"on"` // "network" or "endpoint"
	Type    string `json:"type"`
	Default string `json:"default"`
	Meaning string `json:"meaning"`
}

// FromDriver shows what a driver says of itself.
func FromDriver(name string, d *cnm.Description) Driver {
	out := Driver{
		Name: name, Addresses: d.Addresses, HostStack: d.HostStack, Publishes: d.Publishes,
		Options: make([]Option, 0, len(d.Options)), Unfit: list(d.Unfit),
	}
	for _, o := range d.Options {
		out.Options = append(out.Options, Option(o))
	}
	return out
}
