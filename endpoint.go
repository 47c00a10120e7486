// SPDX-License-Identifier: Apache-2.0

package cnm

import (
	"encoding/hex"
	"net/netip"
	"strings"
	"time"
)

// EndpointSpec is what a caller asks for. The controller owns the value once it is passed.
type EndpointSpec struct {
	// ID is for a caller that has drawn one at random already, in the form of [EndpointID]; empty: one is drawn.
	ID        EndpointID
	Name      string
	Addresses []netip.Addr // wanted addresses, at most one a subnet; a family without one gets one from the allocator
	MAC       MAC          // zero: chosen by the driver
	Aliases   []string
	Publish   []PortSpec
	Options   map[string]string // the driver's, decoded strictly by it
	Labels    map[string]string
	// Keep makes the endpoint outlive its sandbox and the boot: its addresses and MAC stay reserved for it until it is deleted.
	Keep bool
}

// Endpoint is the record of an addressable attachment of one sandbox to one network. It belongs to exactly one
// network, and to at most one sandbox (its [Join]). It is a value, treated as immutable.
type Endpoint struct {
	ID      EndpointID
	Network NetworkID
	Name    string // unique in its network without regard to case

	MAC       MAC
	Addresses []netip.Prefix // each with the length of its subnet
	Aliases   []string
	Publish   []PortSpec // what is wanted; what is bound is in the Join
	Options   map[string]string
	Labels    map[string]string
	Keep      bool

	Created time.Time
	State   State
}

// Address is the endpoint's first address of the family; invalid if it has none.
func (e *Endpoint) Address(f Family) netip.Addr {
	for _, p := range e.Addresses {
		if FamilyOf(p.Addr()) == f {
			return p.Addr()
		}
	}
	return netip.Addr{}
}

// JoinSpec is how an endpoint enters a sandbox.
type JoinSpec struct {
	Interface       string // the name in the sandbox; "" gives the first free eth0, eth1, ...
	GatewayPriority int    // of the endpoints that could, the one with the highest holds the default route; ties go to the older
	Sysctls         map[string]string
}

// AttachSpec is an endpoint created and joined in one step. A zero Endpoint.Name takes the sandbox's name.
type AttachSpec struct {
	Sandbox  SandboxID
	Network  NetworkID
	Endpoint EndpointSpec
	Join     JoinSpec
}

// Join is the record that ties an endpoint to a sandbox, from the claim (before the kernel is touched) until the link
// is out of the sandbox. It lives no longer than the boot.
type Join struct {
	Endpoint EndpointID
	Network  NetworkID
	Sandbox  SandboxID

	Interface       string // in the sandbox
	GatewayPriority int
	Sysctls         map[string]string // "net.ipv4.conf.IFNAME.key" with IFNAME literally, as Docker writes it
	// Number is 60 random bits, drawn anew for each join: names and indexes of links come from it, and so never come again.
	Number uint64
	// Default says for which families this endpoint holds the sandbox's default route.
	Default FamilySet
	Result  JoinResult
	Joined  time.Time
	State   State
}

// MAC is a 48-bit hardware address (EUI-48); the zero value means none.
type MAC [6]byte

// IsValid tells whether m is an address a single interface may have: not zero, not a group address.
func (m MAC) IsValid() bool { return m != MAC{} && m[0]&1 == 0 }

// String is the usual form, 02:42:ac:11:00:02; "" for the zero value.
func (m MAC) String() string {
	if m == (MAC{}) {
		return ""
	}
	var b [17]byte
	for i, x := range m {
		if i > 0 {
			b[3*i-1] = ':'
		}
		hex.Encode(b[3*i:], []byte{x})
	}
	return string(b[:])
}

// ParseMAC reads six hexadecimal octets separated by ':' or '-'. It refuses what no interface may have.
func ParseMAC(s string) (MAC, error) {
	var m MAC
	parts := strings.FieldsFunc(s, func(r rune) bool { return r == ':' || r == '-' })
	ok := len(parts) == len(m) && len(s) == 17
	for i, p := range parts {
		if !ok {
			break
		}
		n, err := hex.Decode(m[i:i+1], []byte(p))
		ok = err == nil && n == 1 && len(p) == 2
	}
	if !ok {
		return MAC{}, FieldErrorf(Invalid, "mac", "mac %q is not six octets; write it as 02:42:ac:11:00:02", clip(s))
	}
	if !m.IsValid() {
		return MAC{}, FieldErrorf(Invalid, "mac", "mac %s is zero or a group address; an interface needs an individual one (second digit even)", s)
	}
	return m, nil
}

// MarshalText is [MAC.String].
func (m MAC) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText is [ParseMAC]; an empty text is the zero value.
func (m *MAC) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*m = MAC{}
		return nil
	}
	var err error
	*m, err = ParseMAC(string(b))
	return err
}
