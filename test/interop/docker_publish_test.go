// SPDX-License-Identifier: Apache-2.0

//go:build interop

package interop_test

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/libnetwork/cnm/test/interop/engine"
	"github.com/libnetwork/cnm/test/interop/place"
)

// sleeper are the flags of a container that only has a stack.
func (k *docked) sleeper(name, network string, flags ...string) {
	k.Helper()
	args := append([]string{"run", "--detach", "--init", "--name", name, "--network", network}, flags...)
	k.d.Run(append(args, engine.Image, "sleep", "1000")...)
}

// Each protocol is published, on ports that are given, of a range, or any; what is only exposed is not, unless --publish-all says so.
func TestDockerPublishesEveryProtocol(t *testing.T) {
	onDocker(t, engine.DockerOptions{}, func(k *docked) {
		k.network("net", 1)
		k.sleeper("box", "net", "--publish", "8001:1", "--publish", "8001:1/udp", "--publish", "8132:7/sctp",
			"--publish", "8100-8102:90-92", "--publish", "8110-8112:90", "--publish", "95", "--expose", "96")
		for _, port := range []string{"1", "90", "91", "92", "95", "96"} {
			defer k.echo("box", "tcp", ":"+port, "tcp "+port)()
		}
		defer k.echo("box", "udp", ":1", "udp 1")()
		for _, from := range []stack{k.p.Neighbour, k.p.Host} {
			k.answers(from, "tcp", "tcp 1", at("8001", lan()...)...)
			k.answers(from, "udp", "udp 1", at("8001", lan()...)...)
		}
		k.answers(k.p.Host, "tcp", "tcp 1", at("8001", local()...)...)
		k.answers(k.p.Host, "udp", "udp 1", at("8001", "127.0.0.1")...)
		k.sctp("box", 8132, 7)
		for i := range 3 {
			k.answers(k.p.Neighbour, "tcp", "tcp "+strconv.Itoa(90+i), at(strconv.Itoa(8100+i), lan()...)...)
		}
		k.answers(k.p.Neighbour, "tcp", "tcp 90", at("8110", lan()...)...)
		all := k.ports("box")
		chosen := all["95/tcp"]
		if len(chosen) != 2 || chosen[0].Port() == 0 || chosen[0].Port() != chosen[1].Port() {
			k.Fatalf("any port is %v, want the same one on both families", chosen)
		}
		k.answers(k.p.Neighbour, "tcp", "tcp 95", at(strconv.Itoa(int(chosen[0].Port())), lan()...)...)
		if len(all["96/tcp"]) > 0 {
			k.Errorf("a port that is only exposed is published at %v", all["96/tcp"])
		}
		// The container's own address leads nowhere from the LAN, whatever is published.
		k.route("10.80.1.0/24", "fd80:1::/64")
		k.closed(k.p.Neighbour, "tcp", slices.Concat(at("1", k.addresses("box", "net")...), at("96", k.addresses("box", "net")...))...)

		k.sleeper("second", "net", "--publish-all", "--expose", "53/udp", "--expose", "80-81", "--publish", "8110-8112:90")
		all = k.ports("second")
		if got := all["90/tcp"]; len(got) != 2 || got[0].Port() != 8111 {
			k.Errorf("the second of a range is %v, want 8111", got)
		}
		for _, port := range []string{"53/udp", "80/tcp", "81/tcp"} {
			number, network, _ := strings.Cut(port, "/")
			defer k.echo("second", network, ":"+number, port)()
			if len(all[port]) != 2 {
				k.Fatalf("%s is published at %v, want one of each family", port, all[port])
			}
			k.answers(k.p.Neighbour, network, port, at(strconv.Itoa(int(all[port][0].Port())), lan()...)...)
		}
	})
}

