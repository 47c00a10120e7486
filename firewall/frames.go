// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"net/netip"

	"github.com/libnetwork/cnm/kernel/nft"
)

// Priorities at the hooks of bridges. Bridge netfilter, where it is on, runs the chains of inet cnm at 0.
const (
	priorityFrame = -200
	priorityApart = 10
)

// frameChains are the chains of bridge cnm.
func frameChains(bit uint32) []*nft.Chain {
	t := framesTable()
	return []*nft.Chain{
		base(chain(t, "pre", frameRules()...), nft.Prerouting, nft.Filter, priorityFrame),
		chain(t, "bound", boundRules(bit)...),
		chain(t, "from_arp", arpRules()...),
		chain(t, "from_ip4", ip4Rules()...),
		chain(t, "from_ip6", ip6Rules()...),
		chain(t, "from_icmp6", icmp6Rules()...),
		base(chain(t, "bridged", bridgedRules(bit)...), nft.Forward, nft.Filter, priorityFrame),
		base(chain(t, "apart", apartRules(bit)...), nft.Forward, nft.Filter, priorityApart),
	}
}

// frameRules find the ports of endpoints. What comes by a trunk was checked at a port.
func frameRules() []nft.Rule {
	return []nft.Rule{
		rule(nft.IIfName.In("ports"), nft.Goto("bound")),
		noted("not bound", nft.IIfName.Prefix(PortPrefix), nft.Drop()),
		noted("leads nowhere that we know", nft.IIfName.Prefix(TrunkPrefix), nft.IIfName.NotIn("trunks"), nft.Drop()),
	}
}

// sender is port, Ethernet address and one address of an endpoint.
func sender(address nft.Field) nft.Concatenation {
	return nft.Concat(nft.IIfName, nft.EtherSaddr, address)
}

// boundRules are for every frame that an endpoint sends.
func boundRules(bit uint32) []nft.Rule {
	return []nft.Rule{
		noted("an endpoint's on a bridge of others", nft.IIfName.In("lanports"), nft.MetaMark.SetBits(bit)),
		noted("BPDU and other protocols of bridges", nft.Raw(nft.LinkHeader, 0, 5).Is(nft.Tuple{}.Bytes([]byte{0x01, 0x80, 0xc2, 0, 0})), nft.Drop()),
		rule(nft.EtherType.Num(nft.EtherIPv4), nft.Goto("from_ip4")),
		rule(nft.EtherType.Num(nft.EtherIPv6), nft.Goto("from_ip6")),
		rule(nft.EtherType.Num(nft.EtherARP), nft.Goto("from_arp")),
		rule(nft.Drop()),
	}
}

// arpRules bind what ARP says of its sender to the sender.
func arpRules() []nft.Rule {
	return []nft.Rule{
		rule(nft.IIfName.In("anysource"), nft.Accept()),
		rule(nft.Concat(nft.IIfName, nft.EtherSaddr).NotIn("macs"), nft.Drop()),
		rule(nft.ARPHardware.NotNum(nft.ARPEthernet), nft.Drop()),
		rule(nft.Concat(nft.IIfName, nft.ARPSaddrEther, nft.ARPSaddrIP).In("bound4"), nft.Accept()),
		noted("probe", nft.ARPOperation.Num(nft.ARPRequest), nft.ARPSaddrIP.Is(nft.Addr(netip.IPv4Unspecified())),
			nft.Concat(nft.IIfName, nft.ARPSaddrEther).In("macs"), nft.Accept()),
		rule(nft.Drop()),
	}
}

func ip4Rules() []nft.Rule {
	return []nft.Rule{
		rule(nft.IIfName.NotIn("dhcp"), nft.UDPSport.Num(67), nft.Drop()),
		rule(nft.ICMPType.Num(nft.ICMPRedirect), nft.Drop()),
		rule(nft.IIfName.In("anysource"), nft.Accept()),
		rule(sender(nft.IPSaddr).In("bound4"), nft.Accept()),
		noted("DHCP client", nft.IPSaddr.Is(nft.Addr(netip.IPv4Unspecified())), nft.UDPSport.Num(68), nft.UDPDport.Num(67),
			nft.Concat(nft.IIfName, nft.EtherSaddr).In("macs"), nft.Accept()),
		rule(nft.Drop()),
	}
}

