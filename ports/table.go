// SPDX-License-Identifier: Apache-2.0

package ports

import (
	"net/netip"
	"slices"
	"sync/atomic"

	"github.com/libnetwork/cnm"
)

// key is a port number of a protocol, on whatever address.
type key struct {
	proto  cnm.Protocol
	number uint16
}

// hold is one socket, or one promise where the kernel has no such socket.
type hold struct {
	key
	owner, name string
	addrs       []netip.Addr // what the socket is bound to: one, or all of both families
	fd          int          // -1: none, or not open yet; guarded by Holder.mu until it is set
	counted     bool         // it is part of table.fds; guarded by Holder.mu
	gone        bool         // its socket is closed; guarded by splicer.mu
	ports       []cnm.Port   // what it was promised for; guarded by Holder.mu
	// route is a copy of ports and where they lead, for the splice, which does not
	// take Holder.mu.
	route atomic.Pointer[route]
}

// route is where the ports of a hold lead.
type route struct {
	ports   []cnm.Port
	targets Targets
}

// to is where a connection to the local address leads; invalid: nowhere. The
// newest promise counts.
func (r *route) to(local netip.Addr) netip.AddrPort {
	for _, p := range slices.Backward(r.ports) {
		if !covers(p.HostIP, local) {
			continue
		}
		for _, a := range []netip.Addr{r.targets.V6, r.targets.V4} {
			if a.IsValid() {
				return netip.AddrPortFrom(a, p.Port)
			}
		}
	}
	return netip.AddrPort{}
}

// covers tells whether the hold has the port on an address.
func (hd *hold) covers(a netip.Addr) bool {
	return slices.ContainsFunc(hd.addrs, func(b netip.Addr) bool { return covers(b, a) })
}

// overlaps tells whether the hold has the port on a part of an address.
func (hd *hold) overlaps(a netip.Addr) bool {
	return slices.ContainsFunc(hd.addrs, func(b netip.Addr) bool { return overlap(b, a) })
}

// promise adds a port, leading to the targets, and tells whether it is new. The
// caller holds Holder.mu.
func (hd *hold) promise(p cnm.Port, targets Targets) bool {
	added := !slices.Contains(hd.ports, p)
	if added {
		hd.ports = append(hd.ports, p)
	}
	hd.route.Store(&route{ports: slices.Clone(hd.ports), targets: targets})
	return added
}

// withdraw takes a promise back. The caller holds Holder.mu.
func (hd *hold) withdraw(p cnm.Port) {
	hd.ports = slices.DeleteFunc(hd.ports, func(q cnm.Port) bool { return p == q })
	if old := hd.route.Load(); old != nil {
		hd.route.Store(&route{ports: slices.Clone(hd.ports), targets: old.targets})
	}
}

// freed is a port that was released and may not go to another owner yet.
type freed struct {
	addr  netip.Addr
	owner string
	mark  uint64
}

// table has the holds and what was freed. Its methods are called with Holder.mu
// held.
type table struct {
	holds  map[key][]*hold
	owned  map[string]map[*hold]struct{} // the same by owner
	freed  map[key][]freed
	nfreed int // entries of freed
	prune  int // when nfreed reaches it, freed is looked through
	fds    int // descriptors in use or promised
}

func newTable() table {
	return table{holds: make(map[key][]*hold), owned: make(map[string]map[*hold]struct{}), freed: make(map[key][]freed), prune: 64}
}

// add enters a hold and counts the descriptor that it is to have.
func (t *table) add(hd *hold) {
	t.holds[hd.key] = append(t.holds[hd.key], hd)
	if t.owned[hd.owner] == nil {
		t.owned[hd.owner] = make(map[*hold]struct{})
	}
	t.owned[hd.owner][hd] = struct{}{}
	hd.counted = true
	t.fds++
}

// uncount says that a hold has no descriptor.
func (t *table) uncount(hd *hold) {
	if hd.counted {
		hd.counted = false
		t.fds--
	}
}

// remove takes a hold out.
func (t *table) remove(hd *hold) {
	t.uncount(hd)
	delete(t.owned[hd.owner], hd)
	if len(t.owned[hd.owner]) == 0 {
		delete(t.owned, hd.owner)
	}
	rest := slices.DeleteFunc(t.holds[hd.key], func(x *hold) bool { return x == hd })
	if len(rest) == 0 {
		delete(t.holds, hd.key)
		return
	}
	t.holds[hd.key] = rest
}

// quarantined gives the highest mark under which another owner freed a part of
// the port and that is not clear yet.
func (t *table) quarantined(q cnm.Quarantine, k key, a netip.Addr, owner string) (mark uint64, yes bool) {
	for _, f := range t.freed[k] {
		if f.owner != owner && overlap(f.addr, a) && !q.Clear(f.mark) {
			mark, yes = max(mark, f.mark), true
		}
	}
	return mark, yes
}

// release notes a freed port, and now and then forgets those that are clear.
func (t *table) release(q cnm.Quarantine, p cnm.Port, owner string) {
	k := key{p.Proto, p.HostPort}
	mark := q.Mark(p.Proto, netip.AddrPortFrom(p.HostIP, p.HostPort))
	t.freed[k] = append(t.freed[k], freed{p.HostIP, owner, mark})
	if t.nfreed++; t.nfreed < t.prune {
		return
	}
	t.nfreed = 0
	for k, list := range t.freed {
		list = slices.DeleteFunc(list, func(f freed) bool { return q.Clear(f.mark) })
		t.freed[k] = list
		if len(list) == 0 {
			delete(t.freed, k)
		}
		t.nfreed += len(list)
	}
	t.prune = max(64, 2*t.nfreed)
}
