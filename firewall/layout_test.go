// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"cmp"
	"errors"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/kernel/kerneltest"
	"github.com/libnetwork/cnm/kernel/nft"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// golden compares text with a file.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; look at it with go test -run %s -update and git diff:\n%s", file, t.Name(), got)
	}
}

// TestRuleCount: the ruleset is constant. Whoever adds a rule says so here and in the README.
func TestRuleCount(t *testing.T) {
	t.Parallel()
	l := newLayout(DefaultMarkBit, 0)
	for table, want := range map[*nft.Layout]int{l.routes: 122, l.frames: 43} {
		if got := table.RuleCount(); got != want {
			t.Errorf("table %s has %d rules, want %d", table.Table.TableID, got, want)
		}
	}
}

func TestLayoutText(t *testing.T) {
	t.Parallel()
	l := newLayout(DefaultMarkBit, nft.Owner|nft.Persist)
	golden(t, "inet.nft", l.routes.String())
	golden(t, "bridge.nft", l.frames.String())
}

// TestLayoutLoads loads both tables and reads them back.
func TestLayoutLoads(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		kerneltest.Clear(t, "cnm")
		conn, err := nft.Dial(nft.Config{})
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := conn.Close(); err != nil {
				t.Error(err)
			}
		}()
		l := newLayout(DefaultMarkBit, 0)
		var tx nft.Tx
		tx.Load(l.routes)
		tx.Load(l.frames)
		if err := conn.Run(t.Context(), &tx); err != nil {
			t.Fatal(err)
		}
		for _, want := range []*nft.Layout{l.routes, l.frames} {
			have, err := conn.Snapshot(t.Context(), want.Table.TableID)
			if err != nil {
				t.Fatal(err)
			}
			if d := nft.Compare(want, have); !d.None() {
				t.Errorf("%s", &d)
			}
		}
	})
}

// TestEverySetIsUsed: what no rule looks up is dead.
func TestEverySetIsUsed(t *testing.T) {
	t.Parallel()
	l := newLayout(DefaultMarkBit, 0)
	text := l.routes.String() + l.frames.String()
	for id := range setCount {
		if !strings.Contains(text, "@"+id.String()+" ") && !strings.Contains(text, "@"+id.String()+"\n") {
			t.Errorf("set %s is looked up by no rule", id)
		}
	}
}

// TestElements shows what rules become.
func TestElements(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	for _, c := range ruleCases() {
		items, err := itemsOf(&c.rules)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		lines := make([]string, len(items))
		for i, it := range items {
			lines[i] = it.set.String() + " " + it.elem.String()
		}
		slices.SortFunc(lines, cmp.Compare)
		out.WriteString("# " + c.name + "\n" + strings.Join(lines, "\n") + "\n\n")
	}
	golden(t, "elements.txt", out.String())
}

type ruleCase struct {
	name  string
	rules Rules
}