// A port is published on the addresses that it is given, and nowhere else; several containers have the same port on different ones. Who comes
// too late is told so, and is not started again and again.
func TestDockerPublishesOnAddresses(t *testing.T) {
	onDocker(t, engine.DockerOptions{}, func(k *docked) {
		k.network("net", 1)
		k.network("bound", 2, "--opt", "com.docker.network.bridge.host_binding_ipv4=127.0.0.1")
		k.sleeper("one", "net", "--publish", "127.0.0.1:8001:1", "--publish", place.Host4+":8002:1", "--publish", "["+place.Host6+"]:8003:1", "--publish", "[::1]:8004:1",
			"--publish", "8010-8015:1", "--publish", "127.0.0.1:8010-8015:2")
		k.sleeper("two", "net", "--publish", "127.0.0.2:8001:1")
		k.sleeper("three", "bound", "--publish", "8005:1")
		for _, name := range []string{"one", "two", "three"} {
			defer k.echo(name, "tcp", ":1", name)()
		}
		defer k.echo("one", "tcp", ":2", "one's second")()
		k.answers(k.p.Host, "tcp", "one", "127.0.0.1:8001", place.Host4+":8002", "["+place.Host6+"]:8003", "[::1]:8004")
		k.answers(k.p.Neighbour, "tcp", "one", place.Host4+":8002", "["+place.Host6+"]:8003")
		k.answers(k.p.Host, "tcp", "two", "127.0.0.2:8001")
		k.answers(k.p.Host, "tcp", "three", "127.0.0.1:8005")
		k.closed(k.p.Neighbour, "tcp", slices.Concat(at("8001", lan()...), at("8004", lan()...), at("8005", lan()...),
			at("8003", place.Host4), at("8002", place.Host6))...)
		all := k.ports("one")
		any, specific := all["1/tcp"], all["2/tcp"]
		port := func(p netip.AddrPort) bool { return p.Port() == specific[0].Port() }
		if len(specific) != 1 || slices.ContainsFunc(any, port) {
			k.Errorf("for any address there is %v and for one %v, want different ports", any, specific)
		} else {
			k.answers(k.p.Host, "tcp", "one's second", specific[0].String())
		}

		k.refused([]string{"8002"}, "run", "--detach", "--init", "--name", "late", "--network", "net", "--restart", "always", "--publish", "8002:1", engine.Image, "sleep", "1000")
		if got := k.d.Run("inspect", "--format", "{{.State.Status}} {{.RestartCount}}", "late"); got != "created 0" {
			k.Errorf("the container whose port is taken is %q", got)
		}
		// Docker of today has forgotten the networks of a container that it could not start, whoever's they are: it is made anew.
		k.d.Run("rm", "--force", "one", "late")
		k.sleeper("late", "net", "--publish", "8002:1")
		defer k.echo("late", "tcp", ":1", "late")()
		k.answers(k.p.Neighbour, "tcp", "late", at("8002", lan()...)...)
	})
}

// A published port leads to its container from the container itself, from its neighbours, and from other networks, by each address of the host, but
// not from an internal network.
func TestDockerHairpin(t *testing.T) {
	onDocker(t, engine.DockerOptions{}, func(k *docked) {
		k.network("net", 1)
		k.network("other", 2)
		k.network("internal", 3, "--internal")
		k.sleeper("web", "net", "--publish", "8001:1", "--publish", "8001:1/udp")
		k.sleeper("beside", "net")
		k.sleeper("away", "other")
		k.sleeper("shut", "internal")
		for _, network := range []string{"tcp", "udp"} {
			defer k.echo("web", network, ":1", network)()
			for name, gateways := range map[string][]string{"web": {"10.80.1.1", "fd80:1::1"}, "beside": {"10.80.1.1", "fd80:1::1"}, "away": {"10.80.2.1", "fd80:2::1"}} {
				k.answers(k.within(name), network, network, slices.Concat(at("8001", lan()...), at("8001", gateways...))...)
			}
			k.closed(k.within("shut"), network, at("8001", slices.Concat(lan(), []string{"10.80.3.1", "fd80:3::1", "10.80.1.1", "fd80:1::1"})...)...)
		}
	})
}
