// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"errors"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"testing"

	"pgregory.net/rapid"

	cnm "github.com/libnetwork/cnm"
)

// model is what an allocator should do, in plain maps and by trying every address.
type model struct {
	pools   map[cnm.PoolID]*modelPool
	staying map[netip.Addr]cnm.EndpointID // marked since the last sweep, and who had it
}

type modelPool struct {
	prefix, within netip.Prefix
	reserved       netip.Addr
	held           map[netip.Addr]cnm.EndpointID
}

// usable tells whether an interface may have a.
func (p *modelPool) usable(a netip.Addr) bool {
	if !p.prefix.Contains(a) {
		return false
	}
	host := a.BitLen() - p.prefix.Bits()
	switch {
	case host <= 1:
		return true
	case a.Is4():
		return a != p.prefix.Addr() && p.prefix.Contains(a.Next())
	default:
		return a != p.prefix.Addr()
	}
}

// open are the addresses that may be given out unasked, apart from those in quarantine, which are waiting.
func (m *model) open(p *modelPool) (free, waiting []netip.Addr) {
	for a := p.within.Addr(); p.within.Contains(a); a = a.Next() {
		if _, held := p.held[a]; held || !p.usable(a) || a == p.reserved {
			continue
		}
		if _, staying := m.staying[a]; staying {
			waiting = append(waiting, a)
		} else {
			free = append(free, a)
		}
	}
	return free, waiting
}

// TestModel compares an allocator with the model over random histories of small, partly overlapping pools.
func TestModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		q := &sweeps{}
		a, err := New(Config{Quarantine: q})
		if err != nil {
			t.Fatal(err)
		}
		h := &history{T: t, a: a, q: q, m: model{pools: map[cnm.PoolID]*modelPool{}, staying: map[netip.Addr]cnm.EndpointID{}}}
		t.Repeat(map[string]func(*rapid.T){
			"create":    h.create,
			"delete":    h.remove,
			"automatic": h.automatic,
			"wanted":    h.wanted,
			"release":   h.release,
			"sweep": func(*rapid.T) {
				q.sweep()
				clear(h.m.staying)
			},
		})
	})
}

// history is one run of the model test.
type history struct {
	*rapid.T
	a *Allocator
	q *sweeps
	m model

	networks, owners int
}

func (h *history) create(t *rapid.T) {
	space := rapid.SampledFrom([]string{"10.0.0.0/27", "fd00::/123"}).Draw(t, "space")
	bits := prefix(space).Bits() + rapid.IntRange(0, 5).Draw(t, "longer")
	b := prefix(space).Addr().AsSlice()
	b[len(b)-1] = rapid.Byte().Draw(t, "at") % 32
	at, _ := netip.AddrFromSlice(b)
	p := &modelPool{prefix: netip.PrefixFrom(at, bits).Masked(), held: map[netip.Addr]cnm.EndpointID{}}
	p.within = p.prefix
	h.networks++
	req := cnm.PoolRequest{
		Network: cnm.NetworkID(strconv.Itoa(h.networks)), Family: cnm.FamilyOf(at), Overlap: rapid.Bool().Draw(t, "overlap"),
		Subnet: cnm.Subnet{Prefix: p.prefix},
	}
	if rapid.Bool().Draw(t, "range") {
		p.within = netip.PrefixFrom(at, min(bits+1, at.BitLen())).Masked()
		req.Subnet.Range = p.within
	}
	if rapid.Bool().Draw(t, "reserved") && p.usable(at) {
		p.reserved = at
		req.Subnet.Reserved = map[string]netip.Addr{"rtr": at}
	}
	none := true
	for a := p.within.Addr(); p.within.Contains(a); a = a.Next() {
		none = none && !p.usable(a)
	}
	overlaps := false
	for _, other := range h.m.pools {
		overlaps = overlaps || other.prefix.Overlaps(p.prefix)
	}
	made, err := h.a.CreatePool(t.Context(), req)
	switch {
	case none:
		h.want(err, cnm.Invalid)
	case overlaps && !req.Overlap:
		h.want(err, cnm.Exists)
	case err != nil || made.Prefix != p.prefix:
		t.Fatalf("create %+v: %+v, %v", req, made, err)
	default:
		h.m.pools[made.ID] = p
	}
}

func (h *history) want(err error, k cnm.Kind) {
	if !errors.Is(err, k) {
		h.Fatalf("error %v, want one of kind %v", err, k)
	}
}

