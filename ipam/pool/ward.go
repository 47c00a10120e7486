// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"net/netip"

	cnm "github.com/libnetwork/cnm"
)

// ward holds the addresses in quarantine. It knows addresses, not pools: a flow names an address, and outlives its network.
// It is not safe for concurrent use.
type ward struct {
	stays map[netip.Addr]stay
	// queue has every stay in the order of admission, and some that are over.
	queue []stay
}

// stay is one address in quarantine.
type stay struct {
	addr  netip.Addr
	mark  uint64
	owner cnm.EndpointID // who had it; it may have it again
}

func newWard() ward { return ward{stays: map[netip.Addr]stay{}} }

func (w *ward) admit(s stay) {
	w.stays[s.addr] = s
	w.queue = append(w.queue, s)
	if len(w.queue) > 2*len(w.stays)+batch {
		w.compact()
	}
}

// discharge ends a stay. It tells whether it was under way: an address freed anew is in for its newer mark.
func (w *ward) discharge(s stay) bool {
	if !w.current(s) {
		return false
	}
	delete(w.stays, s.addr)
	return true
}

func (w *ward) current(s stay) bool {
	now, ok := w.stays[s.addr]
	return ok && now.mark == s.mark
}

// oldest is the stay that began first of those that fit says yes to; nil fits all.
func (w *ward) oldest(fits func(netip.Addr) bool) (stay, bool) {
	for len(w.queue) > 0 && !w.current(w.queue[0]) {
		w.queue = w.queue[1:]
	}
	for _, s := range w.queue {
		if w.current(s) && (fits == nil || fits(s.addr)) {
			return s, true
		}
	}
	return stay{}, false
}

// compact drops what is over, and the memory before the head of the queue.
func (w *ward) compact() {
	var live []stay
	for _, s := range w.queue {
		if w.current(s) {
			live = append(live, s)
		}
	}
	w.queue = live
}
