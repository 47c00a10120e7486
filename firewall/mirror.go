// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"net/netip"
	"slices"

	"github.com/libnetwork/cnm/kernel/nft"
)

// mirror is what all owners want and what of it the kernel has. It belongs to the call that has the turn.
//
// Spans of one set may lie within each other, where subnets overlap. The kernel refuses that, so it gets only
// those that lie within no other.
type mirror struct {
	owners  map[Owner][]*entry
	entries map[itemID]*entry
	spans   [setCount]spans
	// touched is the kernel's state of what changed since the last [mirror.commit].
	touched map[itemID]before
}

// entry is one element that somebody wants. Its item never changes.
type entry struct {
	item
	wanted []Owner // at least one
	sent   bool    // to the kernel, or about to be
}

// before is what the kernel has of an element.
type before struct {
	e    *entry // nil: there was none
	sent bool
}

// spans are the prefixes in one set of intervals, and how many there are of each length.
type spans struct {
	all    map[itemID]*entry
	ofBits [129]int
}

func newMirror() *mirror {
	return &mirror{owners: map[Owner][]*entry{}, entries: map[itemID]*entry{}, touched: map[itemID]before{}}
}

// change is the whole wanted state of some owners; nil for one that goes.
type change map[Owner][]item

// apply makes the change and gives what the owners had. On a conflict nothing is changed.
func (m *mirror) apply(c change) (old change, err error) {
	old = make(change, len(c))
	for o := range c {
		old[o] = m.clear(o)
	}
	for o, items := range c {
		if err = m.add(o, items); err != nil {
			break
		}
	}
	if err == nil {
		err = m.settle(c, old)
	}
	if err != nil {
		m.revert(c, old)
		return nil, err
	}
	return old, nil
}

// revert takes a change back. What was there before it has no conflict.
func (m *mirror) revert(c, old change) {
	for o := range old {
		m.clear(o)
	}
	for o, items := range old {
		_ = m.add(o, items)
	}
	_ = m.settle(c, old)
}

// clear takes everything of an owner away and returns it.
func (m *mirror) clear(o Owner) []item {
	var items []item
	for _, e := range m.owners[o] {
		items = append(items, e.item)
		id := e.id()
		m.touch(id, e)
		e.wanted = slices.DeleteFunc(e.wanted, func(x Owner) bool { return x == o })
		if len(e.wanted) == 0 {
			m.remove(id, e)
		}
	}
	delete(m.owners, o)
	return items
}

// touch notes what the kernel has of an element before it changes.
func (m *mirror) touch(id itemID, e *entry) {
	if _, ok := m.touched[id]; !ok {
		m.touched[id] = before{e, e.sent}
	}
}

func (m *mirror) remove(id itemID, e *entry) {
	delete(m.entries, id)
	if e.span() {
		s := &m.spans[id.set]
		delete(s.all, id)
		s.ofBits[e.prefix.Bits()]--
	}
}

// add gives an owner, who has nothing, its elements, up to one that is taken.
func (m *mirror) add(o Owner, items []item) error {
	if len(items) == 0 {
		return nil
	}
	mine := make([]*entry, 0, len(items))
	defer func() { m.owners[o] = mine }()
	for i := range items {
		id := items[i].id()
		e := m.entries[id]
		switch {
		case e == nil:
			e = m.insert(id, &items[i])
		case e.elem != items[i].elem:
			return &ConflictError{Owner: o, Holder: e.wanted[0], Element: e.String()}
		case slices.Contains(e.wanted, o):
			continue // wanted twice
		default:
			m.touch(id, e)
		}
		e.wanted = append(e.wanted, o)
		mine = append(mine, e)
	}
	return nil
}

func (m *mirror) insert(id itemID, it *item) *entry {
	e := &entry{item: *it, sent: true}
	if _, ok := m.touched[id]; !ok {
		m.touched[id] = before{}
	}
	m.entries[id] = e
	if e.span() {
		s := &m.spans[id.set]
		if s.all == nil {
			s.all = map[itemID]*entry{}
		}
		s.all[id] = e
		s.ofBits[e.prefix.Bits()]++
	}
	return e
}

