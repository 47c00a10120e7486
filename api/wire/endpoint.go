// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"net/netip"
	"time"

	cnm "github.com/libnetwork/cnm"
)

// Endpoint is an endpoint as the API shows it, with its place in a sandbox if it has one.
type Endpoint struct {
	ID              cnm.EndpointID    `json:"id"`
	Name            string            `json:"name"`
	Network         string            `json:"network"`
	Sandbox         string            `json:"sandbox"` // "" if it is in none
	NetworkID       cnm.NetworkID     `json:"network_id"`
	SandboxID       cnm.SandboxID     `json:"sandbox_id"`
	Interface       string            `json:"interface"`      // in the sandbox
	HostInterface   string            `json:"host_interface"` // "" if there is none
	MAC             cnm.MAC           `json:"mac"`
	Addresses       []netip.Prefix    `json:"addresses"` // each with the length of its subnet
	Gateways        []netip.Addr      `json:"gateways"`
	DefaultRoute    []string          `json:"default_route"` // "ipv4", "ipv6": the families whose default route it holds
	GatewayPriority int               `json:"gateway_priority"`
	MTU             int               `json:"mtu"` // bytes
	Aliases         []string          `json:"aliases"`
	Publish         []string          `json:"publish"` // what was asked for
	Ports           []Port            `json:"ports"`   // what is bound
	Sysctls         map[string]string `json:"sysctls"`
	Options         map[string]string `json:"options"`
	Labels          map[string]string `json:"labels"`
	Keep            bool              `json:"keep"`
	Created         time.Time         `json:"created"`
	State           cnm.State         `json:"state"`
}

// Port is a published port.
type Port struct {
	Proto    string     `json:"proto"`
	HostIP   netip.Addr `json:"host_ip"` // 0.0.0.0 and :: are all of the host's addresses of the family
	HostPort uint16     `json:"host_port"`
	Port     uint16     `json:"port"` // the endpoint's
}

// FromEndpoint shows the record of an endpoint of a network. For one in a sandbox use [FromAttachment].
func FromEndpoint(network string, ep *cnm.Endpoint) Endpoint {
	out := Endpoint{
		ID: ep.ID, Name: ep.Name, Network: network, NetworkID: ep.Network, MAC: ep.MAC,
		Addresses: list(ep.Addresses), Gateways: []netip.Addr{}, DefaultRoute: []string{},
		Aliases: list(ep.Aliases), Publish: make([]string, 0, len(ep.Publish)), Ports: []Port{},
		Sysctls: map[string]string{}, Options: dict(ep.Options), Labels: dict(ep.Labels),
		Keep: ep.Keep, Created: ep.Created, State: ep.State,
	}
	for _, p := range ep.Publish {
		out.Publish = append(out.Publish, p.String())
	}
	return out
}

// FromAttachment shows an endpoint in its sandbox.
func FromAttachment(at *cnm.Attachment) Endpoint {
	out := FromEndpoint(at.Network.Name, &at.Endpoint)
	j := &at.Join
	out.Sandbox, out.SandboxID = at.Sandbox.Name, at.Sandbox.ID
	out.Interface, out.HostInterface = j.Interface, j.Result.Link.Host
	out.Gateways, out.MTU = list(j.Result.Gateways), j.Result.MTU
	out.GatewayPriority, out.Sysctls = j.GatewayPriority, dict(j.Sysctls)
	if j.Default.IPv4 {
		out.DefaultRoute = append(out.DefaultRoute, "ipv4")
	}
	if j.Default.IPv6 {
		out.DefaultRoute = append(out.DefaultRoute, "ipv6")
	}
	for _, p := range j.Result.Ports {
		out.Ports = append(out.Ports, Port{Proto: p.Proto.String(), HostIP: p.HostIP, HostPort: p.HostPort, Port: p.Port})
	}
	return out
}

// EndpointSettings is what a caller may say of an endpoint.
type EndpointSettings struct {
	Addresses []string          `json:"addresses,omitempty"`
	MAC       string            `json:"mac,omitempty"`
	Aliases   []string          `json:"aliases,omitempty"`
	Publish   []string          `json:"publish,omitempty"` // [[HOSTIP]:][HOSTPORT[-END]:]PORT[-END][/tcp|udp|sctp]
	Options   map[string]string `json:"options,omitempty"`
	Labels    map[string]string `json:"labels,omitempty"`
}

