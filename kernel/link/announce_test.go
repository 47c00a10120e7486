// SPDX-License-Identifier: Apache-2.0

package link_test

import (
	"net/netip"
	"testing"

	"github.com/libnetwork/cnm/kernel/link"
)

// Who knows an address elsewhere sends to where it was announced.
func TestAnnounce(t *testing.T) {
	t.Parallel()
	isolated(t, func(t *testing.T) {
		c := dial(t)
		old, now := link.MAC{2, 0, 0, 0, 0, 1}, link.MAC{2, 0, 0, 0, 0, 2}
		addrs := []netip.Addr{netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("2001:db8::7")}
		do(t, c, func(b *link.Batch) {
			b.CreateVeth(link.Veth{Name: "here0", Index: 1010, Peer: link.Peer{Name: "there0", Index: 1011, MAC: now, Namespace: link.Here}})
			for _, i := range []int{1010, 1011} {
				b.SetLink(link.Change{Link: link.Numbered(i), AddrGenMode: link.AddrGenNone, Up: link.On})
			}
			b.AddAddress(link.Address{Link: 1010, Prefix: netip.MustParsePrefix("192.0.2.1/24")})
			b.AddAddress(link.Address{Link: 1010, Prefix: netip.MustParsePrefix("2001:db8::1/64"), NoDAD: true})
			for _, a := range addrs {
				b.AddNeighbour(link.Neighbour{Link: 1010, Addr: a, MAC: old, State: link.Reachable})
			}
		})
		if _, err := c.Link(link.Named("here0")); err != nil { // brings its carrier up to date
			t.Fatal(err)
		}
		w := watch(t, link.WatchOptions{})
		if err := link.Announce(1011, now, addrs); err != nil {
			t.Fatal(err)
		}
		for _, a := range addrs {
			await(t, w, "news of "+a.String(), func(e *link.NeighbourEvent) bool {
				return e.Neighbour.Link == 1010 && e.Neighbour.Addr == a && e.Neighbour.MAC == now
			})
		}
		if err := link.Announce(1099, now, addrs); err == nil {
			t.Error("on a link that is not there it succeeds")
		}
	})
}
