// SPDX-License-Identifier: Apache-2.0

package docker_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/libnetwork/cnm/kernel/kerneltest"
)

// pool asks for one as Docker does. more are further fields.
func (r *rig) pool(prefix string, more string) (id, got string) {
	r.t.Helper()
	v6 := strings.Contains(prefix, ":") || strings.Contains(more, `"V6":true`)
	if more == "" {
		more = `"SubPool":"","Options":{}`
	}
	a := r.done("IpamDriver.RequestPool", fmt.Sprintf(`{"AddressSpace":"cnm","Pool":"%s","V6":%t,%s}`, prefix, v6, more))
	return a["PoolID"].(string), a["Pool"].(string)
}

const (
	gatewayOf = `{"RequestAddressType":"com.docker.network.gateway"}`
	webOf     = `{"com.docker.network.endpoint.name":"web"}`
)

// address asks for one.
func (r *rig) address(pool, want, options string) string {
	r.t.Helper()
	a := r.done("IpamDriver.RequestAddress", fmt.Sprintf(`{"PoolID":"%s","Address":"%s","Options":%s}`, pool, want, options))
	return a["Address"].(string)
}

// noAddress asks for one that there is not.
func (r *rig) noAddress(pool, want, options, text string) {
	r.t.Helper()
	r.refused("IpamDriver.RequestAddress", fmt.Sprintf(`{"PoolID":"%s","Address":"%s","Options":%s}`, pool, want, options), text)
}

func (r *rig) release(pool, address string) {
	r.t.Helper()
	a, _, _ := strings.Cut(address, "/")
	r.done("IpamDriver.ReleaseAddress", fmt.Sprintf(`{"PoolID":"%s","Address":"%s"}`, pool, a))
}

// TestIPAM is the session of a network with everything, of two families, from its pools to its end.
func TestIPAM(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		r := newRig(t)
		if a := r.done("IpamDriver.GetDefaultAddressSpaces", "{}"); a["LocalDefaultAddressSpace"] != "cnm" {
			t.Errorf("the address spaces are %v", a)
		}
		if a := r.done("IpamDriver.GetCapabilities", "{}"); a["RequiresRequestReplay"] != false {
			t.Errorf("the capabilities are %v", a)
		}
		four, prefix := r.pool("172.28.0.0/24", `"SubPool":"172.28.0.128/25","Options":{}`)
		if prefix != "172.28.0.0/24" {
			t.Errorf("the pool is %s", prefix)
		}
		if got := r.address(four, "172.28.0.1", gatewayOf); got != "172.28.0.1/24" {
			t.Errorf("the gateway is %s", got)
		}
		if got := r.address(four, "172.28.0.130", "null"); got != "172.28.0.130/24" {
			t.Errorf("the reserved address is %s", got)
		}
		r.noAddress(four, "", "{}", "of no network of ours")
		six, prefix6 := r.pool("", `"V6":true`)
		gateway6 := r.address(six, "", gatewayOf)
		if p := netip.MustParsePrefix(prefix6); !p.Contains(netip.MustParsePrefix(gateway6).Addr()) || p.Bits() != 64 {
			t.Errorf("of pool %s the gateway is %s", prefix6, gateway6)
		}
		nid := id()
		r.done("NetworkDriver.CreateNetwork", fmt.Sprintf(`{"NetworkID":"%s","Options":{"com.docker.network.enable_ipv4":true,"com.docker.network.enable_ipv6":true,"com.docker.network.generic":{}},
			"IPv4Data":[{"AddressSpace":"cnm","AuxAddresses":{"rtr":"172.28.0.130/24"},"Gateway":"172.28.0.1/24","Pool":"172.28.0.0/24"}],
			"IPv6Data":[{"AddressSpace":"cnm","AuxAddresses":{},"Gateway":"%s","Pool":"%s"}]}`, nid, gateway6, prefix6))
		nw, err := r.LookupNetwork(nid[:32])
		r.ok(err)
		if s := nw.Subnets[0]; string(s.Pool) != four || s.Range.String() != "172.28.0.128/25" || s.Reserved["rtr"].String() != "172.28.0.130" {
			t.Errorf("the network has %+v", s)
		}
		// Containers' addresses come from the range, before their endpoints.
		first, first6 := r.address(four, "", webOf), r.address(six, "", webOf)
		if first != "172.28.0.128/24" {
			t.Errorf("the first address is %s", first)
		}
		if got := r.address(four, "", "null"); got != "172.28.0.129/24" {
			t.Errorf("the second address is %s", got)
		}
		if got := r.address(four, "", "null"); got != "172.28.0.131/24" {
			t.Errorf("the third address is %s, want the one after the reserved one", got)
		}
		if got := r.address(four, "172.28.0.7", `{"com.docker.network.endpoint.macaddress":"02:42:7e:e0:b1:b6"}`); got != "172.28.0.7/24" {
			t.Errorf("the wanted address is %s", got)
		}
		r.noAddress(four, "172.28.0.7", "null", "taken")
		r.noAddress(four, "172.28.0.1", "null", "taken by the gateway")
		r.noAddress(four, "172.28.9.1", "null", "outside subnet 172.28.0.0/24")
		web := r.container(false)
		e := web.connect(nid, "", first, first6)
		e.program("")
		r.check()
		// The address is the container's until Docker gives it back, though the endpoint is gone.
		e.disconnect(true)
		r.noAddress(four, strings.TrimSuffix(first, "/24"), "null", "taken")
		r.release(four, first)
		r.release(six, first6)
		r.release(six, first6)
		if got := r.address(four, strings.TrimSuffix(first, "/24"), "null"); got != first {
			t.Errorf("the address given back is %s, want %s", got, first)
		}
		// The end, in Docker's order: the addresses of a network that is there still.
		r.release(four, "172.28.0.1")
		r.release(four, "172.28.0.130")
		r.done("IpamDriver.ReleasePool", fmt.Sprintf(`{"PoolID":"%s"}`, four))
		r.release(six, gateway6)
		r.done("IpamDriver.ReleasePool", fmt.Sprintf(`{"PoolID":"%s"}`, six))
		r.check()
		r.done("NetworkDriver.DeleteNetwork", fmt.Sprintf(`{"NetworkID":"%s"}`, nid))
		// All is free again.
		again, _ := r.pool("172.28.0.0/24", "")
		r.address(again, "172.28.0.1", gatewayOf)
		r.done("IpamDriver.ReleasePool", fmt.Sprintf(`{"PoolID":"%s"}`, again))
		r.noAddress(again, "", gatewayOf, "no pool")
	})
}

