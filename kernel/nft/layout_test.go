// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"net"
	"net/netip"
	"time"
)

// The layouts of these tests are whole firewalls in small: a routed one, one of
// frames, and a stateless rewrite of ports. Addresses are of the documentation
// ranges 192.0.2.0/24, 198.51.100.0/24 and 2001:db8::/32.

// mac is an Ethernet address that ends in n.
func mac(n byte) net.HardwareAddr { return net.HardwareAddr{2, 0, 0, 0, 0, n} }

func addr(s string) netip.Addr     { return netip.MustParseAddr(s) }
func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

// routed is a table of routed packets and the sets that tests change.
type routed struct {
	Layout
	ifs, pair, internal, ptcp, pub4any, pub6any, cnet4, cnet6 *Set
}

func newRouted(flags TableFlags) *routed {
	id := TableID{Inet, "cnm"}
	port4, port6 := []Type{TypeIPv4, TypePort}, []Type{TypeIPv6, TypePort}
	published := []Type{TypeProto, TypePort}
	r := &routed{
		ifs: &Set{Table: id, Name: "ifs", Key: []Type{TypeIfname}, Comment: "our bridges", Elements: []Element{
			Key(Ifname("cnv0")), Key(Ifname("cnv1")),
		}},
		pair: &Set{Table: id, Name: "pair", Key: []Type{TypeIfname, TypeIfname}, Verdicts: true, Elements: []Element{
			KeyVerdict(Ifname("cnv0").Ifname("cnv0"), Accept()),
			KeyVerdict(Ifname("cnv0").Ifname("cnv1"), Jump("est_only")),
		}},
		internal: &Set{Table: id, Name: "internal", Key: []Type{TypeIfname}},
		ptcp:     &Set{Table: id, Name: "ptcp", Key: []Type{TypePort}, Hashed: true, Elements: []Element{Key(Port(8080))}},
		pub4any: &Set{Table: id, Name: "pub4any", Key: published, Data: port4, Elements: []Element{
			{Key: Tuple{}.Proto(TCP).Port(8080), Data: Addr(addr("192.0.2.2")).Port(80), Comment: "web"},
		}},
		pub6any: &Set{Table: id, Name: "pub6any", Key: published, Data: port6, Elements: []Element{
			KeyData(Tuple{}.Proto(TCP).Port(8080), Addr(addr("2001:db8::2")).Port(80)),
		}},
		cnet4: &Set{Table: id, Name: "cnet4", Key: []Type{TypeIPv4}, Interval: true, Elements: []Element{
			Within(prefix("192.0.2.0/25")), Within(prefix("192.0.2.128/25")),
		}},
		cnet6: &Set{Table: id, Name: "cnet6", Key: []Type{TypeIPv6}, Interval: true, Elements: []Element{
			Within(prefix("2001:db8::/64")),
		}},
	}
	r.Layout = Layout{
		Table:  Table{TableID: id, Flags: flags, Comment: "stamp 1"},
		Sets:   []*Set{r.ifs, r.pair, r.internal, r.ptcp, r.pub4any, r.pub6any, r.cnet4, r.cnet6},
		Chains: routedChains(id),
	}
	return r
}

