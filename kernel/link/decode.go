// SPDX-License-Identifier: Apache-2.0

package link

import (
	"encoding/binary"
	"fmt"
	"net/netip"
)

// attrs walks a run of netlink attributes. It stops at the end, and at the first
// attribute whose length does not fit: it never reads past the buffer.
type attrs struct {
	rest []byte
	typ  uint16
	val  []byte
}

func attrsOf(b []byte) attrs { return attrs{rest: b} }

// next moves to the next attribute; typ comes without its flag bits.
func (a *attrs) next() bool {
	if len(a.rest) < sizeAttr {
		return false
	}
	n := int(binary.NativeEndian.Uint16(a.rest))
	if n < sizeAttr || n > len(a.rest) {
		return false
	}
	a.typ = binary.NativeEndian.Uint16(a.rest[2:]) & nlaTypeMask
	a.val = a.rest[sizeAttr:n]
	a.rest = a.rest[min(align(n), len(a.rest)):]
	return true
}

// messages walks the netlink messages of one datagram.
type messages struct {
	rest       []byte
	typ, flags uint16
	seq        uint32
	body       []byte
}

func (m *messages) next() bool {
	if len(m.rest) < sizeHeader {
		return false
	}
	n := int(binary.NativeEndian.Uint32(m.rest))
	if n < sizeHeader || n > len(m.rest) {
		return false
	}
	m.typ = binary.NativeEndian.Uint16(m.rest[4:])
	m.flags = binary.NativeEndian.Uint16(m.rest[6:])
	m.seq = binary.NativeEndian.Uint32(m.rest[8:])
	m.body = m.rest[sizeHeader:n]
	m.rest = m.rest[min(align(n), len(m.rest)):]
	return true
}

func align(n int) int { return (n + 3) &^ 3 }

// split parts a message into its fixed header and its attributes.
func split(b []byte, head int, what string) ([]byte, attrs, error) {
	if len(b) < head {
		return nil, attrs{}, fmt.Errorf("%s message of %d bytes: shorter than its header of %d", what, len(b), head)
	}
	return b[:head], attrsOf(b[head:]), nil
}

// The readers below return zero where the value is too short: the kernel's
// policy guarantees the sizes, and a fuzzer may not make us panic.

func u8(b []byte) uint8 {
	if len(b) < 1 {
		return 0
	}
	return b[0]
}

func u16(b []byte) uint16 {
	if len(b) < 2 {
		return 0
	}
	return binary.NativeEndian.Uint16(b)
}

func u32(b []byte) uint32 {
	if len(b) < 4 {
		return 0
	}
	return binary.NativeEndian.Uint32(b)
}

func number(b []byte) int { return int(int32(u32(b))) }

// str reads a string up to its first zero byte.
func str(b []byte) string {
	for i, c := range b {
		if c == 0 {
			return string(b[:i])
		}
	}
	return string(b)
}

func macOf(b []byte) MAC {
	var m MAC
	if len(b) == len(m) {
		copy(m[:], b)
	}
	return m
}

func addrOf(b []byte) netip.Addr {
	a, _ := netip.AddrFromSlice(b)
	return a
}

// prefixOf is a prefix as headers carry it: an address, absent where it is all
// zeros, and a length beside it. An impossible length gives the zero prefix.
func prefixOf(a netip.Addr, bits, family uint8) netip.Prefix {
	if !a.IsValid() {
		a = unspecified(family)
	}
	if !a.IsValid() || int(bits) > a.BitLen() {
		return netip.Prefix{}
	}
	return netip.PrefixFrom(a, int(bits))
}
