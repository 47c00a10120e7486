// SPDX-License-Identifier: Apache-2.0

package conntrack

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Filter chooses entries by one of their tuples. A zero field is not compared.
// At least one address must be valid: it gives the family, and an unspecified
// one gives nothing else.
//
// The kernel compares (Linux 5.8), but not IPv6 addresses: it takes those that
// differ for those that match (seen up to 6.18). They are compared here, so that
// such a filter saves only the entries of IPv4 and of other ports.
type Filter struct {
	Reply    bool // the reply tuple instead of the original one
	Src, Dst netip.Addr
	Proto    uint8
	DstPort  uint16 // with Proto, which must have ports
}

// match compares what the kernel does not.
func (f *Filter) match(e *Entry) bool {
	t := &e.Orig
	if f.Reply {
		t = &e.Reply
	}
	return same(f.Src, t.Src.Addr()) && same(f.Dst, t.Dst.Addr())
}

// same compares an address with the filter's.
func same(want, a netip.Addr) bool {
	return !want.Is6() || want.IsUnspecified() || want == a
}

// compared tells whether the kernel is to compare this address.
func compared(a netip.Addr) bool { return a.Is4() && !a.IsUnspecified() }

// body is the request for what the filter lets through.
func (f *Filter) body() []byte {
	var flags uint32
	family, none := uint8(unix.AF_INET), netip.IPv4Unspecified()
	if f.Src.Is6() || f.Dst.Is6() {
		family, none = unix.AF_INET6, netip.IPv6Unspecified()
	}
	src, dst := none, none
	if compared(f.Src) {
		flags, src = flags|filterSrc, f.Src
	}
	if compared(f.Dst) {
		flags, dst = flags|filterDst, f.Dst
	}
	if f.Proto != 0 {
		flags |= filterProto
	}
	if f.DstPort != 0 {
		flags |= filterDstPort
	}
	typ, orig, reply := uint16(ctaTupleOrig), flags, uint32(0)
	if f.Reply {
		typ, orig, reply = ctaTupleReply, 0, flags
	}
	b := appendTuple(appendHeader(nil, family), typ, Tuple{
		Proto: f.Proto,
		Src:   netip.AddrPortFrom(src, 0),
		Dst:   netip.AddrPortFrom(dst, f.DstPort),
	})
	return appendNested(b, ctaFilter, func(b []byte) []byte {
		b = appendAttr(b, ctaFilterOrigFlags, binary.NativeEndian.AppendUint32(nil, orig)...)
		return appendAttr(b, ctaFilterReplyFlags, binary.NativeEndian.AppendUint32(nil, reply)...)
	})
}
