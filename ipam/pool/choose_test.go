// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	cnm "github.com/libnetwork/cnm"
)

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }
func addr(s string) netip.Addr     { return netip.MustParseAddr(s) }

// on is a host with routes and resolvers, each "10.0.0.0/8 dev tun0" or "192.168.1.1".
func on(texts ...string) func(context.Context) ([]Used, error) {
	var used []Used
	for _, text := range texts {
		first, _, _ := strings.Cut(text, " ")
		if p, err := netip.ParsePrefix(first); err == nil {
			used = append(used, Used{Prefix: p, What: "route " + text})
		} else {
			a := addr(first)
			used = append(used, Used{Prefix: netip.PrefixFrom(a, a.BitLen()), What: "resolver " + text})
		}
	}
	return func(context.Context) ([]Used, error) { return used, nil }
}

func request(f cnm.Family, subnet string) cnm.PoolRequest {
	req := cnm.PoolRequest{Network: cnm.NewNetworkID(), Family: f}
	if subnet != "" {
		req.Subnet.Prefix = prefix(subnet)
	}
	return req
}

// TestChooseOnBusyHost has a host whose routes are in every default pool but one, for each of them.
func TestChooseOnBusyHost(t *testing.T) {
	t.Parallel()
	var c Config
	for _, f := range cnm.Families() {
		pools := c.defaults(f)
		if f == cnm.IPv6 {
			c.Defaults = append(c.Defaults, DefaultPool{prefix("fd01:1::/48"), 64}, DefaultPool{prefix("fd01:2::/48"), 64}, DefaultPool{prefix("fd01:3::/48"), 56})
			pools = c.defaults(f)
		}
		for free := range pools {
			routes := []string{"0.0.0.0/0 via 192.0.2.1", "0.0.0.0/1 dev tun0", "128.0.0.0/1 dev tun0", "::/0 dev tun0", "8000::/1 dev tun0", "192.0.2.0/24 dev eth0", "2001:db8::/64 dev eth0"}
			for i, d := range pools {
				if i != free {
					routes = append(routes, d.Base.String()+" dev tun0")
				}
			}
			host := c
			host.Host = on(routes...)
			a := open(t, host)
			p, err := a.CreatePool(t.Context(), request(f, ""))
			if want := netip.PrefixFrom(pools[free].Base.Addr(), pools[free].Size); err != nil || p.Prefix != want {
				t.Errorf("only %v free: chose %v, error %v; want %v", pools[free].Base, p.Prefix, err, want)
			}
		}
	}
}

func TestChooseAroundTheHost(t *testing.T) {
	t.Parallel()
	ula := ULA([]byte("seed"))
	inULA := func(subnet byte) string {
		b := ula.Addr().As16()
		b[7] = subnet
		return netip.AddrFrom16(b).String()
	}
	first16 := func(n int) []string {
		var s []string
		for i := range n {
			s = append(s, fmt.Sprintf("172.%d.0.0/16 dev vpn%d", 17+i, i))
		}
		return s
	}
	for _, c := range []struct {
		name   string
		family cnm.Family
		host   []string
		want   string
	}{
		{"nothing used", cnm.IPv4, nil, "172.17.0.0/16"},
		{"a small route in the first", cnm.IPv4, []string{"172.17.200.0/30 dev tun0"}, "172.18.0.0/16"},
		{"a resolver in the first", cnm.IPv4, []string{"172.17.0.53"}, "172.18.0.0/16"},
		{"an IPv4-mapped route", cnm.IPv4, []string{"::ffff:172.17.0.0/112 dev tun0"}, "172.18.0.0/16"},
		{"a route with bits beyond its length", cnm.IPv4, []string{"172.17.3.4/16 dev tun0"}, "172.18.0.0/16"},
		{"one route over them all", cnm.IPv4, []string{"172.16.0.0/12 dev tun0", "172.18.3.0/24 dev tun0"}, "192.168.0.0/20"},
		{"resolver and LAN", cnm.IPv4, append(first16(15), "192.168.0.0/24 dev wlan0", "192.168.17.1"), "192.168.32.0/20"},
		{"last resort", cnm.IPv4, append(first16(15), "192.168.0.0/16 dev tun0"), "10.0.0.0/24"},
		{"last resort, half full", cnm.IPv4, append(first16(15), "192.168.0.0/16 dev tun0", "10.0.0.0/9 dev tun0", "10.128.0.128/25 dev tun0"), "10.128.1.0/24"},
		{"IPv6", cnm.IPv6, []string{"fe80::/64 dev eth0", "2001:db8::/32 dev eth0"}, inULA(0) + "/64"},
		{"IPv6, route and resolver", cnm.IPv6, []string{inULA(0) + "/64 dev wg0", inULA(1)}, inULA(2) + "/64"},
		{"IPv6, a wide route", cnm.IPv6, []string{inULA(0) + "/57 dev wg0"}, inULA(128) + "/64"},
	} {
		a := open(t, Config{Seed: []byte("seed"), Host: on(c.host...)})
		p, err := a.CreatePool(t.Context(), request(c.family, ""))
		if err != nil || p.Prefix != prefix(c.want) {
			t.Errorf("%s: chose %v, error %v; want %s", c.name, p.Prefix, err, c.want)
		}
	}
}

