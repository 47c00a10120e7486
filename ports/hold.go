// SPDX-License-Identifier: Apache-2.0

package ports

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/libnetwork/cnm"
)

// anyTries is how many numbers of the kernel's choice are tried before a choice
// of any port is given up: each is free on the first address and taken on another,
// or in quarantine.
const anyTries = 128

// Hold takes all the ports that a request asks for, or none. The result has one
// port for each specification and address, in their order; a specification that
// Held meets keeps its ports. An explicit number that another owner freed a moment
// ago is waited for, bound by ctx; a choice passes over such numbers.
//
// The errors are of kind Exists (a number is held; the error names the holder),
// Invalid (a request that can never be met here), NotPermitted (a privileged port),
// Exhausted (no number of a range is free, or no descriptor), Unsupported (no IPv6
// here) and Unavailable (ctx ended).
//
// What is held already is not let go: what is no longer in the result is to be
// released once its rules are withdrawn.
func (h *Holder) Hold(ctx context.Context, req Request) ([]cnm.Port, error) {
	wants, err := plan(&req)
	if err != nil {
		return nil, err
	}
	t := newTaking(h, &req)
	defer t.rollback()
	results := make([][]cnm.Port, len(wants))
	for _, i := range order(wants) {
		number, err := t.take(ctx, &wants[i])
		if err != nil {
			return nil, h.explain(err)
		}
		results[i] = wants[i].ports(number)
	}
	t.committed = true
	return slices.Concat(results...), nil
}

// taking is a Hold under way.
type taking struct {
	h         *Holder
	req       *Request
	used      map[key][]netip.Addr // what this request has taken so far
	byNumber  map[key][]cnm.Port   // what the owner holds, by its number on the host
	byPort    map[key][]cnm.Port   // the same by its number in the endpoint
	promised  []promised           // to be taken back if it comes to nothing
	committed bool
}

func newTaking(h *Holder, req *Request) *taking {
	t := &taking{
		h: h, req: req,
		used: make(map[key][]netip.Addr), byNumber: make(map[key][]cnm.Port), byPort: make(map[key][]cnm.Port),
	}
	for _, p := range req.Held {
		number, port := key{p.Proto, p.HostPort}, key{p.Proto, p.Port}
		t.byNumber[number] = append(t.byNumber[number], p)
		t.byPort[port] = append(t.byPort[port], p)
	}
	return t
}

// promised is a promise that was new.
type promised struct {
	hd   *hold
	port cnm.Port
}

// rollback takes back what was promised unless it was committed. No flow can
// know of those ports yet: they need no quarantine.
func (t *taking) rollback() {
	if t.committed {
		return
	}
	t.h.mu.Lock()
	holds := make([]*hold, len(t.promised))
	for i, p := range t.promised {
		p.hd.withdraw(p.port)
		holds[i] = p.hd
	}
	idle := t.h.reap(holds)
	t.h.mu.Unlock()
	t.h.splice.drop(idle)
}

// take takes one number for a want.
func (t *taking) take(ctx context.Context, w *want) (uint16, error) {
	number, kept := t.kept(w)
	if kept {
		err := t.try(w, number, nil)
		if err == nil || w.explicit() || !taken(err) {
			return number, err
		}
	}
	if w.lo == 0 {
		return t.any(ctx, w)
	}
	return t.firstFree(ctx, w)
}

// kept gives the number under which the owner has a part of the want already. A
// choice is kept only for the same port of the endpoint.
func (t *taking) kept(w *want) (uint16, bool) {
	candidates := t.byPort[key{w.proto, w.port}]
	if w.explicit() {
		candidates = t.byNumber[key{w.proto, w.lo}]
	}
	for _, p := range candidates {
		fits := w.lo == 0 || w.lo <= p.HostPort && p.HostPort <= w.hi
		if fits && slices.Contains(w.addrs, p.HostIP) && !t.has(key{w.proto, p.HostPort}, w.addrs) {
			return p.HostPort, true
		}
	}
	return 0, false
}

// has tells whether this request took a part of that already.
func (t *taking) has(k key, addrs []netip.Addr) bool {
	_, yes := clash(addrs, t.used[k])
	return yes
}

