// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"errors"
	"net/netip"
	"testing"

	cnm "github.com/libnetwork/cnm"
)

// FuzzPool makes a pool of anything: what is accepted gives addresses that are right, and no input is worse than an error.
func FuzzPool(f *testing.F) {
	for _, s := range [][5]string{
		{"10.0.0.0/24", "10.0.0.128/25", "10.0.0.1", "10.0.0.9", "10.0.0.200"},
		{"10.0.0.0/31", "", "10.0.0.0", "10.0.0.1", ""},
		{"10.0.0.5/32", "10.0.0.5/32", "", "", "10.0.0.5"},
		{"fd00::/64", "fd00::8000/113", "fd00::1", "fd00::2", "fd00::ffff:ffff:ffff:ffff"},
		{"fd00::/127", "", "", "", "fd00::1%eth0"},
		{"8000::/2", "", "", "", "::ffff:10.0.0.1"},
		{"2000::/3", "3fff:ffff:ffff:ffff:ffff:ffff:ffff:fff0/124", "", "", "2000::"},
		{"0.0.0.0/0", "", "", "", ""},
		{"255.255.255.254/31", "", "", "", ""},
	} {
		f.Add(s[0], s[1], s[2], s[3], s[4], "ipv4-size", "24", false)
	}
	f.Add("", "", "", "", "10.0.0.1", "ipv4-size", "24", true)
	f.Fuzz(func(t *testing.T, subnet, within, gateway, reserved, wanted, key, value string, option bool) {
		var req cnm.PoolRequest
		req.Subnet.Prefix, _ = netip.ParsePrefix(subnet)
		req.Subnet.Range, _ = netip.ParsePrefix(within)
		req.Subnet.Gateway, _ = netip.ParseAddr(gateway)
		req.Family = cnm.IPv6
		if req.Subnet.Prefix.Addr().Is4() {
			req.Family = cnm.IPv4
		}
		if a, err := netip.ParseAddr(reserved); err == nil {
			req.Subnet.Reserved = map[string]netip.Addr{"reserved": a}
		}
		if option {
			req.Options = map[string]string{key: value}
		}
		a := open(t, Config{Seed: []byte("seed")})
		p, err := a.CreatePool(t.Context(), req)
		if err != nil {
			known(t, err)
			return
		}
		address, _ := netip.ParseAddr(wanted)
		for _, r := range []cnm.AddressRequest{{Purpose: cnm.ForGateway}, {}, {}, {Address: address}} {
			r.Pool = p.ID
			l, err := a.Allocate(t.Context(), r)
			if err != nil {
				known(t, err)
				continue
			}
			got := l.Address.Addr()
			if l.Address.Bits() != p.Prefix.Bits() || !p.Prefix.Contains(got) || got == req.Subnet.Reserved["reserved"] && got.IsValid() {
				t.Errorf("lease %v of pool %v", l.Address, p)
			}
			if p.Range.IsValid() && !r.Address.IsValid() && !p.Range.Contains(got) {
				t.Errorf("lease %v outside range %v", l.Address, p.Range)
			}
		}
	})
}

// known fails for an error that is not one a caller can do something about.
func known(t *testing.T, err error) {
	t.Helper()
	for _, k := range []cnm.Kind{cnm.Invalid, cnm.Exists, cnm.Exhausted} {
		if errors.Is(err, k) {
			return
		}
	}
	t.Errorf("error of kind %v: %v", cnm.KindOf(err), err)
}
