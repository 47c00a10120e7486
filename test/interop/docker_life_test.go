// SPDX-License-Identifier: Apache-2.0

//go:build interop

package interop_test

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/libnetwork/cnm/test/interop/engine"
	"github.com/libnetwork/cnm/test/interop/place"
)

// Docker starts a container again as it is told to, with its ports; not one that was stopped.
func TestDockerRestartPolicies(t *testing.T) {
	onDocker(t, engine.DockerOptions{}, func(k *docked) {
		k.network("net", 1)
		events := k.p.Start("docker events", k.d.Command("events", "--filter", "type=container", "--format", "{{.Actor.Attributes.name}} {{.Action}}"))
		for i, policy := range []string{"always", "unless-stopped", "on-failure"} {
			k.run(policy, "net", "--restart", policy, "--publish", fmt.Sprintf("%d:80", 8080+i))
		}
		k.run("never", "net", "--publish", "8090:80")
		for i, policy := range []string{"always", "unless-stopped", "on-failure"} {
			events.Await(policy + " start")
			k.p.Output("kill", "-9", k.d.Run("inspect", "--format", "{{.State.Pid}}", policy))
			events.Await(policy + " die")
			k.published(fmt.Sprint(8080 + i))
		}
		k.p.Output("kill", "-9", k.d.Run("inspect", "--format", "{{.State.Pid}}", "never"))
		k.d.Run("wait", "never")
		k.closed(k.p.Neighbour, "tcp", at("8090", lan()...)...)
		k.d.Run("stop", "--time", "0", "unless-stopped")
		k.d.Restart()
		k.published("8080")
		k.closed(k.p.Neighbour, "tcp", at("8081", lan()...)...)
		// What fails each time is started three times, and leaves nothing.
		k.d.Run("run", "--detach", "--name", "failing", "--network", "net", "--restart", "on-failure:2", "--publish", "8099:80", engine.Image, "sh", "-c", "exit 3")
		if got := k.d.Run("wait", "failing"); got != "3" {
			k.Errorf("it ended with %s", got)
		}
		k.d.Run("rm", "--force", "failing")
		k.sleeper("next", "net", "--publish", "8099:80")
	})
}

// A network in use is not removed, and prune takes only those that are not. What Docker shows of it is what we have.
func TestDockerRemovesNetworks(t *testing.T) {
	onDocker(t, engine.DockerOptions{}, func(k *docked) {
		k.network("used", 1, "--label", "shop=yes")
		k.network("idle", 2)
		k.network("spare", 3)
		k.sleeper("box", "used", "--mac-address", "02:00:00:00:00:07")
		var all []struct {
			Name, Driver, Scope string
			Internal            bool
			Labels              map[string]string
			IPAM                struct {
				Config []struct{ Subnet, Gateway string }
			}
			Containers map[string]struct{ Name, MacAddress, IPv4Address, IPv6Address string }
		}
		if err := json.Unmarshal([]byte(k.d.Run("network", "inspect", "used")), &all); err != nil {
			k.Fatal(err)
		}
		n := all[0]
		if n.Driver != "cnm" || n.Scope != "local" || n.Internal || n.Labels["shop"] != "yes" || len(n.Containers) != 1 {
			k.Errorf("docker shows %+v", n)
		}
		for _, c := range n.IPAM.Config {
			if _, err := netip.ParseAddr(c.Gateway); c.Gateway != "" && err != nil {
				k.Errorf("docker shows the gateway %q", c.Gateway)
			}
		}
		for _, c := range n.Containers {
			if fmt.Sprint(c) != "{box 02:00:00:00:00:07 10.80.1.2/24 fd80:1::2/64}" {
				k.Errorf("docker shows the container %+v", c)
			}
		}
		var ours []struct {
			MAC       string
			Addresses []string
		}
		if k.c.Read(&ours, "endpoint", "ls"); len(ours) != 1 || ours[0].MAC != "02:00:00:00:00:07" || fmt.Sprint(ours[0].Addresses) != "[10.80.1.2/24 fd80:1::2/64]" {
			k.Errorf("we show %+v", ours)
		}
		got := k.d.Run("inspect", "--format", `{{with .NetworkSettings.Networks.used}}{{.Gateway}} {{.IPv6Gateway}} {{.IPPrefixLen}}{{end}}`, "box")
		if got != "10.80.1.1 fd80:1::1 24" {
			k.Errorf("docker shows the gateways %s", got)
		}

		k.refused([]string{"active endpoints"}, "network", "rm", "used")
		k.refused([]string{"nowhere"}, "network", "rm", "nowhere")
		k.refused([]string{"nowhere"}, "run", "--network", "nowhere", engine.Image, "true")
		k.d.Run("network", "rm", "spare")
		k.d.Run("network", "prune", "--force")
		if got := k.d.Run("network", "ls", "--filter", "driver=cnm", "--format", "{{.Name}}"); got != "used" {
			k.Errorf("after prune there are %q", got)
		}
		if got := strings.Fields(k.c.Run("network", "ls", "--quiet")); len(got) != 1 {
			k.Errorf("after prune we have %q", got)
		}
		k.d.Run("network", "disconnect", "--force", "used", "box")
		left(k.T, k.c)
		k.d.Run("network", "connect", "used", "box")
		k.d.Run("stop", "--time", "0", "box")
		left(k.T, k.c)
		k.d.Run("rm", "box")
		k.d.Run("network", "rm", "used")
	})
}

