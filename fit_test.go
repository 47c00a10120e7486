// SPDX-License-Identifier: Apache-2.0

package cnm_test

import (
	"context"
	"encoding/json"
	"net/netip"
	"slices"
	"testing"

	cnm "github.com/libnetwork/cnm"
)

// These tests hold the contracts against the two sides of Docker's network driver protocol before either exists: a driver
// out of process (we call it) and Docker's daemon (it calls us). The messages are the protocol's own.

type wireInterface struct{ Address, AddressIPv6, MacAddress string }

type wireCreateEndpoint struct {
	NetworkID, EndpointID string
	Interface             wireInterface
}

type wireJoin struct{ NetworkID, EndpointID, SandboxKey string }

type wireJoined struct {
	InterfaceName         struct{ SrcName, DstPrefix string }
	Gateway, GatewayIPv6  string
	StaticRoutes          []struct{ Destination, NextHop string }
	DisableGatewayService bool
}

// remote is a driver whose verbs are messages to a plugin.
type remote struct {
	call func(method string, request any) json.RawMessage
}

var _ cnm.Driver = remote{}

func (r remote) CreateNetwork(_ context.Context, nw cnm.Network) error {
	type data struct{ Pool, Gateway string }
	var v4, v6 []data
	for _, s := range nw.Subnets {
		d := data{s.Prefix.String(), netip.PrefixFrom(s.Gateway, s.Prefix.Bits()).String()}
		if cnm.FamilyOf(s.Gateway) == cnm.IPv4 {
			v4 = append(v4, d)
		} else {
			v6 = append(v6, d)
		}
	}
	r.call("NetworkDriver.CreateNetwork", map[string]any{"NetworkID": nw.ID, "Options": nw.Options, "IPv4Data": v4, "IPv6Data": v6})
	return nil
}

func (r remote) DeleteNetwork(_ context.Context, nw cnm.Network) error {
	r.call("NetworkDriver.DeleteNetwork", map[string]any{"NetworkID": nw.ID})
	return nil
}

func (r remote) CreateEndpoint(_ context.Context, nw cnm.Network, ep cnm.Endpoint) (cnm.EndpointPatch, error) {
	req := wireCreateEndpoint{NetworkID: string(nw.ID), EndpointID: string(ep.ID), Interface: wireInterface{MacAddress: ep.MAC.String()}}
	for _, a := range ep.Addresses {
		if cnm.FamilyOf(a.Addr()) == cnm.IPv4 {
			req.Interface.Address = a.String()
		} else {
			req.Interface.AddressIPv6 = a.String()
		}
	}
	var resp struct{ Interface wireInterface }
	if err := json.Unmarshal(r.call("NetworkDriver.CreateEndpoint", req), &resp); err != nil {
		return cnm.EndpointPatch{}, err
	}
	mac, err := cnm.ParseMAC(resp.Interface.MacAddress)
	return cnm.EndpointPatch{MAC: mac}, err
}

func (r remote) DeleteEndpoint(_ context.Context, nw cnm.Network, ep cnm.Endpoint) error {
	r.call("NetworkDriver.DeleteEndpoint", map[string]any{"NetworkID": nw.ID, "EndpointID": ep.ID})
	return nil
}

func (r remote) Join(_ context.Context, req cnm.JoinRequest) (cnm.JoinResult, error) {
	var resp wireJoined
	raw := r.call("NetworkDriver.Join", wireJoin{string(req.Network.ID), string(req.Endpoint.ID), req.Sandbox.Namespace.Path})
	if err := json.Unmarshal(raw, &resp); err != nil {
		return cnm.JoinResult{}, err
	}
	res := cnm.JoinResult{Link: cnm.Link{Name: resp.InterfaceName.SrcName}}
	for _, g := range []string{resp.Gateway, resp.GatewayIPv6} {
		if g != "" {
			res.Gateways = append(res.Gateways, netip.MustParseAddr(g))
		}
	}
	for _, s := range resp.StaticRoutes {
		route := cnm.Route{Prefix: netip.MustParsePrefix(s.Destination)}
		if s.NextHop != "" {
			route.Via = netip.MustParseAddr(s.NextHop)
		}
		res.Routes = append(res.Routes, route)
	}
	return res, nil
}

func (r remote) Leave(_ context.Context, at cnm.Attachment) error {
	r.call("NetworkDriver.Leave", map[string]any{"NetworkID": at.Network.ID, "EndpointID": at.Endpoint.ID})
	return nil
}