// TestChooseAll takes every subnet of a pool, beside pools of other sizes that were given.
func TestChooseAll(t *testing.T) {
	t.Parallel()
	a := open(t, Config{Defaults: []DefaultPool{{prefix("10.8.0.0/16"), 24}, {prefix("fd00:8::/56"), 64}}})
	for _, given := range []string{"10.8.3.128/25", "10.8.16.0/20", "fd00:8:0:3::/80", "fd00:8:0:10::/60"} {
		f := cnm.FamilyOf(prefix(given).Addr())
		if _, err := a.CreatePool(t.Context(), request(f, given)); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range cnm.Families() {
		var all []netip.Prefix
		for {
			p, err := a.CreatePool(t.Context(), request(f, ""))
			if err != nil {
				if !errors.Is(err, cnm.Exhausted) {
					t.Error(err)
				}
				break
			}
			all = append(all, p.Prefix)
		}
		if len(all) != 256-16-1 {
			t.Errorf("%v: %d subnets chosen, want all but 17 of 256", f, len(all))
		}
		if !slices.IsSortedFunc(all, func(p, q netip.Prefix) int { return p.Addr().Compare(q.Addr()) }) {
			t.Errorf("%v: subnets chosen out of order: %v", f, all)
		}
	}
}

// TestOverlapOfTheLinkItself gives networks that are what is behind a link of the host the subnets that the host reaches by it.
func TestOverlapOfTheLinkItself(t *testing.T) {
	t.Parallel()
	a := open(t, Config{Host: func(context.Context) ([]Used, error) {
		return []Used{
			{Prefix: prefix("10.50.0.0/24"), What: "route 10.50.0.0/24 dev br0", Link: "br0"},
			{Prefix: prefix("10.50.0.53/32"), What: "resolver 10.50.0.53", Link: "br0"},
			{Prefix: prefix("fd50::/64"), What: "route fd50::/64 dev br0", Link: "br0"},
			{Prefix: prefix("10.51.0.0/16"), What: "route 10.51.0.0/16 dev br0"}, // by a router on it
			{Prefix: prefix("10.52.0.0/24"), What: "route 10.52.0.0/24 dev br0", Link: "br0"},
			{Prefix: prefix("10.52.0.0/26"), What: "route 10.52.0.0/26 dev tun0", Link: "tun0"},
		}, nil
	}})
	for _, c := range []struct {
		subnet, link string
		in           string // what is in the way; "" for nothing
	}{
		{"10.50.0.0/24", "br0", ""},
		{"fd50::/64", "br0", ""},
		{"10.50.0.0/24", "", "route 10.50.0.0/24 dev br0"},
		{"fd50::/64", "br1", "route fd50::/64 dev br0"},
		{"10.51.0.0/24", "br0", "route 10.51.0.0/16 dev br0"},
		{"10.52.0.0/24", "br0", "route 10.52.0.0/26 dev tun0"},
	} {
		req := request(cnm.FamilyOf(prefix(c.subnet).Addr()), c.subnet)
		req.Link = c.link
		p, err := a.CreatePool(t.Context(), req)
		switch {
		case c.in == "" && err != nil:
			t.Errorf("%s behind %q: %v", c.subnet, c.link, err)
		case c.in != "" && (!errors.Is(err, cnm.Invalid) || !strings.Contains(err.Error(), "overlaps "+c.in+";")):
			t.Errorf("%s behind %q: %v, want an overlap of %s", c.subnet, c.link, err, c.in)
		}
		if err == nil {
			if err := a.DeletePool(t.Context(), p.ID); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestChooseErrors(t *testing.T) {
	t.Parallel()
	c := Config{
		Defaults: []DefaultPool{{prefix("10.8.0.0/24"), 24}, {prefix("10.9.0.0/24"), 25}},
		Host:     on("10.8.0.0/16 dev tun0", "10.9.0.1"),
	}
	a := open(t, c)
	nw := cnm.NetworkID("aaaa")
	if _, err := a.CreatePool(t.Context(), cnm.PoolRequest{Network: nw, Family: cnm.IPv4}); err != nil {
		t.Fatal(err)
	}
	given := func(s string) cnm.PoolRequest { return request(cnm.IPv4, s) }
	for _, e := range []struct {
		req  cnm.PoolRequest
		kind cnm.Kind
		text string
	}{
		{
			given(""), cnm.Exhausted,
			"every default IPv4 pool is taken (10.8.0.0/24 by route 10.8.0.0/16 dev tun0, 10.9.0.0/24 by resolver 10.9.0.1); choose a subnet with --subnet",
		},
		{
			given("10.8.7.0/24"), cnm.Invalid,
			"subnet 10.8.7.0/24 overlaps route 10.8.0.0/16 dev tun0; choose another subnet or --opt allow-overlap=true",
		},
		{
			given("10.9.0.128/26"), cnm.Exists,
			"subnet 10.9.0.128/26 overlaps subnet 10.9.0.128/25 of network aaaa; choose another subnet or --opt allow-overlap=true",
		},
		{
			given("10.0.0.5/24"), cnm.Invalid,
			"subnet 10.0.0.5/24 has bits set beyond its length; write 10.0.0.0/24",
		},
		{
			cnm.PoolRequest{Network: nw, Family: cnm.IPv4, Overlap: true, Subnet: cnm.Subnet{Prefix: prefix("10.9.0.128/25")}},
			cnm.Exists,
			"subnet 10.9.0.128/25 of network aaaa is there already; a network has each subnet once",
		},
		{
			cnm.PoolRequest{Network: nw, Family: cnm.IPv4, Options: map[string]string{"ipv4-size": "16"}},
			cnm.Exhausted,
			"every default IPv4 pool is taken (10.8.0.0/24 is longer than /16, 10.9.0.0/24 is longer than /16); choose a subnet with --subnet",
		},
		{
			cnm.PoolRequest{Family: 5}, cnm.Invalid, "family 5 is neither IPv4 (4) nor IPv6 (6)",
		},
		{
			cnm.PoolRequest{Family: cnm.IPv4, Subnet: cnm.Subnet{Pool: "old"}},
			cnm.Invalid,
			"recorded pool \"old\" has no subnet; delete its network and make it anew",
		},
	} {
		_, err := a.CreatePool(t.Context(), e.req)
		if err == nil || err.Error() != e.text || !errors.Is(err, e.kind) {
			t.Errorf("%+v\n got %v (%v)\nwant %s (%v)", e.req, err, cnm.KindOf(err), e.text, e.kind)
		}
	}
}

func TestOverlapLooksAtNoHost(t *testing.T) {
	t.Parallel()
	a := open(t, Config{Host: func(context.Context) ([]Used, error) { return nil, errors.New("asked") }})
	req := request(cnm.IPv4, "10.0.0.0/24")
	if _, err := a.CreatePool(t.Context(), req); err == nil || !strings.Contains(err.Error(), "asked") {
		t.Errorf("the host was not asked: %v", err)
	}
	req.Overlap = true
	if _, err := a.CreatePool(t.Context(), req); err != nil {
		t.Error(err)
	}
	replay := request(cnm.IPv4, "10.0.0.0/25")
	replay.Subnet.Pool = "as recorded"
	if p, err := a.CreatePool(t.Context(), replay); err != nil || p.ID != "as recorded" {
		t.Errorf("replay made %v, error %v", p, err)
	}
	choice := request(cnm.IPv4, "")
	choice.Overlap = true // a choice stays out of the way all the same
	if _, err := a.CreatePool(t.Context(), choice); err == nil {
		t.Error("chosen without looking at the host")
	}
}

// TestHostWithoutLock makes a pool while the host is being asked.
func TestHostWithoutLock(t *testing.T) {
	t.Parallel()
	var a *Allocator
	replay := request(cnm.IPv4, "172.17.0.0/16")
	replay.Subnet.Pool = "meanwhile"
	a = open(t, Config{Host: func(ctx context.Context) ([]Used, error) {
		_, err := a.CreatePool(ctx, replay)
		return nil, err
	}})
	p, err := a.CreatePool(t.Context(), request(cnm.IPv4, ""))
	if err != nil || p.Prefix != prefix("172.18.0.0/16") {
		t.Errorf("chose %v, error %v; want the one that was not taken meanwhile", p.Prefix, err)
	}
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	for _, d := range []DefaultPool{
		{},
		{prefix("10.0.0.0/8"), 7},
		{prefix("10.0.0.0/8"), 33},
		{prefix("10.0.0.1/8"), 24},
		{prefix("127.0.0.0/8"), 24},
		{prefix("fe80::/10"), 64},
	} {
		if _, err := New(Config{Defaults: []DefaultPool{d}}); !errors.Is(err, cnm.Invalid) {
			t.Errorf("default pool %v: %v", d, err)
		}
	}
	one, two := ULA([]byte("one")), ULA([]byte("two"))
	if one == two || one != ULA([]byte("one")) || one.Bits() != 48 || !prefix("fd00::/8").Contains(one.Addr()) {
		t.Errorf("ULAs %v and %v", one, two)
	}
	var drawn Config
	if err := drawn.settle(); err != nil || bytes.Equal(drawn.Seed, make([]byte, 16)) {
		t.Errorf("seed %x, error %v", drawn.Seed, err)
	}
	only4 := open(t, Config{Defaults: []DefaultPool{{prefix("10.0.0.0/8"), 24}}, Seed: []byte("one")})
	if p, err := only4.CreatePool(t.Context(), request(cnm.IPv6, "")); err != nil || p.Prefix != netip.PrefixFrom(one.Addr(), 64) {
		t.Errorf("IPv6 without a default pool of its own: %v, error %v", p.Prefix, err)
	}
}

func TestOptions(t *testing.T) {
	t.Parallel()
	a := open(t, Config{})
	sized := func(f cnm.Family, subnet, key, value string) cnm.PoolRequest {
		req := request(f, subnet)
		req.Options = map[string]string{key: value}
		return req
	}
	p, err := a.CreatePool(t.Context(), sized(cnm.IPv4, "", "ipv4-size", "26"))
	if err != nil || p.Prefix != prefix("172.17.0.0/26") {
		t.Errorf("ipv4-size=26 chose %v, error %v", p.Prefix, err)
	}
	p, err = a.CreatePool(t.Context(), sized(cnm.IPv6, "", "ipv6-size", "120"))
	if err != nil || p.Prefix.Bits() != 120 {
		t.Errorf("ipv6-size=120 chose %v, error %v", p.Prefix, err)
	}
	recorded := sized(cnm.IPv4, "172.17.0.64/26", "ipv4-size", "26")
	recorded.Subnet.Pool = "recorded"
	if _, err = a.CreatePool(t.Context(), recorded); err != nil {
		t.Errorf("replay of a subnet that was chosen by size: %v", err)
	}
	for _, req := range []cnm.PoolRequest{
		sized(cnm.IPv4, "", "ipv4-size", "33"), sized(cnm.IPv4, "", "ipv4-size", "0"), sized(cnm.IPv4, "", "ipv4-size", "/24"),
		sized(cnm.IPv6, "", "ipv6-size", "129"), sized(cnm.IPv4, "", "ipv6-size", ""), sized(cnm.IPv4, "", "size", "24"),
		sized(cnm.IPv4, "10.0.0.0/24", "ipv4-size", "24"),
	} {
		if _, err := a.CreatePool(t.Context(), req); !errors.Is(err, cnm.Invalid) || !strings.Contains(err.Error(), "size") {
			t.Errorf("options %v: %v", req.Options, err)
		}
	}
	for _, o := range a.Describe(t.Context()).Options {
		if err := a.Decode(cnm.Network{IPAMOptions: map[string]string{o.Key: "24"}}, nil); err != nil {
			t.Errorf("option %s is described and not known: %v", o.Key, err)
		}
	}
	if err := a.Decode(cnm.Network{IPAMOptions: map[string]string{"size": "24"}}, nil); !errors.Is(err, cnm.Invalid) {
		t.Error(err)
	}
	if err := a.Decode(cnm.Network{IPAMOptions: map[string]string{"size": "24"}}, &cnm.Endpoint{}); err != nil {
		t.Errorf("an endpoint has no options of the address manager: %v", err)
	}
}
