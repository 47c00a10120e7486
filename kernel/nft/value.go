// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/bits"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// Protocol is the number of a transport protocol.
type Protocol uint8

// Transport protocols.
const (
	ICMP   Protocol = 1
	IGMP   Protocol = 2
	TCP    Protocol = 6
	UDP    Protocol = 17
	ICMPv6 Protocol = 58
	SCTP   Protocol = 132
)

// Numbers that rules compare fields with: see [Field.Num].
const (
	EtherIPv4 = 0x0800 // for EtherType, MetaProtocol, ARPProtocol
	EtherARP  = 0x0806
	EtherIPv6 = 0x86dd

	ARPRequest  = 1 // for ARPOperation
	ARPReply    = 2
	ARPEthernet = 1 // for ARPHardware

	ToHost      = 0 // for PktType
	ToBroadcast = 1
	ToMulticast = 2
	ToOther     = 3

	FibUnicast   = 1 // for FibDaddrType
	FibLocal     = 2
	FibBroadcast = 3
	FibMulticast = 5

	ICMPEchoReply   = 0 // for ICMPType
	ICMPUnreachable = 3
	ICMPRedirect    = 5
	ICMPEchoRequest = 8

	ICMPv6Unreachable      = 1 // for ICMPv6Type
	ICMPv6PacketTooBig     = 2
	ICMPv6TimeExceeded     = 3
	ICMPv6ParameterProblem = 4
	ICMPv6EchoRequest      = 128
	ICMPv6EchoReply        = 129
	MLDQuery               = 130
	MLDReport              = 131
	MLDDone                = 132
	NDRouterSolicit        = 133
	NDRouterAdvert         = 134
	NDNeighborSolicit      = 135
	NDNeighborAdvert       = 136
	NDRedirect             = 137
	MLDv2Report            = 143

	TCPFin = 1 // for TCPFlags
	TCPSyn = 2
	TCPRst = 4
	TCPPsh = 8
	TCPAck = 16
	TCPUrg = 32

	CTInvalid     = 1 // for CTState
	CTEstablished = 2
	CTRelated     = 4
	CTNew         = 8
	CTUntracked   = 64

	CTSNAT = 16 // for CTStatus
	CTDNAT = 32

	Original = 0 // for CTDirection
	Reply    = 1
)

// String gives the protocol as nft writes it.
func (p Protocol) String() string { return number(TypeProto, uint64(p)) }

// String writes the Tuple as nft does: `tcp . 8080`.
func (t Tuple) String() string {
	if err := t.Err(); err != nil {
		return "invalid (" + err.Error() + ")"
	}
	return rangeText(&t, &t)
}

// rangeText writes the fields of an interval from lo to hi, both inclusive and
// of the same types, as nft does: `"cnv0" . 10.0.0.0/8 . 80-90`.
func rangeText(lo, hi *Tuple) string {
	if lo.fields == 1 {
		return fieldRange(Type(lo.types), lo.b[:lo.single], hi.b[:lo.single])
	}
	var out strings.Builder
	off := 0
	for i, typ := range lo.Types() {
		if i > 0 {
			out.WriteString(" . ")
		}
		size := typ.spec().size
		if size == 0 {
			size = int(lo.n) - off // raw bytes come last
		}
		out.WriteString(fieldRange(typ, lo.b[off:off+size], hi.b[off:off+size]))
		off += pad4(size)
	}
	return out.String()
}

// fieldRange writes one field of an interval.
func fieldRange(typ Type, lo, hi []byte) string {
	if bytes.Equal(lo, hi) {
		return fieldText(typ, lo)
	}
	if typ == TypeIfname {
		if n := bytes.IndexByte(lo, 0); n >= 0 && allOnes(hi[n:]) && bytes.Equal(lo[:n], hi[:n]) {
			return strconv.Quote(string(lo[:n]) + "*")
		}
	}
	if n, ok := prefixBits(lo, hi); ok && (typ == TypeIPv4 || typ == TypeIPv6) {
		return fieldText(typ, lo) + "/" + strconv.Itoa(n)
	}
	return fieldText(typ, lo) + "-" + fieldText(typ, hi)
}

// allOnes tells whether every bit of b is set.
func allOnes(b []byte) bool {
	return len(bytes.TrimLeft(b, "\xff")) == 0
}

// prefixBits gives the length of the prefix that spans lo to hi, if one does.
func prefixBits(lo, hi []byte) (int, bool) {
	n := 0
	for i := range lo {
		if diff := lo[i] ^ hi[i]; diff != 0 {
			n = 8*i + bits.LeadingZeros8(diff)
			low := byte(0xff) >> (n % 8)
			ok := lo[i]&low == 0 && hi[i]&low == low && allOnes(hi[i+1:]) &&
				len(bytes.TrimLeft(lo[i+1:], "\x00")) == 0
			return n, ok
		}
		n += 8
	}
	return n, true
}

// fieldText writes one field as nft does.
func fieldText(typ Type, b []byte) string {
	switch typ { //nolint:exhaustive // all others are numbers
	case TypeIPv4, TypeIPv6:
		a, _ := netip.AddrFromSlice(b)
		return a.String()
	case TypeEther:
		return net.HardwareAddr(b).String()
	case TypeIfname:
		name, _, _ := bytes.Cut(b, []byte{0})
		return strconv.Quote(string(name))
	case TypeInteger:
		return fmt.Sprintf("0x%x", b)
	default:
		return number(typ, numberOf(typ, b))
	}
}

// numberOf reads a field that is a number.
func numberOf(typ Type, b []byte) uint64 {
	switch host := typ.spec().order == orderHost; {
	case len(b) == 1:
		return uint64(b[0])
	case len(b) == 2 && host:
		return uint64(binary.NativeEndian.Uint16(b))
	case len(b) == 2:
		return uint64(binary.BigEndian.Uint16(b))
	case len(b) == 4 && host:
		return uint64(binary.NativeEndian.Uint32(b))
	case len(b) == 4:
		return uint64(binary.BigEndian.Uint32(b))
	default:
		return 0
	}
}

// number writes a number of a type: by its name if it has one.
func number(typ Type, v uint64) string {
	if name := numberName(typ, v); name != "" {
		return name
	}
	switch typ { //nolint:exhaustive // all others are decimal
	case TypeMark:
		return fmt.Sprintf("0x%08x", v)
	case TypeEtherType, TypeTCPFlags, TypeCTState, TypeCTStatus:
		return fmt.Sprintf("0x%x", v)
	default:
		return strconv.FormatUint(v, 10)
	}
}

// compareBytes orders tuples by their bytes.
func compareBytes(a, b *Tuple) int { return bytes.Compare(a.bytes(), b.bytes()) }
