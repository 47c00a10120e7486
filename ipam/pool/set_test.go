// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"net/netip"
	"testing"

	"pgregory.net/rapid"
)

// TestSet compares a set with a plain map.
func TestSet(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		base := rapid.SampledFrom([]number{{}, {lo: 4096 - 100}, {lo: 1<<32 - 300}, {lo: ^uint64(0) - 150}, {hi: 0xfd << 56, lo: 7}}).Draw(t, "base")
		at := func(n int) number {
			m := number{base.hi, base.lo + uint64(n)}
			if m.lo < base.lo {
				m.hi++
			}
			return m
		}
		const width = 300
		var s set
		model := map[number]bool{}
		span := func() (int, int) {
			first := rapid.IntRange(0, width).Draw(t, "first")
			return first, rapid.IntRange(first, width).Draw(t, "last")
		}
		t.Repeat(map[string]func(*rapid.T){
			"add": func(*rapid.T) {
				first, last := span()
				for n := first; n <= last; n++ {
					s.add(at(n))
					model[at(n)] = true
				}
			},
			"remove": func(*rapid.T) {
				first, last := span()
				for n := first; n <= min(last, first+70); n++ {
					s.remove(at(n))
					delete(model, at(n))
				}
			},
			"absent": func(t *rapid.T) {
				first, last := span()
				n := first
				for n <= last && model[at(n)] {
					n++
				}
				got, ok := s.absent(at(first), at(last))
				if ok != (n <= last) || ok && got != at(n) {
					t.Fatalf("absent(%d, %d) = %v, %v; want %d", first, last, got, ok, n)
				}
			},
			"": func(t *rapid.T) {
				n := at(rapid.IntRange(0, width).Draw(t, "n"))
				if _, absent := s.absent(n, n); absent == model[n] {
					t.Fatalf("%v is absent: %v", n, absent)
				}
				if len(model) == 0 && len(s.levels) > 0 && len(s.levels[0]) > 0 {
					t.Fatalf("an empty set keeps %d words", len(s.levels[0]))
				}
			},
		})
	})
}

// TestSetFull fills a set to the brim, several levels high.
func TestSetFull(t *testing.T) {
	t.Parallel()
	const size = 1 << 18
	var s set
	for n := range uint64(size) {
		s.add(number{lo: n})
	}
	if n, ok := s.absent(number{}, number{lo: size - 1}); ok {
		t.Errorf("%v is absent of a full set", n)
	}
	if n, ok := s.absent(number{}, number{lo: size + 5}); !ok || n.lo != size {
		t.Errorf("after a full set comes %v, %v", n, ok)
	}
	for _, n := range []uint64{0, 63, 64, 4095, 4096, 100_000, size - 1} {
		s.remove(number{lo: n})
		if got, ok := s.absent(number{}, number{lo: size - 1}); !ok || got.lo != n {
			t.Errorf("absent is %v, %v; want %d", got, ok, n)
		}
		s.add(number{lo: n})
	}
}

func TestNumber(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"0.0.0.0/32", "10.255.255.255/32", "255.255.255.255/32", "::/128", "fd00::ffff:ffff:ffff:ffff/128", "fd00::1/128"} {
		p := netip.MustParsePrefix(text)
		n := numberOf(p.Addr())
		if got := n.addr(p); got != p.Addr() {
			t.Errorf("%v became %v", p.Addr(), got)
		}
		if n.next().previous() != n || n.word().inWord(int(n.bit())) != n {
			t.Errorf("%v does not come back", p.Addr())
		}
		if next := p.Addr().Next(); next.IsValid() && (n.next().addr(p) != next || !n.less(n.next())) {
			t.Errorf("after %v comes %v", p.Addr(), n.next().addr(p))
		}
	}
}
