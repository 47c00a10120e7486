// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"golang.org/x/sys/unix"
)

// elements appends the messages of an operation on elements, each with as many
// as fit.
func (b *batch) elements(i int, o *op, msg int, flags uint16) {
	for from := 0; from < len(o.elements); {
		start := b.message(i, from, msg, flags, o.table.Family)
		b.str(unix.NFTA_SET_ELEM_LIST_TABLE, o.table.Name)
		b.str(unix.NFTA_SET_ELEM_LIST_SET, o.set.Name)
		if o.id != 0 {
			b.u32(unix.NFTA_SET_ELEM_LIST_SET_ID, o.id)
		}
		list := b.nest(unix.NFTA_SET_ELEM_LIST_ELEMENTS)
		for n := 0; n < b.per && from < len(o.elements) && len(b.b)-list < maxAttr-maxElement; n++ {
			b.element(o.set, &o.elements[from], o.verb == addElements)
			from++
		}
		b.unnest(list)
		b.end(start)
	}
}

// element appends one element: with its data if it is added, with its key only
// if it is deleted. Where the kernel keeps intervals of a lone field, it wants
// their ends, exclusive, as elements of their own.
func (b *batch) element(s *Set, e *Element, whole bool) {
	elem := b.nest(unix.NFTA_LIST_ELEM)
	b.value(unix.NFTA_SET_ELEM_KEY, e.Key.bytes())
	if s.Interval && len(s.Key) > 1 {
		b.value(elemKeyEnd, e.last().bytes())
	}
	if whole {
		b.content(e)
	}
	b.unnest(elem)
	if !s.Interval || len(s.Key) > 1 {
		return
	}
	end, ok := e.last().next()
	if !ok {
		return // the interval reaches to the highest key
	}
	elem = b.nest(unix.NFTA_LIST_ELEM)
	b.value(unix.NFTA_SET_ELEM_KEY, end.bytes())
	b.u32(unix.NFTA_SET_ELEM_FLAGS, unix.NFT_SET_ELEM_INTERVAL_END)
	b.unnest(elem)
}

// content appends what an element has besides its key.
func (b *batch) content(e *Element) {
	if !e.Data.IsZero() {
		b.value(unix.NFTA_SET_ELEM_DATA, e.Data.bytes())
	}
	if !e.Verdict.IsZero() {
		b.verdict(unix.NFTA_SET_ELEM_DATA, e.Verdict)
	}
	if e.Timeout != 0 {
		b.u64(unix.NFTA_SET_ELEM_TIMEOUT, uint64(e.Timeout.Milliseconds()))
	}
	b.comment(unix.NFTA_SET_ELEM_USERDATA, e.Comment)
}

// last gives the last key of an element.
func (e *Element) last() *Tuple {
	if e.End.IsZero() {
		return &e.Key
	}
	return &e.End
}

// next gives the key after t; false if there is none.
func (t *Tuple) next() (Tuple, bool) {
	n := *t
	b := n.bytes()
	for i := len(b) - 1; i >= 0; i-- {
		b[i]++
		if b[i] != 0 {
			return n, true
		}
	}
	return n, false
}

// prev gives the key before t; false if there is none.
func (t *Tuple) prev() (Tuple, bool) {
	n := *t
	b := n.bytes()
	for i := len(b) - 1; i >= 0; i-- {
		b[i]--
		if b[i] != 0xff {
			return n, true
		}
	}
	return n, false
}
