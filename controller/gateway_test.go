// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"net/netip"
	"testing"
	"time"

	cnm "github.com/libnetwork/cnm"
)

// candidate is an attachment as defaults sees it: its gateways come from the driver.
func candidate(id string, priority, age int, gateways ...string) cnm.Attachment {
	at := cnm.Attachment{Endpoint: cnm.Endpoint{ID: cnm.EndpointID(id)}}
	at.Join.GatewayPriority = priority
	at.Join.Joined = time.Unix(int64(1000-age), 0)
	at.Join.Result.Link.Name = "eth0"
	for _, g := range gateways {
		at.Join.Result.Gateways = append(at.Join.Result.Gateways, netip.MustParseAddr(g))
	}
	return at
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	both := []string{"10.0.0.1", "fd00::1"}
	only4, only6 := both[:1], both[1:]
	tests := map[string]struct {
		ats    []cnm.Attachment
		v4, v6 cnm.EndpointID
	}{
		"none":                      {},
		"no gateways":               {ats: []cnm.Attachment{candidate("a", 0, 1)}},
		"one":                       {ats: []cnm.Attachment{candidate("a", 0, 1, both...)}, v4: "a", v6: "a"},
		"the older of equals":       {ats: []cnm.Attachment{candidate("a", 0, 1, both...), candidate("b", 0, 2, both...)}, v4: "b", v6: "b"},
		"priority before age":       {ats: []cnm.Attachment{candidate("a", 1, 1, both...), candidate("b", 0, 2, both...)}, v4: "a", v6: "a"},
		"below zero":                {ats: []cnm.Attachment{candidate("a", -1, 2, both...), candidate("b", 0, 1, both...)}, v4: "b", v6: "b"},
		"families apart":            {ats: []cnm.Attachment{candidate("a", 9, 1, only6...), candidate("b", 0, 1, only4...)}, v4: "b", v6: "a"},
		"priority without gateways": {ats: []cnm.Attachment{candidate("a", 9, 1), candidate("b", 0, 1, both...)}, v4: "b", v6: "b"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := defaults(tt.ats)
			for _, at := range tt.ats {
				id := at.Endpoint.ID
				want := cnm.FamilySet{IPv4: id == tt.v4, IPv6: id == tt.v6}
				if got[id] != want {
					t.Errorf("%s holds %+v, want %+v", id, got[id], want)
				}
			}
		})
	}
}

func TestRoutesForeseesWhatTheRecordsSay(t *testing.T) {
	t.Parallel()
	at := cnm.Attachment{
		Network: cnm.Network{Subnets: []cnm.Subnet{
			{Prefix: netip.MustParsePrefix("10.0.0.0/24"), Gateway: netip.MustParseAddr("10.0.0.1")},
			{Prefix: netip.MustParsePrefix("fd00::/64")},
		}},
		Endpoint: cnm.Endpoint{Addresses: []netip.Prefix{netip.MustParsePrefix("10.0.0.2/24"), netip.MustParsePrefix("fd00::2/64")}},
	}
	if !routes(at, cnm.IPv4) {
		t.Error("no IPv4 route is foreseen though the subnet has a gateway")
	}
	if routes(at, cnm.IPv6) {
		t.Error("an IPv6 route is foreseen though the subnet has no gateway")
	}
	at.Network.Internal = true
	if routes(at, cnm.IPv4) {
		t.Error("a route out of an internal network is foreseen")
	}
}
