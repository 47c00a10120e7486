// SPDX-License-Identifier: Apache-2.0

package sandbox

import (
	"net/netip"
	"sync"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/kernel/link"
)

// mostHeld bounds the addresses that are remembered.
const mostHeld = 1 << 16

// holders remembers by whose hardware address each address of a network was plugged last. The neighbours of one that comes again
// elsewhere send to the old one, for half a minute where nobody tells them; to tell them of every address would
// be a broadcast to all for each plug.
type holders struct {
	mu sync.Mutex // guards the fields below
	of map[cnm.NetworkID]*held
	n  int // of all networks
}

// held are the addresses of one network.
type held struct {
	macs map[netip.Addr]cnm.MAC
	// older: the network has been there before this process, so that an address that is not remembered may have been another's.
	older bool
}

// plugged notes an endpoint that is plugged now, and returns those of its addresses that the neighbours may know elsewhere.
func (h *holders) plugged(at *cnm.Attachment) []netip.Addr { return h.note(at, false) }

// found notes an endpoint that was there before.
func (h *holders) found(at *cnm.Attachment) { h.note(at, true) }

func (h *holders) note(at *cnm.Attachment, older bool) []netip.Addr {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.n > mostHeld {
		h.of, h.n, older = nil, 0, true
	}
	if h.of == nil {
		h.of = map[cnm.NetworkID]*held{}
	}
	nw := h.of[at.Network.ID]
	if nw == nil {
		nw = &held{macs: map[netip.Addr]cnm.MAC{}, older: older}
		h.of[at.Network.ID] = nw
	}
	var elsewhere []netip.Addr
	for _, p := range at.Endpoint.Addresses {
		mac, known := nw.macs[p.Addr()]
		if !known {
			h.n++
		}
		if known && mac != at.Endpoint.MAC || !known && nw.older {
			elsewhere = append(elsewhere, p.Addr())
		}
		nw.macs[p.Addr()] = at.Endpoint.MAC
	}
	return elsewhere
}

// introduce tells the neighbours of an endpoint that was plugged where its addresses are, if they may know them elsewhere.
func (s *Stack) introduce(n *Namespace, at *cnm.Attachment, index int) error {
	addrs := s.holders.plugged(at)
	if len(addrs) == 0 || !at.Endpoint.MAC.IsValid() {
		return nil
	}
	return n.ns.Do(func() error { return link.Announce(index, link.MAC(at.Endpoint.MAC), addrs) })
}