func ip6Rules() []nft.Rule {
	return []nft.Rule{
		rule(nft.L4Proto.Proto(nft.ICMPv6), nft.Jump("from_icmp6")),
		rule(nft.IIfName.NotIn("dhcp"), nft.UDPSport.Num(547), nft.Drop()),
		rule(nft.IIfName.In("anysource"), nft.Accept()),
		rule(sender(nft.IP6Saddr).In("bound6"), nft.Accept()),
		noted("duplicate address detection of its own", nft.IP6Saddr.Is(nft.Addr(netip.IPv6Unspecified())), nft.ICMPv6Type.Num(nft.NDNeighborSolicit),
			sender(nft.ICMPv6Target).In("bound6"), nft.Accept()),
		rule(nft.Drop()),
	}
}

// icmp6Rules bind what neighbour discovery says of its sender to the sender. The option with the Ethernet address is
// the first one wherever there is one: Linux takes the first of a kind, and a message that begins with another
// option does not pass. Without options the fields are beyond the packet and nothing matches.
func icmp6Rules() []nft.Rule {
	option := nft.Raw(nft.TransportHeader, 24, 2) // its type, and its length in units of 8 bytes
	address := nft.Concat(nft.IIfName, nft.Raw(nft.TransportHeader, 26, 6))
	sourceOption, targetOption := nft.Tuple{}.Bytes([]byte{1, 1}), nft.Tuple{}.Bytes([]byte{2, 1})
	solicit, advert := nft.ICMPv6Type.Num(nft.NDNeighborSolicit), nft.ICMPv6Type.Num(nft.NDNeighborAdvert)
	known := nft.IP6Saddr.Not(nft.Addr(netip.IPv6Unspecified()))
	return []nft.Rule{
		rule(nft.ICMPv6Type.Num(nft.NDRedirect), nft.Drop()),
		rule(nft.IIfName.NotIn("routers"), nft.ICMPv6Type.Num(nft.NDRouterAdvert), nft.Drop()),
		noted("there may be a router on the bridge", nft.IIfName.In("lanports"), nft.ICMPv6Type.Num(nft.NDRouterSolicit, nft.MLDReport, nft.MLDDone, nft.MLDv2Report), nft.Return()),
		rule(nft.IIfName.NotIn("routers"), nft.ICMPv6Type.Num(nft.NDRouterSolicit), nft.Drop()),
		rule(nft.ICMPv6Type.Num(nft.MLDQuery, nft.MLDReport, nft.MLDDone, nft.MLDv2Report), nft.Drop()),
		rule(nft.IIfName.In("anysource"), nft.Accept()),
		rule(advert, sender(nft.ICMPv6Target).NotIn("bound6"), nft.Drop()),
		rule(advert, option.Not(targetOption), nft.Drop()),
		rule(advert, address.NotIn("macs"), nft.Drop()),
		rule(solicit, known, option.Not(sourceOption), nft.Drop()),
		rule(solicit, known, address.NotIn("macs"), nft.Drop()),
	}
}

// bridgedRules keep frames to many from going back to where they came from. A port that may send back what came in by it (hairpin),
// as published ports need it, does so with these too (br_flood in the kernel), and a trunk of the hub's would bring them to their shard
// a second time. Then they take the mark of an endpoint on an adopted bridge back: where its frame is bridged the mark would mean that
// the frame was translated.
func bridgedRules(bit uint32) []nft.Rule {
	return []nft.Rule{
		noted("not back to where it came from", nft.EtherDaddr.Multicast(), nft.Concat(nft.IIfName, nft.OIfName).In("self"), nft.Drop()),
		rule(nft.IIfName.In("lanports"), nft.MetaMark.ClearBits(bit)),
	}
}

// apartRules keep isolated endpoints apart, but for what was translated. The second rule holds on one bridge
// whatever the frame says; the third also across trunks.
func apartRules(bit uint32) []nft.Rule {
	return []nft.Rule{
		rule(marked(bit), nft.Accept()),
		rule(nft.IIfName.In("isoports"), nft.OIfName.In("isoports"), nft.Drop()),
		rule(nft.EtherSaddr.In("isomacs"), nft.OIfName.In("isoports"), nft.Drop()),
	}
}
