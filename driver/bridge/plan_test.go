// SPDX-License-Identifier: Apache-2.0

package bridge

import (
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/kernel/link"
)

var update = flag.Bool("update", false, "write the golden files anew")

// The address plan of the tests: network blue has 192.0.2.0/24 and 2001:db8:b::/64, its gateway is the first of each.
func blue() cnm.Network {
	return cnm.Network{
		ID: "0123456789abcdef0123456789abcdef", Name: "blue", Driver: "bridge", IPv4: true, IPv6: true,
		Subnets: []cnm.Subnet{
			{Prefix: netip.MustParsePrefix("192.0.2.0/24"), Gateway: netip.MustParseAddr("192.0.2.1")},
			{Prefix: netip.MustParsePrefix("2001:db8:b::/64"), Gateway: netip.MustParseAddr("2001:db8:b::1")},
		},
		State: cnm.Ready,
	}
}

func web(nw cnm.Network) cnm.Attachment {
	ep := cnm.Endpoint{ID: "fedcba9876543210fedcba9876543210", Network: nw.ID, Name: "web", MAC: cnm.MAC{2, 0, 0, 0, 0, 7}}
	for _, s := range nw.Subnets {
		a := s.Gateway
		for range 6 {
			a = a.Next()
		}
		ep.Addresses = append(ep.Addresses, netip.PrefixFrom(a, s.Prefix.Bits()))
	}
	return cnm.Attachment{
		Network: nw, Endpoint: ep, Sandbox: cnm.Sandbox{ID: "5", Name: "web"},
		Join: cnm.Join{Endpoint: ep.ID, Network: nw.ID, Sandbox: "5", Interface: "eth0", Number: 123456789},
	}
}

func TestPlanGolden(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		// what packet the scenario serves
		why     string
		network func(*cnm.Network)
		ports   []cnm.Port
		shard   int
	}{
		"plain":    {why: "an endpoint of a network with both families"},
		"internal": {why: "an endpoint that reaches its own network only: no gateway, no masquerade", network: func(n *cnm.Network) { n.Internal = true }},
		"ipv4": {why: "an endpoint of a network without IPv6", network: func(n *cnm.Network) {
			n.IPv6, n.Subnets = false, n.Subnets[:1]
		}},
		"published": {why: "a port on all addresses of the host and one on loopback", ports: []cnm.Port{
			{Proto: cnm.TCP, HostIP: netip.MustParseAddr("0.0.0.0"), HostPort: 8080, Port: 80},
			{Proto: cnm.TCP, HostIP: netip.MustParseAddr("::"), HostPort: 8080, Port: 80},
			{Proto: cnm.UDP, HostIP: netip.MustParseAddr("127.0.0.1"), HostPort: 53, Port: 5353},
		}},
		"routed": {why: "a port opened on the endpoint's own address", network: func(n *cnm.Network) {
			n.Options = map[string]string{"gateway-mode": "routed"}
		}, ports: []cnm.Port{{Proto: cnm.TCP, HostIP: netip.MustParseAddr("192.0.2.7"), HostPort: 80, Port: 80}}},
		"isolated-on-a-shard": {why: "an endpoint that reaches no other, on the second bridge of its network", network: func(n *cnm.Network) {
			n.IsolateEndpoints = true
		}, shard: 1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			nw := blue()
			if tt.network != nil {
				tt.network(&nw)
			}
			golden(t, name, "# "+tt.why+"\n"+planText(t, nw, tt.ports, tt.shard))
		})
	}
}

// planText is everything that is decided for an endpoint of nw.
func planText(t *testing.T, nw cnm.Network, ports []cnm.Port, number int) string {
	t.Helper()
	np, err := planNetwork(nw)
	if err != nil {
		t.Fatal(err)
	}
	p, err := planEndpoint(np, web(nw), ports)
	if err != nil {
		t.Fatal(err)
	}
	to := site{plan: np, hub: 10, name: np.hub, bridge: 10, mtu: 1500}
	if number > 0 {
		to.name, to.bridge, to.trunk = shardName(nw.ID, number), 20, 21
	}
	var b link.Batch
	p.plug(&b, to, link.Here)
	return fmt.Sprintf("hub %s mac %s gateways %v\n%srules of the network\n%srules of the endpoint\n%stold the sandbox\n%s",
		np.hub, np.mac, np.gateways, b.String(), lines(np.rules), lines(p.rules), lines(p.result(np, 1500, ports)))
}

