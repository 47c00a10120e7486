// SPDX-License-Identifier: Apache-2.0

package ports

import (
	"errors"
	"net/netip"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/libnetwork/cnm"
)

// claim is the holds that will have a number on all addresses.
type claim struct {
	own   []*hold // the owner's already
	fresh []*hold // to be bound, in the order of [groups]
}

// of is the hold that has an address.
func (c *claim) of(a netip.Addr) *hold {
	for _, list := range [][]*hold{c.own, c.fresh} {
		for _, hd := range list {
			if hd.covers(a) {
				return hd
			}
		}
	}
	return nil
}

// claim reserves a number in the table. The error is a [*takenError], a
// [*quarantinedError] or of kind Exhausted.
func (h *Holder) claim(k key, addrs []netip.Addr, owner, name string) (claim, error) {
	return h.reserve(k, addrs, owner, name, h.quarantine)
}

// reserve is claim with a quarantine, or none.
func (h *Holder) reserve(k key, addrs []netip.Addr, owner, name string, q cnm.Quarantine) (claim, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return claim{}, errClosed()
	}
	var c claim
	var needed []netip.Addr
	for _, a := range addrs {
		own, err := h.table.look(k, a, owner)
		switch {
		case err != nil:
			return claim{}, err
		case own != nil:
			if !slices.Contains(c.own, own) {
				c.own = append(c.own, own)
			}
			continue
		}
		needed = append(needed, a)
		if q == nil {
			continue
		}
		if mark, yes := h.table.quarantined(q, k, a, owner); yes {
			return claim{}, &quarantinedError{mark: mark}
		}
	}
	for _, g := range groups(needed) {
		c.fresh = append(c.fresh, &hold{key: k, owner: owner, name: name, addrs: g, fd: -1})
	}
	if n := h.table.fds + len(c.fresh); n > h.budget {
		return claim{}, cnm.FieldErrorf(cnm.Exhausted, "publish",
			"%d more sockets would pass the budget of %d for held ports, %d of them used; unpublish some or raise the daemon's limit of open files",
			len(c.fresh), h.budget, h.table.fds)
	}
	for _, hd := range c.fresh {
		h.table.add(hd)
	}
	return c, nil
}

// look finds the owner's own hold that has the address, or the one in its way.
func (t *table) look(k key, a netip.Addr, owner string) (*hold, error) {
	for _, hd := range t.holds[k] {
		if hd.owner == owner && hd.covers(a) {
			return hd, nil
		}
	}
	for _, hd := range t.holds[k] {
		if hd.overlaps(a) {
			return nil, &takenError{key: k, addr: a, by: "endpoint " + hd.name}
		}
	}
	return nil, nil //nolint:nilnil // neither is there
}

// bind opens the socket of a claimed hold and hands it to the loop.
func (h *Holder) bind(hd *hold, absent bool) error {
	b := binding{key: hd.key, addrs: hd.addrs, absent: absent}
	fd, _, err := b.open()
	if missing(err) && hd.proto == cnm.SCTP {
		fd, err = -1, nil
	}
	if err != nil {
		return &bindError{key: hd.key, addrs: hd.addrs, err: err}
	}
	return h.equip(hd, fd)
}

// equip gives a claimed hold its socket, which it then owns, and hands it to the
// loop; -1: the table alone holds the port.
func (h *Holder) equip(hd *hold, fd int) error {
	h.mu.Lock()
	closed := h.closed
	switch {
	case closed:
	case fd < 0:
		h.table.uncount(hd)
	default:
		hd.fd = fd
	}
	h.mu.Unlock()
	if closed {
		_ = unix.Close(fd)
		return errClosed()
	}
	err := h.splice.add(hd)
	if errors.Is(err, os.ErrClosed) {
		return errClosed()
	}
	return err
}

// errClosed is the answer of a holder that was closed.
func errClosed() error { return cnm.Errorf(cnm.Unavailable, "host ports are no longer held") }

// reap takes those of the holds out of the table that have no promise left, and
// gives them, each once. The caller holds h.mu, and drops them afterwards.
func (h *Holder) reap(holds []*hold) []*hold {
	var idle []*hold
	for _, hd := range holds {
		if len(hd.ports) == 0 && slices.Contains(h.table.holds[hd.key], hd) {
			h.table.remove(hd)
			idle = append(idle, hd)
		}
	}
	return idle
}

// unclaim gives up holds that have no promises.
func (h *Holder) unclaim(holds []*hold) {
	h.mu.Lock()
	for _, hd := range holds {
		h.table.remove(hd)
	}
	h.mu.Unlock()
	h.splice.drop(holds)
}

// taken tells whether err says that a number is somebody else's, so that another
// may be tried.
func taken(err error) bool {
	if _, ok := errors.AsType[*takenError](err); ok {
		return true
	}
	return errors.Is(err, unix.EADDRINUSE)
}
