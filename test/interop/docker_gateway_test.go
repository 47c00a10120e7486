// SPDX-License-Identifier: Apache-2.0

//go:build interop

package interop_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/libnetwork/cnm/test/interop/engine"
	"github.com/libnetwork/cnm/test/interop/place"
)

// gateway fails the test unless a container's default routes are by gateway N of the networks 10.80.N.0/24 and fd80:N::/64.
func (k *docked) gateway(name string, n4, n6 int) {
	k.Helper()
	var have []string
	for _, r := range k.routes(name) {
		if r.Dst.Bits() == 0 {
			have = append(have, r.Gateway.String())
		}
	}
	slices.Sort(have)
	if want := fmt.Sprintf("[10.80.%d.1 fd80:%d::1]", n4, n6); fmt.Sprint(have) != want {
		k.Errorf("the default routes of %s are by %v, want %s", name, have, want)
	}
}

// on makes a container that is on several networks from its start.
func (k *docked) on(name string, networks []string, flags ...string) {
	k.Helper()
	args := append([]string{"create", "--init", "--name", name, "--network", networks[0]}, flags...)
	k.d.Run(append(args, engine.Image, "sleep", "1000")...)
	for _, n := range networks[1:] {
		k.d.Run("network", "connect", n, name)
	}
	k.d.Run("start", name)
}

// The default route is by the network that Docker chooses: the first by name, unless one has a higher priority. Published ports are where it
// is; both follow when a network is connected or disconnected, and its neighbours on every network are reached all the while.
func TestDockerChoosesTheGateway(t *testing.T) {
	onDocker(t, engine.DockerOptions{}, func(k *docked) {
		k.network("net-b", 2)
		k.network("net-a", 1)
		k.network("net-c", 3)
		k.network("net-d", 4, "--internal")
		for _, n := range []string{"b", "d"} {
			k.sleeper("at-"+n, "net-"+n)
		}
		k.on("box", []string{"net-d", "net-c", "net-b"}, "--publish", "8001:1")
		defer k.echo("box", "tcp", ":1", "here")()
		holds := func(n int) {
			k.Helper()
			k.gateway("box", n, n)
			k.answers(k.p.Neighbour, "tcp", "here", at("8001", lan()...)...)
			k.answers(k.p.Host, "tcp", "here", at("8001", slices.Concat(lan(), local())...)...)
		}
		neighbours := func() {
			k.Helper()
			for _, to := range []string{"at-b", "at-d"} {
				k.reaches("box", to)
				k.reaches(to, "box")
			}
		}
		holds(2)
		neighbours()
		k.d.Run("network", "connect", "net-a", "box")
		holds(1)
		k.d.Run("network", "disconnect", "net-a", "box")
		holds(2)
		k.d.Run("network", "disconnect", "net-b", "box")
		holds(3)
		k.d.Run("network", "connect", "net-b", "box")
		holds(2)
		neighbours()
		if k.d.Generation == engine.Current {
			k.d.Run("network", "connect", "--gw-priority", "10", "net-a", "box")
			k.d.Run("network", "disconnect", "net-c", "box")
			k.d.Run("network", "connect", "--gw-priority", "20", "net-c", "box")
			holds(3)
			k.d.Run("network", "disconnect", "net-c", "box")
			k.gateway("box", 1, 1)
			k.d.Run("run", "--detach", "--init", "--name", "chosen", "--network", "name=net-a", "--network", "name=net-c,gw-priority=1", engine.Image, "sleep", "1000")
			k.gateway("chosen", 3, 3)
		}
	})
}