func routedChains(id TableID) []*Chain {
	published := Concat(L4Proto, TransportDport)
	return []*Chain{
		{Table: id, Name: "est_only", Rules: []Rule{
			NewRule("", CTState.Has(CTEstablished|CTRelated), Accept()),
			NewRule("", Drop()),
		}},
		{Table: id, Name: "raw_pre", Hook: Prerouting, Priority: -300, Comment: "before anything else", Rules: []Rule{
			NewRule("no loopback from outside", IIfName.In("ifs"), IPDaddr.Within(prefix("127.0.0.0/8")), Drop()),
			NewRule("", IIfName.NotIn("ifs"), IIfName.Not(Ifname("lo")), IPDaddr.In("cnet4"), Drop()),
			NewRule("", IIfName.NotIn("ifs"), IIfName.Not(Ifname("lo")), IP6Daddr.In("cnet6"), Drop()),
		}},
		{Table: id, Name: "np", Rules: []Rule{
			NewRule("", IIfName.In("internal"), Return()),
			NewRule("", L4Proto.Proto(TCP, UDP, SCTP), Jump("np_l4")),
		}},
		{Table: id, Name: "np_l4", Rules: []Rule{
			NewRule("", FibDaddrType.NotNum(FibLocal), Return()),
			NewRule("", DNATMap(IPv4, published, "pub4any")),
			NewRule("", DNATMap(IPv6, published, "pub6any")),
		}},
		{Table: id, Name: "nat_pre", Hook: Prerouting, Type: NAT, Priority: -105, Rules: []Rule{NewRule("", Jump("np"))}},
		{Table: id, Name: "nat_out", Hook: Output, Type: NAT, Priority: -105, Rules: []Rule{NewRule("", Jump("np"))}},
		{Table: id, Name: "forw", Hook: Forward, Priority: -5, Rules: forwardRules()},
		{Table: id, Name: "nat_post", Hook: Postrouting, Type: NAT, Priority: 95, Rules: []Rule{
			NewRule("", CTStatus.Has(CTDNAT), IPSaddr.In("cnet4"), OIfName.In("ifs"), Masquerade(0)),
			NewRule("", CTStatus.Has(CTDNAT), IP6Saddr.In("cnet6"), OIfName.In("ifs"), Masquerade(0)),
			NewRule("", OIfName.NotIn("ifs"), IPSaddr.In("cnet4"), Masquerade(FullyRandom)),
			NewRule("", OIfName.NotIn("ifs"), IP6Saddr.In("cnet6"), Masquerade(0)),
		}},
	}
}

func forwardRules() []Rule {
	return []Rule{
		NewRule("foreign transit", IIfName.NotIn("ifs"), OIfName.NotIn("ifs"), Accept()),
		NewRule("", IIfName.In("internal"), OIfName.NotIn("internal"), Drop()),
		NewRule("", OIfName.In("internal"), IIfName.NotIn("internal"), Drop()),
		NewRule("", CTState.Has(CTInvalid), Drop()),
		NewRule("", CTState.Has(CTNew), TCPFlags.NotMasked(TCPFin|TCPSyn|TCPRst|TCPAck, TCPSyn), Drop()),
		NewRule("", CTStatus.Has(CTDNAT), L4Proto.Proto(TCP), CTOrigProtDst.NotIn("ptcp"), Drop()),
		NewRule("", CTStatus.Has(CTDNAT), MetaMark.SetBits(4)),
		NewRule("", CTStatus.Has(CTDNAT), Accept()),
		NewRule("", Concat(IIfName, OIfName).VMap("pair")),
		NewRule("", IIfName.In("ifs"), OIfName.In("ifs"), Drop()),
		NewRule("", IIfName.In("ifs"), FibSaddrIifOif.Num(0), Drop()),
		NewRule("", CTState.Has(CTEstablished|CTRelated), Accept()),
		NewRule("", IIfName.In("ifs"), Accept()),
		NewRule("", OIfName.In("ifs"), Drop()),
	}
}

// newFrames is a table of frames on bridges.
func newFrames(flags TableFlags) *Layout {
	id := TableID{Bridge, "cnm"}
	iso := &Set{Table: id, Name: "iso", Key: []Type{TypeEther}, Elements: []Element{Key(MAC(mac(1)))}}
	bound4 := &Set{Table: id, Name: "bound4", Key: []Type{TypeIfname, TypeEther, TypeIPv4}, Elements: []Element{
		Key(Ifname("cnp0").MAC(mac(1)).Addr(addr("192.0.2.2"))),
	}}
	bound6 := &Set{Table: id, Name: "bound6", Key: []Type{TypeIfname, TypeEther, TypeIPv6}, Elements: []Element{
		Key(Ifname("cnp0").MAC(mac(1)).Addr(addr("2001:db8::2"))),
		Key(Ifname("cnp0").MAC(mac(1)).Addr(addr("fe80::1"))),
	}}
	return &Layout{
		Table: Table{TableID: id, Flags: flags},
		Sets:  []*Set{iso, bound4, bound6},
		Chains: []*Chain{
			{Table: id, Name: "pre", Hook: Prerouting, Priority: -200, Rules: frameRules()},
			{Table: id, Name: "iso_fwd", Hook: Forward, Priority: 10, Rules: []Rule{
				NewRule("", MetaMark.Masked(4, 4), Accept()),
				NewRule("", EtherSaddr.In("iso"), EtherDaddr.In("iso"), Drop()),
				NewRule("", EtherSaddr.In("iso"), EtherDaddr.Multicast(), Drop()),
			}},
		},
	}
}

