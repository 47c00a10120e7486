// SPDX-License-Identifier: Apache-2.0

package link

import "golang.org/x/sys/unix"

// Port holds the attributes of a link as a bridge port. Zero values change
// nothing; read back from the kernel every value that it knows is set.
type Port struct {
	// Hairpin lets a frame leave through the port it came in by.
	Hairpin Switch
	// Learning of source addresses from this port.
	Learning Switch
	// UnicastFlood sends frames to unknown unicast addresses out of this port.
	UnicastFlood Switch
	// MulticastFlood does so for multicast nobody announced itself for.
	MulticastFlood Switch
	// BroadcastFlood does so for broadcast.
	BroadcastFlood Switch
	// Isolated ports do not reach each other.
	Isolated Switch
	// Guard takes the port down when a BPDU comes in.
	Guard Switch
	// RootBlock keeps the port from becoming the spanning tree's root port.
	RootBlock Switch
	// FastLeave drops a multicast group at the first leave message.
	FastLeave Switch
	// NeighSuppress answers ARP and ND for known neighbours instead of flooding.
	NeighSuppress Switch
	// MulticastToUnicast sends multicast as one unicast frame a listener.
	MulticastToUnicast Switch
	// Locked drops frames whose source address is not in the FDB (kernel 5.18).
	Locked Switch
}

// Missing are those attributes of want that p has not; zero if p has all of them. What the kernel does not know is not missed.
func (p *Port) Missing(want Port) Port {
	have, fields := p.fields(), want.fields()
	for i, f := range fields {
		if *have[i].value == Keep || *have[i].value == *f.value {
			*f.value = Keep
		}
	}
	return want
}

// PortState is what a port lets through (BR_STATE_*). Without a carrier it is disabled.
type PortState uint8

// The states, one up, so that zero is a link that is in no bridge.
const (
	PortUnknown PortState = iota
	PortDisabled
	PortListening
	PortLearning
	PortForwarding
	PortBlocking
)

// portField ties one attribute to its place in Port and its word in String.
type portField struct {
	typ   uint16
	name  string
	value *Switch
}

// fields lists the attributes in the order they are sent and printed.
func (p *Port) fields() [12]portField {
	return [...]portField{
		{unix.IFLA_BRPORT_MODE, "hairpin", &p.Hairpin},
		{unix.IFLA_BRPORT_LEARNING, "learning", &p.Learning},
		{unix.IFLA_BRPORT_UNICAST_FLOOD, "unicast-flood", &p.UnicastFlood},
		{unix.IFLA_BRPORT_MCAST_FLOOD, "multicast-flood", &p.MulticastFlood},
		{unix.IFLA_BRPORT_BCAST_FLOOD, "broadcast-flood", &p.BroadcastFlood},
		{unix.IFLA_BRPORT_ISOLATED, "isolated", &p.Isolated},
		{unix.IFLA_BRPORT_GUARD, "guard", &p.Guard},
		{unix.IFLA_BRPORT_PROTECT, "root-block", &p.RootBlock},
		{unix.IFLA_BRPORT_FAST_LEAVE, "fast-leave", &p.FastLeave},
		{unix.IFLA_BRPORT_NEIGH_SUPPRESS, "neigh-suppress", &p.NeighSuppress},
		{unix.IFLA_BRPORT_MCAST_TO_UCAST, "multicast-to-unicast", &p.MulticastToUnicast},
		{unix.IFLA_BRPORT_LOCKED, "locked", &p.Locked},
	}
}

// encode appends the port's attributes as slave data of a link.
func (p *Port) encode(e *encoder) {
	if *p == (Port{}) {
		return
	}
	info := e.nest(unix.IFLA_LINKINFO)
	e.text(unix.IFLA_INFO_SLAVE_KIND, "bridge")
	data := e.nest(unix.IFLA_INFO_SLAVE_DATA)
	for _, f := range p.fields() {
		e.toggle(f.typ, *f.value)
	}
	e.shut(data)
	e.shut(info)
}

func (p *Port) describe(l *line) {
	for _, f := range p.fields() {
		l.toggle(f.name, *f.value)
	}
}

func decodePort(b []byte) (Port, PortState) {
	var p Port
	var state PortState
	fields := p.fields()
	for a := attrsOf(b); a.next(); {
		if a.typ == unix.IFLA_BRPORT_STATE {
			state = PortState(u8(a.val) + 1)
		}
		for _, f := range fields {
			if f.typ == a.typ {
				*f.value = switchOf(a.val)
			}
		}
	}
	return p, state
}
