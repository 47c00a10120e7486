// SPDX-License-Identifier: Apache-2.0

package sockdiag

import (
	"encoding/binary"
	"net/netip"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Of linux/sock_diag.h and linux/inet_diag.h.
const (
	byFamily     = 20 // SOCK_DIAG_BY_FAMILY
	requestLen   = 56 // struct inet_diag_req_v2
	answerLen    = 72 // struct inet_diag_msg
	reqBytecode  = 1  // attribute: which sockets to list
	attrV6Only   = 11 // INET_DIAG_SKV6ONLY
	portAtLeast  = 2  // INET_DIAG_BC_S_GE
	portAtMost   = 3  // INET_DIAG_BC_S_LE
	conditionLen = 8  // two struct inet_diag_bc_op
)

// request asks for the sockets of a family on a local port, in any state.
func request(family, proto uint8, port uint16) []byte {
	b := make([]byte, requestLen, requestLen+unix.SizeofNlAttr+2*conditionLen)
	b[0], b[1] = family, proto
	for i := range 4 { // states
		b[4+i] = 0xff
	}
	b = binary.NativeEndian.AppendUint16(b, unix.SizeofNlAttr+2*conditionLen)
	b = binary.NativeEndian.AppendUint16(b, reqBytecode)
	b = appendCondition(b, portAtLeast, 2*conditionLen, port)
	return appendCondition(b, portAtMost, conditionLen, port)
}

// appendCondition appends a comparison with the port. left is the program's length
// from here on: a jump beyond its end, by 4 more, means no.
func appendCondition(b []byte, code uint8, left, port uint16) []byte {
	b = append(b, code, conditionLen)
	b = binary.NativeEndian.AppendUint16(b, left+4)
	b = binary.NativeEndian.AppendUint16(b, 0)
	return binary.NativeEndian.AppendUint16(b, port)
}

// parse reads a struct inet_diag_msg and its attributes.
func parse(b []byte) (Socket, bool) {
	if len(b) < answerLen {
		return Socket{}, false
	}
	length := 4
	if b[0] == unix.AF_INET6 {
		length = 16
	}
	addr, _ := netip.AddrFromSlice(b[8 : 8+length])
	s := Socket{
		Local: netip.AddrPortFrom(addr, binary.BigEndian.Uint16(b[4:])),
		State: State(b[1]),
		Inode: binary.NativeEndian.Uint32(b[68:]),
	}
	// The kernel tells of sockets that neither listen nor wait for datagrams nothing
	// of their scope: a connection has one family.
	s.V6Only = addr.Is6() && s.State != Listen && s.State != Close
	attrs, err := netlink.UnmarshalAttributes(b[answerLen:])
	if err != nil {
		return Socket{}, false
	}
	for _, a := range attrs {
		if a.Type == attrV6Only && len(a.Data) == 1 {
			s.V6Only = a.Data[0] != 0
		}
	}
	return s, true
}