// lines prints a value, one field or element a line.
func lines(v any) string {
	text := fmt.Sprintf("%+v", v)
	text = strings.NewReplacer(" Ports:", "\n  Ports:", " Published:", "\n  Published:", " Trunks:", "\n  Trunks:", "} {", "}\n    {", " Gateways:", "\n  Gateways:", " Routes:", "\n  Routes:", " Neighbours:", "\n  Neighbours:", " MTU:", "\n  MTU:").Replace(text)
	return "  " + text + "\n"
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("the plan differs from %s (rewrite it with -update and explain the difference):\n%s", path, got)
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	nw := blue()
	seen := map[string]bool{}
	for i := range 1296 {
		for _, n := range []string{shardName(nw.ID, i), trunkHub(nw.ID, i), trunkShard(nw.ID, i)} {
			if len(n) > 15 || seen[n] {
				t.Fatalf("shard %d: %q is too long or comes twice", i, n)
			}
			seen[n] = true
		}
		np := networkPlan{network: nw, hub: hubName(nw, settings{})}
		if got, ok := shardNumber(np, shardName(nw.ID, i)); !ok || got != i {
			t.Fatalf("shard %d reads back as %d, %t", i, got, ok)
		}
	}
	for _, number := range []uint64{1, 1<<60 - 1} {
		if n := portName(number); len(n) != 15 {
			t.Errorf("port name %q has %d characters, want 15", n, len(n))
		}
		if i := linkIndex(number); i <= 0 || i > 1<<31-1 {
			t.Errorf("index %d is out of range", i)
		}
	}
	if got, want := linkLocal(cnm.MAC{0x02, 0x42, 0xac, 0x11, 0x00, 0x02}), netip.MustParseAddr("fe80::42:acff:fe11:2"); got != want {
		t.Errorf("link-local address %s, want %s", got, want)
	}
	if _, ok := shardNumber(networkPlan{network: nw, hub: "cn-x"}, "cn-another"); ok {
		t.Error("another network's bridge counts as a shard")
	}
	if m := macOf("endpoint", "x"); !m.IsValid() || m[0]&2 == 0 || m != macOf("endpoint", "x") || m == macOf("endpoint", "y") {
		t.Errorf("mac %s is not an individual, local, repeatable one", m)
	}
}

func TestOptionsAreStrict(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		options map[string]string
		change  func(*cnm.Network)
		want    string
	}{
		"unknown key":            {options: map[string]string{"brigde": "x"}, want: "brigde"},
		"key of an endpoint":     {options: map[string]string{"mac": "x"}, want: "mac"},
		"not a bool":             {options: map[string]string{"masquerade": "maybe"}, want: "maybe"},
		"not a mode":             {options: map[string]string{"gateway-mode": "snat"}, want: "nat, routed"},
		"not a name":             {options: map[string]string{"bridge": "a/b"}, want: "a/b"},
		"too long a name":        {options: map[string]string{"bridge": "abcdefghijklmnop"}, want: "15"},
		"a name of ours":         {options: map[string]string{"bridge": "cnv1"}, want: "cnv1"},
		"two ways to a bridge":   {options: map[string]string{"bridge": "a", "adopt": "b"}, want: "adopt"},
		"not an address":         {options: map[string]string{"publish-address": "host"}, want: "host"},
		"two addresses a family": {options: map[string]string{"snat": "192.0.2.1,192.0.2.2"}, want: "family"},
		"routed and internal":    {options: map[string]string{"gateway-mode": "routed"}, change: internal, want: "internal"},
		"trusted and internal":   {options: map[string]string{"trusted-interfaces": "eth0"}, change: internal, want: "internal"},
		"internal and wide open": {options: map[string]string{"publish-address": "0.0.0.0"}, change: internal, want: "loopback"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			nw := blue()
			nw.Options = tt.options
			if tt.change != nil {
				tt.change(&nw)
			}
			_, err := planNetwork(nw)
			var e *cnm.Error
			if !errors.As(err, &e) || e.Kind != cnm.Invalid || e.Field != "opt" || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want an invalid opt that says %q", err, tt.want)
			}
		})
	}
}

func internal(n *cnm.Network) { n.Internal = true }
