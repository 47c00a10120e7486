// SPDX-License-Identifier: Apache-2.0

package ports

import (
	"errors"
	"net/netip"
	"slices"

	"github.com/libnetwork/cnm"
)

// Release lets go of an owner's ports, which from then on are in quarantine for
// others, and cuts what is spliced through them. It is called once the rules that
// lead there are withdrawn. What the owner does not hold is passed over. A socket
// that holds a port on all addresses of both families is closed with the last of
// the two.
func (h *Holder) Release(owner string, list []cnm.Port) {
	h.mu.Lock()
	var touched []*hold
	for _, p := range list {
		hd := h.table.holder(owner, p)
		if hd == nil {
			continue
		}
		hd.withdraw(p)
		touched = append(touched, hd)
		h.free(owner, p, hd)
	}
	idle := h.reap(touched)
	h.mu.Unlock()
	h.splice.drop(idle)
	h.splice.recheck(touched)
}

// ReleaseAll is [Holder.Release] of all that an owner holds.
func (h *Holder) ReleaseAll(owner string) {
	h.mu.Lock()
	var list []cnm.Port
	for hd := range h.table.owned[owner] {
		list = append(list, hd.ports...)
	}
	h.mu.Unlock()
	h.Release(owner, list)
}

// holder is the owner's hold that was promised for a port; nil if there is none.
func (t *table) holder(owner string, p cnm.Port) *hold {
	for _, hd := range t.holds[key{p.Proto, p.HostPort}] {
		if hd.owner == owner && slices.Contains(hd.ports, p) {
			return hd
		}
	}
	return nil
}

// free puts a port into quarantine, unless it still leads somewhere else in the
// endpoint. The caller holds h.mu.
func (h *Holder) free(owner string, p cnm.Port, hd *hold) {
	still := slices.ContainsFunc(hd.ports, func(q cnm.Port) bool { return q.HostIP == p.HostIP })
	if h.quarantine != nil && !still {
		h.table.release(h.quarantine, p, owner)
	}
}

// Stolen is a port that was promised and could not be taken again.
type Stolen struct {
	Port   cnm.Port
	Holder string // who has it, "nginx (pid 812)"; "" if that is not why
	Err    error  // of kind Exists if it is held by another
}

// Restore takes ports again that an owner held before, first thing after a
// start, without regard to the quarantine and even on addresses that the host does
// not have at the moment. What cannot be had is returned; the rest is held. Restore
// may be repeated: it takes what is not held yet.
func (h *Holder) Restore(owner, name string, list []cnm.Port, targets Targets) []Stolen {
	type group struct {
		key
		ports []cnm.Port
	}
	var groups []group
	for _, p := range list {
		k := key{p.Proto, p.HostPort}
		i := slices.IndexFunc(groups, func(g group) bool { return g.key == k })
		if i < 0 {
			i = len(groups)
			groups = append(groups, group{key: k})
		}
		groups[i].ports = append(groups[i].ports, p)
	}
	var stolen []Stolen
	for _, g := range groups {
		stolen = append(stolen, h.restore(owner, name, g.key, g.ports, targets)...)
	}
	return stolen
}

// restore takes one number on all its addresses, or on those that can be had.
func (h *Holder) restore(owner, name string, k key, list []cnm.Port, targets Targets) []Stolen {
	err := h.retake(owner, name, k, list, targets)
	if err == nil {
		return nil
	}
	if len(list) == 1 {
		s := Stolen{Port: list[0], Err: h.explain(err)}
		if e, ok := errors.AsType[*takenError](s.Err); ok {
			s.Holder = e.by
		}
		return []Stolen{s}
	}
	var stolen []Stolen
	for _, p := range list {
		stolen = append(stolen, h.restore(owner, name, k, []cnm.Port{p}, targets)...)
	}
	return stolen
}

// retake takes one number on all its addresses, or on none.
func (h *Holder) retake(owner, name string, k key, list []cnm.Port, targets Targets) error {
	addrs := make([]netip.Addr, 0, len(list))
	for _, p := range list {
		if !slices.Contains(addrs, p.HostIP) {
			addrs = append(addrs, p.HostIP)
		}
	}
	c, err := h.reserve(k, addrs, owner, name, nil)
	if err != nil {
		return err
	}
	for _, hd := range c.fresh {
		if err := h.bind(hd, true); err != nil {
			h.unclaim(c.fresh)
			return err
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, p := range list {
		c.of(p.HostIP).promise(p, targets)
	}
	return nil
}