// spec is the settings in the model's values.
func (r *EndpointSettings) spec(name string) (spec cnm.EndpointSpec, err error) {
	spec = cnm.EndpointSpec{Name: name, Aliases: r.Aliases, Options: r.Options, Labels: r.Labels}
	if spec.Addresses, err = addrs("ip", r.Addresses); err != nil {
		return spec, err
	}
	if r.MAC != "" {
		if spec.MAC, err = cnm.ParseMAC(r.MAC); err != nil {
			return spec, err
		}
	}
	spec.Publish, err = ParsePorts(r.Publish)
	return spec, err
}

// JoinSettings is what a caller may say of how an endpoint enters a sandbox.
type JoinSettings struct {
	Interface       string            `json:"interface,omitempty"`
	GatewayPriority int               `json:"gateway_priority,omitempty"`
	Sysctls         map[string]string `json:"sysctls,omitempty"`
}

// Spec is the settings in the model's values.
func (r *JoinSettings) Spec() cnm.JoinSpec { return cnm.JoinSpec(*r) }

// EndpointCreate asks for an endpoint of a network. Network is a reference: ID, name or ID prefix.
type EndpointCreate struct {
	Network string `json:"network"`
	Name    string `json:"name"`
	Keep    bool   `json:"keep,omitempty"`
	EndpointSettings
}

// Spec is the request in the model's values. Errors are of kind [cnm.Invalid] and name the field.
func (r *EndpointCreate) Spec() (cnm.EndpointSpec, error) {
	spec, err := r.spec(r.Name)
	spec.Keep = r.Keep
	return spec, err
}

// Join asks for an endpoint to enter a sandbox. Endpoint is NETWORK/NAME, ID or ID prefix.
type Join struct {
	Endpoint string `json:"endpoint"`
	Sandbox  string `json:"sandbox"`
	JoinSettings
}

// Leave asks for an endpoint to leave its sandbox. Endpoint is NETWORK/NAME, ID or ID prefix.
type Leave struct {
	Endpoint string `json:"endpoint"`
}

// Attach asks for an endpoint to be made and joined in one step. An absent name is the sandbox's.
type Attach struct {
	Sandbox string `json:"sandbox"`
	Network string `json:"network"`
	Name    string `json:"name,omitempty"`
	EndpointSettings
	JoinSettings
}

// Specs is the request in the model's values; the caller sets sandbox and network. Errors are of kind [cnm.Invalid] and name the field.
func (r *Attach) Specs() (cnm.AttachSpec, error) {
	ep, err := r.spec(r.Name)
	return cnm.AttachSpec{Endpoint: ep, Join: r.JoinSettings.Spec()}, err
}

// Detach asks for a sandbox to be taken off a network.
type Detach struct {
	Sandbox string `json:"sandbox"`
	Network string `json:"network"`
}

// Publish asks for ports to be published and withdrawn in one step. They belong to the named endpoint, or to the
// sandbox's endpoint on the named network, or, per family, to the sandbox's endpoint that holds the default gateway.
type Publish struct {
	Endpoint string   `json:"endpoint,omitempty"`
	Sandbox  string   `json:"sandbox,omitempty"`
	Network  string   `json:"network,omitempty"`
	Add      []string `json:"add,omitempty"`
	Remove   []string `json:"remove,omitempty"`
}

// Specs is the ports to add and to remove. Errors are of kind [cnm.Invalid] and name the field.
func (r *Publish) Specs() (add, remove []cnm.PortSpec, err error) {
	switch {
	case (r.Endpoint == "") == (r.Sandbox == ""):
		return nil, nil, cnm.FieldErrorf(cnm.Invalid, "sandbox", "ports belong to an endpoint; give either endpoint or sandbox")
	case r.Endpoint != "" && r.Network != "":
		return nil, nil, cnm.FieldErrorf(cnm.Invalid, "network", "network goes with sandbox only; an endpoint is on one network")
	case len(r.Add)+len(r.Remove) == 0:
		return nil, nil, cnm.FieldErrorf(cnm.Invalid, "publish", "no port is named; give add or remove")
	}
	if add, err = ParsePorts(r.Add); err != nil {
		return nil, nil, err
	}
	remove, err = ParsePorts(r.Remove)
	return add, remove, err
}
