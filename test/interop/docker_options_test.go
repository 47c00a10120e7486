// SPDX-License-Identifier: Apache-2.0

//go:build interop

package interop_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/libnetwork/cnm/test/interop/engine"
	"github.com/libnetwork/cnm/test/interop/place"
)

const bridgeOption = "com.docker.network.bridge."

// Options of Docker's for its own bridge do to ours what they say.
func TestDockerOptions(t *testing.T) {
	onDocker(t, engine.DockerOptions{}, func(k *docked) {
		k.network("named", 1, "--opt", bridgeOption+"name=docker9", "--opt", "com.docker.network.driver.mtu=1400", "--opt", "com.docker.network.container_iface_prefix=lan")
		k.sleeper("one", "named")
		if got := k.p.Output("ip", "-o", "link", "show", "docker9"); !strings.Contains(got, "mtu 1400") {
			k.Errorf("the bridge is %s", got)
		}
		if got := k.inside("one", "ip -o link show lan0"); !strings.Contains(got, "mtu 1400") {
			k.Errorf("the interface is %s", got)
		}

		k.route("10.80.2.0/24", "fd80:2::/64", "10.80.3.0/24", "fd80:3::/64", "10.80.4.0/24", "fd80:4::/64")
		defer k.echoAt(k.p.Neighbour, "tcp", ":9", "")()
		k.network("plain", 2, "--opt", bridgeOption+"enable_ip_masquerade=false")
		k.network("hidden", 3, "--opt", bridgeOption+"enable_ip_masquerade=true", "--opt", bridgeOption+"enable_icc=false")
		k.network("trusting", 4, "--opt", bridgeOption+"trusted_host_interfaces="+place.LANLink)
		for _, n := range []string{"plain", "hidden", "trusting"} {
			k.sleeper("in-"+n, n, "--publish", "1")
			defer k.echo("in-"+n, "tcp", ":2", n)()
		}
		for i, to := range []string{place.Neighbour4, place.Neighbour6} {
			k.answers(k.within("in-plain"), "tcp", k.addresses("in-plain", "plain")[i], at("9", to)...)
			k.answers(k.within("in-hidden"), "tcp", []string{place.Host4, place.Host6}[i], at("9", to)...)
		}
		k.closed(k.p.Neighbour, "tcp", slices.Concat(at("2", k.addresses("in-plain", "plain")...), at("2", k.addresses("in-hidden", "hidden")...))...)
		k.answers(k.p.Neighbour, "tcp", "trusting", at("2", k.addresses("in-trusting", "trusting")...)...)

		k.sleeper("alone", "hidden", "--publish", "8003:3")
		defer k.echo("alone", "tcp", ":3", "alone")()
		k.apart("in-hidden", "alone", "hidden")
		k.closed(k.within("in-hidden"), "tcp", at("3", k.addresses("alone", "hidden")...)...)
		k.answers(k.within("in-hidden"), "tcp", "alone", at("8003", lan()...)...)
		k.answers(k.p.Host, "tcp", "alone", at("3", k.addresses("alone", "hidden")...)...)
	})
}

// What is unknown or cannot be done is refused by its name, and leaves nothing; an endpoint's interface has the name and the settings that it is given,
// where Docker lets us.
func TestDockerEndpointOptions(t *testing.T) {
	onDocker(t, engine.DockerOptions{}, func(k *docked) {
		for option, texts := range map[string][]string{
			"colour=red":                                       {`"colour"`},
			bridgeOption + "colour=red":                        {bridgeOption + "colour"},
			bridgeOption + "enable_icc=maybe":                  {bridgeOption + "enable_icc", `"maybe"`},
			bridgeOption + "gateway_mode_ipv4=isolated":        {bridgeOption + "gateway_mode_ipv4", "nat or routed"},
			bridgeOption + "gateway_mode_ipv6=nat-unprotected": {bridgeOption + "gateway_mode_ipv6", "nat or routed"},
			bridgeOption + "inhibit_ipv4=true":                 {bridgeOption + "inhibit_ipv4"},
			"com.docker.network.driver.mtu=big":                {"com.docker.network.driver.mtu", `"big"`},
		} {
			k.refused(texts, "network", "create", "--driver", "cnm", "--opt", option, "refused")
		}
		if got := k.c.Run("network", "ls", "--quiet"); got != "" {
			k.Errorf("of refused networks are left %s", got)
		}
		k.network("net", 1)
		k.sleeper("box", "net")
		k.network("second", 2)
		k.refused([]string{`"colour"`}, "network", "connect", "--driver-opt", "colour=red", "second", "box")
		k.refused([]string{"IFNAME"}, "network", "connect", "--driver-opt", "com.docker.network.endpoint.sysctls=net.ipv4.ip_forward=1", "second", "box")
		k.refused([]string{"swarm"}, "network", "create", "--driver", "cnm", "--scope", "swarm", "wide")

		const name, settings = "com.docker.network.endpoint.ifname=", "com.docker.network.endpoint.sysctls="
		const values = "net.ipv4.conf.IFNAME.log_martians=1,net.ipv4.conf.IFNAME.forwarding=0,net.ipv6.conf.IFNAME.accept_ra=2"
		show := func(box, link string) string {
			return k.inside(box, "cd /proc/sys/net && cat ipv4/conf/"+link+"/log_martians ipv4/conf/"+link+"/forwarding ipv6/conf/"+link+"/accept_ra")
		}
		k.d.Run("network", "connect", "--driver-opt", name+"back0", "--driver-opt", settings+"net.ipv4.conf.IFNAME.log_martians=1", "second", "box")
		if got := show("box", "back0"); !strings.HasPrefix(got, "1\n") {
			k.Errorf("the settings are %q", got)
		}
		k.d.Run("network", "disconnect", "second", "box")
		k.d.Run("network", "connect", "second", "box")
		if got := k.inside("box", "ip -o link show eth1"); got == "" {
			k.Error("without a name it is not eth1")
		}
		flags := []string{"run", "--detach", "--init", "--name", "begun", "--network", "name=net,\"driver-opt=" + settings + values + "\",driver-opt=" + name + "front0", engine.Image, "sleep", "1000"}
		if k.d.Generation == engine.Debian {
			flags[6] = "name=net,driver-opt=" + name + "front0"
			k.refused([]string{"com.docker.network.endpoint.ifname", "network connect"}, flags...)
			return
		}
		k.d.Run(flags...)
		if got := show("begun", "front0"); got != "1\n0\n2" {
			k.Errorf("the settings are %q", got)
		}
	})
}
