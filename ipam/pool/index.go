// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"iter"
	"net/netip"
	"slices"

	cnm "github.com/libnetwork/cnm"
)

// index finds pools by their handle and by an address. It is not safe for concurrent use.
type index struct {
	byID     map[cnm.PoolID]*pool
	byPrefix map[netip.Prefix][]*pool // several where prefixes may overlap
	lengths  map[length]int           // how many pools there are of a length
}

type length struct {
	width, bits int
}

func newIndex() index {
	return index{byID: map[cnm.PoolID]*pool{}, byPrefix: map[netip.Prefix][]*pool{}, lengths: map[length]int{}}
}

func lengthOf(p netip.Prefix) length { return length{p.Addr().BitLen(), p.Bits()} }

func (x *index) add(p *pool) {
	x.byID[p.id] = p
	x.byPrefix[p.prefix] = append(x.byPrefix[p.prefix], p)
	x.lengths[lengthOf(p.prefix)]++
}

func (x *index) remove(p *pool) {
	delete(x.byID, p.id)
	if rest := slices.DeleteFunc(x.byPrefix[p.prefix], func(q *pool) bool { return q == p }); len(rest) > 0 {
		x.byPrefix[p.prefix] = rest
	} else {
		delete(x.byPrefix, p.prefix)
	}
	if l := lengthOf(p.prefix); x.lengths[l] > 1 {
		x.lengths[l]--
	} else {
		delete(x.lengths, l)
	}
}

// containing are the pools whose subnet contains a.
func (x *index) containing(a netip.Addr) iter.Seq[*pool] {
	return func(yield func(*pool) bool) {
		for l := range x.lengths {
			if l.width != a.BitLen() {
				continue
			}
			for _, p := range x.byPrefix[netip.PrefixFrom(a, l.bits).Masked()] {
				if !yield(p) {
					return
				}
			}
		}
	}
}

// used are the subnets of all pools, in no order.
func (x *index) used() []Used {
	used := make([]Used, 0, len(x.byID))
	for _, p := range x.byID {
		used = append(used, p.used())
	}
	return used
}

// overlapping is a pool whose subnet overlaps p; of several always the same.
func (x *index) overlapping(p netip.Prefix) (found *pool) {
	for _, q := range x.byID {
		if q.prefix.Overlaps(p) && (found == nil || q.id < found.id) {
			found = q
		}
	}
	return found
}
