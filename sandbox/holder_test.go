// SPDX-License-Identifier: Apache-2.0

package sandbox

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"time"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/kernel/kerneltest"
	"github.com/libnetwork/cnm/kernel/link"
)

// Only who takes over what another had is introduced, or who may, on a network that was there before.
func TestHolders(t *testing.T) {
	t.Parallel()
	at := func(network string, mac byte, addrs ...string) *cnm.Attachment {
		a := &cnm.Attachment{Network: cnm.Network{ID: cnm.NetworkID(network)}, Endpoint: cnm.Endpoint{MAC: cnm.MAC{2, 0, 0, 0, 0, mac}}}
		a.Endpoint.Addresses = prefixes(addrs...)
		return a
	}
	var h holders
	h.found(at("old", 1, "10.2.0.2/24"))
	for i, c := range []struct {
		at   *cnm.Attachment
		want string
	}{
		{at("new", 1, "10.1.0.2/24", "fd00:1::2/64"), "[]"},
		{at("new", 1, "10.1.0.2/24", "fd00:1::2/64"), "[]"},
		{at("new", 2, "10.1.0.3/24", "fd00:1::2/64"), "[fd00:1::2]"},
		{at("new", 3, "10.1.0.2/24", "fd00:1::3/64"), "[10.1.0.2]"},
		{at("old", 3, "10.1.0.2/24"), "[10.1.0.2]"},
		{at("old", 1, "10.2.0.2/24"), "[]"},
		{at("old", 2, "10.2.0.2/24"), "[10.2.0.2]"},
	} {
		if got := fmt.Sprint(h.plugged(c.at)); got != c.want {
			t.Errorf("%d: %s is told, want %s", i, got, c.want)
		}
	}
	h.n = mostHeld + 1
	if got := fmt.Sprint(h.plugged(at("new", 9, "10.1.0.2/24"))); got != "[10.1.0.2]" || h.n != 1 {
		t.Errorf("with too much to remember %s is told, and %d are remembered", got, h.n)
	}
}

// The neighbours of an endpoint that takes over another's addresses know it at once.
func TestPlugIntroduces(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		g := newStage(t)
		first := g.join(g.sandbox("first"), 1, nil)
		g.plug(first)
		next := g.join(g.sandbox("next"), 1, func(at *cnm.Attachment) { at.Network = first.Network })
		old, addrs := link.MAC{2, 9}, []netip.Addr{next.Endpoint.Addresses[0].Addr(), next.Endpoint.Addresses[1].Addr()}
		next.Endpoint.MAC[5] = 77
		// A link forgets its neighbours when the kernel finds, some time after its birth, that it has no carrier: so it is plugged once before.
		g.plug(next)
		g.stack.holders.found(&first)
		var b link.Batch
		for _, a := range addrs {
			b.ReplaceNeighbour(link.Neighbour{Link: 102, Addr: a, MAC: old, State: link.Reachable})
		}
		g.do(link.Here, &b)
		ctx, cancel := context.WithCancel(t.Context())
		events, err := link.Watch(ctx, link.WatchOptions{})
		if err != nil {
			cancel()
			t.Fatal(err)
		}
		defer func() {
			cancel()
			for range events.Events() { // until it is closed
			}
		}()
		g.plug(next)
		late := time.After(patience)
		for left := len(addrs); left > 0; {
			select {
			case e := <-events.Events():
				if n, ok := e.(*link.NeighbourEvent); ok && n.Neighbour.Link == 102 && n.Neighbour.MAC == link.MAC(next.Endpoint.MAC) {
					left--
				}
			case <-late:
				t.Fatal("the neighbours are not told")
			}
		}
	})
}
