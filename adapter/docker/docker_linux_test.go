// SPDX-License-Identifier: Apache-2.0

package docker_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/kernel/kerneltest"
)

func TestHandshake(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		r := newRig(t)
		if a := r.done("Plugin.Activate", ""); fmt.Sprint(a["Implements"]) != "[NetworkDriver IpamDriver]" {
			t.Errorf("activated as %v", a)
		}
		if a := r.done("NetworkDriver.GetCapabilities", "{}"); a["Scope"] != "local" {
			t.Errorf("the capabilities are %v", a)
		}
		r.done("NetworkDriver.DiscoverNew", `{"DiscoveryType":1,"DiscoveryData":{"Address":"198.51.100.1","BindAddress":"198.51.100.1","Self":true}}`)
		r.refused("NetworkDriver.Explode", "", "Explode", "unknown")
		r.refused("NetworkDriver.CreateNetwork", `{"NetworkID":"web"}`, "NetworkID", "64 hexadecimal digits")
		r.refused("NetworkDriver.CreateNetwork", `[]`, "not what the protocol says")
		r.refused("NetworkDriver.CreateNetwork", `{} {}`, "goes on after its end")
		r.refused("NetworkDriver.AllocateNetwork", `{}`, "swarm")
	})
}

// TestModernDocker is a container of a Docker that has the namespace before it joins, with two networks and their change.
func TestModernDocker(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) { containers(t, false) })
}

// TestOldDocker is the same of a Docker that makes the namespace afterwards (20.10).
func TestOldDocker(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) { containers(t, true) })
}

func containers(t *testing.T, old bool) {
	t.Helper()
	r := newRig(t)
	red, blue := r.network("", "172.28.0.0/24", "fd28::/64"), r.network("", "172.29.0.0/24")
	web, db, other := r.container(old), r.container(old), r.container(old)
	onRed := web.connect(red, "", "172.28.0.2/24", "fd28::2/64")
	if onRed.gateway != "172.28.0.1" || onRed.gateway6 != "fd28::1" {
		t.Errorf("the gateways are %q and %q", onRed.gateway, onRed.gateway6)
	}
	onRed.program("")
	db.connect(red, "", "172.28.0.3/24", "fd28::3/64").program("")
	other.connect(blue, "", "172.29.0.3/24").program("")
	for _, c := range []*container{web, db, other} {
		if old {
			c.make()
		}
		c.serve("80")
	}
	r.arrived(3)
	r.check()
	db.asks("172.28.0.2:80", web)
	db.asks("[fd28::2]:80", web)
	other.asks("172.28.0.2:80", nil)
	web.asks("172.29.0.3:80", nil)
	// docker network connect, now that there is a namespace in any Docker.
	onBlue := web.connect(blue, "", "172.29.0.2/24")
	r.check()
	other.asks("172.29.0.2:80", web)
	web.asks("172.29.0.3:80", other)
	db.asks("172.28.0.2:80", web)
	onBlue.disconnect(false)
	web.asks("172.29.0.3:80", nil)
	r.check()
	// The container ends: Docker leaves first, and then takes the namespace away.
	onRed.disconnect(true)
	web.die()
	r.check()
	if n := len(r.Records(t.Context()).Sandboxes); n != 2 {
		t.Errorf("%d sandboxes are there, want those of two containers", n)
	}
}

// arrived waits until n sandboxes have their namespaces.
func (r *rig) arrived(n int) {
	r.t.Helper()
	events := r.Events(r.t.Context())
	for {
		there := 0
		for _, sb := range r.Records(r.t.Context()).Sandboxes {
			if !sb.Awaited() {
				there++
			}
		}
		if there == n {
			return
		}
		r.next(events)
	}
}

