// SPDX-License-Identifier: Apache-2.0

package conntrack

import (
	"encoding/binary"
	"errors"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Message types of ctnetlink: the subsystem in the high byte.
const (
	typeNew      = unix.NFNL_SUBSYS_CTNETLINK << 8
	typeGet      = unix.NFNL_SUBSYS_CTNETLINK<<8 | 1
	typeDelete   = unix.NFNL_SUBSYS_CTNETLINK<<8 | 2
	typeGetStats = unix.NFNL_SUBSYS_CTNETLINK<<8 | 5
)

// Attributes of linux/netfilter/nfnetlink_conntrack.h.
const (
	ctaTupleOrig  = 1
	ctaTupleReply = 2
	ctaStatus     = 3
	ctaMark       = 8
	ctaID         = 12
	ctaZone       = 18

	ctaTupleIP    = 1
	ctaTupleProto = 2
	ctaTupleZone  = 3

	ctaIPv4Src = 1
	ctaIPv4Dst = 2
	ctaIPv6Src = 3
	ctaIPv6Dst = 4

	ctaProtoNum     = 1
	ctaProtoSrcPort = 2
	ctaProtoDstPort = 3
	ctaICMPID       = 4
	ctaICMPType     = 5
	ctaICMPCode     = 6
	ctaICMPv6ID     = 7
	ctaICMPv6Type   = 8
	ctaICMPv6Code   = 9

	ctaStatsEntries = 1

	ctaFilter           = 25
	ctaFilterOrigFlags  = 1
	ctaFilterReplyFlags = 2
)

// What a listing's filter compares, of net/netfilter/nf_conntrack_netlink.c.
const (
	filterSrc     = 1 << 0
	filterDst     = 1 << 1
	filterProto   = 1 << 3
	filterDstPort = 1 << 5
)

// headerLen is the length of struct nfgenmsg, which precedes the attributes.
const headerLen = 4

// errMalformed says that a message ends within an attribute.
var errMalformed = errors.New("malformed conntrack message")

// attributes calls fn for each attribute of b. fn gets the type without the
// flags in its two highest bits, and a value that is part of b.
func attributes(b []byte, fn func(typ uint16, value []byte) error) error {
	for len(b) >= unix.SizeofNlAttr {
		length := int(binary.NativeEndian.Uint16(b))
		typ := binary.NativeEndian.Uint16(b[2:]) &^ (unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER)
		if length < unix.SizeofNlAttr || length > len(b) {
			return errMalformed
		}
		if err := fn(typ, b[unix.SizeofNlAttr:length]); err != nil {
			return err
		}
		b = b[min(align(length), len(b)):]
	}
	return nil
}

// align rounds up to the alignment of attributes.
func align(n int) int { return (n + unix.NLA_ALIGNTO - 1) &^ (unix.NLA_ALIGNTO - 1) }

// parseEntry reads the body of one ctnetlink message. What it does not know it
// skips.
func parseEntry(body []byte) (Entry, error) {
	var e Entry
	if len(body) < headerLen {
		return e, errMalformed
	}
	err := attributes(body[headerLen:], func(typ uint16, value []byte) (err error) {
		switch typ {
		case ctaTupleOrig:
			e.Orig, err = parseTuple(value)
		case ctaTupleReply:
			e.Reply, err = parseTuple(value)
		case ctaStatus:
			var status uint32
			status, err = beUint32(value)
			e.Status = Status(status)
		case ctaMark:
			e.Mark, err = beUint32(value)
		case ctaID:
			e.ID, err = beUint32(value)
		case ctaZone:
			e.Zone, err = beUint16(value)
		}
		return err
	})
	return e, err
}

// parseTuple reads one of the two tuples of an entry.
func parseTuple(b []byte) (Tuple, error) {
	var t Tuple
	var src, dst netip.Addr
	var srcPort, dstPort uint16
	err := attributes(b, func(typ uint16, value []byte) (err error) {
		switch typ {
		case ctaTupleIP:
			src, dst, err = parseAddresses(value)
		case ctaTupleProto:
			srcPort, dstPort, err = t.parseProto(value)
		case ctaTupleZone:
			t.Zone, err = beUint16(value)
		}
		return err
	})
	t.Src, t.Dst = netip.AddrPortFrom(src, srcPort), netip.AddrPortFrom(dst, dstPort)
	return t, err
}

func parseAddresses(b []byte) (src, dst netip.Addr, err error) {
	err = attributes(b, func(typ uint16, value []byte) error {
		a, ok := netip.AddrFromSlice(value)
		if !ok {
			return errMalformed
		}
		switch typ {
		case ctaIPv4Src, ctaIPv6Src:
			src = a
		case ctaIPv4Dst, ctaIPv6Dst:
			dst = a
		}
		return nil
	})
	return src, dst, err
}

// parseProto reads the protocol's part of a tuple and gives the ports.
func (t *Tuple) parseProto(b []byte) (src, dst uint16, err error) {
	err = attributes(b, func(typ uint16, value []byte) (err error) {
		switch typ {
		case ctaProtoNum:
			t.Proto, err = octet(value)
		case ctaProtoSrcPort:
			src, err = beUint16(value)
		case ctaProtoDstPort:
			dst, err = beUint16(value)
		case ctaICMPID, ctaICMPv6ID:
			t.ICMP.ID, err = beUint16(value)
		case ctaICMPType, ctaICMPv6Type:
			t.ICMP.Type, err = octet(value)
		case ctaICMPCode, ctaICMPv6Code:
			t.ICMP.Code, err = octet(value)
		}
		return err
	})
	return src, dst, err
}

func octet(b []byte) (uint8, error) {
	if len(b) < 1 {
		return 0, errMalformed
	}
	return b[0], nil
}

func beUint16(b []byte) (uint16, error) {
	if len(b) < 2 {
		return 0, errMalformed
	}
	return binary.BigEndian.Uint16(b), nil
}

func beUint32(b []byte) (uint32, error) {
	if len(b) < 4 {
		return 0, errMalformed
	}
	return binary.BigEndian.Uint32(b), nil
}

// appendHeader appends a struct nfgenmsg of a family, AF_UNSPEC for both.
func appendHeader(b []byte, family uint8) []byte {
	return append(b, family, unix.NFNETLINK_V0, 0, 0)
}

// appendAttr appends one attribute and its padding.
func appendAttr(b []byte, typ uint16, value ...byte) []byte {
	b = binary.NativeEndian.AppendUint16(b, uint16(unix.SizeofNlAttr+len(value)))
	b = binary.NativeEndian.AppendUint16(b, typ)
	b = append(b, value...)
	return append(b, make([]byte, align(len(value))-len(value))...)
}

// appendNested appends an attribute whose value is what fn appends.
func appendNested(b []byte, typ uint16, fn func(b []byte) []byte) []byte {
	start := len(b)
	b = fn(appendAttr(b, typ|unix.NLA_F_NESTED))
	binary.NativeEndian.PutUint16(b[start:], uint16(len(b)-start))
	return b
}

func appendUint16(b []byte, typ, v uint16) []byte {
	return appendAttr(b, typ, byte(v>>8), byte(v))
}

func appendUint32(b []byte, typ uint16, v uint32) []byte {
	return appendAttr(b, typ, byte(v>>24), byte(v>>16), byte(v>>8), byte(v))
}

// appendTuple appends a tuple as the attribute typ.
func appendTuple(b []byte, typ uint16, t Tuple) []byte {
	return appendNested(b, typ, func(b []byte) []byte {
		b = appendNested(b, ctaTupleIP, func(b []byte) []byte {
			src, dst := uint16(ctaIPv4Src), uint16(ctaIPv4Dst)
			if t.Src.Addr().Is6() {
				src, dst = ctaIPv6Src, ctaIPv6Dst
			}
			b = appendAttr(b, src, t.Src.Addr().AsSlice()...)
			return appendAttr(b, dst, t.Dst.Addr().AsSlice()...)
		})
		b = appendNested(b, ctaTupleProto, t.appendProto)
		if t.Zone != 0 {
			b = appendUint16(b, ctaTupleZone, t.Zone)
		}
		return b
	})
}

// appendProto appends the protocol's part of a tuple.
func (t Tuple) appendProto(b []byte) []byte {
	b = appendAttr(b, ctaProtoNum, t.Proto)
	switch t.Proto {
	case icmp:
		b = appendUint16(b, ctaICMPID, t.ICMP.ID)
		b = appendAttr(b, ctaICMPType, t.ICMP.Type)
		return appendAttr(b, ctaICMPCode, t.ICMP.Code)
	case icmpv6:
		b = appendUint16(b, ctaICMPv6ID, t.ICMP.ID)
		b = appendAttr(b, ctaICMPv6Type, t.ICMP.Type)
		return appendAttr(b, ctaICMPv6Code, t.ICMP.Code)
	default:
		b = appendUint16(b, ctaProtoSrcPort, t.Src.Port())
		return appendUint16(b, ctaProtoDstPort, t.Dst.Port())
	}
}

// family is the address family that the kernel wants in the header.
func (t Tuple) family() uint8 {
	if t.Src.Addr().Is6() {
		return unix.AF_INET6
	}
	return unix.AF_INET
}

// deletion is the body of the message that deletes exactly this entry.
func (e *Entry) deletion() []byte {
	b := appendHeader(make([]byte, 0, 128), e.Orig.family())
	b = appendTuple(b, ctaTupleOrig, e.Orig)
	if e.Zone != 0 {
		b = appendUint16(b, ctaZone, e.Zone)
	}
	return appendUint32(b, ctaID, e.ID)
}