func frameRules() []Rule {
	arpKey := Concat(IIfName, ARPSaddrEther, ARPSaddrIP)
	return []Rule{
		NewRule("not ours", IIfName.NotPrefix("cnp"), Accept()),
		NewRule("", EtherType.NotNum(EtherIPv4, EtherARP, EtherIPv6), Drop()),
		NewRule("", EtherDaddr.Is(MAC(net.HardwareAddr{1, 0x80, 0xc2, 0, 0, 0})), Drop()),
		NewRule("", ARPHardware.Num(ARPEthernet), ARPProtocol.Num(EtherIPv4), arpKey.In("bound4"), Accept()),
		NewRule("", ARPOperation.Num(ARPReply), Drop()),
		NewRule("", ARPSaddrIP.Is(Addr(addr("0.0.0.0"))), ARPOperation.Num(ARPRequest), Accept()),
		NewRule("", UDPSport.Num(67), Drop()),
		NewRule("", IPSaddr.Is(Addr(addr("0.0.0.0"))), UDPDport.Num(67), Accept()),
		NewRule("", ICMPv6Type.Num(NDRouterAdvert, NDRedirect, MLDReport, MLDv2Report, NDRouterSolicit), Drop()),
		NewRule("", IP6Saddr.Is(Addr(addr("::"))), ICMPv6Type.Num(NDNeighborSolicit), Accept()),
		NewRule("", Concat(IIfName, EtherSaddr, IPSaddr).In("bound4"), Accept()),
		NewRule("", Concat(IIfName, EtherSaddr, IP6Saddr).In("bound6"), Accept()),
		NewRule("", PktType.Num(ToBroadcast), LimitOver(100, Second, 20), Drop()),
		NewRule("the rest", Counter(), Drop()),
	}
}

// newRewrite is a stateless rewrite of ports.
func newRewrite() *Layout {
	id := TableID{IPv4, "cnm_dns"}
	self := Addr(addr("127.0.0.11"))
	return &Layout{
		Table: Table{TableID: id},
		Chains: []*Chain{{Table: id, Name: "o", Hook: Output, Priority: -300, Rules: []Rule{
			NewRule("", IPDaddr.Is(self), UDPDport.Num(53), UDPDport.SetTo(Port(45353))),
			NewRule("", IPDaddr.Is(self), TCPDport.Num(53), TCPDport.SetTo(Port(45353))),
			NewRule("", IPSaddr.Is(self), UDPSport.Num(45353), UDPSport.SetTo(Port(53))),
			NewRule("", IPSaddr.Is(self), TCPSport.Num(45353), TCPSport.SetTo(Port(53))),
		}}},
	}
}