func TestRemoteDriverFits(t *testing.T) {
	t.Parallel()
	var calls []string
	d := remote{call: func(method string, _ any) json.RawMessage {
		calls = append(calls, method)
		switch method {
		case "NetworkDriver.CreateEndpoint":
			return json.RawMessage(`{"Interface":{"MacAddress":"02:42:ac:11:00:02"}}`)
		case "NetworkDriver.Join":
			return json.RawMessage(`{"InterfaceName":{"SrcName":"veth1","DstPrefix":"eth"},"Gateway":"10.0.0.1","StaticRoutes":[{"Destination":"10.9.0.0/16","NextHop":"10.0.0.9"}]}`)
		}
		return json.RawMessage(`{}`)
	}}
	nw := cnm.Network{ID: cnm.NewNetworkID(), Subnets: []cnm.Subnet{{Prefix: netip.MustParsePrefix("10.0.0.0/24"), Gateway: netip.MustParseAddr("10.0.0.1")}}}
	ep := cnm.Endpoint{ID: cnm.NewEndpointID(), Network: nw.ID, Addresses: []netip.Prefix{netip.MustParsePrefix("10.0.0.2/24")}}
	patch, err := d.CreateEndpoint(t.Context(), nw, ep)
	if err != nil || patch.MAC.String() != "02:42:ac:11:00:02" {
		t.Errorf("the plugin's MAC arrives as %s, %v", patch.MAC, err)
	}
	res, err := d.Join(t.Context(), cnm.JoinRequest{Attachment: cnm.Attachment{Network: nw, Endpoint: ep}, NamespaceFD: -1})
	if err != nil {
		t.Fatal(err)
	}
	if res.Link.InPlace || res.Link.Name != "veth1" || res.Gateway(cnm.IPv4) != netip.MustParseAddr("10.0.0.1") || len(res.Routes) != 1 {
		t.Errorf("the plugin's answer arrives as %+v", res)
	}
	if want := []string{"NetworkDriver.CreateEndpoint", "NetworkDriver.Join"}; !slices.Equal(calls, want) {
		t.Errorf("calls %v, want %v", calls, want)
	}
}

// dockerJoin is what an adapter answers to Docker's Join. A link made in place needs no interface name: Docker then moves
// nothing.
func dockerJoin(res cnm.JoinResult) wireJoined {
	var w wireJoined
	if !res.Link.InPlace {
		w.InterfaceName.SrcName, w.InterfaceName.DstPrefix = res.Link.Name, "eth"
	}
	if g := res.Gateway(cnm.IPv4); g.IsValid() && !res.Link.InPlace {
		w.Gateway = g.String()
	}
	w.DisableGatewayService = true
	return w
}

// dockerEndpoint is Docker's CreateEndpoint as the specification a controller takes.
func dockerEndpoint(t *testing.T, w wireCreateEndpoint, portmap string) cnm.EndpointSpec {
	t.Helper()
	spec := cnm.EndpointSpec{Name: w.EndpointID[:12]}
	for _, a := range []string{w.Interface.Address, w.Interface.AddressIPv6} {
		if a != "" {
			spec.Addresses = append(spec.Addresses, netip.MustParsePrefix(a).Addr())
		}
	}
	if w.Interface.MacAddress != "" {
		var err error
		if spec.MAC, err = cnm.ParseMAC(w.Interface.MacAddress); err != nil {
			t.Fatal(err)
		}
	}
	var ports []struct {
		Proto                       cnmProtocol
		HostIP                      string
		Port, HostPort, HostPortEnd uint16
	}
	if err := json.Unmarshal([]byte(portmap), &ports); err != nil {
		t.Fatal(err)
	}
	for _, p := range ports {
		s := cnm.PortSpec{Proto: cnm.Protocol(p.Proto), Port: p.Port, HostPort: p.HostPort, HostPortEnd: max(p.HostPort, p.HostPortEnd)}
		if p.HostIP != "" {
			s.HostIP = netip.MustParseAddr(p.HostIP)
		}
		spec.Publish = append(spec.Publish, s)
	}
	return spec
}

type cnmProtocol uint8

func TestDockerAdapterFits(t *testing.T) {
	t.Parallel()
	spec := dockerEndpoint(t,
		wireCreateEndpoint{EndpointID: "0123456789abcdef", Interface: wireInterface{Address: "10.0.0.2/24", AddressIPv6: "fd00::2/64", MacAddress: "02:42:ac:11:00:02"}},
		`[{"Proto":6,"IP":"","Port":80,"HostIP":"","HostPort":8080,"HostPortEnd":8080},{"Proto":17,"Port":53,"HostIP":"127.0.0.1","HostPort":0,"HostPortEnd":0}]`)
	if len(spec.Addresses) != 2 || spec.Publish[0].String() != "8080:80/tcp" || spec.Publish[1].String() != "127.0.0.1:53/udp" {
		t.Errorf("Docker's endpoint arrives as %+v", spec)
	}
	inPlace := dockerJoin(cnm.JoinResult{Link: cnm.Link{Name: "eth0", InPlace: true}, Gateways: []netip.Addr{netip.MustParseAddr("10.0.0.1")}})
	if inPlace.InterfaceName.SrcName != "" || inPlace.Gateway != "" {
		t.Errorf("a link made in place is answered as %+v, want nothing for Docker to do", inPlace)
	}
	moved := dockerJoin(cnm.JoinResult{Link: cnm.Link{Name: "veth1"}, Gateways: []netip.Addr{netip.MustParseAddr("10.0.0.1")}})
	if moved.InterfaceName.SrcName != "veth1" || moved.Gateway != "10.0.0.1" {
		t.Errorf("a link to be moved is answered as %+v", moved)
	}
}