func (h *history) any(t *rapid.T) (cnm.PoolID, *modelPool) {
	if len(h.m.pools) == 0 {
		t.Skip("no pool yet")
	}
	id := rapid.SampledFrom(slices.Sorted(maps.Keys(h.m.pools))).Draw(t, "pool")
	return id, h.m.pools[id]
}

// free is what happens to an address that is no longer held.
func (h *history) free(p *modelPool, a netip.Addr) {
	h.m.staying[a] = p.held[a]
	delete(p.held, a)
}

func (h *history) remove(t *rapid.T) {
	id, p := h.any(t)
	if err := h.a.DeletePool(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	for a := range p.held {
		h.free(p, a)
	}
	delete(h.m.pools, id)
}

func (h *history) release(t *rapid.T) {
	id, p := h.any(t)
	if len(p.held) == 0 {
		t.Skip("nothing held")
	}
	a := rapid.SampledFrom(slices.SortedFunc(maps.Keys(p.held), netip.Addr.Compare)).Draw(t, "address")
	for range 2 {
		if err := h.a.Release(t.Context(), id, a); err != nil {
			t.Fatal(err)
		}
	}
	h.free(p, a)
}

// waited brings the model up to date with what was swept because the allocator waited, and tells how often it did.
func (h *history) waited(before int) int {
	maps.DeleteFunc(h.m.staying, func(a netip.Addr, _ cnm.EndpointID) bool {
		s, ok := h.a.ward.stays[a]
		return !ok || h.q.Clear(s.mark)
	})
	return h.q.waited() - before
}

func (h *history) automatic(t *rapid.T) {
	id, p := h.any(t)
	free, waiting := h.m.open(p)
	h.owners++
	req := cnm.AddressRequest{Pool: id, Owner: cnm.EndpointID(strconv.Itoa(h.owners))}
	if rapid.Bool().Draw(t, "gateway") {
		req.Owner, req.Purpose = "", cnm.ForGateway
	}
	before := h.q.waited()
	l, err := h.a.Allocate(t.Context(), req)
	got := l.Address.Addr()
	switch {
	case len(free)+len(waiting) == 0:
		if h.want(err, cnm.Exhausted); h.waited(before) != 0 {
			t.Fatalf("waited in %v, which has no address", p.prefix)
		}
		return
	case err != nil:
		t.Fatalf("allocate in %v, where %v are free and %v waiting: %v", p.prefix, free, waiting, err)
	case req.Purpose == cnm.ForGateway && !slices.Contains(slices.Concat(free, waiting), got):
		t.Fatalf("gateway %v, of %v free and %v waiting", got, free, waiting)
	case req.Purpose != cnm.ForGateway && len(free) > 0 && (!slices.Contains(free, got) || h.waited(before) != 0):
		t.Fatalf("got %v, of %v free", got, free)
	case req.Purpose != cnm.ForGateway && len(free) == 0 && (!slices.Contains(waiting, got) || h.waited(before) == 0):
		t.Fatalf("got %v, of %v waiting", got, waiting)
	}
	h.waited(before)
	p.held[got] = req.Owner
}

func (h *history) wanted(t *rapid.T) {
	id, p := h.any(t)
	b := p.prefix.Addr().AsSlice()
	b[len(b)-1] = rapid.Byte().Draw(t, "last byte") % 34
	a, _ := netip.AddrFromSlice(b)
	req := cnm.AddressRequest{Pool: id, Address: a, Replay: rapid.Bool().Draw(t, "replay"), Owner: cnm.EndpointID(strconv.Itoa(rapid.IntRange(1, 4).Draw(t, "owner")))}
	before := h.q.waited()
	l, err := h.a.Allocate(t.Context(), req)
	holder, held := p.held[a]
	had, staying := h.m.staying[a]
	switch {
	case !p.usable(a):
		h.want(err, cnm.Invalid)
	case held && (!req.Replay || holder != req.Owner), a == p.reserved:
		h.want(err, cnm.Exists)
	case err != nil || l.Address != netip.PrefixFrom(a, p.prefix.Bits()) || l.Owner != req.Owner:
		t.Fatalf("allocate %+v: %+v, %v", req, l, err)
	default:
		if waits := h.waited(before); (waits > 0) != (!held && staying && !req.Replay && had != req.Owner) {
			t.Fatalf("waited %d times for %v", waits, a)
		}
		p.held[a] = req.Owner
	}
}
