// SPDX-License-Identifier: Apache-2.0

//go:build interop

package interop_test

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/libnetwork/cnm/test/interop/engine"
)

// managers are the flags for Docker's own address manager and for ours.
func managers() map[string][]string {
	return map[string][]string{"docker": nil, "ours": {"--ipam-driver", "cnm"}}
}

// Addresses are given, of a range, never a reserved one; a container keeps what it was given over a restart.
func TestDockerAddresses(t *testing.T) {
	onDocker(t, engine.DockerOptions{}, func(k *docked) {
		inUse := map[string]string{"docker": "in use", "ours": ".77 is that of endpoint"}
		for n, name := range slices.Sorted(maps.Keys(managers())) {
			k.givesAddresses(10*n, name, inUse[name], managers()[name]...)
		}
	})
}

func (k *docked) givesAddresses(n int, name, inUse string, manager ...string) {
	k.Helper()
	four, six := func(host string) string { return fmt.Sprintf("10.80.%d.%s", n, host) }, func(host string) string { return fmt.Sprintf("fd80:%d::%s", n+1, host) }
	net, two, box := "net-"+name, "two-"+name, "box-"+name
	k.d.Run(slices.Concat([]string{"network", "create", "--driver", "cnm", "--ipv6",
		"--subnet", four("0/24"), "--gateway", four("254"), "--ip-range", four("64/30"), "--aux-address", "printer=" + four("64"), "--aux-address", "router=" + four("65"),
		"--subnet", six("/64"), "--gateway", six("fe"), "--ip-range", six("4:0/112")}, manager, []string{net})...)
	for i, want := range []string{four("66"), four("67")} {
		name := fmt.Sprintf("%s-%d", box, i)
		k.sleeper(name, net)
		got := k.addresses(name, net)
		if got[0] != want || !netip.MustParsePrefix(six("4:0/112")).Contains(netip.MustParseAddr(got[1])) {
			k.Errorf("%s has %q, want %s and one of the range", name, got, want)
		}
	}
	var gateways []string
	for _, r := range k.routes(box + "-0") {
		if r.Dst.Bits() == 0 {
			gateways = append(gateways, r.Gateway.String())
		}
	}
	if slices.Sort(gateways); fmt.Sprint(gateways) != fmt.Sprintf("[%s %s]", four("254"), six("fe")) {
		k.Errorf("the gateways are %v", gateways)
	}
	k.sleeper(box, net, "--ip", four("77"), "--ip6", six("77"), "--mac-address", "02:00:00:00:00:77", "--restart", "always")
	has := func() {
		k.Helper()
		if got := k.addresses(box, net); fmt.Sprint(got) != fmt.Sprintf("[%s %s]", four("77"), six("77")) {
			k.Errorf("it has %q", got)
		}
		if got := k.inside(box, "cat /sys/class/net/eth0/address; ip -o addr show dev eth0"); !strings.HasPrefix(got, "02:00:00:00:00:77") ||
			!strings.Contains(got, " "+four("77/24 ")) || !strings.Contains(got, " "+six("77/64 ")) {
			k.Errorf("inside it has %q", got)
		}
	}
	has()
	k.reaches(box+"-0", box)
	k.d.Run("restart", "--time", "0", box)
	has()
	k.refused([]string{inUse}, "run", "--network", net, "--ip", four("77"), engine.Image, "true")
	k.refused([]string{"10.9.9.9"}, "run", "--network", net, "--ip", "10.9.9.9", engine.Image, "true")

	k.d.Run(slices.Concat([]string{"network", "create", "--driver", "cnm", "--subnet", fmt.Sprintf("10.81.%d.0/24", n), "--subnet", fmt.Sprintf("10.82.%d.0/24", n)}, manager, []string{two})...)
	k.sleeper(box+"-first", two, "--ip", fmt.Sprintf("10.81.%d.7", n))
	k.sleeper(box+"-second", two, "--ip", fmt.Sprintf("10.82.%d.7", n))
	if !k.ping(box+"-first", "-4", fmt.Sprintf("10.82.%d.7", n)) {
		k.Error("the second subnet of a network is not reached from the first")
	}
}

// Subnets that nobody gave are apart, and those that overlap are refused, as is a second network of a name.
func TestDockerSubnets(t *testing.T) {
	onDocker(t, engine.DockerOptions{}, func(k *docked) {
		for name, manager := range managers() {
			k.d.Run(slices.Concat([]string{"network", "create", "--driver", "cnm"}, manager, []string{name + "-a"})...)
			k.d.Run(slices.Concat([]string{"network", "create", "--driver", "cnm"}, manager, []string{name + "-b"})...)
		}
		k.d.Run("network", "create", "--driver", "cnm", "--ipv6", "--ipam-driver", "cnm", "both")
		var all []netip.Prefix
		for _, text := range strings.Fields(k.d.Run("network", "inspect", "--format", "{{range .IPAM.Config}}{{.Subnet}} {{end}}", "docker-a", "docker-b", "ours-a", "ours-b", "both")) {
			p := netip.MustParsePrefix(text)
			if i := slices.IndexFunc(all, p.Overlaps); i >= 0 {
				k.Errorf("%s overlaps %s", p, all[i])
			}
			all = append(all, p)
		}
		if len(all) != 6 {
			k.Errorf("the subnets are %v, want five of IPv4 and one of IPv6", all)
		}
		k.network("net", 1)
		for name, manager := range managers() {
			k.refused([]string{"overlap"}, slices.Concat([]string{"network", "create", "--driver", "cnm", "--subnet", "10.80.1.128/25"}, manager, []string{name + "-over"})...)
			// Not Docker's manager, but our driver sees what the host itself has.
			k.refused([]string{"overlap"}, slices.Concat([]string{"network", "create", "--driver", "cnm", "--subnet", "192.0.2.0/24"}, manager, []string{name + "-lan"})...)
		}
		k.refused([]string{"already exists"}, "network", "create", "--driver", "cnm", "net")
		if got := len(strings.Fields(k.c.Run("network", "ls", "--quiet"))); got != 6 {
			k.Errorf("we have %d networks, want 6", got)
		}
		k.sleeper("one", "ours-a")
		k.sleeper("two", "docker-a")
		k.silent("one", k.d.Run("inspect", "--format", `{{(index .NetworkSettings.Networks "docker-a").IPAddress}}`, "two"))
	})
}

// An address whose container is gone leads to its next one at once, though the neighbours still know the old one's hardware address. Containers
// that nobody gave one never have the same.
func TestDockerAddressesAgain(t *testing.T) {
	onDocker(t, engine.DockerOptions{}, func(k *docked) {
		k.network("net", 1)
		k.sleeper("box", "net")
		macs := map[string]bool{}
		for i := range 4 {
			k.sleeper("web", "net", "--ip", "10.80.1.50", "--ip6", "fd80:1::50")
			macs[k.inside("web", "cat /sys/class/net/eth0/address")] = true
			word := fmt.Sprint("web ", i)
			end := k.echo("web", "tcp", ":1", word)
			k.answers(k.within("box"), "tcp", word, at("1", "10.80.1.50", "fd80:1::50")...)
			end()
			k.d.Run("rm", "--force", "web")
		}
		if len(macs) != 4 {
			k.Errorf("four containers had the addresses %v", macs)
		}
	})
}
