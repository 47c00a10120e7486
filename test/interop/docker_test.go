// SPDX-License-Identifier: Apache-2.0

//go:build interop

package interop_test

import (
	"context"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/libnetwork/cnm/internal/audit"
	"github.com/libnetwork/cnm/test/interop/engine"
	"github.com/libnetwork/cnm/test/interop/place"
)

// docked is a Docker whose containers are on our networks.
type docked struct {
	*testing.T
	p *place.Place
	c *engine.CNM
	d *engine.Docker
}

// onDocker runs a test with each generation, in a place of its own. Containers and networks are removed after it, and nothing of
// ours may be left then.
func onDocker(t *testing.T, o engine.DockerOptions, test func(*docked)) {
	t.Helper()
	t.Parallel()
	for _, g := range engine.Generations() {
		t.Run(string(g), func(t *testing.T) {
			t.Parallel()
			p := engine.NewPlace(t)
			k := &docked{T: t, p: p, c: engine.StartCNM(t, p, "--docker-plugin", "cnm")}
			k.d = engine.StartDocker(t, p, g, o)
			before := k.host()
			test(k)
			if !t.Failed() {
				k.clear(before)
			}
		})
	}
}

// host is all that the host has.
func (k *docked) host() place.Picture {
	k.Helper()
	all, err := k.p.Look(k.Context())
	if err != nil {
		k.Fatal(err)
	}
	// Docker keeps the name that it gives to the host's own stack when a container is first on it.
	return slices.DeleteFunc(all, func(line string) bool {
		return strings.HasPrefix(line, "mount ") && strings.HasSuffix(line, "/docker/netns/default")
	})
}

// clear removes what Docker has, and fails the test if something is left then.
func (k *docked) clear(before place.Picture) {
	k.Helper()
	if all := strings.Fields(k.d.Run("ps", "--all", "--quiet")); len(all) > 0 {
		k.d.Run(append([]string{"rm", "--force"}, all...)...)
	}
	left(k.T, k.c)
	if all := strings.Fields(k.d.Run("network", "ls", "--quiet", "--filter", "driver=cnm")); len(all) > 0 {
		k.d.Run(append([]string{"network", "rm"}, all...)...)
	}
	if got := k.c.Run("network", "ls", "--quiet"); got != "" {
		k.Errorf("networks are left: %s", got)
	}
	k.quiet()
	if got := k.host().Since(before); got != "" {
		k.Errorf("after all the host has\n%s", got)
	}
}

// quiet waits until links that are out of service already are gone: the kernel takes its time for each, and nobody waits for it.
func (k *docked) quiet() {
	k.Helper()
	ctx, cancel := context.WithTimeout(k.Context(), answerTime)
	defer cancel()
	err := k.p.Host.Do(func() error { return audit.WaitQuiet(ctx, audit.Picture{Namespaces: math.MaxInt}) })
	if err != nil {
		k.Error(err)
	}
}

// network makes a network of both families: 10.80.N.0/24 and fd80:N::/64.
func (k *docked) network(name string, n int, flags ...string) {
	k.Helper()
	args := []string{"network", "create", "--driver", "cnm", "--ipv6", "--subnet", fmt.Sprintf("10.80.%d.0/24", n), "--subnet", fmt.Sprintf("fd80:%d::/64", n)}
	k.d.Run(append(append(args, flags...), name)...)
}

// run starts a container that serves a page: the address of who asks.
func (k *docked) run(name, network string, flags ...string) {
	k.Helper()
	const who = `mkdir -p /www/cgi-bin && cd /www/cgi-bin && printf '#!/bin/sh\necho; echo $REMOTE_ADDR\n' >who && chmod +x who && exec httpd -f -h /www`
	args := append([]string{"run", "--detach", "--init", "--name", name, "--network", network}, flags...)
	k.d.Run(append(args, engine.Image, "sh", "-c", who)...)
}

// ping tells whether a container reaches another by name or address.
func (k *docked) ping(from, flag, to string) bool {
	k.Helper()
	return k.d.Try("exec", from, "ping", flag, "-c", "1", "-W", "10", to).Status == 0
}

