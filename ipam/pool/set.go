// SPDX-License-Identifier: Apache-2.0

package pool

import "math/bits"

// set is a set of numbers that finds the next absent one in a number of steps that depends on the width of a number
// alone, however many are in it. It is a bitmap of 64-bit words, kept only where one is not zero, and above it one bit a
// word that is full, and so on. Memory: one map entry for up to 64 neighbours.
//
// The zero value is empty. A set is not safe for concurrent use.
type set struct {
	// levels[0] has a bit a number; levels[k+1] has a bit a word of levels[k], set where that word is full.
	levels []map[number]uint64
}

const full = ^uint64(0)

func (s *set) word(level int, at number) uint64 {
	if level >= len(s.levels) {
		return 0
	}
	return s.levels[level][at]
}

func (s *set) add(n number) {
	for level := 0; ; level++ {
		if level == len(s.levels) {
			s.levels = append(s.levels, map[number]uint64{})
		}
		at := n.word()
		word := s.levels[level][at] | 1<<n.bit()
		s.levels[level][at] = word
		if word != full {
			return
		}
		n = at
	}
}

func (s *set) remove(n number) {
	for level := range s.levels {
		at := n.word()
		old := s.levels[level][at]
		if word := old &^ (1 << n.bit()); word == 0 {
			delete(s.levels[level], at)
		} else {
			s.levels[level][at] = word
		}
		if old != full {
			return
		}
		n = at
	}
}

// absent is the smallest number from first to last (both included) that is not in the set.
func (s *set) absent(first, last number) (number, bool) {
	// Up, until a word has an unset bit at or after the place: that stands for something below that is not full.
	n, limit, level := first, last, 0
	for {
		if limit.less(n) {
			return number{}, false
		}
		at := n.word()
		if free := ^s.word(level, at) & (full << n.bit()); free != 0 {
			n = at.inWord(bits.TrailingZeros64(free))
			break
		}
		n, limit, level = at.next(), limit.word(), level+1
	}
	// Down, to the first unset bit in each.
	for ; level > 0; level-- {
		n = n.inWord(bits.TrailingZeros64(^s.word(level-1, n)))
	}
	return n, !last.less(n)
}
