// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"net/netip"
	"time"

	cnm "github.com/libnetwork/cnm"
)

// Network is a network as the API shows it. A caller who may only read gets neither labels nor options nor endpoints:
// those keys are then missing.
type Network struct {
	ID               cnm.NetworkID     `json:"id"`
	Name             string            `json:"name"`
	Driver           string            `json:"driver"`
	Subnets          []Subnet          `json:"subnets"`
	IPv4             bool              `json:"ipv4"`
	IPv6             bool              `json:"ipv6"`
	Internal         bool              `json:"internal"`
	IsolateEndpoints bool              `json:"isolate_endpoints"`
	MTU              int               `json:"mtu"` // bytes; 0 follows the host's default route
	DNS              []netip.Addr      `json:"dns"`
	IPAMDriver       string            `json:"ipam_driver"`
	IPAMOptions      map[string]string `json:"ipam_options,omitzero"`
	Options          map[string]string `json:"options,omitzero"`
	Labels           map[string]string `json:"labels,omitzero"`
	Endpoints        []string          `json:"endpoints,omitzero"` // names
	Created          time.Time         `json:"created"`
	State            cnm.State         `json:"state"`
}

// Subnet is one prefix of a network. Gateway and Range are "" in JSON where there is none.
type Subnet struct {
	Prefix   netip.Prefix          `json:"prefix"`
	Gateway  netip.Addr            `json:"gateway"`
	Range    netip.Prefix          `json:"range"`
	Reserved map[string]netip.Addr `json:"reserved"`
}

// FromNetwork shows a record with the names of its endpoints.
func FromNetwork(nw *cnm.Network, endpoints []string) Network {
	out := Network{
		ID: nw.ID, Name: nw.Name, Driver: nw.Driver,
		Subnets: make([]Subnet, 0, len(nw.Subnets)),
		IPv4:    nw.IPv4, IPv6: nw.IPv6,
		Internal: nw.Internal, IsolateEndpoints: nw.IsolateEndpoints, MTU: nw.MTU,
		DNS: list(nw.DNS), IPAMDriver: nw.IPAM,
		IPAMOptions: dict(nw.IPAMOptions), Options: dict(nw.Options), Labels: dict(nw.Labels),
		Endpoints: list(endpoints), Created: nw.Created, State: nw.State,
	}
	for _, s := range nw.Subnets {
		out.Subnets = append(out.Subnets, Subnet{Prefix: s.Prefix, Gateway: s.Gateway, Range: s.Range, Reserved: dict(s.Reserved)})
	}
	return out
}

// Public is the network without what only those may see who may change it.
func (n Network) Public() Network {
	n.IPAMOptions, n.Options, n.Labels, n.Endpoints = nil, nil, nil, nil
	return n
}

// NetworkCreate asks for a network.
type NetworkCreate struct {
	Name             string            `json:"name"`
	Driver           string            `json:"driver,omitempty"`
	IPv4             *bool             `json:"ipv4,omitempty"` // absent: on
	IPv6             *bool             `json:"ipv6,omitempty"`
	Subnets          []SubnetCreate    `json:"subnets,omitempty"`
	IPAMDriver       string            `json:"ipam_driver,omitempty"`
	IPAMOptions      map[string]string `json:"ipam_options,omitempty"`
	Internal         bool              `json:"internal,omitempty"`
	IsolateEndpoints bool              `json:"isolate_endpoints,omitempty"`
	MTU              int               `json:"mtu,omitempty"`
	DNS              []string          `json:"dns,omitempty"`
	Options          map[string]string `json:"options,omitempty"`
	Labels           map[string]string `json:"labels,omitempty"`
}

// SubnetCreate asks for one prefix of a network.
type SubnetCreate struct {
	Prefix   string            `json:"prefix"`
	Gateway  string            `json:"gateway,omitempty"`
	Range    string            `json:"range,omitempty"`
	Reserved map[string]string `json:"reserved,omitempty"` // name to address
}

// Spec is the request in the model's values. Errors are of kind [cnm.Invalid] and name the field.
func (r *NetworkCreate) Spec() (cnm.NetworkSpec, error) {
	dns, err := addrs("dns", r.DNS)
	if err != nil {
		return cnm.NetworkSpec{}, err
	}
	spec := cnm.NetworkSpec{
		Name: r.Name, Driver: r.Driver, IPv4: r.IPv4, IPv6: r.IPv6,
		IPAM: r.IPAMDriver, IPAMOptions: r.IPAMOptions,
		Internal: r.Internal, IsolateEndpoints: r.IsolateEndpoints, MTU: r.MTU, DNS: dns,
		Options: r.Options, Labels: r.Labels,
	}
	for i := range r.Subnets {
		s, err := r.Subnets[i].subnet()
		if err != nil {
			return cnm.NetworkSpec{}, err
		}
		spec.Subnets = append(spec.Subnets, s)
	}
	return spec, nil
}

func (r *SubnetCreate) subnet() (s cnm.Subnet, err error) {
	if s.Prefix, err = ParsePrefix("subnet", r.Prefix); err != nil {
		return s, err
	}
	if r.Gateway != "" {
		if s.Gateway, err = ParseAddr("gateway", r.Gateway); err != nil {
			return s, err
		}
	}
	if r.Range != "" {
		if s.Range, err = ParsePrefix("ip-range", r.Range); err != nil {
			return s, err
		}
	}
	for name, text := range r.Reserved {
		a, err := ParseAddr("reserve", text)
		if err != nil {
			return s, err
		}
		if s.Reserved == nil {
			s.Reserved = make(map[string]netip.Addr, len(r.Reserved))
		}
		s.Reserved[name] = a
	}
	return s, nil
}

// Prune asks for everything unused to be deleted.
type Prune struct {
	Filters []string `json:"filters,omitempty"` // KEY=VALUE, as for a list
	DryRun  bool     `json:"dry_run,omitempty"` // only tell what would go
}

// Pruned tells what a prune deleted, or would have.
type Pruned struct {
	Deleted []string `json:"deleted"` // names; of endpoints NETWORK/NAME
	Errors  []Error  `json:"errors"`  // what could not be deleted, and why
}
