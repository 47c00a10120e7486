// SPDX-License-Identifier: Apache-2.0

package docker_test

import (
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/libnetwork/cnm/kernel/kerneltest"
	"github.com/libnetwork/cnm/kernel/sysctl"
)

// TestNetworkOptions has each of Docker's options for its own bridge, and ours, arrive.
func TestNetworkOptions(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		r := newRig(t)
		const b = "com.docker.network.bridge."
		for i, c := range []struct{ options, want string }{
			{``, "map[] 0 false"},
			{`"` + b + `name":"red0"`, "map[bridge:red0] 0 false"},
			{`"bridge":"red1"`, "map[bridge:red1] 0 false"},
			{`"` + b + `enable_ip_masquerade":"false"`, "map[masquerade:false] 0 false"},
			{`"` + b + `enable_icc":"false"`, "map[] 0 true"},
			{`"` + b + `enable_icc":"true"`, "map[] 0 false"},
			{`"isolate-endpoints":"true"`, "map[] 0 true"},
			{`"` + b + `host_binding_ipv4":"127.0.0.2"`, "map[publish-address:127.0.0.2] 0 false"},
			{`"` + b + `gateway_mode_ipv4":"routed"`, "map[gateway-mode:routed] 0 false"},
			{`"` + b + `gateway_mode_ipv4":"nat","` + b + `gateway_mode_ipv6":"nat"`, "map[gateway-mode:nat] 0 false"},
			{`"` + b + `trusted_host_interfaces":"eth0:eth1"`, "map[trusted-interfaces:eth0,eth1] 0 false"},
			{`"com.docker.network.host_ipv4":"192.0.2.1","com.docker.network.host_ipv6":"2001:db8::1"`, "map[snat:192.0.2.1,2001:db8::1] 0 false"},
			{`"com.docker.network.driver.mtu":"1400"`, "map[] 1400 false"},
			{`"mtu":"1300","spoof-check":"false"`, "map[spoof-check:false] 1300 false"},
			{`"` + b + `inhibit_ipv4":"false"`, "map[] 0 false"},
			{`"com.docker.network.enable_ipv6":"false"`, "map[] 0 false"},
		} {
			nid := r.network(`"com.docker.network.generic":{`+c.options+`}`, fmt.Sprintf("172.28.%d.0/24", i))
			nw, err := r.LookupNetwork(nid[:32])
			r.ok(err)
			if got := fmt.Sprint(nw.Options, nw.MTU, nw.IsolateEndpoints); got != c.want {
				t.Errorf("{%s} arrives as %s, want %s", c.options, got, c.want)
			}
			r.done("NetworkDriver.DeleteNetwork", fmt.Sprintf(`{"NetworkID":"%s"}`, nid))
		}
		inside := r.network(`"com.docker.network.internal":true`, "172.28.0.0/24")
		nw, err := r.LookupNetwork(inside[:32])
		r.ok(err)
		if !nw.Internal {
			t.Error("an internal network is not")
		}
		web := r.container(false)
		if e := web.connect(inside, "", "172.28.0.2/24"); e.gateway != "" {
			t.Errorf("an internal network has gateway %s", e.gateway)
		}
	})
}

func TestNetworkOptionsRefused(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		r := newRig(t)
		const b = "com.docker.network.bridge."
		for options, text := range map[string]string{
			`"com.docker.network.generic":{"colour":"red"}`:                                                           `"colour"`,
			`"com.docker.network.colour":true`:                                                                        "com.docker.network.colour",
			`"com.docker.network.generic":{"` + b + `colour":"red"}`:                                                  b + "colour",
			`"com.docker.network.generic":{"` + b + `enable_icc":"maybe"}`:                                            b + "enable_icc",
			`"com.docker.network.generic":{"` + b + `enable_ip_masquerade":"maybe"}`:                                  `"maybe" is not true or false`,
			`"com.docker.network.generic":{"` + b + `gateway_mode_ipv4":"isolated"}`:                                  "use nat or routed",
			`"com.docker.network.generic":{"` + b + `gateway_mode_ipv4":"nat","` + b + `gateway_mode_ipv6":"routed"}`: "leave one of them out",
			`"com.docker.network.generic":{"` + b + `inhibit_ipv4":"true"}`:                                           "not supported",
			`"com.docker.network.generic":{"com.docker.network.driver.mtu":"big"}`:                                    "no number of bytes",
			`"com.docker.network.generic":{"com.docker.network.container_iface_prefix":"a/b"}`:                        "cannot begin",
			`"com.docker.network.generic":{"com.docker.network.enable_ipv6":"true"}`:                                  "told otherwise",
			`"com.docker.network.generic":{"mtu":1400}`:                                                               "com.docker.network.generic",
			`"com.docker.network.internal":"yes"`:                                                                     "com.docker.network.internal",
			`"com.docker.network.enable_ipv4":false`:                                                                  "neither",
		} {
			r.refused("NetworkDriver.CreateNetwork", networkBody(id(), options, "172.28.0.0/24"), text)
		}
		for _, c := range []struct{ data, text string }{
			{`"IPv4Data":[{"Pool":"0.0.0.0/0"}]`, "--ipam-driver null"},
			{`"IPv4Data":[{"Pool":"web"}]`, `pool "web"`},
			{`"IPv6Data":[{"Pool":"172.28.0.0/24"}]`, "no IPv6 prefix"},
			{`"IPv4Data":[{"Pool":"172.28.0.0/24","Gateway":"172.28.0.1"}]`, "gateway"},
			{`"IPv4Data":[{"Pool":"172.28.0.0/24","Gateway":"172.29.0.1/24"}]`, "outside subnet"},
			{`"IPv4Data":[{"Pool":"172.28.0.0/24","AuxAddresses":{"a b":"172.28.0.2/24"}}]`, `aux-address "a b"`},
			{`"Options":{"com.docker.network.enable_ipv6":true},"IPv4Data":[{"Pool":"172.28.0.0/24"}]`, "no IPv6 pool"},
		} {
			r.refused("NetworkDriver.CreateNetwork", fmt.Sprintf(`{"NetworkID":"%s",%s}`, id(), c.data), c.text)
		}
	})
}

