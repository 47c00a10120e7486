// SPDX-License-Identifier: Apache-2.0

package conntrack

import "net/netip"

// Protocol numbers (IANA) whose tuples carry ICMP fields instead of ports.
const (
	icmp   = 1
	icmpv6 = 58
)

// Tuple is one direction of a flow, as its packets look.
type Tuple struct { //nolint:recvcheck // a value; only its parser fills one in
	Proto    uint8          // IANA number
	Src, Dst netip.AddrPort // port 0 where the protocol has none
	ICMP     ICMP           // of protocols 1 and 58
	Zone     uint16         // the zone of this direction alone; 0 where it is the entry's
}

// ICMP takes the place of the ports for ICMP and ICMPv6.
type ICMP struct {
	ID         uint16
	Type, Code uint8
}

// Status is the state of an entry, the kernel's IPS_* bits.
type Status uint32

// The bits of a [Status] that matter to address translation.
const (
	SeenReply Status = 1 << 1
	Confirmed Status = 1 << 3
	SrcNAT    Status = 1 << 4
	DstNAT    Status = 1 << 5
)

// Entry is one entry of the connection table.
type Entry struct {
	Orig  Tuple // as the first packet was sent
	Reply Tuple // as answers come in: differs from the mirrored Orig by what is translated
	Zone  uint16
	Mark  uint32
	// Status has the IPS_* bits.
	Status Status
	// ID tells the entry from a later one of the same tuples. It is unlikely, not impossible, to come again.
	ID uint32
}
