// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"encoding/binary"
	"net/netip"
)

// number is an address as an unsigned integer, so that it can be counted with. The family is known from where it is kept.
type number struct{ hi, lo uint64 }

func numberOf(a netip.Addr) number {
	if a.Is4() {
		b := a.As4()
		return number{lo: uint64(binary.BigEndian.Uint32(b[:]))}
	}
	b := a.As16()
	return number{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
}

// addr is the address of n in the family of like.
func (n number) addr(like netip.Prefix) netip.Addr {
	if like.Addr().Is4() {
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], uint32(n.lo)) // numbers of IPv4 addresses have 32 bits
		return netip.AddrFrom4(b)
	}
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], n.hi)
	binary.BigEndian.PutUint64(b[8:], n.lo)
	return netip.AddrFrom16(b)
}

func (n number) less(m number) bool { return n.hi < m.hi || n.hi == m.hi && n.lo < m.lo }

// next is n+1; the largest number is followed by 0.
func (n number) next() number {
	n.lo++
	if n.lo == 0 {
		n.hi++
	}
	return n
}

// previous is n-1; 0 is preceded by the largest number.
func (n number) previous() number {
	if n.lo == 0 {
		n.hi--
	}
	n.lo--
	return n
}

// word is n/64: the word of a bitmap that holds bit n.
func (n number) word() number { return number{n.hi >> 6, n.hi<<58 | n.lo>>6} }

// bit is n's place in its word.
func (n number) bit() uint { return uint(n.lo & 63) }

// inWord is the number whose word is n and whose place is bit.
func (n number) inWord(bit int) number {
	return number{n.hi<<6 | n.lo>>58, n.lo<<6 | uint64(bit)} // bit is 0 to 63
}
