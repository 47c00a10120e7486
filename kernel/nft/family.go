// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Family is the protocol family a table belongs to and, for translation, the
// family of an address.
type Family uint8

// The families of tables. Inet sees IPv4 and IPv6 packets, Bridge sees frames.
const (
	Inet   Family = unix.NFPROTO_INET
	IPv4   Family = unix.NFPROTO_IPV4
	IPv6   Family = unix.NFPROTO_IPV6
	ARP    Family = unix.NFPROTO_ARP
	Bridge Family = unix.NFPROTO_BRIDGE
	Netdev Family = unix.NFPROTO_NETDEV
)

// String gives the family as nft writes it.
func (f Family) String() string {
	switch f {
	case Inet:
		return "inet"
	case IPv4:
		return "ip"
	case IPv6:
		return "ip6"
	case ARP:
		return "arp"
	case Bridge:
		return "bridge"
	case Netdev:
		return "netdev"
	default:
		return "family " + strconv.Itoa(int(f))
	}
}

// TableFlags are properties of a table.
type TableFlags uint32

// The flags of tables.
const (
	// Dormant keeps the table's chains out of the packet path.
	Dormant TableFlags = 1
	// Owner binds the table to the socket that makes it (Linux 5.12). Without
	// Persist the table vanishes with that socket.
	Owner TableFlags = 2
	// Persist keeps an owned table when its owner's socket is closed (Linux 6.9).
	// From then on anybody may change it, until it is adopted.
	Persist TableFlags = 4
)

// String gives the flags as nft writes them, such as "owner,persist".
func (f TableFlags) String() string {
	var names []string
	for _, flag := range []struct {
		bit  TableFlags
		name string
	}{{Dormant, "dormant"}, {Owner, "owner"}, {Persist, "persist"}} {
		if f&flag.bit != 0 {
			names = append(names, flag.name)
		}
	}
	return strings.Join(names, ",")
}

// Hook is where in the packet path a base chain sits.
type Hook uint8

// The hooks. A chain without a hook is reached by jump and goto only.
const (
	NoHook Hook = iota
	Prerouting
	Input
	Forward
	Output
	Postrouting
)

// String gives the hook as nft writes it.
func (h Hook) String() string {
	switch h {
	case NoHook:
		return ""
	case Prerouting:
		return "prerouting"
	case Input:
		return "input"
	case Forward:
		return "forward"
	case Output:
		return "output"
	case Postrouting:
		return "postrouting"
	default:
		return "hook " + strconv.Itoa(int(h))
	}
}

// ChainType is what a base chain is for.
type ChainType uint8

// The types of base chains.
const (
	Filter ChainType = iota
	NAT
	Route
)

// String gives the type as nft and the kernel write it.
func (t ChainType) String() string {
	switch t {
	case Filter:
		return "filter"
	case NAT:
		return "nat"
	case Route:
		return "route"
	default:
		return "type " + strconv.Itoa(int(t))
	}
}

// chainTypeOf is the reverse of [ChainType.String].
func chainTypeOf(s string) (ChainType, error) {
	for _, t := range []ChainType{Filter, NAT, Route} {
		if t.String() == s {
			return t, nil
		}
	}
	return 0, fmt.Errorf("chain type %q is none of filter, nat, route", s)
}

// Policy is what happens to a packet that reaches the end of a base chain.
type Policy uint8

// The policies of base chains.
const (
	PolicyAccept Policy = iota
	PolicyDrop
)

// String gives the policy as nft writes it.
func (p Policy) String() string {
	if p == PolicyDrop {
		return "drop"
	}
	return "accept"
}

// priority gives the priority of a base chain as nft prints it: relative to a
// name that the hook knows, if it is near one.
func priority(f Family, h Hook, p int32) string {
	const reach = 10
	for _, std := range priorities(f, h) {
		switch d := p - std.value; {
		case d == 0:
			return std.name
		case d > 0 && d <= reach:
			return fmt.Sprintf("%s + %d", std.name, d)
		case d < 0 && d >= -reach:
			return fmt.Sprintf("%s - %d", std.name, -d)
		}
	}
	return strconv.Itoa(int(p))
}

// namedPriority is a priority that nft has a word for.
type namedPriority struct {
	name  string
	value int32
}

// priorities gives the words that nft has for priorities at a hook.
func priorities(f Family, h Hook) []namedPriority {
	var names []namedPriority
	if f == Bridge {
		names = append(names, namedPriority{"filter", -200})
		switch h {
		case Prerouting:
			names = append(names, namedPriority{"dstnat", -300})
		case Output:
			names = append(names, namedPriority{"out", 100})
		case Postrouting:
			names = append(names, namedPriority{"srcnat", 300})
		case NoHook, Input, Forward:
		}
		return names
	}
	names = append(names, namedPriority{"raw", -300}, namedPriority{"mangle", -150},
		namedPriority{"filter", 0}, namedPriority{"security", 50})
	switch h {
	case Prerouting:
		names = append(names, namedPriority{"dstnat", -100})
	case Postrouting:
		names = append(names, namedPriority{"srcnat", 100})
	case NoHook, Input, Forward, Output:
	}
	return names
}