// TestRepeats has Docker ask for everything twice, and for what is not there.
func TestRepeats(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		r := newRig(t)
		nid := id()
		for range 2 {
			r.done("NetworkDriver.CreateNetwork", networkBody(nid, "", "172.28.0.0/24"))
		}
		r.refused("NetworkDriver.CreateNetwork", networkBody(nid, "", "172.27.0.0/24"), "exists with other subnets")
		c := r.container(false)
		e := c.connect(nid, "", "172.28.0.2/24")
		mac := e.mac
		for range 2 {
			e.create("{}")
			e.join("")
			r.done("NetworkDriver.ProgramExternalConnectivity", `{"NetworkID":"NID","EndpointID":"EID","Options":{}}`, e.words()...)
			if e.mac != mac {
				t.Errorf("the MAC is %s now and was %s", e.mac, mac)
			}
		}
		r.check()
		e.addresses = []string{"172.28.0.9/24"}
		a := r.call("NetworkDriver.CreateEndpoint", `{"NetworkID":"NID","EndpointID":"EID","Interface":{"Address":"ADDRESS4"}}`, e.words()...)
		if text, _ := a["Err"].(string); !strings.Contains(text, "exists with other addresses") {
			t.Errorf("another address for the same endpoint: %v", a)
		}
		for range 2 {
			e.disconnect(true)
		}
		for range 2 {
			r.done("NetworkDriver.DeleteNetwork", `{"NetworkID":"NID"}`, "NID", nid)
		}
		r.check()
		lost := &endpoint{c: c, network: nid, id: id(), addresses: []string{"172.28.0.9/24"}}
		a = r.call("NetworkDriver.CreateEndpoint", `{"NetworkID":"NID","EndpointID":"EID","Interface":{"Address":"ADDRESS4"}}`, lost.words()...)
		if text, _ := a["Err"].(string); !strings.Contains(text, "not here any more; remove it from Docker") {
			t.Errorf("an endpoint on a network that is gone: %v", a)
		}
		r.refused("NetworkDriver.Join", fmt.Sprintf(`{"EndpointID":"%s","SandboxKey":"/run/x"}`, id()), "no endpoint")
	})
}

// TestPorts publishes as Docker does, with the container's default route.
func TestPorts(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) { publishing(t, false) })
}

func TestPortsOfOldDocker(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) { publishing(t, true) })
}

func publishing(t *testing.T, old bool) {
	t.Helper()
	r := newRig(t)
	red, blue := r.network("", "172.28.0.0/24", "fd28::/64"), r.network("", "172.29.0.0/24")
	web := r.container(old)
	const ports = `{"Proto":6,"IP":"","Port":80,"HostIP":"","HostPort":8081,"HostPortEnd":8081},
				{"Proto":17,"IP":"","Port":53,"HostIP":"127.0.0.1","HostPort":5353,"HostPortEnd":5353},
				{"Proto":6,"Port":82,"HostIP":"","HostPort":0,"HostPortEnd":0},
				{"Proto":6,"Port":83,"HostIP":"::1","HostPort":9000,"HostPortEnd":9009}`
	onRed := web.connect(red, ports, "172.28.0.2/24", "fd28::2/64")
	if got := onRed.ports(); len(got) != 0 {
		t.Errorf("published are %v before Docker said so", got)
	}
	onRed.program(ports)
	if old {
		web.make()
	}
	web.serve("80")
	var want []string
	for _, p := range onRed.ports() {
		text := p.String()
		if p.Port == 82 {
			text = fmt.Sprintf("%s->82", p.HostIP)
		}
		want = append(want, text)
	}
	slices.Sort(want)
	if got := strings.Join(want, " "); got != "0.0.0.0->82 0.0.0.0:8081->80/tcp 127.0.0.1:5353->53/udp ::->82 [::1]:9000->83/tcp [::]:8081->80/tcp" {
		t.Errorf("published are %s", got)
	}
	r.asks("127.0.0.1:8081", web)
	r.asks("[::1]:8081", web)
	r.arrived(1)
	r.check()
	// The default route goes to another network, and the ports with it.
	onBlue := web.connect(blue, ports, "172.29.0.2/24")
	r.done("NetworkDriver.RevokeExternalConnectivity", `{"NetworkID":"NID","EndpointID":"EID"}`, onRed.words()...)
	onBlue.unroute()
	onBlue.program(ports)
	if got := onRed.ports(); len(got) != 0 {
		t.Errorf("published are %v after Docker took them back", got)
	}
	r.asks("127.0.0.1:8081", web)
	r.check()
	onBlue.disconnect(true)
	onRed.disconnect(false)
	web.die()
	r.asks("127.0.0.1:8081", nil)
}

