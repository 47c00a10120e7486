// SPDX-License-Identifier: Apache-2.0

package sandbox

import (
	"errors"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	cnm "github.com/libnetwork/cnm"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares got with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (run with -update to accept):\n%s\nwant:\n%s", path, got, want)
	}
}

// text is a plan as a golden file has it.
func (p plan) text() string {
	var b strings.Builder
	b.WriteString("# before\n")
	for _, s := range p.settings {
		b.WriteString("set " + s.Key + " to " + s.Value + "\n")
	}
	b.WriteString("# plug\n" + p.batch().String() + "# unplug\n" + p.removal().String())
	return b.String()
}

// attachment is an attachment as a bridge driver and the controller make it.
func attachment(change func(at *cnm.Attachment)) cnm.Attachment {
	at := cnm.Attachment{
		Network: cnm.Network{ID: "aa", Name: "blue"},
		Endpoint: cnm.Endpoint{
			ID: "bb", Name: "web", MAC: cnm.MAC{2, 0x42, 10, 1, 0, 2},
			Addresses: []netip.Prefix{netip.MustParsePrefix("10.1.0.2/24"), netip.MustParsePrefix("fd00:1::2/64")},
		},
		Sandbox: cnm.Sandbox{ID: "cc", Name: "box", Owned: true},
		Join: cnm.Join{
			Endpoint: "bb", Network: "aa", Sandbox: "cc",
			Interface: "eth0", Number: 123456789, Default: cnm.FamilySet{IPv4: true, IPv6: true},
			Result: cnm.JoinResult{
				Link:     cnm.Link{Name: "eth0", Index: 5, InPlace: true, Host: "cnv1"},
				Gateways: []netip.Addr{netip.MustParseAddr("10.1.0.1"), netip.MustParseAddr("fd00:1::1")},
				Neighbours: []cnm.Neighbour{
					{Address: netip.MustParseAddr("10.1.0.1"), MAC: cnm.MAC{2, 0x42, 10, 1, 0, 1}},
					{Address: netip.MustParseAddr("fd00:1::1"), MAC: cnm.MAC{2, 0x42, 10, 1, 0, 1}},
				},
				MTU: 1400,
			},
		},
	}
	if change != nil {
		change(&at)
	}
	return at
}

func prefixes(all ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(all))
	for i, s := range all {
		out[i] = netip.MustParsePrefix(s)
	}
	return out
}

func TestPlan(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(at *cnm.Attachment){
		// The common case: both families, both default routes here.
		"both-default": nil,
		// A second network: reachable through its own table, no default route in the main one.
		"second-network": func(at *cnm.Attachment) { at.Join.Default = cnm.FamilySet{} },
		// The families' default routes may be on two endpoints.
		"default-v6-only": func(at *cnm.Attachment) { at.Join.Default = cnm.FamilySet{IPv6: true} },
		"v4-only":         func(at *cnm.Attachment) { at.Endpoint.Addresses = prefixes("10.1.0.2/24") },
		"v6-only":         func(at *cnm.Attachment) { at.Endpoint.Addresses = prefixes("fd00:1::2/64") },
		"no-gateway":      func(at *cnm.Attachment) { at.Join.Result.Gateways = nil },
		// A gateway outside of every subnet, and one that is link-local.
		"gateway-off-link": func(at *cnm.Attachment) {
			at.Endpoint.Addresses = prefixes("10.9.0.7/32", "fd00:9::7/128")
			at.Join.Result.Gateways = []netip.Addr{netip.MustParseAddr("169.254.1.1"), netip.MustParseAddr("fe80::1")}
		},
		"two-subnets": func(at *cnm.Attachment) {
			at.Endpoint.Addresses = prefixes("10.1.0.2/24", "10.2.0.2/31", "fd00:1::2/64", "fd00:2::2/64", "10.1.0.3/24")
		},
		"routes": func(at *cnm.Attachment) {
			at.Join.Result.Routes = []cnm.Route{
				{Prefix: netip.MustParsePrefix("172.30.0.0/16"), Via: netip.MustParseAddr("10.1.0.254")},
				{Prefix: netip.MustParsePrefix("172.31.0.0/16")},
				{Prefix: netip.MustParsePrefix("fd00:30::/48"), Via: netip.MustParseAddr("fd00:1::fe")},
				{Prefix: netip.MustParsePrefix("0.0.0.0/0"), Via: netip.MustParseAddr("10.1.0.253")},
			}
		},
		"default-among-routes": func(at *cnm.Attachment) {
			at.Join.Default, at.Join.Result.Gateways = cnm.FamilySet{IPv6: true}, nil
			at.Join.Result.Routes = []cnm.Route{
				{Prefix: netip.MustParsePrefix("0.0.0.0/0"), Via: netip.MustParseAddr("10.1.0.253")},
				{Prefix: netip.MustParsePrefix("::/0"), Via: netip.MustParseAddr("fd00:1::fd")},
			}
		},
		"sysctls": func(at *cnm.Attachment) {
			at.Join.Interface = "eth0.5"
			at.Join.Sysctls = map[string]string{
				"net.ipv6.conf.IFNAME.accept_ra": "2", "net.ipv4.conf.IFNAME.forwarding": "1", "net.ipv4.neigh.IFNAME.gc_stale_time": "30",
			}
		},
		// Its user switches IPv6 off: no address of it then.
		"sysctl-ipv6-off": func(at *cnm.Attachment) {
			at.Join.Sysctls = map[string]string{"net.ipv6.conf.IFNAME.disable_ipv6": "1"}
		},
		"no-mac":  func(at *cnm.Attachment) { at.Endpoint.MAC, at.Join.Result.MTU = cnm.MAC{}, 0 },
		"no-link": func(at *cnm.Attachment) { at.Join.Result = cnm.JoinResult{} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, err := planFor(attachment(change))
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(p.batch().Err(), p.removal().Err()); err != nil {
				t.Error(err)
			}
			golden(t, name, p.text())
		})
	}
}