// firstFree takes the first free number of a range. Those in quarantine are
// waited for only if there is no other.
func (t *taking) firstFree(ctx context.Context, w *want) (uint16, error) {
	var first error
	var later []uint16
	var mark uint64
	for n := int(w.lo); n <= int(w.hi); n++ {
		err := t.try(w, uint16(n), nil)
		if q, ok := errors.AsType[*quarantinedError](err); ok {
			later, mark = append(later, uint16(n)), max(mark, q.mark)
			continue
		}
		if !taken(err) {
			return uint16(n), err
		}
		first = cmpError(first, err)
		if err := ctx.Err(); err != nil {
			return 0, err
		}
	}
	if len(later) > 0 {
		if err := t.h.quarantine.Wait(ctx, mark); err != nil {
			return 0, cnm.FieldErrorf(cnm.KindOf(err), "publish",
				"port %s was freed a moment ago and flows to it are still being forgotten; try again: %w", label(w.proto, w.addrs[0], later[0]), err)
		}
	}
	for _, n := range later {
		err := t.try(w, n, nil)
		if !taken(err) {
			return n, err
		}
		first = cmpError(first, err)
	}
	if w.explicit() {
		return 0, first
	}
	return 0, &rangeError{w: w, first: first}
}

// cmpError is the first of two errors that is one.
func cmpError(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

// any takes a number of the kernel's choice that is free on every address.
func (t *taking) any(ctx context.Context, w *want) (uint16, error) {
	var passed []int // sockets on numbers that were no good, kept so that the kernel chooses others
	defer func() {
		for _, fd := range passed {
			_ = unix.Close(fd)
		}
	}()
	first := groups(w.addrs)[0]
	for range anyTries {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		b := binding{key: key{proto: w.proto}, addrs: first}
		fd, number, err := b.open()
		if missing(err) && w.proto == cnm.SCTP {
			// As the kernel would choose, of the range that IANA leaves to such choices.
			fd, number, err = -1, uint16(49152+rand.IntN(65536-49152)), nil
		}
		if err != nil {
			return 0, &bindError{key: b.key, addrs: first, err: err}
		}
		err = t.try(w, number, &fd)
		if fd >= 0 {
			passed = append(passed, fd) // it was not taken over
		}
		if _, q := errors.AsType[*quarantinedError](err); !q && !taken(err) {
			return number, err
		}
	}
	return 0, cnm.FieldErrorf(cnm.Exhausted, "publish", "no free %s port was found on %s in %d tries; give a host port, or widen net.ipv4.ip_local_port_range",
		w.proto, join(w.addrs), anyTries)
}

// try takes a number on every address of a want, or on none. Where first is not
// nil it is the socket of the want's first group, bound already; it is set to -1
// when it is taken over.
func (t *taking) try(w *want, number uint16, first *int) error {
	k := key{w.proto, number}
	if t.has(k, w.addrs) {
		return &takenError{key: k, addr: w.addrs[0], by: "this endpoint"}
	}
	c, err := t.h.claim(k, w.addrs, t.req.Owner, t.req.Name)
	if err != nil {
		return err
	}
	if err := t.open(&c, first); err != nil {
		t.h.unclaim(c.fresh)
		return err
	}
	t.used[k] = append(t.used[k], w.addrs...)
	t.h.mu.Lock()
	defer t.h.mu.Unlock()
	for _, p := range w.ports(number) {
		hd := c.of(p.HostIP)
		if hd.promise(p, t.req.Targets) {
			t.promised = append(t.promised, promised{hd, p})
		}
	}
	return nil
}

// open gives the fresh holds of a claim their sockets.
func (t *taking) open(c *claim, first *int) error {
	if first != nil && len(c.own) > 0 {
		// Chosen by chance, without a socket that would have told.
		return &takenError{key: c.own[0].key, addr: c.own[0].addrs[0], by: "this endpoint"}
	}
	for i, hd := range c.fresh {
		var err error
		if i == 0 && first != nil {
			fd := *first
			*first = -1
			err = t.h.equip(hd, fd)
		} else {
			err = t.h.bind(hd, false)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
