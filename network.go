// SPDX-License-Identifier: Apache-2.0

package cnm

import (
	"net/netip"
	"time"
)

// NetworkSpec is what a caller asks for. The zero value of every field but Name means "the default".
// The controller owns the value once it is passed.
type NetworkSpec struct {
	// ID is for a caller that has drawn one at random already, in the form of [NetworkID]; empty: one is drawn.
	ID     NetworkID
	Name   string
	Driver string // "bridge" unless given

	// IPv4 and IPv6 switch a family off when they point at false; both are on by default.
	IPv4, IPv6 *bool
	// Subnets may hold several per family; a family that is on and has none gets one chosen by the allocator.
	Subnets     []Subnet
	IPAM        string            // the address manager; "pool" unless given
	IPAMOptions map[string]string // decoded strictly by the address manager

	Internal         bool // reaches nothing but itself
	IsolateEndpoints bool // its endpoints reach each other only through published ports
	MTU              int  // bytes; 0 follows the host's default route
	DNS              []netip.Addr
	Options          map[string]string // the driver's, decoded strictly by it
	Labels           map[string]string
}

// Network is the record of a network: endpoints that reach each other freely, isolated from every other network.
// A Network is a value: stores, drivers and callers never share memory through it and treat its maps and slices as
// immutable.
type Network struct {
	ID     NetworkID
	Name   string
	Driver string

	IPv4, IPv6  bool
	Subnets     []Subnet
	IPAM        string
	IPAMOptions map[string]string

	Internal         bool
	IsolateEndpoints bool
	MTU              int // bytes; 0 follows the host's default route
	DNS              []netip.Addr
	Options          map[string]string
	Labels           map[string]string

	Created time.Time
	State   State
}

// Subnet is one prefix of a network's addresses.
type Subnet struct {
	Prefix  netip.Prefix // masked
	Gateway netip.Addr   // inside Prefix; invalid where the network has no router in this family
	Range   netip.Prefix // automatic addresses come from here; invalid: from all of Prefix
	// Reserved are addresses that are never given out, by the name of what uses them.
	Reserved map[string]netip.Addr
	// Pool is the allocator's handle, set by it.
	Pool PoolID
}

// SubnetOf is the network's subnet that holds a, and whether there is one.
func (n *Network) SubnetOf(a netip.Addr) (Subnet, bool) {
	for _, s := range n.Subnets {
		if s.Prefix.Contains(a) {
			return s, true
		}
	}
	return Subnet{}, false
}

// Gateway is the gateway of the first subnet of the family; invalid if there is none.
func (n *Network) Gateway(f Family) netip.Addr {
	for _, s := range n.Subnets {
		if FamilyOf(s.Prefix.Addr()) == f && s.Gateway.IsValid() {
			return s.Gateway
		}
	}
	return netip.Addr{}
}

// Family is one of the two address families. Everything that exists for one exists for the other.
type Family uint8

// The families.
const (
	IPv4 Family = 4
	IPv6 Family = 6
)

// Families returns both, IPv4 first. The caller owns the slice.
func Families() []Family { return []Family{IPv4, IPv6} }

// FamilyOf is the family of a valid address; an IPv4-mapped IPv6 address is IPv6.
func FamilyOf(a netip.Addr) Family {
	if a.Is4() {
		return IPv4
	}
	return IPv6
}

// String is "IPv4" or "IPv6".
func (f Family) String() string {
	if f == IPv4 {
		return "IPv4"
	}
	return "IPv6"
}

// FamilySet says which families something holds for.
type FamilySet struct{ IPv4, IPv6 bool }

// Has tells whether f is in the set.
func (s FamilySet) Has(f Family) bool { return f == IPv4 && s.IPv4 || f == IPv6 && s.IPv6 }

// Any tells whether the set is not empty.
func (s FamilySet) Any() bool { return s.IPv4 || s.IPv6 }