func TestIPAMRefuses(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		r := newRig(t)
		four, _ := r.pool("172.28.0.0/24", "")
		for body, text := range map[string]string{
			`{"AddressSpace":"LocalDefault"}`:                                                   "not ours",
			`{"AddressSpace":"cnm","Pool":"web"}`:                                               `subnet "web" is no IPv4 prefix`,
			`{"AddressSpace":"cnm","Pool":"172.29.0.0/24","V6":true}`:                           "is no IPv6 prefix",
			`{"AddressSpace":"cnm","Pool":"172.28.0.0/25"}`:                                     "overlaps subnet 172.28.0.0/24",
			`{"AddressSpace":"cnm","Pool":"172.29.0.0/24","SubPool":"172.30.0.0/25"}`:           "is not inside subnet",
			`{"AddressSpace":"cnm","Pool":"172.29.0.0/24","Options":{"colour":"red"}}`:          `"colour" is unknown`,
			`{"AddressSpace":"cnm","Pool":"172.29.0.0/24","Options":{"allow-overlap":"maybe"}}`: "not true or false",
			`{"AddressSpace":"cnm","SubPool":"172.29.0.0/25"}`:                                  "no subnet it is in",
		} {
			r.refused("IpamDriver.RequestPool", body, text)
		}
		r.pool("172.28.0.0/25", `"Options":{"allow-overlap":"true"}`)
		if _, got := r.pool("", `"Options":{"ipv4-size":"28"}`); !strings.HasSuffix(got, "/28") {
			t.Errorf("a pool of size 28 is %s", got)
		}
		r.noAddress("nowhere", "", "null", "no pool")
		r.noAddress(four, "web", "null", "no plain address")
		r.noAddress(four, "172.28.0.3", `{"com.docker.network.endpoint.macaddress":"x"}`, "six octets")
		// A network that cannot be made leaves its pools as they are.
		r.address(four, "172.28.0.1", gatewayOf)
		r.refused("NetworkDriver.CreateNetwork", strings.ReplaceAll(networkBody(id(), `"com.docker.network.generic":{"bridge":"lan0"}`, "172.28.0.0/24"), "LocalDefault", "cnm"), "lan0")
		if got := r.address(four, "172.28.0.9", "null"); got != "172.28.0.9/24" {
			t.Errorf("the reserved address is %s", got)
		}
		r.done("NetworkDriver.CreateNetwork", strings.ReplaceAll(networkBody(id(), "", "172.28.0.0/24"), "LocalDefault", "cnm"))
	})
}

// TestIPAMRestart has us die between all that Docker asks for.
func TestIPAMRestart(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		r := newRig(t)
		four, _ := r.pool("172.28.0.0/24", "")
		r.address(four, "", gatewayOf)
		r.restart()
		nid := id()
		r.done("NetworkDriver.CreateNetwork", strings.ReplaceAll(networkBody(nid, "", "172.28.0.0/24"), "LocalDefault", "cnm"))
		nw, err := r.LookupNetwork(nid[:32])
		r.ok(err)
		if string(nw.Subnets[0].Pool) == four {
			t.Error("the pool outlived the process")
		}
		r.done("NetworkDriver.DeleteNetwork", fmt.Sprintf(`{"NetworkID":"%s"}`, nid))
		// Docker knows the pool by the name that it had when the network was made.
		four, _ = r.pool("172.28.0.0/24", "")
		r.address(four, "172.28.0.1", gatewayOf)
		r.done("NetworkDriver.CreateNetwork", strings.ReplaceAll(networkBody(nid, "", "172.28.0.0/24"), "LocalDefault", "cnm"))
		r.restart()
		first := r.address(four, "", webOf)
		r.restart()
		web := r.container(false)
		e := web.connect(nid, "", first)
		e.program("")
		r.restart()
		r.noAddress(four, strings.TrimSuffix(first, "/24"), "null", "is that of endpoint")
		r.check()
		e.disconnect(true)
		r.release(four, first)
		if got := r.address(four, strings.TrimSuffix(first, "/24"), webOf); got != first {
			t.Errorf("the address given back is %s, want %s", got, first)
		}
	})
}