// reaches fails the test unless a container is reached by name on both families.
func (k *docked) reaches(from, to string) {
	k.Helper()
	for _, family := range []string{"-4", "-6"} {
		if !k.ping(from, family, to) {
			k.Errorf("%s does not reach %s by ping %s", from, to, family)
		}
	}
}

// addresses are a container's on a network.
func (k *docked) addresses(name, network string) []string {
	k.Helper()
	return strings.Fields(k.d.Run("inspect", "--format", fmt.Sprintf("{{with index .NetworkSettings.Networks %q}}{{.IPAddress}} {{.GlobalIPv6Address}}{{end}}", network), name))
}

// apart fails the test if a container reaches another one's addresses on a network.
func (k *docked) apart(from, to, network string) {
	k.Helper()
	all := k.addresses(to, network)
	if len(all) != 2 {
		k.Errorf("%s has the addresses %q on %s, want two", to, all, network)
	}
	k.silent(from, all...)
}

// published fails the test unless a port leads to a server from the host and from its LAN, on both families, with the LAN's source kept.
func (k *docked) published(port string) {
	k.Helper()
	for _, host := range []string{"127.0.0.1", "[::1]", place.Host4, "[" + place.Host6 + "]"} {
		if got := fetch(k.T, k.p.Host, "http://"+host+":"+port+"/cgi-bin/who"); strings.TrimSpace(got) == "" {
			k.Errorf("%s answers the host with nothing", host)
		}
	}
	for host, want := range map[string]string{place.Host4: place.Neighbour4, "[" + place.Host6 + "]": place.Neighbour6} {
		got := strings.TrimSpace(fetch(k.T, k.p.Neighbour, "http://"+host+":"+port+"/cgi-bin/who"))
		if a, err := netip.ParseAddr(strings.Trim(got, "[]")); err != nil || a.Unmap().String() != want {
			k.Errorf("%s has seen %q from the LAN, want %s", host, got, want)
		}
	}
}

// silent fails the test if one of the addresses answers a container. They are asked together, as each is waited for.
func (k *docked) silent(from string, addresses ...string) {
	k.Helper()
	ask := ""
	for _, a := range addresses {
		ask += "ping -c 1 -W 1 " + a + " & "
	}
	if got := k.d.Run("exec", from, "sh", "-c", ask+"wait"); strings.Count(got, "PING ") != len(addresses) || strings.Contains(got, "bytes from") {
		k.Errorf("%s reaches one of %q, or does not ask: %s", from, addresses, got)
	}
}

// Containers of a network reach each other by name on both families, whoever manages its addresses, and reach those of no other one. An
// internal network leads nowhere else.
func TestDockerNetworks(t *testing.T) {
	onDocker(t, engine.DockerOptions{}, func(k *docked) {
		for i, flags := range [][]string{nil, {"--ipam-driver", "cnm"}} {
			name := func(what string) string { return fmt.Sprintf("%s%d", what, i) }
			k.network(name("net"), 10*i+1, flags...)
			k.network(name("other"), 10*i+2, flags...)
			k.network(name("internal"), 10*i+3, append(flags, "--internal")...)
			k.run(name("box-a"), name("net"))
			k.run(name("box-b"), name("net"))
			k.run(name("box-c"), name("other"))
			k.run(name("box-d"), name("internal"))
			k.run(name("box-e"), name("internal"))
			k.reaches(name("box-a"), name("box-b"))
			k.reaches(name("box-b"), name("box-a"))
			k.reaches(name("box-d"), name("box-e"))
			k.apart(name("box-a"), name("box-c"), name("other"))
			k.apart(name("box-c"), name("box-a"), name("net"))
			k.apart(name("box-a"), name("box-d"), name("internal"))
			k.apart(name("box-d"), name("box-a"), name("net"))
			for family, to := range map[string]string{"-4": place.Neighbour4, "-6": place.Neighbour6} {
				if !k.ping(name("box-a"), family, to) {
					k.Errorf("%s does not reach the LAN's %s", name("box-a"), to)
				}
			}
			k.silent(name("box-d"), place.Neighbour4, place.Neighbour6)
		}
	})
}

