// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/libnetwork/cnm"
)

// Sample returns one record of each kind, every field set, with identifiers and names made of n, in the
// order of n. The endpoint is in the network, and the join puts it into the sandbox. Addresses are of the
// documentation ranges (RFC 5737, RFC 3849).
func Sample(n int, keep bool) cnm.Records {
	nw, ep, sb := sampleNetwork(n), sampleEndpoint(n, keep), sampleSandbox(n)
	return cnm.Records{
		Networks:  []cnm.Network{nw},
		Endpoints: []cnm.Endpoint{ep},
		Sandboxes: []cnm.Sandbox{sb},
		Joins:     []cnm.Join{sampleJoin(n, nw.ID, ep, sb.ID)},
	}
}

// sampleID is 32 digits that begin with n's.
func sampleID(n int, kind byte) string { return fmt.Sprintf("%08x%024x", n, kind) }

// sampleTime has every part that a time can have in a record.
func sampleTime(n int) time.Time {
	return time.Date(2026, time.March, 1, 12, 30, n%60, 123456789, time.UTC)
}

func sampleNetwork(n int) cnm.Network {
	return cnm.Network{
		ID:     cnm.NetworkID(sampleID(n, 1)),
		Name:   fmt.Sprintf("net-%d", n),
		Driver: "bridge",
		IPv4:   true, IPv6: true,
		Subnets: []cnm.Subnet{{
			Prefix:   netip.MustParsePrefix("192.0.2.0/24"),
			Gateway:  netip.MustParseAddr("192.0.2.1"),
			Range:    netip.MustParsePrefix("192.0.2.128/25"),
			Reserved: map[string]netip.Addr{"router": netip.MustParseAddr("192.0.2.2")},
			Pool:     "pool-4",
		}, {
			Prefix: netip.MustParsePrefix("2001:db8::/64"),
			Pool:   "pool-6",
		}},
		IPAM:        "pool",
		IPAMOptions: map[string]string{"quote": `"<&>` + "\u2028"},
		Internal:    true, IsolateEndpoints: true,
		MTU:     1400,
		DNS:     []netip.Addr{netip.MustParseAddr("192.0.2.53"), netip.MustParseAddr("2001:db8::53")},
		Options: map[string]string{"bridge": "br-sample"},
		Labels:  map[string]string{"a": "", "": "b"},
		Created: sampleTime(n),
		State:   cnm.Ready,
	}
}

func sampleEndpoint(n int, keep bool) cnm.Endpoint {
	return cnm.Endpoint{
		ID:      cnm.EndpointID(sampleID(n, 2)),
		Network: cnm.NetworkID(sampleID(n, 1)),
		Name:    fmt.Sprintf("ep-%d", n),
		MAC:     cnm.MAC{2, 0, 0, 0, byte(n >> 8), byte(n)},
		Addresses: []netip.Prefix{
			netip.MustParsePrefix("192.0.2.10/24"),
			netip.MustParsePrefix("2001:db8::10/64"),
		},
		Aliases: []string{"web", "www"},
		Publish: []cnm.PortSpec{
			{Proto: cnm.TCP, HostPort: 8080, HostPortEnd: 8090, Port: 80},
			{Proto: cnm.UDP, HostIP: netip.MustParseAddr("2001:db8::1"), Port: 53},
		},
		Options: map[string]string{"k": "v"},
		Labels:  map[string]string{},
		Keep:    keep,
		Created: sampleTime(n),
		State:   cnm.Joined,
	}
}

func sampleSandbox(n int) cnm.Sandbox {
	return cnm.Sandbox{
		ID:        cnm.SandboxID(sampleID(n, 3)),
		Name:      fmt.Sprintf("sb-%d", n),
		Namespace: cnm.Namespace{Path: "/run/netns/sample", Cookie: 1<<64 - 1},
		Owned:     true, Host: true,
		PID:        4711,
		Hostname:   "host.example",
		DNS:        []netip.Addr{netip.MustParseAddr("fe80::1%eth0")},
		DNSSearch:  []string{"example"},
		ExtraHosts: []cnm.HostEntry{{Name: "db", Address: netip.MustParseAddr("192.0.2.20")}},
		Labels:     map[string]string{"l": "m"},
		Created:    sampleTime(n),
		State:      cnm.Ready,
	}
}

func sampleJoin(n int, nw cnm.NetworkID, ep cnm.Endpoint, sb cnm.SandboxID) cnm.Join {
	return cnm.Join{
		Endpoint: ep.ID, Network: nw, Sandbox: sb,
		Interface:       "eth0",
		GatewayPriority: -1,
		Sysctls:         map[string]string{"net.ipv4.conf.IFNAME.forwarding": "0"},
		Number:          1<<60 - uint64(n),
		Default:         cnm.FamilySet{IPv4: true, IPv6: true},
		Result: cnm.JoinResult{
			Link:       cnm.Link{Name: "eth0", Index: 7, InPlace: true, Host: "cnv0"},
			Gateways:   []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")},
			Routes:     []cnm.Route{{Prefix: netip.MustParsePrefix("198.51.100.0/24"), Via: netip.MustParseAddr("192.0.2.3")}},
			Neighbours: []cnm.Neighbour{{Address: netip.MustParseAddr("192.0.2.1"), MAC: cnm.MAC{2, 1, 1, 1, 1, 1}}},
			MTU:        1400,
			Ports:      []cnm.Port{{Proto: cnm.TCP, HostIP: netip.MustParseAddr("0.0.0.0"), HostPort: 8080, Port: 80}},
		},
		Joined: sampleTime(n),
		State:  cnm.Joined,
	}
}

// merge puts lists together.
func merge(parts ...cnm.Records) cnm.Records {
	var all cnm.Records
	for _, r := range parts {
		all.Networks = append(all.Networks, r.Networks...)
		all.Endpoints = append(all.Endpoints, r.Endpoints...)
		all.Sandboxes = append(all.Sandboxes, r.Sandboxes...)
		all.Joins = append(all.Joins, r.Joins...)
	}
	return all
}

// keysOf names every record of r.
func keysOf(r cnm.Records) cnm.Keys {
	var k cnm.Keys
	for _, nw := range r.Networks {
		k.Networks = append(k.Networks, nw.ID)
	}
	for _, ep := range r.Endpoints {
		k.Endpoints = append(k.Endpoints, ep.ID)
	}
	for _, sb := range r.Sandboxes {
		k.Sandboxes = append(k.Sandboxes, sb.ID)
	}
	for _, j := range r.Joins {
		k.Joins = append(k.Joins, j.Endpoint)
	}
	return k
}
