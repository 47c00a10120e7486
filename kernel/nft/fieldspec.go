// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

func (f Field) metaSpec() fieldSpec {
	meta := func(text string, typ Type, key expr.MetaKey) fieldSpec {
		return fieldSpec{text: text, typ: typ, load: load{from: fromMeta, key: uint32(key)}}
	}
	switch f { //nolint:exhaustive // other fields: see spec
	case IIfName:
		return meta("iifname", TypeIfname, expr.MetaKeyIIFNAME)
	case OIfName:
		return meta("oifname", TypeIfname, expr.MetaKeyOIFNAME)
	case MetaMark:
		return meta("meta mark", TypeMark, expr.MetaKeyMARK)
	case L4Proto:
		return meta("meta l4proto", TypeProto, expr.MetaKeyL4PROTO)
	case NFProto:
		return meta("meta nfproto", TypeNFProto, expr.MetaKeyNFPROTO)
	case MetaProtocol:
		return meta("meta protocol", TypeEtherType, expr.MetaKeyPROTOCOL)
	case PktType:
		return meta("meta pkttype", TypePktType, expr.MetaKeyPKTTYPE)
	default:
		return fieldSpec{}
	}
}

func (f Field) ctSpec() fieldSpec {
	ct := func(from source, text string, typ Type, key uint32) fieldSpec {
		return fieldSpec{text: text, typ: typ, load: load{from: from, key: key}}
	}
	switch f { //nolint:exhaustive // other fields: see spec
	case CTState:
		return ct(fromCT, "ct state", TypeCTState, unix.NFT_CT_STATE)
	case CTStatus:
		return ct(fromCT, "ct status", TypeCTStatus, unix.NFT_CT_STATUS)
	case CTDirection:
		return ct(fromCT, "ct direction", TypeCTDir, unix.NFT_CT_DIRECTION)
	case CTMark:
		return ct(fromCT, "ct mark", TypeMark, unix.NFT_CT_MARK)
	case CTOrigProtDst:
		return ct(fromCTTuple, "ct original proto-dst", TypePort, unix.NFT_CT_PROTO_DST)
	case CTOrigProtSrc:
		return ct(fromCTTuple, "ct original proto-src", TypePort, unix.NFT_CT_PROTO_SRC)
	case CTOrigIPDaddr:
		return ct(fromCTTuple, "ct original ip daddr", TypeIPv4, unix.NFT_CT_DST_IP)
	case CTOrigIPSaddr:
		return ct(fromCTTuple, "ct original ip saddr", TypeIPv4, unix.NFT_CT_SRC_IP)
	case CTOrigIP6Daddr:
		return ct(fromCTTuple, "ct original ip6 daddr", TypeIPv6, unix.NFT_CT_DST_IP6)
	case CTOrigIP6Saddr:
		return ct(fromCTTuple, "ct original ip6 saddr", TypeIPv6, unix.NFT_CT_SRC_IP6)
	default:
		return fieldSpec{}
	}
}

func (f Field) fibSpec() fieldSpec {
	fib := func(text string, typ Type, result, flags uint32) fieldSpec {
		return fieldSpec{text: text, typ: typ, load: load{from: fromFib, key: result, flags: flags}}
	}
	switch f { //nolint:exhaustive // other fields: see spec
	case FibDaddrType:
		return fib("fib daddr type", TypeFibAddr, unix.NFT_FIB_RESULT_ADDRTYPE, unix.NFTA_FIB_F_DADDR)
	case FibDaddrIifType:
		return fib("fib daddr . iif type", TypeFibAddr, unix.NFT_FIB_RESULT_ADDRTYPE,
			unix.NFTA_FIB_F_DADDR|unix.NFTA_FIB_F_IIF)
	case FibSaddrIifOif:
		return fib("fib saddr . iif oif", TypeBool, unix.NFT_FIB_RESULT_OIF,
			unix.NFTA_FIB_F_SADDR|unix.NFTA_FIB_F_IIF|unix.NFTA_FIB_F_PRESENT)
	default:
		return fieldSpec{}
	}
}

// header makes the spec of a field of a header. Its size is that of its type.
func header(text string, typ Type, needs need, base Base, off uint32) fieldSpec {
	size := uint32(typ.spec().size)
	return fieldSpec{text: text, typ: typ, needs: needs, load: load{from: fromPacket, base: base, off: off, size: size}}
}

func (f Field) addressSpec() fieldSpec {
	switch f { //nolint:exhaustive // other fields: see spec
	case EtherSaddr:
		return header("ether saddr", TypeEther, needEther, LinkHeader, 6)
	case EtherDaddr:
		return header("ether daddr", TypeEther, needEther, LinkHeader, 0)
	case EtherType:
		return header("ether type", TypeEtherType, needEther, LinkHeader, 12)
	case IPSaddr:
		return header("ip saddr", TypeIPv4, needIPv4, NetworkHeader, 12)
	case IPDaddr:
		return header("ip daddr", TypeIPv4, needIPv4, NetworkHeader, 16)
	case IP6Saddr:
		return header("ip6 saddr", TypeIPv6, needIPv6, NetworkHeader, 8)
	case IP6Daddr:
		return header("ip6 daddr", TypeIPv6, needIPv6, NetworkHeader, 24)
	default:
		return fieldSpec{}
	}
}

// Where TCP and UDP have their checksums.
const (
	csumTCP = 16
	csumUDP = 6
)

func (f Field) transportSpec() fieldSpec {
	port := func(text string, needs need, off, csum uint32) fieldSpec {
		s := header(text, TypePort, needs, TransportHeader, off)
		s.load.csumOff = csum
		return s
	}
	switch f { //nolint:exhaustive // other fields: see spec
	case ICMPType:
		return header("icmp type", TypeICMP, needICMP, TransportHeader, 0)
	case ICMPv6Type:
		return header("icmpv6 type", TypeICMPv6, needICMPv6, TransportHeader, 0)
	case ICMPv6Target:
		return header("icmpv6 taddr", TypeIPv6, needICMPv6, TransportHeader, 8)
	case TransportSport:
		return port("th sport", needNothing, 0, 0)
	case TransportDport:
		return port("th dport", needNothing, 2, 0)
	case TCPSport:
		return port("tcp sport", needTCP, 0, csumTCP)
	case TCPDport:
		return port("tcp dport", needTCP, 2, csumTCP)
	case TCPFlags:
		return header("tcp flags", TypeTCPFlags, needTCP, TransportHeader, 13)
	case UDPSport:
		return port("udp sport", needUDP, 0, csumUDP)
	case UDPDport:
		return port("udp dport", needUDP, 2, csumUDP)
	default:
		return fieldSpec{}
	}
}

func (f Field) arpSpec() fieldSpec {
	arp := func(text string, typ Type, off uint32) fieldSpec {
		return header(text, typ, needARP, NetworkHeader, off)
	}
	switch f { //nolint:exhaustive // other fields: see spec
	case ARPHardware:
		return arp("arp htype", TypeHardware, 0)
	case ARPProtocol:
		return arp("arp ptype", TypeEtherType, 2)
	case ARPOperation:
		return arp("arp operation", TypeARPOp, 6)
	case ARPSaddrEther:
		return arp("arp saddr ether", TypeEther, 8)
	case ARPSaddrIP:
		return arp("arp saddr ip", TypeIPv4, 14)
	case ARPDaddrEther:
		return arp("arp daddr ether", TypeEther, 18)
	case ARPDaddrIP:
		return arp("arp daddr ip", TypeIPv4, 24)
	default:
		return fieldSpec{}
	}
}