// Containers without a network, on the host's, and in another's stack are beside ours as ever. One whose IPv6 is off by its interface's switch has none.
func TestDockerBeside(t *testing.T) {
	onDocker(t, engine.DockerOptions{}, func(k *docked) {
		k.network("net", 1)
		k.network("second", 2)
		k.sleeper("box", "net", "--publish", "8001:1")
		k.sleeper("shares", "container:box")
		defer k.echo("shares", "tcp", ":1", "shared")()
		k.answers(k.p.Neighbour, "tcp", "shared", at("8001", lan()...)...)
		k.sleeper("host", "host")
		if got := k.inside("host", "ip -o link show "+place.LANLink); got == "" {
			k.Error("on the host's stack there is no link of the host")
		}
		k.sleeper("none", "none")
		if got := k.inside("none", "ip -o link | wc -l"); got != "1" {
			k.Errorf("without a network there are %s links", got)
		}
		k.refused([]string{"host"}, "network", "connect", "net", "host")
		k.d.Run("network", "disconnect", "none", "none")
		k.d.Run("network", "connect", "net", "none")
		k.reaches("none", "box")

		// An interface whose IPv6 is off by its own switch has none. A container's switch for all interfaces is not ours to read.
		k.d.Run("network", "connect", "--driver-opt", "com.docker.network.endpoint.sysctls=net.ipv6.conf.IFNAME.disable_ipv6=1", "second", "box")
		if got := k.inside("box", "ip -o addr show dev eth1"); !strings.Contains(got, " 10.80.2.2/24 ") || strings.Contains(got, "inet6") {
			k.Errorf("with IPv6 off it has %s", got)
		}
	})
}

// A project of docker-compose is on our networks when one line of each says so; it has its own addresses, aliases and internal networks, and is scaled.
func TestDockerCompose(t *testing.T) {
	onDocker(t, engine.DockerOptions{}, func(k *docked) {
		k.p.Write("/run/shop/docker-compose.yml", `
version: "2.4"
services:
  web:
    {image: busybox, init: true, command: httpd -f -h /etc, ports: ["8080:80"], restart: always, depends_on: [db],
     networks: {front: {aliases: [shop], ipv4_address: 10.80.1.10, ipv6_address: "fd80:1::10"}, back: {}}}
  db: {image: busybox, init: true, command: sleep 1000, networks: {back: {aliases: [store]}}}
  job: {image: busybox, init: true, command: sleep 1000, networks: [front]}
networks:
  front:
    driver: cnm
    enable_ipv6: true
    driver_opts: {com.docker.network.driver.mtu: "1400"}
    ipam: {driver: cnm, config: [{subnet: 10.80.1.0/24}, {subnet: "fd80:1::/64", gateway: "fd80:1::1"}]}
  back: {driver: cnm, internal: true, enable_ipv6: true, ipam: {driver: cnm}}
`)
		k.d.Compose("/run/shop", "up", "--detach", "--scale", "job=2").Must(k, "docker-compose up")
		for _, host := range []string{place.Host4, "[" + place.Host6 + "]"} {
			if got := fetch(k.T, k.p.Neighbour, "http://"+host+":8080/hostname"); got == "" {
				k.Errorf("at %s web serves nothing", host)
			}
		}
		for from, to := range map[string]string{"shop_web_1": "store", "shop_job_2": "shop"} {
			if !k.ping(from, "-6", to) || !k.ping(from, "-4", to) {
				k.Errorf("%s does not reach %s", from, to)
			}
		}
		if got := k.inside("shop_web_1", "ip -o addr"); !strings.Contains(got, " 10.80.1.10/24 ") || !strings.Contains(got, " fd80:1::10/64 ") {
			k.Errorf("web has %s", got)
		}
		if got := len(strings.Fields(k.c.Run("endpoint", "ls", "--quiet"))); got != 5 {
			k.Errorf("we have %d endpoints, want 5", got)
		}
		k.d.Compose("/run/shop", "down", "--timeout", "0").Must(k, "docker-compose down")
		left(k.T, k.c)
	})
}