// Ports are reached from the host and its LAN, after a restart of the container too, and not any more when it was killed.
func TestDockerPublishes(t *testing.T) {
	for name, own := range map[string]bool{"alone": false, "beside Docker's own networks": true} {
		t.Run(name, func(t *testing.T) {
			onDocker(t, engine.DockerOptions{OwnNetworks: own}, func(k *docked) {
				k.network("net", 1)
				k.run("web", "net", "--publish", "8080:80")
				k.published("8080")
				k.d.Run("restart", "--time", "0", "web")
				k.published("8080")
				k.p.Output("kill", "-9", k.d.Run("inspect", "--format", "{{.State.Pid}}", "web"))
				k.d.Run("wait", "web")
				k.d.Run("start", "web")
				k.published("8080")
				k.d.Run("kill", "web")
				k.d.Run("rm", "web")
				left(k.T, k.c)
				k.run("next", "net", "--publish", "8080:80")
				k.published("8080")
			})
		})
	}
}

// A running container is put on a second network and taken off it.
func TestDockerConnects(t *testing.T) {
	onDocker(t, engine.DockerOptions{}, func(k *docked) {
		k.network("net", 1)
		k.network("second", 2, "--ipam-driver", "cnm")
		k.run("box-a", "net", "--publish", "8080:80")
		k.run("box-b", "second")
		k.run("box-c", "net")
		k.apart("box-a", "box-b", "second")
		for range 2 {
			k.d.Run("network", "connect", "--ip", "10.80.2.77", "--ip6", "fd80:2::77", "second", "box-a")
			if got := strings.Join(k.addresses("box-a", "second"), " "); got != "10.80.2.77 fd80:2::77" {
				k.Errorf("it has %q", got)
			}
			k.reaches("box-a", "box-b")
			k.reaches("box-b", "box-a")
			k.reaches("box-a", "box-c")
			k.published("8080")
			k.d.Run("network", "disconnect", "second", "box-a")
			k.apart("box-a", "box-b", "second")
			k.reaches("box-a", "box-c")
			k.published("8080")
		}
		k.d.Run("network", "connect", "second", "box-a")
		k.d.Run("restart", "--time", "0", "box-a")
		k.reaches("box-a", "box-b")
		k.reaches("box-a", "box-c")
		k.published("8080")
	})
}

// Containers are reached while our daemon is not there, and after it is again; then all is as before.
func TestDockerSurvivesOurEnd(t *testing.T) {
	onDocker(t, engine.DockerOptions{}, func(k *docked) {
		k.network("net", 1, "--ipam-driver", "cnm")
		k.run("box-a", "net", "--publish", "8080:80")
		k.run("box-b", "net")
		k.c.Kill()
		k.reaches("box-a", "box-b")
		if got := fetch(k.T, k.p.Neighbour, "http://"+place.Host4+":8080/cgi-bin/who"); got == "" {
			k.Error("without us it serves nothing")
		}
		k.c.Start()
		k.reaches("box-a", "box-b")
		k.published("8080")
		k.run("box-c", "net", "--publish", "8081:80")
		k.reaches("box-c", "box-a")
		k.published("8081")
		k.d.Run("restart", "--time", "0", "box-a")
		k.published("8080")
		k.c.Restart()
		k.d.Run("rm", "--force", "box-b")
	})
}

