// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"net/netip"

	"github.com/libnetwork/cnm/kernel/nft"
)

// Priorities of our chains. Those of translation come just before everybody else's; so do those that decide, for only a
// drop is final. A chain of others that drops still wins.
const (
	priorityRaw   = -300
	priorityGuard = -110 // behind connection tracking (-200), before any translation
	priorityDNAT  = -105
	priorityRoute = -5
	prioritySNAT  = 95
)

// routeChains are the chains of inet cnm.
func routeChains(bit uint32) []*nft.Chain {
	t := routesTable()
	return []*nft.Chain{
		base(chain(t, "raw_pre", rawRules()...), nft.Prerouting, nft.Filter, priorityRaw),
		base(chain(t, "guard", guardRules()...), nft.Prerouting, nft.Filter, priorityGuard),
		chain(t, "guard_in", guardInRules()...),
		base(chain(t, "nat_pre", rule(nft.Jump("np"))), nft.Prerouting, nft.NAT, priorityDNAT),
		base(chain(t, "nat_out", rule(nft.Jump("np"))), nft.Output, nft.NAT, priorityDNAT),
		chain(t, "np", publishRules()...),
		base(chain(t, "input", inputRules(bit)...), nft.Input, nft.Filter, priorityRoute),
		base(chain(t, "output", outputRules()...), nft.Output, nft.Filter, priorityRoute),
		base(chain(t, "forw", forwardRules(bit)...), nft.Forward, nft.Filter, priorityRoute),
		chain(t, "ours", oursRules(bit)...),
		chain(t, "dn_orig", liveRules(nft.IPDaddr, nft.IP6Daddr, nft.TransportDport)...),
		chain(t, "dn_reply", liveRules(nft.IPSaddr, nft.IP6Saddr, nft.TransportSport)...),
		base(chain(t, "nat_post", sourceRules(bit)...), nft.Postrouting, nft.NAT, prioritySNAT),
	}
}

func loopback4() netip.Prefix { return netip.PrefixFrom(netip.AddrFrom4([4]byte{127}), 8) }

func linkLocal6() netip.Prefix { return netip.MustParsePrefix("fe80::/10") }

// lo matches what did not come in from outside of the host.
func notLo() nft.Statement { return nft.IIfName.Not(nft.Ifname("lo")) }

// rawRules run before connections are tracked.
func rawRules() []nft.Rule {
	return []nft.Rule{
		noted("bridged again at the hub", nft.IIfName.Prefix(ShardPrefix), nft.NoTrack(), nft.Accept()),
		rule(nft.IIfName.In("nets"), nft.IPDaddr.Within(loopback4()), nft.Drop()),
		rule(notLo(), nft.IPDaddr.Within(loopback4()), nft.Concat(nft.L4Proto, nft.TransportDport).In("lo4"), nft.Drop()),
	}
}

// guardRules pick what is for addresses that nobody outside may route to.
func guardRules() []nft.Rule {
	return []nft.Rule{
		rule(nft.IPDaddr.In("cnet4"), nft.Jump("guard_in")),
		rule(nft.IP6Daddr.In("cnet6"), nft.Jump("guard_in")),
		rule(nft.IPDaddr.In("end4"), nft.Jump("guard_in")),
		rule(nft.IP6Daddr.In("end6"), nft.Jump("guard_in")),
	}
}

// guardInRules decide over it. They see addresses as they were on the wire.
func guardInRules() []nft.Rule {
	return []nft.Rule{
		rule(nft.IIfName.In("nets"), nft.Return()),
		rule(nft.IIfName.Prefix(ShardPrefix), nft.Return()),
		rule(nft.IIfName.Is(nft.Ifname("lo")), nft.Return()),
		rule(nft.CTDirection.Num(nft.Reply), nft.Return()),
		rule(nft.CTState.Has(nft.CTRelated), nft.Return()),
		rule(nft.Concat(nft.IIfName, nft.IPDaddr).In("trust4"), nft.Return()),
		rule(nft.Concat(nft.IIfName, nft.IP6Daddr).In("trust6"), nft.Return()),
		rule(nft.Concat(nft.IPDaddr, nft.L4Proto, nft.TransportDport).In("open4"), nft.Return()),
		rule(nft.Concat(nft.IP6Daddr, nft.L4Proto, nft.TransportDport).In("open6"), nft.Return()),
		rule(nft.Drop()),
	}
}

