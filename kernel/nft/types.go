// SPDX-License-Identifier: Apache-2.0

package nft

import "strings"

// Type is the kind of one field of a key or of map data. Its number is the one
// by which nft knows it, so that nft can print our sets.
type Type uint8

// The types of fields.
const (
	TypeNFProto   Type = 2  // protocol family, 1 byte
	TypeInteger   Type = 4  // raw bytes of a header
	TypeIPv4      Type = 7  // IPv4 address
	TypeIPv6      Type = 8  // IPv6 address
	TypeEther     Type = 9  // Ethernet address
	TypeEtherType Type = 10 // protocol of a frame, 2 bytes
	TypeARPOp     Type = 11 // ARP operation, 2 bytes
	TypeProto     Type = 12 // transport protocol, 1 byte
	TypePort      Type = 13 // TCP, UDP or SCTP port
	TypeICMP      Type = 14 // ICMP type
	TypeTCPFlags  Type = 15 // TCP flags, 1 byte
	TypeMark      Type = 19 // packet mark, host byte order
	TypeHardware  Type = 21 // ARP hardware type, 2 bytes
	TypeCTState   Type = 26 // bits of connection state, host byte order
	TypeCTDir     Type = 27 // direction of a connection, 1 byte
	TypeCTStatus  Type = 28 // bits of connection status, host byte order
	TypeICMPv6    Type = 29 // ICMPv6 type
	TypePktType   Type = 31 // how a frame was addressed, 1 byte
	TypeFibAddr   Type = 38 // kind of address for the routing table, host byte order
	TypeBool      Type = 39 // exists or missing, a whole register, host byte order
	TypeIfname    Type = 41 // interface name, 16 bytes
)

// The most a key or map data may be.
const (
	maxTuple  = 56 // bytes
	maxFields = 5  // what the kernel's 32-bit type number can name
	typeBits  = 6  // of that number, for each field
)

// byteOrder tells nft how to read a field.
type byteOrder uint32

const (
	orderNone byteOrder = iota
	orderHost
	orderBig
)

// typeSpec is what is known of a type.
type typeSpec struct {
	name  string // as nft writes it in a set's declaration
	size  int    // bytes, unpadded; 0 if it varies
	order byteOrder
}

// spec gives what is known of t; an unknown type has no name.
func (t Type) spec() typeSpec {
	switch t { //nolint:exhaustive // the second half is in moreSpec
	case TypeNFProto:
		return typeSpec{"nf_proto", 1, orderHost}
	case TypeInteger:
		return typeSpec{"integer", 0, orderBig}
	case TypeIPv4:
		return typeSpec{"ipv4_addr", 4, orderBig}
	case TypeIPv6:
		return typeSpec{"ipv6_addr", 16, orderBig}
	case TypeEther:
		return typeSpec{"ether_addr", 6, orderBig}
	case TypeEtherType:
		return typeSpec{"ether_type", 2, orderBig}
	case TypeARPOp:
		return typeSpec{"arp_op", 2, orderBig}
	case TypeProto:
		return typeSpec{"inet_proto", 1, orderBig}
	case TypePort:
		return typeSpec{"inet_service", 2, orderBig}
	case TypeICMP:
		return typeSpec{"icmp_type", 1, orderBig}
	case TypeTCPFlags:
		return typeSpec{"tcp_flag", 1, orderBig}
	case TypeMark:
		return typeSpec{"mark", 4, orderHost}
	default:
		return t.moreSpec()
	}
}

// moreSpec is the second half of [Type.spec].
func (t Type) moreSpec() typeSpec {
	switch t { //nolint:exhaustive // the first half is in spec
	case TypeHardware:
		return typeSpec{"integer", 2, orderBig}
	case TypeCTState:
		return typeSpec{"ct_state", 4, orderHost}
	case TypeCTDir:
		return typeSpec{"ct_dir", 1, orderHost}
	case TypeCTStatus:
		return typeSpec{"ct_status", 4, orderHost}
	case TypeICMPv6:
		return typeSpec{"icmpv6_type", 1, orderBig}
	case TypePktType:
		return typeSpec{"pkt_type", 1, orderHost}
	case TypeFibAddr:
		return typeSpec{"fib_addrtype", 4, orderHost}
	case TypeBool:
		return typeSpec{"boolean", 4, orderHost}
	case TypeIfname:
		return typeSpec{"ifname", ifnameSize, orderHost}
	default:
		return typeSpec{}
	}
}

// String gives the type as nft writes it in the declaration of a set.
func (t Type) String() string { return t.spec().name }

// typeList writes the fields of a key or of data: "inet_proto . inet_service".
func typeList(types []Type) string {
	names := make([]string, len(types))
	for i, t := range types {
		names[i] = t.String()
	}
	return strings.Join(names, " . ")
}

// typeCode packs types into the number that goes with a set.
func typeCode(types []Type) uint32 {
	var code uint32
	for _, t := range types {
		code = code<<typeBits | uint32(t)
	}
	return code
}

// typesOf is the reverse of [typeCode].
func typesOf(code uint32) []Type {
	var types []Type
	for shift := typeBits * (maxFields - 1); shift >= 0; shift -= typeBits {
		if t := Type(code >> shift & (1<<typeBits - 1)); t != 0 || len(types) > 0 {
			types = append(types, t)
		}
	}
	return types
}

// sizeOf gives the length of a key or data of these types: a lone field as it
// is, the fields of a concatenation padded to 4 bytes each.
func sizeOf(types []Type) int {
	if len(types) == 1 {
		return types[0].spec().size
	}
	n := 0
	for _, t := range types {
		n += pad4(t.spec().size)
	}
	return n
}

// orderOf gives the byte order of a key or data of these types; a concatenation
// has none.
func orderOf(types []Type) byteOrder {
	if len(types) == 1 {
		return types[0].spec().order
	}
	return orderNone
}

// pad4 rounds n up to a multiple of 4.
func pad4(n int) int { return (n + 3) &^ 3 }
