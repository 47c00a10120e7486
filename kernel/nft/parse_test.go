// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"net/netip"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// FuzzMessages feeds what a socket might deliver to every decoder: none may
// panic or read beyond a message.
func FuzzMessages(f *testing.F) {
	var b batch
	for _, l := range []*Layout{&newRouted(Owner).Layout, newFrames(0), newRewrite(), newVocabulary()} {
		var tx Tx
		tx.Load(l)
		b.encode(&tx, 1, maxElements)
		for _, m := range b.marks[:min(len(b.marks), 20)] { // one message each: small seeds vary best
			f.Add(slices.Clone(b.b[m.start : m.start+b.length(m.start)]))
		}
	}
	f.Add([]byte{20, 0, 0, 0, 2, 0, 0, 3, 1, 0, 0, 0, 0, 0, 0, 0, 0xef, 0xff, 0xff, 0xff})
	set := newRouted(0).pub4any
	f.Fuzz(func(_ *testing.T, data []byte) {
		var raw []rawElement
		var w Watcher
		for m := range messages(data) {
			_, _ = decodeAnswer(&m)
			_, _ = decodeTable(&m)
			_, _ = decodeChain(&m)
			_, _, _, _ = decodeRule(&m)
			_, _, _ = decodeSet(&m)
			raw, _ = decodeElements(raw, set, &m)
			_, _ = ending(&m)
			w.take(&m)
		}
		_, _ = joinIntervals(&Set{Key: set.Key[:1], Interval: true}, raw)
		for i := range raw {
			_ = raw[i].Element.String()
		}
	})
}

// FuzzExprs feeds expressions to what writes them in one form.
func FuzzExprs(f *testing.F) {
	l := newVocabulary()
	for _, c := range l.Chains {
		for i := range c.Rules {
			rule, err := compileRule(Inet, &c.Rules[i], func() uint32 { return 1 })
			if err != nil {
				f.Fatal(err)
			}
			f.Add(rule.exprs)
		}
	}
	f.Fuzz(func(_ *testing.T, data []byte) { _ = canonical(data) })
}

// FuzzUserdata feeds user data, which anybody may have written.
func FuzzUserdata(f *testing.F) {
	f.Add([]byte("\x00\x04\x01\x00\x00\x00\x07\x03sc\x00"), byte(7))
	f.Fuzz(func(_ *testing.T, data []byte, typ byte) { _ = udata(data, typ) })
}

// TestRoundTrip encodes elements and decodes them again, without a kernel.
func TestRoundTrip(t *testing.T) {
	t.Parallel()
	for _, l := range []*Layout{&newRouted(0).Layout, newFrames(0), newVocabulary()} {
		for _, s := range l.Sets {
			var b batch
			var tx Tx
			tx.AddElements(s, s.Elements...)
			if tx.Len() == 0 {
				continue
			}
			b.encode(&tx, 7, maxElements)
			var raw []rawElement
			for m := range messages(b.b) {
				if m.typ != nfType(unix.NFT_MSG_NEWSETELEM) {
					continue
				}
				var err error
				if raw, err = decodeElements(raw, s, &m); err != nil {
					t.Fatal(err)
				}
			}
			slices.SortFunc(raw, func(a, b rawElement) int { return a.compare(&b) })
			got, err := joinIntervals(s, raw)
			if err != nil {
				t.Fatal(err)
			}
			want := slices.Clone(s.Elements)
			slices.SortFunc(want, func(a, b Element) int { return compareBytes(&a.Key, &b.Key) })
			for i := range want {
				if want[i].End == want[i].Key {
					want[i].End = Tuple{}
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s: got %v, want %v", s.Name, got, want)
			}
		}
	}
}

// TestElementAt finds every element of a batch by any offset in it.
func TestElementAt(t *testing.T) {
	t.Parallel()
	r := newRouted(0)
	var elements []Element
	for i := range 7 {
		elements = append(elements, Within(netip.PrefixFrom(addr6(i), 120)))
	}
	var b batch
	var tx Tx
	tx.AddElements(r.cnet6, elements...)
	b.encode(&tx, 1, 3)
	if len(b.marks) != 3 {
		t.Fatalf("%d messages for 7 elements, 3 in each", len(b.marks))
	}
	for _, m := range b.marks {
		last := -1
		for off := range b.length(m.start) {
			n := b.elementAt(m.start, uint32(off))
			if n >= 0 && n < last {
				t.Fatalf("element %d after element %d", n, last)
			}
			last = max(last, n)
		}
		if want := min(3, 7-m.elem) - 1; last != want {
			t.Errorf("the last element at %d is %d, not %d", m.elem, last, want)
		}
	}
}
