// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"net"
	"net/netip"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestTupleText(t *testing.T) {
	t.Parallel()
	for want, got := range map[string]Tuple{
		`"cnv0" . 02:00:00:00:00:01 . 192.0.2.1`: Ifname("cnv0").MAC(mac(1)).Addr(addr("192.0.2.1")),
		`tcp . 8080`:                             Tuple{}.Proto(TCP).Port(8080),
		`192.0.2.1 . 80`:                         Addr(addr("::ffff:192.0.2.1")).Port(80),
		`2001:db8::1 . sctp . 65535`:             Addr(addr("2001:db8::1")).Proto(SCTP).Port(65535),
		`0x0000000a`:                             Mark(10),
		`99`:                                     Tuple{}.Proto(99),
		`nd-redirect`:                            Tuple{}.Num(TypeICMPv6, NDRedirect),
		`established,related`:                    Tuple{}.Num(TypeCTState, CTEstablished|CTRelated),
		`0x80`:                                   Tuple{}.Num(TypeTCPFlags, 0x80),
		`0x88cc`:                                 Tuple{}.Num(TypeEtherType, 0x88cc),
		`0x0102`:                                 Tuple{}.Bytes([]byte{1, 2}),
	} {
		if got.Err() != nil || got.String() != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	for what, bad := range map[string]Tuple{
		"long name":      Ifname("0123456789abcdef"),
		"empty name":     Ifname(""),
		"zone":           Addr(addr("fe80::1%eth0")),
		"no address":     Addr(netip.Addr{}),
		"short MAC":      MAC(net.HardwareAddr{1}),
		"too big":        Tuple{}.Num(TypeProto, 256),
		"not a number":   Tuple{}.Num(TypeIPv6, 1),
		"no bytes":       Tuple{}.Bytes(nil),
		"too long":       Ifname("a").Ifname("b").Ifname("c").Addr(addr("2001:db8::1")),
		"too many":       Port(1).Port(2).Port(3).Port(4).Port(5).Port(6),
		"remains so":     Ifname("").Port(1),
		"empty interval": Interval{}.IfnamePrefix("").First,
		"bad prefix":     Interval{}.Prefix(netip.Prefix{}).Last,
	} {
		if bad.Err() == nil || !strings.HasPrefix(bad.String(), "invalid") {
			t.Errorf("%s: got %s", what, bad)
		}
	}
}

func TestIntervalText(t *testing.T) {
	t.Parallel()
	for want, got := range map[string]Element{
		`192.0.2.0/24`:             Within(prefix("192.0.2.7/24")),
		`192.0.2.7`:                Within(prefix("192.0.2.7/32")),
		`0.0.0.0/0`:                Within(prefix("0.0.0.0/0")),
		`2001:db8::/32`:            Within(prefix("2001:db8::/32")),
		`192.0.2.1-192.0.2.2`:      Interval{}.Addrs(addr("192.0.2.1"), addr("192.0.2.2")).Element(),
		`192.0.2.0-192.0.2.2`:      Interval{}.Addrs(addr("192.0.2.0"), addr("192.0.2.2")).Element(),
		`80-90`:                    Interval{}.Ports(80, 90).Element(),
		`"cnv*"`:                   Interval{}.IfnamePrefix("cnv").Element(),
		`"a" . tcp . 192.0.2.0/31`: Interval{}.Ifname("a").Proto(TCP).Prefix(prefix("192.0.2.0/31")).Element(),
	} {
		if got.String() != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

// TestPrefixText compares the text of any prefix with that of net/netip.
func TestPrefixText(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.SampledFrom([]int{4, 16}).Draw(t, "size")
		a, _ := netip.AddrFromSlice(rapid.SliceOfN(rapid.Byte(), size, size).Draw(t, "address"))
		if a.Is4In6() {
			return // counts as IPv4
		}
		p := netip.PrefixFrom(a, rapid.IntRange(0, 8*size).Draw(t, "bits")).Masked()
		want := p.String()
		if p.IsSingleIP() {
			want = p.Addr().String()
		}
		if p.Addr().Is4In6() {
			return
		}
		if got := Within(p).String(); got != want {
			t.Fatalf("got %s, want %s", got, want)
		}
		last := lastAddr(p)
		if !p.Contains(last) || p.Contains(last.Next()) {
			t.Fatalf("%s is not the last of %s", last, p)
		}
	})
}