// publishRules translate what is for a published port of the host.
func publishRules() []nft.Rule {
	port := nft.Concat(nft.L4Proto, nft.TransportDport)
	return []nft.Rule{
		rule(nft.IIfName.In("internal"), nft.Return()),
		noted("never transit", nft.FibDaddrType.NotNum(nft.FibLocal), nft.Return()),
		rule(nft.DNATMap(nft.IPv4, nft.Concat(nft.IPDaddr, nft.L4Proto, nft.TransportDport), "pub4")),
		rule(nft.DNATMap(nft.IPv4, port, "pub4any")),
		noted("a socket serves it", nft.IP6Daddr.Is(nft.Addr(netip.IPv6Loopback())), nft.Return()),
		noted("never routed", nft.IP6Daddr.Within(linkLocal6()), nft.Return()),
		rule(nft.DNATMap(nft.IPv6, nft.Concat(nft.IP6Daddr, nft.L4Proto, nft.TransportDport), "pub6")),
		rule(nft.DNATMap(nft.IPv6, port, "pub6any")),
	}
}

// marked matches what carries our bit; unmarked what does not.
func marked(bit uint32) nft.Statement   { return nft.MetaMark.Masked(uint64(bit), uint64(bit)) }
func unmarked(bit uint32) nft.Statement { return nft.MetaMark.NotMasked(uint64(bit), uint64(bit)) }

// inputRules are for the host's own services.
func inputRules(bit uint32) []nft.Rule {
	return []nft.Rule{
		rule(nft.IIfName.Prefix(ShardPrefix), nft.Drop()),
		rule(nft.CTStatus.Has(nft.CTDNAT), nft.CTDirection.Num(nft.Reply), nft.IIfName.In("nets"), nft.Goto("dn_reply")),
		rule(nft.IIfName.NotIn("closed"), nft.Accept()),
		noted("no endpoint's", nft.IIfName.In("adopted"), unmarked(bit), nft.Accept()),
		rule(nft.CTDirection.Num(nft.Reply), nft.Accept()),
		rule(nft.ICMPType.Num(nft.ICMPEchoReply, nft.ICMPUnreachable, nft.ICMPEchoRequest, icmpTimeExceeded, icmpParameter), nft.Accept()),
		rule(nft.ICMPv6Type.Num(nft.ICMPv6Unreachable, nft.ICMPv6PacketTooBig, nft.ICMPv6TimeExceeded, nft.ICMPv6ParameterProblem,
			nft.ICMPv6EchoRequest, nft.ICMPv6EchoReply, nft.NDNeighborSolicit, nft.NDNeighborAdvert), nft.Accept()),
		rule(nft.Drop()),
	}
}

// outputRules are for the host's own flows to published ports; their replies come by the input. The link is not matched: here it
// is still the one of before the translation.
func outputRules() []nft.Rule {
	translated := func(to nft.Statement) nft.Rule {
		return rule(nft.CTStatus.Has(nft.CTDNAT), nft.CTDirection.Num(nft.Original), to, nft.Goto("dn_orig"))
	}
	return []nft.Rule{
		translated(nft.IPDaddr.In("cnet4")), translated(nft.IP6Daddr.In("cnet6")),
		translated(nft.IPDaddr.In("end4")), translated(nft.IP6Daddr.In("end6")),
	}
}

// ICMP types that RFC 792 numbers.
const (
	icmpTimeExceeded = 11
	icmpParameter    = 12
)

