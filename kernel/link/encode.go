// SPDX-License-Identifier: Apache-2.0

package link

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"
)

// encoder appends netlink messages to one buffer, in the machine's byte order.
// The buffer is kept between batches; nothing in it outlives the send.
type encoder struct {
	b []byte
}

// openMessage reserves a message header and returns where it starts.
func (e *encoder) openMessage() int {
	at := len(e.b)
	e.zero(sizeHeader)
	return at
}

// closeMessage fills in the header that openMessage reserved.
func (e *encoder) closeMessage(at int, typ, flags uint16, seq uint32) {
	h := e.b[at:]
	binary.NativeEndian.PutUint32(h[0:], uint32(len(h)))
	binary.NativeEndian.PutUint16(h[4:], typ)
	binary.NativeEndian.PutUint16(h[6:], flags)
	binary.NativeEndian.PutUint32(h[8:], seq)
}

// addFlags sets more flags in the header of the message that starts at at.
func (e *encoder) addFlags(at int, flags uint16) {
	h := e.b[at+6:]
	binary.NativeEndian.PutUint16(h, binary.NativeEndian.Uint16(h)|flags)
}

func (e *encoder) zero(n int) {
	var z [sizeHeader]byte
	e.b = append(e.b, z[:n]...)
}

func (e *encoder) pad() {
	if n := -len(e.b) & 3; n > 0 {
		e.zero(n)
	}
}

// open starts an attribute whose end is not known yet.
func (e *encoder) open(typ uint16) int {
	at := len(e.b)
	e.zero(sizeAttr)
	binary.NativeEndian.PutUint16(e.b[at+2:], typ)
	return at
}

// nest starts an attribute that holds attributes.
func (e *encoder) nest(typ uint16) int { return e.open(typ | nlaNested) }

// shut ends the attribute that open or nest started at at.
func (e *encoder) shut(at int) {
	binary.NativeEndian.PutUint16(e.b[at:], uint16(len(e.b)-at))
	e.pad()
}

func (e *encoder) u8(typ uint16, v uint8) {
	at := e.open(typ)
	e.b = append(e.b, v)
	e.shut(at)
}

func (e *encoder) u16(typ, v uint16) {
	at := e.open(typ)
	e.b = binary.NativeEndian.AppendUint16(e.b, v)
	e.shut(at)
}

func (e *encoder) u32(typ uint16, v uint32) {
	at := e.open(typ)
	e.b = binary.NativeEndian.AppendUint32(e.b, v)
	e.shut(at)
}

// index writes an interface index, or nothing where it is zero.
func (e *encoder) index(typ uint16, v int) {
	if v != 0 {
		e.u32(typ, uint32(v))
	}
}

// some writes a number, or nothing where it is zero.
func (e *encoder) some(typ uint16, v uint32) {
	if v != 0 {
		e.u32(typ, v)
	}
}

// text writes a string with its terminating zero, or nothing where it is empty.
func (e *encoder) text(typ uint16, s string) {
	if s == "" {
		return
	}
	at := e.open(typ)
	e.b = append(e.b, s...)
	e.b = append(e.b, 0)
	e.shut(at)
}

func (e *encoder) mac(typ uint16, m MAC) {
	if m.IsZero() {
		return
	}
	at := e.open(typ)
	e.b = append(e.b, m[:]...)
	e.shut(at)
}

func (e *encoder) addr(typ uint16, a netip.Addr) {
	if !a.IsValid() {
		return
	}
	at := e.open(typ)
	if a.Is4() {
		v := a.As4()
		e.b = append(e.b, v[:]...)
	} else {
		v := a.As16()
		e.b = append(e.b, v[:]...)
	}
	e.shut(at)
}

func (e *encoder) toggle(typ uint16, s Switch) {
	if s != Keep {
		e.u8(typ, s.bit())
	}
}

// ifinfo appends a struct ifinfomsg of no family.
func (e *encoder) ifinfo(index int, flags, change uint32) {
	at := len(e.b)
	e.zero(sizeIfinfo)
	h := e.b[at:]
	binary.NativeEndian.PutUint32(h[4:], uint32(index))
	binary.NativeEndian.PutUint32(h[8:], flags)
	binary.NativeEndian.PutUint32(h[12:], change)
}

// familyOf is the address family of a, for message headers.
func familyOf(a netip.Addr) uint8 {
	switch {
	case a.Is4():
		return unix.AF_INET
	case a.Is6():
		return unix.AF_INET6
	default:
		return unix.AF_UNSPEC
	}
}

// long appends a 32-bit field of a fixed header.
func (e *encoder) long(v uint32) { e.b = binary.NativeEndian.AppendUint32(e.b, v) }
