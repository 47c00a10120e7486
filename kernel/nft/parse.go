// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"iter"

	"golang.org/x/sys/unix"
)

// message is one netlink message, without copying.
type message struct {
	typ   uint16
	flags uint16
	seq   uint32
	pid   uint32
	body  []byte // after the netlink header
}

// nft gives the number of an nf_tables message; false for any other.
func (m *message) nft() (int, bool) {
	return int(m.typ & 0xff), m.typ>>8 == unix.NFNL_SUBSYS_NFTABLES && len(m.body) >= messageSize-headerSize
}

// family gives the family of an nf_tables message.
func (m *message) family() Family { return Family(m.body[0]) }

// attrs goes over the attributes of an nf_tables message.
func (m *message) attrs() iter.Seq[attr] { return attrs(m.body[messageSize-headerSize:]) }

// messages goes over the messages in b and stops at damage.
func messages(b []byte) iter.Seq[message] {
	return func(yield func(message) bool) {
		for len(b) >= headerSize {
			size := int(binary.NativeEndian.Uint32(b))
			if size < headerSize || size > len(b) {
				return
			}
			m := message{
				typ: binary.NativeEndian.Uint16(b[4:]), flags: binary.NativeEndian.Uint16(b[6:]),
				seq: binary.NativeEndian.Uint32(b[8:]), pid: binary.NativeEndian.Uint32(b[12:]),
				body: b[headerSize:size],
			}
			if !yield(m) {
				return
			}
			b = b[min(pad4(size), len(b)):]
		}
	}
}

// attr is one netlink attribute, without copying.
type attr struct {
	typ uint16 // without its flags
	off int    // of its header, from where the iteration began
	val []byte
}

// attrs goes over the attributes in b and stops at damage.
func attrs(b []byte) iter.Seq[attr] {
	return func(yield func(attr) bool) {
		for off := 0; off+attrSize <= len(b); {
			size := int(binary.NativeEndian.Uint16(b[off:]))
			typ := binary.NativeEndian.Uint16(b[off+2:]) &^ (unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER)
			if size < attrSize || off+size > len(b) {
				return
			}
			if !yield(attr{typ: typ, off: off, val: b[off+attrSize : off+size]}) {
				return
			}
			off += pad4(size)
		}
	}
}

// be32 reads a number in network byte order; 0 if b is too short.
func be32(b []byte) uint32 {
	if len(b) < 4 {
		return 0
	}
	return binary.BigEndian.Uint32(b)
}

// be64 reads a number in network byte order; 0 if b is too short.
func be64(b []byte) uint64 {
	if len(b) < 8 {
		return 0
	}
	return binary.BigEndian.Uint64(b)
}

// cstring reads a string up to its zero byte.
func cstring(b []byte) string {
	s, _, _ := bytes.Cut(b, []byte{0})
	return string(s)
}

// udata finds a string in nft's user data: a list of type, length and value.
func udata(b []byte, typ byte) string {
	for len(b) >= 2 && len(b) >= 2+int(b[1]) {
		if b[0] == typ {
			return cstring(b[2 : 2+int(b[1])])
		}
		b = b[2+int(b[1]):]
	}
	return ""
}

// answer is what the kernel says to one message.
type answer struct {
	seq     uint32
	errno   unix.Errno // 0 = done
	message string
	offset  uint32 // into the message, of what was wrong; 0 = not told
}

// The kernel's extended answer, which x/sys lacks.
const (
	flagCapped   = 0x100 // NLM_F_CAPPED
	flagAckTLVs  = 0x200 // NLM_F_ACK_TLVS
	ackMessage   = 1     // NLMSGERR_ATTR_MSG
	ackOffset    = 2     // NLMSGERR_ATTR_OFFS
	ackSize      = 4 + headerSize
	maxErrnoCode = 4095
)

// decodeAnswer reads a message of type NLMSG_ERROR.
func decodeAnswer(m *message) (answer, error) {
	if len(m.body) < ackSize {
		return answer{}, fmt.Errorf("an answer of %d bytes is damaged", len(m.body))
	}
	code := int64(int32(binary.NativeEndian.Uint32(m.body)))
	if code > 0 || code < -maxErrnoCode {
		return answer{}, fmt.Errorf("an answer of code %d is damaged", code)
	}
	a := answer{seq: m.seq, errno: unix.Errno(-code)}
	if m.flags&flagAckTLVs == 0 {
		return a, nil
	}
	skip := ackSize
	if m.flags&flagCapped == 0 { // the refused message is repeated in full
		size := binary.NativeEndian.Uint32(m.body[4:])
		if size < headerSize || uint64(size) > uint64(len(m.body)-4) {
			return a, nil
		}
		skip = min(4+pad4(int(size)), len(m.body))
	}
	for at := range attrs(m.body[skip:]) {
		switch at.typ {
		case ackMessage:
			a.message = cstring(at.val)
		case ackOffset:
			if len(at.val) >= 4 {
				a.offset = binary.NativeEndian.Uint32(at.val)
			}
		}
	}
	return a, nil
}