// Containers live on while dockerd is not there, however it ended, and can be removed after.
func TestDockerSurvivesItsOwnEnd(t *testing.T) {
	onDocker(t, engine.DockerOptions{Flags: []string{"--live-restore"}}, func(k *docked) {
		k.network("net", 1)
		k.network("ours", 2, "--ipam-driver", "cnm")
		k.run("box-a", "net", "--publish", "8080:80")
		k.run("box-b", "ours", "--publish", "8081:80")
		for _, end := range []func(){k.d.Stop, k.d.Kill, func() { k.d.Kill(); k.c.Restart() }} {
			end()
			k.published("8080")
			k.published("8081")
			k.d.Start()
			k.published("8080")
			k.published("8081")
			k.run("box-c", "net")
			k.reaches("box-c", "box-a")
			k.run("box-d", "ours")
			k.reaches("box-d", "box-b")
			k.d.Run("rm", "--force", "box-c", "box-d")
		}
		k.d.Run("rm", "--force", "box-a", "box-b")
		left(k.T, k.c)
	})
}

// Without --live-restore containers end with dockerd; killed, it leaves what it takes away when it is there again.
func TestDockerEndsWithoutRestore(t *testing.T) {
	onDocker(t, engine.DockerOptions{}, func(k *docked) {
		k.network("net", 1)
		for name, end := range map[string]func(){"stop": k.d.Stop, "kill": k.d.Kill} {
			k.run(name, "net", "--publish", "8080:80", "--restart", "always")
			k.published("8080")
			end()
			k.d.Start()
			k.published("8080")
			k.d.Run("rm", "--force", name)
			left(k.T, k.c)
		}
	})
}

// Many containers come and go at once.
func TestDockerRunsManyAtOnce(t *testing.T) {
	onDocker(t, engine.DockerOptions{}, func(k *docked) {
		k.network("net", 1, "--ipam-driver", "cnm")
		var all sync.WaitGroup
		results := make([]place.Result, 12)
		for i := range results {
			all.Go(func() {
				results[i] = k.d.Try("run", "--rm", "--network", "net", "--publish", fmt.Sprintf("%d:80", 8100+i), engine.Image, "sh", "-c", "ip -o addr show dev eth0")
			})
		}
		all.Wait()
		for i, r := range results {
			if r.Status != 0 || !strings.Contains(r.Out, " 10.80.1.") || !strings.Contains(r.Out, " fd80:1::") {
				k.Errorf("run %d: %+v", i, r)
			}
		}
		left(k.T, k.c)
	})
}

// A container that is removed while our daemon is not there is removed when it is again: Docker asks for some time.
func TestDockerRemovesWhileWeStart(t *testing.T) {
	onDocker(t, engine.DockerOptions{}, func(k *docked) {
		k.network("net", 1)
		k.run("web", "net", "--publish", "8080:80")
		k.c.Kill()
		removed := make(chan place.Result, 1)
		go func() { removed <- k.d.Try("rm", "--force", "web") }()
		k.d.Dockerd.Await("Unable to connect to plugin")
		k.c.Start()
		if r := <-removed; r.Status != 0 {
			k.Errorf("it was not removed: %+v", r)
		}
		left(k.T, k.c)
		k.run("next", "net", "--publish", "8080:80")
		k.published("8080")
	})
}

// Both daemons and a container are killed. Docker takes away what the container had, and starts it again where it is to.
func TestDockerSurvivesTheEndOfAll(t *testing.T) {
	onDocker(t, engine.DockerOptions{Flags: []string{"--live-restore"}}, func(k *docked) {
		k.network("net", 1, "--ipam-driver", "cnm")
		k.run("box-a", "net", "--publish", "8080:80")
		k.run("box-b", "net", "--publish", "8081:80", "--restart", "always")
		k.run("box-c", "net", "--publish", "8082:80")
		pids := strings.Fields(k.d.Run("inspect", "--format", "{{.State.Pid}}", "box-a", "box-b"))
		k.d.Kill()
		k.c.Kill()
		k.p.Output(append([]string{"kill", "-9"}, pids...)...)
		k.c.Start()
		k.d.Start()
		k.published("8081")
		k.published("8082")
		k.reaches("box-b", "box-c")
		if got := strings.Fields(k.c.Run("endpoint", "ls", "--quiet")); len(got) != 2 {
			k.Errorf("two containers run and the endpoints are %q", got)
		}
		k.d.Run("start", "box-a")
		k.published("8080")
	})
}
