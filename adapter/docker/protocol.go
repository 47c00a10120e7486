// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"encoding/json"
	"strings"

	cnm "github.com/libnetwork/cnm"
)

// The messages of the protocol. Their field names are Docker's.

type activation struct{ Implements []string }

type capabilities struct{ Scope, ConnectivityScope string }

// options are what Docker and its user said besides: values of any type by key.
type options map[string]json.RawMessage

type pool struct {
	AddressSpace string
	Pool         string
	Gateway      string
	AuxAddresses map[string]string
}

type networkRequest struct {
	NetworkID          string
	Options            options
	IPv4Data, IPv6Data []pool
}

type endpointInterface struct {
	Address     string `json:",omitempty"`
	AddressIPv6 string `json:",omitempty"`
	MacAddress  string `json:",omitempty"`
}

type endpointRequest struct {
	NetworkID, EndpointID string
	Interface             endpointInterface
	Options               options
}

type endpointAnswer struct{ Interface endpointInterface }

type infoAnswer struct{ Value map[string]string }

type joinRequest struct {
	NetworkID, EndpointID string
	SandboxKey            string
	Options               options
}

type interfaceName struct{ SrcName, DstPrefix string }

type staticRoute struct {
	Destination string
	RouteType   int
	NextHop     string `json:",omitempty"`
}

// Types of static routes.
const (
	routeByNextHop = 0
	routeOnLink    = 1
)

type joinAnswer struct {
	InterfaceName         *interfaceName `json:",omitempty"`
	Gateway               string         `json:",omitempty"`
	GatewayIPv6           string         `json:",omitempty"`
	StaticRoutes          []staticRoute  `json:",omitempty"`
	DisableGatewayService bool
}

type portBinding struct {
	Proto                 uint8
	IP                    string
	Port                  uint16
	HostIP                string
	HostPort, HostPortEnd uint16
}

// Keys of labels that say what of ours is Docker's.
const (
	labelNetwork  = "com.docker.network.id"
	labelEndpoint = "com.docker.endpoint.id"
	labelSandbox  = "com.docker.sandbox.key"
)

// idDigits is the length of Docker's identifiers, and ourDigits how many of them are ours: Docker draws them at random too.
const (
	idDigits   = 64
	ourDigits  = 32
	nameDigits = 12
)

// checkID refuses what is no identifier of Docker's.
func checkID(field, id string) error {
	if len(id) != idDigits || strings.Trim(id, "0123456789abcdef") != "" {
		return cnm.FieldErrorf(cnm.Invalid, field, "%s %.80q is not 64 hexadecimal digits", field, id)
	}
	return nil
}

func networkID(id string) (cnm.NetworkID, error) {
	if err := checkID("NetworkID", id); err != nil {
		return "", err
	}
	return cnm.NetworkID(id[:ourDigits]), nil
}

func endpointID(id string) (cnm.EndpointID, error) {
	if err := checkID("EndpointID", id); err != nil {
		return "", err
	}
	return cnm.EndpointID(id[:ourDigits]), nil
}
