// SPDX-License-Identifier: Apache-2.0

package nft

import "strings"

// named is a number and the word that nft has for it.
type named struct {
	v    uint64
	name string
}

// numberName gives the words that nft has for a number of a type, or "".
func numberName(typ Type, v uint64) string {
	list := words(typ)
	if typ == TypeTCPFlags || typ == TypeCTState || typ == TypeCTStatus {
		return bitNames(list, v)
	}
	for _, w := range list {
		if w.v == v {
			return w.name
		}
	}
	return ""
}

// bitNames joins the words of the bits in v by commas; "" if a bit has none.
func bitNames(list []named, v uint64) string {
	var names []string
	for _, w := range list {
		if v&w.v != 0 {
			names = append(names, w.name)
			v &^= w.v
		}
	}
	if v != 0 {
		return ""
	}
	return strings.Join(names, ",")
}

// words gives the words that nft has for numbers of a type.
func words(typ Type) []named {
	switch typ { //nolint:exhaustive // all others have no words
	case TypeProto:
		return []named{
			{uint64(ICMP), "icmp"},
			{uint64(IGMP), "igmp"},
			{uint64(TCP), "tcp"},
			{uint64(UDP), "udp"},
			{uint64(ICMPv6), "ipv6-icmp"},
			{uint64(SCTP), "sctp"},
			{33, "dccp"},
			{41, "ipv6"},
			{47, "gre"},
			{50, "esp"},
			{51, "ah"},
			{136, "udplite"},
		}
	case TypeICMP:
		return []named{
			{ICMPEchoReply, "echo-reply"},
			{ICMPUnreachable, "destination-unreachable"},
			{4, "source-quench"},
			{ICMPRedirect, "redirect"},
			{ICMPEchoRequest, "echo-request"},
			{9, "router-advertisement"},
			{10, "router-solicitation"},
			{11, "time-exceeded"},
			{12, "parameter-problem"},
		}
	case TypeICMPv6:
		return []named{
			{ICMPv6Unreachable, "destination-unreachable"},
			{ICMPv6PacketTooBig, "packet-too-big"},
			{ICMPv6TimeExceeded, "time-exceeded"},
			{ICMPv6ParameterProblem, "parameter-problem"},
			{ICMPv6EchoRequest, "echo-request"},
			{ICMPv6EchoReply, "echo-reply"},
			{MLDQuery, "mld-listener-query"},
			{MLDReport, "mld-listener-report"},
			{MLDDone, "mld-listener-done"},
			{NDRouterSolicit, "nd-router-solicit"},
			{NDRouterAdvert, "nd-router-advert"},
			{NDNeighborSolicit, "nd-neighbor-solicit"},
			{NDNeighborAdvert, "nd-neighbor-advert"},
			{NDRedirect, "nd-redirect"},
			{MLDv2Report, "mld2-listener-report"},
		}
	default:
		return moreWords(typ)
	}
}

// moreWords is the second half of [words].
func moreWords(typ Type) []named {
	switch typ { //nolint:exhaustive // the first half is in words
	case TypeEtherType:
		return []named{{EtherIPv4, "ip"}, {EtherARP, "arp"}, {EtherIPv6, "ip6"}}
	case TypeARPOp:
		return []named{{ARPRequest, "request"}, {ARPReply, "reply"}}
	case TypePktType:
		return []named{{ToHost, "host"}, {ToBroadcast, "broadcast"}, {ToMulticast, "multicast"}, {ToOther, "other"}}
	case TypeNFProto:
		return []named{{uint64(IPv4), "ipv4"}, {uint64(IPv6), "ipv6"}}
	case TypeFibAddr:
		return []named{
			{FibUnicast, "unicast"},
			{FibLocal, "local"},
			{FibBroadcast, "broadcast"},
			{FibMulticast, "multicast"},
		}
	case TypeBool:
		return []named{{0, "missing"}, {1, "exists"}}
	case TypeCTDir:
		return []named{{Original, "original"}, {Reply, "reply"}}
	case TypeTCPFlags:
		return []named{{TCPFin, "fin"}, {TCPSyn, "syn"}, {TCPRst, "rst"}, {TCPPsh, "psh"}, {TCPAck, "ack"}, {TCPUrg, "urg"}}
	case TypeCTState:
		return []named{
			{CTInvalid, "invalid"},
			{CTNew, "new"},
			{CTEstablished, "established"},
			{CTRelated, "related"},
			{CTUntracked, "untracked"},
		}
	case TypeCTStatus:
		return []named{{CTSNAT, "snat"}, {CTDNAT, "dnat"}}
	default:
		return nil
	}
}
