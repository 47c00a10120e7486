// SPDX-License-Identifier: Apache-2.0

//go:build interop

package interop_test

import (
	"fmt"
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

// Addresses are given, of a range, never a reserved one, of the first subnet that has one; a container keeps what it was given over a restart.
func TestDockerAddresses(t *testing.T) {
	for name, manager := range managers() {
		t.Run(name, func(t *testing.T) {
			onDocker(t, engine.DockerOptions{}, func(k *docked) {
				k.d.Run(slices.Concat([]string{"network", "create", "--driver", "cnm", "--ipv6",
					"--subnet", "10.80.1.0/24", "--gateway", "10.80.1.254", "--ip-range", "10.80.1.64/30", "--aux-address", "printer=10.80.1.64", "--aux-address", "router=10.80.1.65",
					"--subnet", "fd80:1::/64", "--gateway", "fd80:1::fe", "--ip-range", "fd80:1::4:0/112"}, manager, []string{"net"})...)
				k.d.Run(slices.Concat([]string{"network", "create", "--driver", "cnm", "--subnet", "10.80.2.0/24", "--subnet", "10.80.3.0/24"}, manager, []string{"two"})...)
				k.sleeper("first", "two", "--ip", "10.80.2.7")
				k.sleeper("second", "two", "--ip", "10.80.3.7")
				if !k.ping("first", "-4", "10.80.3.7") {
					k.Error("the second subnet of a network is not reached from the first")
				}
				for i, want := range []string{"10.80.1.66", "10.80.1.67"} {
					box := fmt.Sprintf("box-%d", i)
					k.sleeper(box, "net")
					got := k.addresses(box, "net")
					if got[0] != want || !netip.MustParsePrefix("fd80:1::4:0/112").Contains(netip.MustParseAddr(got[1])) {
						k.Errorf("%s has %q, want %s and one of the range", box, got, want)
					}
				}
				var gateways []string
				for _, r := range k.routes("box-0") {
					if r.Dst.Bits() == 0 {
						gateways = append(gateways, r.Gateway.String())
					}
				}
				if slices.Sort(gateways); fmt.Sprint(gateways) != "[10.80.1.254 fd80:1::fe]" {
					k.Errorf("the gateways are %v", gateways)
				}
				k.sleeper("given", "net", "--ip", "10.80.1.77", "--ip6", "fd80:1::77", "--mac-address", "02:00:00:00:00:77", "--restart", "always")
				has := func() {
					k.Helper()
					if got := k.addresses("given", "net"); fmt.Sprint(got) != "[10.80.1.77 fd80:1::77]" {
						k.Errorf("it has %q", got)
					}
					if got := k.inside("given", "cat /sys/class/net/eth0/address; ip -o addr show dev eth0"); !strings.HasPrefix(got, "02:00:00:00:00:77") ||
						!strings.Contains(got, " 10.80.1.77/24 ") || !strings.Contains(got, " fd80:1::77/64 ") {
						k.Errorf("inside it has %q", got)
					}
				}
				has()
				k.reaches("box-0", "given")
				k.d.Run("restart", "--time", "0", "given")
				has()
				k.refused([]string{map[string]string{"docker": "in use", "ours": "10.80.1.77 is that of endpoint"}[name]}, "run", "--network", "net", "--ip", "10.80.1.77", engine.Image, "true")
				k.refused([]string{"10.9.9.9"}, "run", "--network", "net", "--ip", "10.9.9.9", engine.Image, "true")
			})
		})
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