// Two networks of one family each hold the default route of theirs, and publish for it.
func TestDockerChoosesTwoGateways(t *testing.T) {
	onDocker(t, engine.DockerOptions{}, func(k *docked) {
		k.d.Run("network", "create", "--driver", "cnm", "--subnet", "10.80.1.0/24", "four")
		if k.d.Generation == engine.Debian { // it has one gateway for both, and knows no network without IPv4
			k.network("six", 2)
			k.on("box", []string{"four", "six"}, "--publish", "8001:1")
			defer k.echo("box", "tcp", ":1", "here")()
			k.gateway("box", 2, 2)
			k.answers(k.p.Neighbour, "tcp", "here", at("8001", lan()...)...)
			return
		}
		k.d.Run("network", "create", "--driver", "cnm", "--ipv4=false", "--ipv6", "--subnet", "fd80:2::/64", "six")
		k.on("box", []string{"four", "six"}, "--publish", "8001:1")
		defer k.echo("box", "tcp", ":1", "here")()
		k.gateway("box", 1, 2)
		k.answers(k.p.Neighbour, "tcp", "here", at("8001", lan()...)...)
		k.sleeper("only6", "six", "--publish", "8002:1")
		defer k.echo("only6", "tcp", ":1", "six")()
		k.answers(k.p.Neighbour, "tcp", "six", at("8002", place.Host6)...)
		k.closed(k.p.Neighbour, "tcp", at("8002", place.Host4)...)
		if got := k.inside("only6", "ip -4 -o addr show dev eth0"); got != "" {
			k.Errorf("without IPv4 it has %s", got)
		}
		k.sleeper("only4", "four", "--publish", "8003:1")
		defer k.echo("only4", "tcp", ":1", "four")()
		k.answers(k.p.Neighbour, "tcp", "four", at("8003", place.Host4)...)
		k.closed(k.p.Neighbour, "tcp", at("8003", place.Host6)...)
		if got := k.inside("only4", "ip -6 -o addr show dev eth0"); got != "" {
			k.Errorf("without IPv6 it has %s", got)
		}
	})
}

// On a routed network nothing is translated: published ports are reached at the container's own addresses, by whoever has a route there, the default
// route on it or not, and others are not.
func TestDockerRoutes(t *testing.T) {
	onDocker(t, engine.DockerOptions{}, func(k *docked) {
		const mode = "com.docker.network.bridge.gateway_mode_ipv"
		k.network("routed", 2, "--opt", mode+"4=routed", "--opt", mode+"6=routed")
		k.network("first", 1)
		k.route("10.80.1.0/24", "10.80.2.0/24", "fd80:1::/64", "fd80:2::/64")
		k.sleeper("web", "routed", "--publish", "8001:1", "--publish", "8001:1/udp")
		k.on("both", []string{"first", "routed"}, "--publish", "8002:1", "--publish", "8003:1/udp")
		k.sleeper("away", "first")
		for _, name := range []string{"web", "both"} {
			for _, to := range at("1", k.addresses(name, "routed")...) { // who answers datagrams on several networks has to say as whom
				defer k.echo(name, "udp", to, name)()
			}
			defer k.echo(name, "tcp", ":1", name)()
			defer k.echo(name, "tcp", ":2", name)()
		}
		k.gateway("both", 1, 1)
		for _, network := range []string{"tcp", "udp"} {
			for _, name := range []string{"web", "both"} {
				k.answers(k.p.Neighbour, network, name, at("1", k.addresses(name, "routed")...)...)
				k.answers(k.within("away"), network, name, at("1", k.addresses(name, "routed")...)...)
			}
		}
		k.answers(k.p.Neighbour, "tcp", "both", at("8002", lan()...)...)
		k.closed(k.p.Neighbour, "tcp", slices.Concat(at("2", k.addresses("web", "routed")...), at("2", k.addresses("both", "routed")...), at("8001", lan()...),
			at("1", k.addresses("both", "first")...))...)
		k.closed(k.within("web"), "tcp", at("1", k.addresses("both", "first")...)...)
		for family, to := range map[string]string{"-4": place.Neighbour4, "-6": place.Neighbour6} {
			if !k.ping("web", family, to) {
				k.Errorf("from the routed network the LAN's %s is not reached", to)
			}
		}
	})
}