func TestPlanRefuses(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		change func(at *cnm.Attachment)
		field  string
	}{
		"no index":      {func(at *cnm.Attachment) { at.Join.Result.Link.Index = 0 }, ""},
		"named all":     {func(at *cnm.Attachment) { at.Join.Interface = "all" }, "interface"},
		"named default": {func(at *cnm.Attachment) { at.Join.Interface = "default" }, "interface"},
		"other sysctl":  {sysctlNamed("kernel.hostname", "x"), "sysctl"},
		"all's sysctl":  {sysctlNamed("net.ipv4.conf.all.forwarding", "1"), "sysctl"},
		"eth1's sysctl": {sysctlNamed("net.ipv4.conf.eth1.forwarding", "1"), "sysctl"},
		"no key":        {sysctlNamed("net.ipv4.conf.IFNAME", "1"), "sysctl"},
		"up the tree":   {sysctlNamed("net.ipv4.conf.IFNAME.../../x", "1"), "sysctl"},
		"slash":         {sysctlNamed("net.ipv4.conf.IFNAME.a/b", "1"), "sysctl"},
		"no value":      {sysctlNamed("net.ipv4.conf.IFNAME.forwarding", ""), "sysctl"},
		"two lines":     {sysctlNamed("net.ipv4.conf.IFNAME.forwarding", "1\n1"), "sysctl"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := planFor(attachment(tc.change))
			var e *cnm.Error
			if !errors.As(err, &e) || e.Kind != cnm.Invalid || e.Field != tc.field {
				t.Errorf("error %v, want an invalid %q", err, tc.field)
			}
		})
	}
}

// TestPlanOfAMovedLink: whoever moves a link into the sandbox sees to all inside.
func TestPlanOfAMovedLink(t *testing.T) {
	t.Parallel()
	p, err := planFor(attachment(func(at *cnm.Attachment) { at.Join.Result.Link.InPlace = false }))
	if err != nil || !p.none() {
		t.Errorf("planned %+v, error %v, want nothing", p, err)
	}
}

func sysctlNamed(key, value string) func(at *cnm.Attachment) {
	return func(at *cnm.Attachment) { at.Join.Sysctls = map[string]string{key: value} }
}

func TestLast(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"10.1.0.2/24": "10.1.0.255", "10.1.0.2/8": "10.255.255.255", "10.1.0.5/30": "10.1.0.7", "10.1.2.3/21": "10.1.7.255", "1.2.3.4/32": "1.2.3.4",
	} {
		if got := last(netip.MustParsePrefix(in)).String(); got != want {
			t.Errorf("last of %s is %s, want %s", in, got, want)
		}
	}
}

func TestPingGroups(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"         0          0 4294967295\n":                       "0 2147483647",
		"         0       1000          1\n":                       "0 0",
		"         1     100000      65536\n         0  1000  10\n": "0 9",
		"": "0 2147483647",
	} {
		if got := pingGroups(in); got != want {
			t.Errorf("groups of %q are %q, want %q", in, got, want)
		}
	}
}
