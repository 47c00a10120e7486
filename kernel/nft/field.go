// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"fmt"
)

// Field is something that can be read of a packet: of its headers, of what the
// kernel knows of it, or of its connection. Its methods make statements.
//
// A field of a header implies a match of its protocol before it, which is added
// where it is not yet known; as in nft, the text does not show it.
type Field uint32

// What the kernel knows of a packet.
const (
	IIfName      Field = iota + 1 // name of the interface it came in by; empty in postrouting of bridged packets
	OIfName                       // name of the interface it leaves by
	MetaMark                      // its mark
	L4Proto                       // its transport protocol
	NFProto                       // its family, IPv4 or IPv6
	MetaProtocol                  // its EtherType, without VLAN headers
	PktType                       // how its frame was addressed

	CTState       // state of its connection; use [Field.Has]
	CTStatus      // status of its connection; use [Field.Has]
	CTDirection   // Original or Reply
	CTMark        // mark of its connection
	CTOrigProtDst // destination port before translation; nft wants L4Proto matched before
	CTOrigProtSrc
	CTOrigIPDaddr // destination before translation
	CTOrigIPSaddr
	CTOrigIP6Daddr
	CTOrigIP6Saddr

	FibDaddrType    // kind of its destination for the routing table
	FibDaddrIifType // the same, for the interface it came in by
	FibSaddrIifOif  // whether a route to its source leaves by the interface it came in by: compare with 0 or 1

	EtherSaddr
	EtherDaddr
	EtherType // of the frame, as it is in the header

	IPSaddr
	IPDaddr
	IP6Saddr
	IP6Daddr

	ICMPType
	ICMPv6Type
	ICMPv6Target // address that a neighbour solicitation or advertisement is about

	TransportDport // destination port where L4Proto was matched with several protocols
	TransportSport
	TCPDport
	TCPSport
	TCPFlags
	UDPDport
	UDPSport

	ARPHardware
	ARPProtocol
	ARPOperation
	ARPSaddrEther // Ethernet address of the sender
	ARPSaddrIP    // IPv4 address of the sender
	ARPDaddrEther
	ARPDaddrIP
)

// Base is the header that [Raw] counts from.
type Base uint8

// The headers.
const (
	LinkHeader Base = iota
	NetworkHeader
	TransportHeader
)

// The layout of a raw field's number.
const (
	rawField    Field = 1 << 31
	rawOffShift       = 8
	rawBase           = 24
	maxRaw            = 16
	maxRawOff         = 1<<12 - 1
)

// Raw is the bytes of a header: length of them (1 to 16) at offset (at most
// 4095) of base. nft writes it `@nh,64,32`, in bits. No match of a protocol is
// implied.
func Raw(base Base, offset, length int) Field {
	if base > TransportHeader || offset < 0 || offset > maxRawOff || length < 1 || length > maxRaw {
		return 0
	}
	return rawField | Field(base)<<rawBase | Field(offset)<<rawOffShift | Field(length)
}

// fieldSpec is what is known of a field: its text, its type, what must be known
// of the packet before it is read, and how it is read.
type fieldSpec struct {
	text  string
	typ   Type
	needs need
	load  load
}

// load is how a field is read into a register.
type load struct {
	from    source
	key     uint32 // of meta or ct
	base    Base   // of a header; and so on
	off     uint32
	size    uint32
	flags   uint32 // of fib
	csumOff uint32 // where the checksum is that a write must mend; 0 = none
}

// source is where a field is read from.
type source uint8

const (
	fromNothing source = iota
	fromMeta
	fromPacket
	fromCT
	fromCTTuple
	fromFib
)

// size gives the length of the field's value.
func (s *fieldSpec) size() int {
	if s.load.from == fromPacket {
		return int(s.load.size)
	}
	return s.typ.spec().size
}

// spec gives what is known of f; a field that does not exist has no text.
func (f Field) spec() fieldSpec {
	switch {
	case f&rawField != 0:
		return f.rawSpec()
	case f <= PktType:
		return f.metaSpec()
	case f <= CTOrigIP6Saddr:
		return f.ctSpec()
	case f <= FibSaddrIifOif:
		return f.fibSpec()
	case f <= IP6Daddr:
		return f.addressSpec()
	case f <= UDPSport:
		return f.transportSpec()
	default:
		return f.arpSpec()
	}
}

// String gives the field as nft writes it.
func (f Field) String() string { return f.spec().text }

func (f Field) rawSpec() fieldSpec {
	base := Base(f >> rawBase & 3)
	off := uint32(f >> rawOffShift & maxRawOff)
	size := uint32(f & (1<<rawOffShift - 1))
	name := [...]string{"ll", "nh", "th", "th"}[base]
	return fieldSpec{
		text: fmt.Sprintf("@%s,%d,%d", name, 8*off, 8*size), typ: TypeInteger,
		load: load{from: fromPacket, base: base, off: off, size: size},
	}
}