// forwardRules find what comes from or goes to an endpoint; all else is none of our business.
func forwardRules(bit uint32) []nft.Rule {
	return []nft.Rule{
		rule(nft.IIfName.Prefix(ShardPrefix), nft.OIfName.Prefix(ShardPrefix), nft.Accept()),
		rule(nft.IIfName.Prefix(ShardPrefix), nft.Drop()),
		rule(nft.IIfName.In("ifs"), nft.Goto("ours")),
		rule(nft.OIfName.In("ifs"), nft.Goto("ours")),
		rule(nft.IIfName.In("adopted"), marked(bit), nft.Goto("ours")),
		noted("bridged, which takes the mark away", nft.IIfName.In("adopted"), nft.IPSaddr.In("end4"), nft.Goto("ours")),
		rule(nft.IIfName.In("adopted"), nft.IP6Saddr.In("end6"), nft.Goto("ours")),
		rule(nft.OIfName.In("adopted"), nft.IPDaddr.In("end4"), nft.Goto("ours")),
		rule(nft.OIfName.In("adopted"), nft.IP6Daddr.In("end6"), nft.Goto("ours")),
		noted("bridged", nft.Concat(nft.IIfName, nft.OIfName).In("pair"), nft.Accept()),
		rule(nft.NFProto.Num(uint64(nft.IPv4)), nft.IIfName.In("opened4"), nft.Drop()),
		rule(nft.NFProto.Num(uint64(nft.IPv6)), nft.IIfName.In("opened6"), nft.Drop()),
	}
}

// oursRules decide over it. Every accept of a flow from outside rests on an element, in both directions of the flow.
func oursRules(bit uint32) []nft.Rule {
	original, reply := nft.CTDirection.Num(nft.Original), nft.CTDirection.Num(nft.Reply)
	notSYN := nft.TCPFlags.NotMasked(nft.TCPFin|nft.TCPSyn|nft.TCPRst|nft.TCPAck, nft.TCPSyn)
	return []nft.Rule{
		rule(nft.IIfName.In("internal"), nft.OIfName.NotIn("internal"), nft.Drop()),
		rule(nft.OIfName.In("internal"), nft.IIfName.NotIn("internal"), nft.Drop()),
		relatedRule(),
		noted("isolated endpoints reach each other's published ports", nft.CTStatus.Has(nft.CTDNAT), nft.MetaMark.SetBits(bit)),
		rule(nft.CTStatus.Has(nft.CTDNAT), original, nft.OIfName.In("nets"), nft.Goto("dn_orig")),
		rule(nft.CTStatus.Has(nft.CTDNAT), reply, nft.IIfName.In("nets"), nft.Goto("dn_reply")),
		rule(nft.Concat(nft.IIfName, nft.IPSaddr).In("iso4"), nft.Concat(nft.OIfName, nft.IPDaddr).In("iso4"), nft.Drop()),
		rule(nft.Concat(nft.IIfName, nft.IP6Saddr).In("iso6"), nft.Concat(nft.OIfName, nft.IP6Daddr).In("iso6"), nft.Drop()),
		rule(nft.Concat(nft.IIfName, nft.OIfName).In("pair"), nft.Accept()),
		rule(nft.CTState.Has(nft.CTInvalid), nft.Drop()),
		noted("no mid-stream pick-up", nft.CTState.Has(nft.CTNew), notSYN, nft.Drop()),
		noted("bridged was accepted above", nft.IIfName.In("ifs"), nft.FibSaddrIifOif.Num(0), nft.Drop()),
		rule(original, nft.Concat(nft.IPDaddr, nft.L4Proto, nft.TransportDport).In("open4"), nft.Accept()),
		rule(original, nft.Concat(nft.IP6Daddr, nft.L4Proto, nft.TransportDport).In("open6"), nft.Accept()),
		rule(reply, nft.Concat(nft.IPSaddr, nft.L4Proto, nft.TransportSport).In("open4"), nft.Accept()),
		rule(reply, nft.Concat(nft.IP6Saddr, nft.L4Proto, nft.TransportSport).In("open6"), nft.Accept()),
		rule(original, nft.Concat(nft.IIfName, nft.IPDaddr).In("trust4"), nft.Accept()),
		rule(original, nft.Concat(nft.IIfName, nft.IP6Daddr).In("trust6"), nft.Accept()),
		rule(reply, nft.Concat(nft.OIfName, nft.IPSaddr).In("trust4"), nft.Accept()),
		rule(reply, nft.Concat(nft.OIfName, nft.IP6Saddr).In("trust6"), nft.Accept()),
		rule(nft.IIfName.In("ifs"), nft.OIfName.In("ifs"), nft.Drop()),
		rule(original, nft.OIfName.In("ifs"), nft.Drop()),
		rule(original, nft.OIfName.In("adopted"), nft.IPDaddr.In("end4"), nft.Drop()),
		rule(original, nft.OIfName.In("adopted"), nft.IP6Daddr.In("end6"), nft.Drop()),
		rule(original, nft.Accept()),
		rule(nft.IIfName.In("ifs"), nft.Drop()),
		rule(nft.IIfName.In("adopted"), marked(bit), nft.Drop()),
		rule(reply, nft.Accept()),
		rule(nft.Drop()),
	}
}

