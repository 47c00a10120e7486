// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// The sizes of what precedes the attributes of a message.
const (
	headerSize  = unix.SizeofNlMsghdr
	messageSize = headerSize + 4 // with the nfnetlink header
	attrSize    = 4
	maxAttr     = 1<<16 - 1
)

// message types carry the subsystem in their high byte.
func nfType(msg int) uint16 { return unix.NFNL_SUBSYS_NFTABLES<<8 | uint16(msg) }

// wire is a buffer that messages are appended to.
type wire struct{ b []byte }

// begin starts a message and returns where it starts, for [wire.end].
func (w *wire) begin(typ, flags uint16, seq uint32, family Family) int {
	start := len(w.b)
	b := append(w.b, 0, 0, 0, 0) // the length is set by end
	b = binary.NativeEndian.AppendUint16(b, typ)
	b = binary.NativeEndian.AppendUint16(b, flags|unix.NLM_F_REQUEST)
	b = binary.NativeEndian.AppendUint32(b, seq)
	b = append(b, 0, 0, 0, 0, byte(family), unix.NFNETLINK_V0, 0, 0)
	w.b = b
	return start
}

// end finishes the message that starts at start.
func (w *wire) end(start int) {
	binary.NativeEndian.PutUint32(w.b[start:], uint32(len(w.b)-start))
}

// attr appends the header of an attribute and the padding its value will need
// comes with [wire.pad].
func (w *wire) attr(typ uint16, size int) {
	w.b = binary.NativeEndian.AppendUint16(w.b, uint16(attrSize+size))
	w.b = binary.NativeEndian.AppendUint16(w.b, typ)
}

// pad rounds the buffer up to a multiple of 4, as every attribute begins on one.
func (w *wire) pad() {
	for len(w.b)%4 != 0 {
		w.b = append(w.b, 0)
	}
}

// bytes appends an attribute of raw bytes.
func (w *wire) bytes(typ uint16, v []byte) {
	w.attr(typ, len(v))
	w.b = append(w.b, v...)
	w.pad()
}

// str appends an attribute of a string with its zero byte.
func (w *wire) str(typ uint16, v string) {
	w.attr(typ, len(v)+1)
	w.b = append(w.b, v...)
	w.b = append(w.b, 0)
	w.pad()
}

// u8 appends an attribute of one byte.
func (w *wire) u8(typ uint16, v uint8) { w.bytes(typ, []byte{v}) }

// u32 appends an attribute of a number in network byte order.
func (w *wire) u32(typ uint16, v uint32) {
	w.attr(typ, 4)
	w.b = binary.BigEndian.AppendUint32(w.b, v)
}

// u64 appends an attribute of a number in network byte order.
func (w *wire) u64(typ uint16, v uint64) {
	w.attr(typ, 8)
	w.b = binary.BigEndian.AppendUint64(w.b, v)
}

// nest starts an attribute that holds attributes and returns where it starts,
// for [wire.unnest].
func (w *wire) nest(typ uint16) int {
	start := len(w.b)
	w.attr(typ|unix.NLA_F_NESTED, 0)
	return start
}

// unnest finishes the attribute that starts at start.
func (w *wire) unnest(start int) {
	binary.NativeEndian.PutUint16(w.b[start:], uint16(len(w.b)-start))
}

// value appends a key or data as the kernel wants it.
func (w *wire) value(typ uint16, v []byte) {
	nest := w.nest(typ)
	w.bytes(unix.NFTA_DATA_VALUE, v)
	w.unnest(nest)
}

// verdict appends a verdict as the kernel wants it.
func (w *wire) verdict(typ uint16, v Verdict) {
	outer := w.nest(typ)
	inner := w.nest(unix.NFTA_DATA_VERDICT)
	w.u32(unix.NFTA_VERDICT_CODE, uint32(v.code()))
	if v.chain != "" {
		w.str(unix.NFTA_VERDICT_CHAIN, v.chain)
	}
	w.unnest(inner)
	w.unnest(outer)
}
