// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"net/netip"

	cnm "github.com/libnetwork/cnm"
)

// Names of links that the rules know by how they begin. Whoever makes the links names them so.
const (
	// PortPrefix begins the host-side links of endpoints: one that is not bound passes nothing.
	PortPrefix = "cnv"
	// TrunkPrefix begins links between the bridges of one network: one that is not among the Trunks of an owner passes nothing.
	TrunkPrefix = "cnt"
	// ShardPrefix begins the further bridges of a network, which pass frames on and have no address: nothing is
	// routed to or from them, and connections are not tracked on them.
	ShardPrefix = "cns"
)

// Owner names whose rules they are: "network/ID" or "endpoint/ID". One owner has one [Rules] value at a time.
type Owner string

// Rules is everything the firewall has to know for one owner: a plain value that a driver computes from records. Setting it
// again changes only what differs.
type Rules struct {
	Bridges   []Bridge
	Ports     []BridgePort
	Published []Published
	// Trunks are links between the bridges of one network: what comes in by them was checked at a port.
	Trunks []string
	// Opened are links of the host, not ours, whose forwarding had to be switched on.
	Opened []Opened
}

// Opened is a link whose forwarding was switched on for our sake: what comes in by it, of these families, stays closed to
// every other link that is not ours. What the host forwards by itself is none of our business.
type Opened struct {
	Link     string
	Families cnm.FamilySet
}

// Bridge is the routed side of a network: the link that has its gateway addresses.
type Bridge struct {
	Link     string
	Subnets  []netip.Prefix
	Internal bool // reaches nothing but itself
	// Adopted: the bridge is not ours alone, and has ports that are not endpoints. What comes in by those is from
	// outside: trust goes by the bound port, not by the bridge's name.
	Adopted bool
	// Masquerade are the families whose traffic to the outside takes the outgoing link's address; Source, where valid, is
	// the address taken instead.
	Masquerade cnm.FamilySet
	Source4    netip.Addr
	Source6    netip.Addr
	// Routed opens the network to new connections from outside as far as ports are published (without NAT).
	Routed cnm.FamilySet
	// Trusted are links on the host from which packets to the endpoints' own addresses are let in.
	Trusted []string
	// HostAccess lets endpoints reach the host's own services (always without effect on an internal network).
	HostAccess bool
	// Loopback allows traffic of the host's 127.0.0.0/8 to be rewritten to endpoints here.
	Loopback bool
}

// BridgePort is the host-side link of one endpoint, and what may come in by it.
type BridgePort struct {
	Link      string
	Bridge    string // the routed link of its network
	MAC       cnm.MAC
	Addresses []netip.Addr // the endpoint's, its IPv6 link-local address included
	Isolated  bool         // reaches no other isolated port of its bridge
	// Adopted: the bridge is an adopted one (see [Bridge]). There the endpoint's addresses are protected one by one, because
	// its subnet is not ours alone, and what comes in by this port is marked as an endpoint's.
	Adopted bool
	// The protection that was opted out of.
	AnySource       bool // any MAC and address may come in
	AllowRA         bool
	AllowDHCPServer bool
}

// Published is one port of the host and the endpoint's address and port it leads to.
type Published struct {
	Proto cnm.Protocol
	// Host is where: 0.0.0.0 and :: are all of the host's addresses of the family. The zero value opens To itself to
	// the outside, without translation (on a routed network).
	Host netip.AddrPort
	To   netip.AddrPort // of the same family
}