// relatedRule lets errors about a flow pass, such as that a packet was too big.
func relatedRule() nft.Rule {
	return rule(nft.CTState.Has(nft.CTRelated), nft.L4Proto.Proto(nft.ICMP, nft.ICMPv6), nft.Accept())
}

// liveRules let a translated flow pass while its port is published as it was when the flow began: on that
// address of the host, to that endpoint. address4, address6 and port are the endpoint's in one direction. Each rule
// names its protocol, without which the program nft could not read `ct original proto-dst` back.
func liveRules(address4, address6, port nft.Field) []nft.Rule {
	var rules []nft.Rule
	for _, p := range []nft.Protocol{nft.TCP, nft.UDP, nft.SCTP} {
		of := nft.L4Proto.Proto(p)
		rules = append(rules,
			rule(of, nft.Concat(nft.L4Proto, address4, port, nft.CTOrigProtDst).In("live4any"), nft.Accept()),
			rule(of, nft.Concat(nft.L4Proto, address6, port, nft.CTOrigProtDst).In("live6any"), nft.Accept()),
			rule(of, nft.Concat(nft.L4Proto, address4, port, nft.CTOrigIPDaddr, nft.CTOrigProtDst).In("live4"), nft.Accept()),
			rule(of, nft.Concat(nft.L4Proto, address6, port, nft.CTOrigIP6Daddr, nft.CTOrigProtDst).In("live6"), nft.Accept()))
	}
	return append(rules, relatedRule(), rule(nft.Drop()))
}

// sourceRules translate the source of what leaves. The interface that a packet came in by is not known here where
// bridge netfilter is on, so that everything goes by its source.
func sourceRules(bit uint32) []nft.Rule {
	dnat := nft.CTStatus.Has(nft.CTDNAT)
	return []nft.Rule{
		noted("back to where it came from", dnat, nft.Concat(nft.OIfName, nft.IPSaddr).In("home4"), nft.Masquerade(0)),
		rule(dnat, nft.Concat(nft.OIfName, nft.IP6Saddr).In("home6"), nft.Masquerade(0)),
		rule(dnat, nft.OIfName.In("adopted"), nft.IPSaddr.In("lan4"), nft.Masquerade(0)),
		rule(dnat, nft.OIfName.In("adopted"), nft.IP6Saddr.In("lan6"), nft.Masquerade(0)),
		rule(dnat, nft.IPSaddr.Within(loopback4()), nft.OIfName.In("loop"), nft.Masquerade(0)),
		rule(nft.OIfName.In("ifs"), nft.Return()),
		rule(nft.OIfName.In("adopted"), nft.IPDaddr.In("end4"), nft.Return()),
		rule(nft.OIfName.In("adopted"), nft.IP6Daddr.In("end6"), nft.Return()),
		noted("no endpoint's, or bridged", nft.IPSaddr.In("lan4"), unmarked(bit), nft.Return()),
		rule(nft.IP6Saddr.In("lan6"), unmarked(bit), nft.Return()),
		rule(nft.SNATMap(nft.IPv4, nft.Concat(nft.IPSaddr), "snat4")),
		rule(nft.SNATMap(nft.IPv6, nft.Concat(nft.IP6Saddr), "snat6")),
		rule(nft.IPSaddr.In("masq4"), nft.Masquerade(0)),
		rule(nft.IP6Saddr.In("masq6"), nft.Masquerade(0)),
	}
}
