// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"strings"
)

// ifnameSize is the length of an interface name field, IFNAMSIZ.
const ifnameSize = 16

// Tuple is the key of an element or the data of a map: one field, or several
// joined to a concatenation. It is a plain comparable value; the zero Tuple has
// no field. Every method returns a new Tuple with one field more:
//
//	nft.Tuple{}.Proto(nft.TCP).Port(8080)
//
// A field that cannot be, such as an interface name of 16 bytes, makes the Tuple
// invalid, and every transaction that it is put into with it: see [Tuple.Err].
type Tuple struct { //nolint:recvcheck // a value to its users; within, 64 bytes need not be copied to be looked at
	types  uint32 // 6 bits a field, the last one lowest
	n      uint8  // bytes used, every field padded to 4
	single uint8  // length of the only field, unpadded
	fields uint8
	bad    problem
	b      [maxTuple]byte
}

// problem is why a Tuple is invalid. It is a number to keep Tuples comparable.
type problem uint8

const (
	valid problem = iota
	badIfname
	badAddr
	badMAC
	badNumber
	badLength
	tooLong
)

// Err tells why the Tuple is invalid; nil if it is not.
func (t Tuple) Err() error {
	switch t.bad {
	case valid:
		return nil
	case badIfname:
		return fmt.Errorf("an interface name has 1 to %d bytes and no zero byte", ifnameSize-1)
	case badAddr:
		return fmt.Errorf("an address is missing or has a zone")
	case badMAC:
		return fmt.Errorf("an Ethernet address has 6 bytes")
	case badNumber:
		return fmt.Errorf("a number does not fit its field")
	case badLength:
		return fmt.Errorf("a field has no bytes")
	case tooLong:
		return fmt.Errorf("a tuple has at most %d fields and %d bytes", maxFields, maxTuple)
	default:
		return fmt.Errorf("a tuple is damaged (%d)", t.bad)
	}
}

// IsZero tells whether the Tuple has no field.
func (t Tuple) IsZero() bool { return t.fields == 0 && t.bad == valid }

// Types gives the types of the fields, in order.
func (t Tuple) Types() []Type { return typesOf(t.types) }

// size gives the length of the Tuple for the kernel.
func (t *Tuple) size() int {
	if t.fields == 1 {
		return int(t.single)
	}
	return int(t.n)
}

// bytes gives the Tuple as the kernel has it. It shares the Tuple's memory.
func (t *Tuple) bytes() []byte { return t.b[:t.size()] }

// field appends one field.
func (t Tuple) field(typ Type, b []byte) Tuple {
	switch {
	case t.bad != valid:
	case len(b) == 0:
		t.bad = badLength
	case t.fields == maxFields || int(t.n)+pad4(len(b)) > maxTuple:
		t.bad = tooLong
	default:
		copy(t.b[t.n:], b)
		t.n += uint8(pad4(len(b)))
		t.single = uint8(len(b))
		t.types = t.types<<typeBits | uint32(typ)
		t.fields++
	}
	return t
}

// invalid marks the Tuple, unless it already is.
func (t Tuple) invalid(p problem) Tuple {
	if t.bad == valid {
		t.bad = p
	}
	return t
}

// Ifname appends an interface name.
func (t Tuple) Ifname(name string) Tuple {
	if name == "" || len(name) >= ifnameSize || strings.IndexByte(name, 0) >= 0 {
		return t.invalid(badIfname)
	}
	var b [ifnameSize]byte
	copy(b[:], name)
	return t.field(TypeIfname, b[:])
}

// Addr appends an IPv4 or IPv6 address; an IPv4-mapped one counts as IPv4.
func (t Tuple) Addr(a netip.Addr) Tuple {
	if a = a.Unmap(); a.Is4() {
		b := a.As4()
		return t.field(TypeIPv4, b[:])
	}
	if !a.IsValid() || a.Zone() != "" {
		return t.invalid(badAddr)
	}
	b := a.As16()
	return t.field(TypeIPv6, b[:])
}

// MAC appends an Ethernet address.
func (t Tuple) MAC(mac net.HardwareAddr) Tuple {
	if len(mac) != TypeEther.spec().size {
		return t.invalid(badMAC)
	}
	return t.field(TypeEther, mac)
}

// Proto appends a transport protocol.
func (t Tuple) Proto(p Protocol) Tuple { return t.field(TypeProto, []byte{byte(p)}) }

// Port appends a port.
func (t Tuple) Port(port uint16) Tuple {
	return t.field(TypePort, []byte{byte(port >> 8), byte(port)})
}

// Mark appends a packet mark.
func (t Tuple) Mark(mark uint32) Tuple { return t.Num(TypeMark, uint64(mark)) }

// Num appends a number as a field of a type that is a number of 1, 2 or 4 bytes.
func (t Tuple) Num(typ Type, v uint64) Tuple {
	spec := typ.spec()
	if spec.size == 0 || spec.size > 4 || v>>(8*spec.size) != 0 {
		return t.invalid(badNumber)
	}
	var b [4]byte
	switch {
	case spec.size == 1:
		b[0] = byte(v)
	case spec.size == 2 && spec.order == orderHost:
		binary.NativeEndian.PutUint16(b[:], uint16(v))
	case spec.size == 2:
		binary.BigEndian.PutUint16(b[:], uint16(v))
	case spec.order == orderHost:
		binary.NativeEndian.PutUint32(b[:], uint32(v))
	default:
		binary.BigEndian.PutUint32(b[:], uint32(v))
	}
	return t.field(typ, b[:spec.size])
}

// Bytes appends raw bytes of a header, as [Raw] loads them.
func (t Tuple) Bytes(b []byte) Tuple { return t.field(TypeInteger, b) }

// Ifname is a Tuple of one interface name.
func Ifname(name string) Tuple { return Tuple{}.Ifname(name) }

// Addr is a Tuple of one address.
func Addr(a netip.Addr) Tuple { return Tuple{}.Addr(a) }

// MAC is a Tuple of one Ethernet address.
func MAC(mac net.HardwareAddr) Tuple { return Tuple{}.MAC(mac) }

// Port is a Tuple of one port.
func Port(port uint16) Tuple { return Tuple{}.Port(port) }

// Mark is a Tuple of one packet mark.
func Mark(mark uint32) Tuple { return Tuple{}.Mark(mark) }

// decodeTuple makes a Tuple of what the kernel sent for a key or data of types.
// What does not fit the types, as in the sets of others, becomes raw bytes.
func decodeTuple(types []Type, b []byte) (Tuple, error) {
	var t Tuple
	lone := len(types) == 1
	switch {
	case lone && (types[0].spec().size == len(b) || types[0] == TypeInteger):
		t = t.field(types[0], b)
	case lone || len(b) != sizeOf(types) || !sized(types):
		t = t.field(TypeInteger, b)
	default:
		for _, typ := range types {
			size := typ.spec().size
			t = t.field(typ, b[:size])
			b = b[pad4(size):]
		}
	}
	return t, t.Err()
}

// sized tells whether the lengths of all types are known.
func sized(types []Type) bool {
	for _, t := range types {
		if t.spec().size == 0 {
			return false
		}
	}
	return len(types) > 0
}