// newVocabulary has what the other layouts do not use.
func newVocabulary() *Layout {
	id := TableID{Inet, "words"}
	host4 := []Type{TypeIPv4, TypeProto, TypePort}
	v4, v6 := addr("198.51.100.7"), addr("2001:db8::7")
	filter := []Rule{
		NewRule("", IPSaddr.NotWithin(prefix("198.51.100.0/22")), IPDaddr.Not(Addr(v4)), Counter(), Accept()),
		NewRule("", IP6Saddr.Within(prefix("fe80::/10")), IP6Daddr.Within(prefix("2001:db8::/32")), Accept()),
		NewRule("", IP6Saddr.Within(netip.PrefixFrom(v6, 128)), Accept()),
		NewRule("", MetaMark.Num(1, 2, 256), Return()),
		NewRule("", MetaMark.NotMasked(0xf0, 0x10), Continue()),
		NewRule("", MetaMark.SetTo(Mark(5)), MetaMark.ClearBits(0xf)),
		NewRule("", NFProto.Num(uint64(IPv6)), Drop()),
		NewRule("", MetaProtocol.Num(EtherIPv4), Drop()),
		NewRule("", L4Proto.Proto(TCP), TCPDport.Num(80, 443), Goto("other")),
		NewRule("", TCPSport.NotNum(22), TCPFlags.Masked(TCPSyn|TCPAck, TCPSyn), Limit(10, Minute, DefaultBurst), Accept()),
		NewRule("", ICMPType.Num(ICMPEchoRequest), Limit(3, Second, 7), Accept()),
		NewRule("", ICMPv6Type.Num(ICMPv6EchoRequest, ICMPv6PacketTooBig), Accept()),
		NewRule("", CTStatus.HasNone(CTDNAT), CTStatus.Has(CTSNAT), Accept()),
		NewRule("", CTDirection.Num(Original), CTMark.SetTo(Mark(9)), CTMark.Num(9), Accept()),
		NewRule("", CTOrigIPDaddr.Is(Addr(v4)), L4Proto.Proto(UDP), CTOrigProtSrc.Num(53), Accept()),
		NewRule("", CTOrigIP6Daddr.Is(Addr(v6)), Accept()),
		NewRule("", CTOrigIPDaddr.In("hosts4"), Accept()),
		NewRule("", FibDaddrIifType.Num(FibLocal, FibBroadcast), Accept()),
		NewRule("", PktType.Num(ToBroadcast, ToMulticast), Drop()),
		NewRule("", IIfName.Is(Ifname("eth0"), Ifname("eth1")), OIfName.Prefix("cnv"), Drop()),
		NewRule("", Raw(NetworkHeader, 0, 1).Is(Tuple{}.Bytes([]byte{0x45})), Drop()),
		NewRule("", UDPDport.VMap("ports")),
		NewRule("", TCPDport.Num(25), RejectTCP()),
		NewRule("", RejectTCP()),
		NewRule("", RejectAdmin()),
		NewRule("last", Reject()),
	}
	return &Layout{
		Table: Table{TableID: id},
		Sets: []*Set{
			{Table: id, Name: "hosts4", Key: []Type{TypeIPv4}},
			{Table: id, Name: "pub4", Key: host4, Data: []Type{TypeIPv4, TypePort}},
			{Table: id, Name: "source", Key: []Type{TypeIPv4}, Data: []Type{TypeIPv4}},
			{Table: id, Name: "ports", Key: []Type{TypePort}, Verdicts: true, Interval: true, Elements: []Element{
				{Key: Port(10), End: Port(19), Verdict: Accept()},
				{Key: Port(20), Verdict: Goto("other")},
				{Key: Port(65000), End: Port(65535), Verdict: Drop()},
			}},
			{Table: id, Name: "wild", Key: []Type{TypeIfname}, Interval: true, Elements: []Element{
				Interval{}.IfnamePrefix("cnv").Element(), Key(Ifname("lo")),
			}},
			{Table: id, Name: "spans", Key: []Type{TypeIfname, TypeIPv4, TypePort}, Interval: true, Elements: []Element{
				Interval{}.Ifname("cnv0").Prefix(prefix("198.51.100.0/24")).Ports(80, 90).Element(),
				Interval{}.Ifname("cnv1").Prefix(prefix("198.51.100.7/32")).Ports(80, 80).Element(),
			}},
			{Table: id, Name: "fading", Key: []Type{TypePort}, Timeout: 90 * time.Minute, Comment: "a while"},
			{Table: id, Name: "marks", Key: []Type{TypeMark}, Elements: []Element{Key(Mark(1)), Key(Mark(0x100))}},
		},
		Chains: []*Chain{
			{Table: id, Name: "other"},
			{Table: id, Name: "filter_in", Hook: Input, Policy: PolicyDrop, Rules: filter},
			{Table: id, Name: "raw_out", Hook: Output, Priority: -300, Rules: []Rule{
				NewRule("", L4Proto.Proto(UDP, TCP), TransportDport.Num(53), NoTrack()),
			}},
			{Table: id, Name: "nat_pre", Hook: Prerouting, Type: NAT, Priority: -100, Rules: []Rule{
				NewRule("", DNATMap(IPv4, Concat(IPDaddr, L4Proto, TransportDport), "pub4")),
				NewRule("", TCPDport.Num(81), DNATTo(netip.AddrPortFrom(v4, 80))),
				NewRule("", TCPDport.Num(82), DNATTo(netip.AddrPortFrom(v6, 80))),
				NewRule("", TCPDport.Num(53), Redirect(5353)),
				NewRule("", Redirect(0)),
			}},
			{Table: id, Name: "nat_post", Hook: Postrouting, Type: NAT, Priority: 100, Rules: []Rule{
				NewRule("", SNATMap(IPv4, Concat(IPSaddr), "source")),
				NewRule("", IPSaddr.Within(prefix("192.0.2.0/24")), SNATTo(v4, 0)),
				NewRule("", IP6Saddr.Within(prefix("2001:db8::/32")), SNATTo(v6, FullyRandom)),
				NewRule("", Masquerade(Random|Persistent)),
			}},
		},
	}
}