// TestPortsOfTwoGateways has one endpoint hold the default route of IPv4 and another that of IPv6, in both orders.
func TestPortsOfTwoGateways(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		r := newRig(t)
		red, blue := r.network("", "172.28.0.0/24"), r.network("", "172.29.0.0/24", "fd29::/64")
		const ports = `{"Proto":6,"Port":80,"HostIP":"","HostPort":8081,"HostPortEnd":8081},{"Proto":132,"Port":81,"HostIP":"0.0.0.0","HostPort":82,"HostPortEnd":82}`
		const program = `{"NetworkID":"NID","EndpointID":"EID","Options":{"com.docker.network.driver.private.no_proxy_6to4":ONLY4,` + portmap + `}}`
		web := r.container(false)
		onBlue := web.connect(blue, ports, "172.29.0.2/24", "fd29::2/64")
		tell := func(e *endpoint, only4 string) {
			r.done("NetworkDriver.ProgramExternalConnectivity", program, e.words("PORTS", ports, "ONLY4", only4)...)
		}
		has := func(e *endpoint, want string) {
			t.Helper()
			if got := fmt.Sprint(e.ports()); got != want {
				t.Errorf("published are %s, want %s", got, want)
			}
		}
		const sctp = "0.0.0.0:82->81/sctp"
		tell(onBlue, "false")
		has(onBlue, "[0.0.0.0:8081->80/tcp [::]:8081->80/tcp "+sctp+"]")
		// A network with a higher priority takes IPv4: Docker tells the old endpoint that it has changed, but not how.
		onRed := web.connect(red, ports, "172.28.0.2/24")
		tell(onBlue, "false")
		tell(onRed, "true")
		has(onRed, "[0.0.0.0:8081->80/tcp "+sctp+"]")
		has(onBlue, "[[::]:8081->80/tcp]")
		r.check()
		// In the other order, as at a start.
		r.done("NetworkDriver.RevokeExternalConnectivity", `{"NetworkID":"NID","EndpointID":"EID"}`, onBlue.words()...)
		tell(onBlue, "false")
		has(onBlue, "[[::]:8081->80/tcp]")
		onRed.disconnect(true)
		tell(onBlue, "false")
		has(onBlue, "[0.0.0.0:8081->80/tcp [::]:8081->80/tcp "+sctp+"]")
		r.check()
	})
}

func TestPortsRefused(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		r := newRig(t)
		red := r.network("", "172.28.0.0/24")
		const first, taken = `{"Proto":6,"Port":80,"HostPort":8081,"HostPortEnd":8081}`, "8081"
		one := r.container(false).connect(red, first, "172.28.0.2/24")
		one.program(first)
		two := r.container(false).connect(red, first, "172.28.0.3/24")
		a := r.call("NetworkDriver.ProgramExternalConnectivity", `{"NetworkID":"NID","EndpointID":"EID","Options":{`+portmap+`}}`, two.words("PORTS", first)...)
		if text, _ := a["Err"].(string); !strings.Contains(text, taken) {
			t.Errorf("a port in use: %v", a)
		}
		for ports, texts := range map[string][]string{
			`{"Proto":1,"Port":80}`:                   {"protocol 1"},
			`{"Proto":6,"Port":0}`:                    {"port 0"},
			`{"Proto":6,"Port":80,"HostIP":"web"}`:    {`host address "web"`},
			`{"Proto":6,"Port":80,"IP":"172.28.0.2"}`: {"not supported"},
			`{"Proto":6,"Port":99999}`:                {"com.docker.network.portmap"},
		} {
			body := expand(`{"NetworkID":"NID","EndpointID":"EID","Interface":{"Address":"172.28.0.7/24"},"Options":{`+portmap+`}}`, []string{"NID", red, "EID", id(), "PORTS", ports})
			r.refused("NetworkDriver.CreateEndpoint", body, texts...)
		}
		r.check()
	})
}

// next waits for an event.
func (r *rig) next(events <-chan cnm.Event) cnm.Event {
	r.t.Helper()
	select {
	case e := <-events:
		return e
	case <-r.late():
		r.ok(errors.New("nothing happens any more"))
		return cnm.Event{}
	}
}