func ruleCases() []ruleCase {
	subnets := []netip.Prefix{netip.MustParsePrefix("10.0.1.0/24"), netip.MustParsePrefix("fd00:1::/64")}
	all := cnm.FamilySet{IPv4: true, IPv6: true}
	a4, a6, ll := netip.MustParseAddr("10.0.1.2"), netip.MustParseAddr("fd00:1::2"), netip.MustParseAddr("fe80::2")
	mac := cnm.MAC{2, 0, 0, 0, 0, 2}
	ap := netip.MustParseAddrPort
	port := BridgePort{Link: "cnv1", Bridge: "cn-a", MAC: mac, Addresses: []netip.Addr{a4, a6, ll}}
	loose, apart, shared := port, port, port
	loose.AnySource, loose.AllowRA, loose.AllowDHCPServer = true, true, true
	apart.Isolated = true
	shared.Adopted, shared.Isolated = true, true
	return []ruleCase{
		{"a network", Rules{Bridges: []Bridge{{Link: "cn-a", Subnets: subnets, Masquerade: all, HostAccess: true, Loopback: true}}}},
		{"an internal network: no way out, none of the host", Rules{Bridges: []Bridge{{Link: "cn-a", Subnets: subnets, Internal: true, Masquerade: all, HostAccess: true, Trusted: []string{"eth1"}}}}},
		{"an adopted bridge", Rules{Bridges: []Bridge{{Link: "br0", Subnets: subnets, Adopted: true, Masquerade: cnm.FamilySet{IPv4: true}}}}},
		{"fixed sources", Rules{Bridges: []Bridge{{Link: "cn-a", Subnets: subnets, Masquerade: all, Source4: netip.MustParseAddr("192.0.2.1"), Source6: netip.MustParseAddr("2001:db8::1")}}}},
		{"a routed network that trusts a link", Rules{Bridges: []Bridge{{Link: "cn-a", Subnets: subnets, Routed: all, HostAccess: true, Trusted: []string{"eth1"}}}}},
		{"an endpoint", Rules{Ports: []BridgePort{port}}},
		{"an endpoint that opted out of everything", Rules{Ports: []BridgePort{loose}}},
		{"an isolated endpoint", Rules{Ports: []BridgePort{apart}}},
		{"an isolated endpoint on an adopted bridge", Rules{Ports: []BridgePort{shared}}},
		{"published ports", Rules{Published: []Published{
			{Proto: cnm.TCP, Host: ap("0.0.0.0:8080"), To: ap("10.0.1.2:80")},
			{Proto: cnm.UDP, Host: ap("[::]:8080"), To: ap("[fd00:1::2]:80")},
			{Proto: cnm.SCTP, Host: ap("192.0.2.1:8081"), To: ap("10.0.1.2:81")},
			{Proto: cnm.TCP, Host: ap("[2001:db8::1]:8081"), To: ap("[fd00:1::2]:81")},
		}}},
		{"published on loopback: a socket serves IPv6", Rules{Published: []Published{
			{Proto: cnm.TCP, Host: ap("127.0.0.1:8080"), To: ap("10.0.1.2:80")},
			{Proto: cnm.TCP, Host: ap("[::1]:8080"), To: ap("[fd00:1::2]:80")},
		}}},
		{"opened without translation", Rules{Published: []Published{{Proto: cnm.TCP, To: ap("10.0.1.2:80")}, {Proto: cnm.UDP, To: ap("[fd00:1::2]:53")}}}},
		{"trunks and opened links", Rules{Trunks: []string{"cnt1h", "cnt1s"}, Opened: []Opened{{"eth0", all}, {"eth1", cnm.FamilySet{IPv6: true}}}}},
	}
}

// TestElementsRefused: what cannot be meant is refused before anything is sent.
func TestElementsRefused(t *testing.T) {
	t.Parallel()
	ap := netip.MustParseAddrPort
	bridge := func(change func(b *Bridge)) Rules {
		b := Bridge{Link: "cn-a", Subnets: []netip.Prefix{netip.MustParsePrefix("10.0.1.0/24")}, Masquerade: cnm.FamilySet{IPv4: true}}
		change(&b)
		return Rules{Bridges: []Bridge{b}}
	}
	port := func(change func(p *BridgePort)) Rules {
		p := BridgePort{Link: "cnv1", MAC: cnm.MAC{2}}
		change(&p)
		return Rules{Ports: []BridgePort{p}}
	}
	for name, r := range map[string]Rules{
		"link":            bridge(func(b *Bridge) { b.Link = "a-name-of-16-byte" }),
		"no link":         bridge(func(b *Bridge) { b.Link = "" }),
		"whole family":    bridge(func(b *Bridge) { b.Subnets[0] = netip.MustParsePrefix("0.0.0.0/0") }),
		"no subnet":       bridge(func(b *Bridge) { b.Subnets[0] = netip.Prefix{} }),
		"source":          bridge(func(b *Bridge) { b.Source4 = netip.MustParseAddr("2001:db8::1") }),
		"no MAC":          port(func(p *BridgePort) { p.MAC = cnm.MAC{} }),
		"group MAC":       port(func(p *BridgePort) { p.MAC = cnm.MAC{1} }),
		"any address":     port(func(p *BridgePort) { p.Addresses = []netip.Addr{netip.IPv4Unspecified()} }),
		"zone":            port(func(p *BridgePort) { p.Addresses = []netip.Addr{netip.MustParseAddr("fe80::1%eth0")} }),
		"mapped":          port(func(p *BridgePort) { p.Addresses = []netip.Addr{netip.MustParseAddr("::ffff:10.0.0.1")} }),
		"families":        {Published: []Published{{Proto: cnm.TCP, Host: ap("0.0.0.0:80"), To: ap("[fd00::1]:80")}}},
		"nowhere":         {Published: []Published{{Proto: cnm.TCP, Host: ap("0.0.0.0:80")}}},
		"port 0":          {Published: []Published{{Proto: cnm.TCP, Host: ap("0.0.0.0:0"), To: ap("10.0.0.1:80")}}},
		"endpoint port 0": {Published: []Published{{Proto: cnm.TCP, To: ap("10.0.0.1:0")}}},
	} {
		if _, err := itemsOf(&r); !errors.Is(err, cnm.Invalid) {
			t.Errorf("%s: error %v, want one of kind invalid", name, err)
		}
	}
}