// settle decides which of the spans that changed, or lie within one that did, the kernel gets.
func (m *mirror) settle(changes ...change) error {
	for _, c := range changes {
		for o, items := range c {
			for i := range items {
				if !items[i].span() {
					continue
				}
				if err := m.settleSpan(o, &items[i]); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (m *mirror) settleSpan(o Owner, it *item) error {
	s := &m.spans[it.set]
	if e := s.all[it.id()]; e != nil {
		if err := m.cover(o, e); err != nil {
			return err
		}
	}
	if !slices.ContainsFunc(s.ofBits[it.prefix.Bits()+1:], func(n int) bool { return n > 0 }) {
		return nil // nothing can lie within it
	}
	for _, e := range s.all {
		if e.link == it.link && e.prefix.Bits() > it.prefix.Bits() && it.prefix.Contains(e.prefix.Addr()) {
			if err := m.cover(o, e); err != nil {
				return err
			}
		}
	}
	return nil
}

// cover decides whether the kernel gets a span.
func (m *mirror) cover(o Owner, e *entry) error {
	s := &m.spans[e.set]
	sent := true
	for bits := e.prefix.Bits() - 1; bits > 0; bits-- {
		if s.ofBits[bits] == 0 {
			continue
		}
		outer := s.all[e.outer(bits)]
		if outer == nil {
			continue
		}
		if outer.elem.Data != e.elem.Data {
			return &ConflictError{Owner: o, Holder: otherThan(o, outer, e), Element: e.String()}
		}
		sent = false
	}
	if e.sent != sent {
		m.touch(e.id(), e)
		e.sent = sent
	}
	return nil
}

// otherThan gives an owner of one of two spans who is not o.
func otherThan(o Owner, spans ...*entry) Owner {
	for _, e := range spans {
		for _, w := range e.wanted {
			if w != o {
				return w
			}
		}
	}
	return o
}

// outer is the itemID of the span of bits that e lies in.
func (e *entry) outer(bits int) itemID {
	p := netip.PrefixFrom(e.prefix.Addr(), bits).Masked()
	key := nft.Tuple{}
	if e.link != "" {
		key = key.Ifname(e.link)
	}
	return itemID{e.set, int8(bits), key.Addr(p.Addr())}
}

// pending gives the difference between what the kernel has and what is wanted of all that was touched.
func (m *mirror) pending(sets *[setCount]*nft.Set) *nft.Drift {
	var del, add [setCount][]nft.Element
	for id, b := range m.touched {
		e := m.entries[id]
		now := e != nil && e.sent
		if now && b.sent && e.elem == b.e.elem {
			continue
		}
		if b.sent {
			del[id.set] = append(del[id.set], b.e.elem)
		}
		if now {
			add[id.set] = append(add[id.set], e.elem)
		}
	}
	var d nft.Drift
	for id, s := range sets {
		if len(del[id]) > 0 {
			d.Extra = append(d.Extra, nft.SetElements{Set: s, Elements: del[id]})
		}
		if len(add[id]) > 0 {
			d.Missing = append(d.Missing, nft.SetElements{Set: s, Elements: add[id]})
		}
	}
	return &d
}

// keptTouched is how large a map of what was touched is kept: an emptied map is as slow to walk as it once was large.
const keptTouched = 256

// commit notes that the kernel has what is wanted, or has again what it had.
func (m *mirror) commit() {
	if len(m.touched) > keptTouched {
		m.touched = map[itemID]before{}
		return
	}
	clear(m.touched)
}

// fill gives those sets that are chosen all their elements; empty takes them away.
func (m *mirror) fill(sets *[setCount]*nft.Set, chosen func(setID) bool) {
	empty(sets)
	for id, e := range m.entries {
		if e.sent && chosen(id.set) {
			sets[id.set].Elements = append(sets[id.set].Elements, e.elem)
		}
	}
}

func empty(sets *[setCount]*nft.Set) {
	for _, s := range sets {
		s.Elements = nil
	}
}