// TestEndpointOptions names interfaces, sets what belongs to them, and refuses what nobody knows.
func TestEndpointOptions(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		r := newRig(t)
		red := r.network("", "172.28.0.0/24")
		blue := r.network(`"com.docker.network.generic":{"com.docker.network.container_iface_prefix":"blue"}`, "172.29.0.0/24")
		web := r.container(false)
		on := func(network, address, options string) {
			t.Helper()
			e := &endpoint{c: web, network: network, id: id(), addresses: []string{address}}
			e.create(options)
			e.join("")
		}
		on(red, "172.28.0.2/24", `{"com.docker.network.endpoint.ifname":"lan","spoof-check":"false","com.docker.network.endpoint.dnsservers":["192.0.2.1"],
			"com.docker.network.endpoint.sysctls":"net.ipv4.conf.ifname.log_martians=1,net.ipv4.conf.IFNAME.rp_filter=2","com.docker.network.endpoint.macaddress":"AkKsEQAC"}`)
		// A name that somebody has is passed over.
		r.ok(web.in(func() error {
			if v, err := sysctl.Read("net/ipv4/conf/lan/log_martians"); err != nil || v != "1" {
				t.Errorf("log_martians is %q, %v", v, err)
			}
			return nil
		}))
		web.makeLink("blue0")
		on(blue, "172.29.0.2/24", `{}`)
		r.ok(web.in(func() error {
			_, err := net.InterfaceByName("blue1")
			return err
		}))
		for options, text := range map[string]string{
			`{"ep.opt":"3"}`: `option "ep.opt" is unknown`,
			`{"ep.opt":3}`:   `"ep.opt" is unknown`,
			`{"com.docker.network.endpoint.sysctls":"net.ipv4.ip_forward=1"}`: "IFNAME",
		} {
			r.refused("NetworkDriver.CreateEndpoint", fmt.Sprintf(`{"NetworkID":"%s","EndpointID":"%s","Interface":{"Address":"172.28.0.7/24"},"Options":%s}`, red, id(), options), text)
		}
		for _, c := range []struct{ face, text string }{
			{`{"Address":"172.28.0.7"}`, "172.28.0.7"},
			{`{"Address":"172.30.0.7/24"}`, "in no subnet"},
			{`{"MacAddress":"x"}`, "six octets"},
		} {
			r.refused("NetworkDriver.CreateEndpoint", fmt.Sprintf(`{"NetworkID":"%s","EndpointID":"%s","Interface":%s}`, red, id(), c.face), c.text)
		}
		e := &endpoint{c: web, network: red, id: id(), addresses: []string{"172.28.0.8/24"}}
		e.create("{}")
		r.refused("NetworkDriver.Join", fmt.Sprintf(`{"EndpointID":"%s","SandboxKey":"default"}`, e.id), "no path")
		r.refused("NetworkDriver.Join", fmt.Sprintf(`{"EndpointID":"%s","SandboxKey":"%s"}`, e.id, web.key), "is on network")
		r.check()
	})
}

// TestEarlyOptions refuses what nobody would set, where Docker has no namespace yet, and leaves nothing of the attempt.
func TestEarlyOptions(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		r := newRig(t)
		red := r.network("", "172.28.0.0/24")
		early := r.container(true)
		for i, option := range []string{"ifname\":\"lan", "sysctls\":\"net.ipv4.conf.IFNAME.log_martians=1"} {
			e := &endpoint{c: early, network: red, id: id(), addresses: []string{fmt.Sprintf("172.28.0.%d/24", 2+i)}}
			e.create(`{"com.docker.network.endpoint.` + option + `"}`)
			name, _, _ := strings.Cut(option, `"`)
			r.refused("NetworkDriver.Join", fmt.Sprintf(`{"EndpointID":"%s","SandboxKey":"%s"}`, e.id, early.key), "endpoint."+name, "leave it out")
			r.done("NetworkDriver.DeleteEndpoint", `{"NetworkID":"NID","EndpointID":"EID"}`, e.words()...)
		}
		if left := r.Records(t.Context()); len(left.Sandboxes)+len(left.Endpoints) > 0 {
			t.Errorf("of refused joins are left %+v and %+v", left.Sandboxes, left.Endpoints)
		}
	})
}

// TestRoutedNetwork opens a container's ports on its own addresses, whoever holds its default route.
func TestRoutedNetwork(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		r := newRig(t)
		red := r.network(`"com.docker.network.generic":{"com.docker.network.bridge.gateway_mode_ipv4":"routed"}`, "172.28.0.0/24")
		const ports = `{"Proto":6,"Port":80,"HostIP":"127.0.0.1","HostPort":8081,"HostPortEnd":8081},{"Proto":6,"Port":80,"HostPort":8082,"HostPortEnd":8082}`
		e := r.container(false).connect(red, ports, "172.28.0.2/24")
		has := func() {
			t.Helper()
			if got := fmt.Sprint(e.ports()); got != "[172.28.0.2:80->80/tcp]" {
				t.Errorf("published are %s", got)
			}
			r.check()
		}
		has()
		e.program(ports)
		has()
		r.done("NetworkDriver.RevokeExternalConnectivity", `{"NetworkID":"NID","EndpointID":"EID"}`, e.words()...)
		has()
	})
}
