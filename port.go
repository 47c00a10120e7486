// SPDX-License-Identifier: Apache-2.0

package cnm

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// Protocol is a transport protocol by its IANA number.
type Protocol uint8

// The protocols whose ports can be published.
const (
	TCP  Protocol = 6
	UDP  Protocol = 17
	SCTP Protocol = 132
)

// String is "tcp", "udp" or "sctp"; another number is written in digits.
func (p Protocol) String() string {
	switch p {
	case TCP:
		return "tcp"
	case UDP:
		return "udp"
	case SCTP:
		return "sctp"
	default:
		return strconv.Itoa(int(p))
	}
}

// ParseProtocol reads "tcp", "udp" or "sctp".
func ParseProtocol(s string) (Protocol, error) {
	for _, p := range []Protocol{TCP, UDP, SCTP} {
		if s == p.String() {
			return p, nil
		}
	}
	return 0, FieldErrorf(Invalid, "publish", "protocol %q is unknown; use tcp, udp or sctp", clip(s))
}

// MarshalText is [Protocol.String].
func (p Protocol) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText is [ParseProtocol].
func (p *Protocol) UnmarshalText(b []byte) error {
	var err error
	*p, err = ParseProtocol(string(b))
	return err
}

// PortSpec asks for one port of an endpoint to be published on the host.
type PortSpec struct {
	Proto Protocol
	// HostIP is the host's address; invalid: the network's publish address, by default 0.0.0.0 and [::].
	HostIP netip.Addr
	// HostPort to HostPortEnd (both included) is the range to take the first free port from; 0 and 0: any free one.
	HostPort, HostPortEnd uint16
	Port                  uint16 // the endpoint's own, never 0
}

// String is the specification in the form [ParsePortSpecs] reads.
func (s PortSpec) String() string {
	var b strings.Builder
	switch {
	case s.HostIP.Is6():
		fmt.Fprintf(&b, "[%s]:", s.HostIP)
	case s.HostIP.IsValid():
		fmt.Fprintf(&b, "%s:", s.HostIP)
	}
	switch {
	case s.HostPort == 0:
	case s.HostPort == s.HostPortEnd:
		fmt.Fprintf(&b, "%d:", s.HostPort)
	default:
		fmt.Fprintf(&b, "%d-%d:", s.HostPort, s.HostPortEnd)
	}
	fmt.Fprintf(&b, "%d/%s", s.Port, s.Proto)
	return b.String()
}

// Port is a published port: what is bound on the host for an endpoint.
type Port struct {
	Proto    Protocol
	HostIP   netip.Addr // 0.0.0.0 and :: are all of the host's addresses of the family
	HostPort uint16
	Port     uint16 // the endpoint's
}

// String is "0.0.0.0:8080->80/tcp".
func (p Port) String() string {
	return fmt.Sprintf("%s->%d/%s", netip.AddrPortFrom(p.HostIP, p.HostPort), p.Port, p.Proto)
}

// ParsePortSpecs reads [[HOSTIP]:][HOSTPORT[-END]:]PORT[-END][/tcp|udp|sctp], IPv6 addresses in brackets. No host
// port, or 0, asks for a free one. Two ranges of one length are matched one to one and give a specification each; a
// host range onto one port is the first free of it.
func ParsePortSpecs(s string) ([]PortSpec, error) {
	p := portParser{whole: s}
	body, proto := s, TCP
	if at := strings.LastIndexByte(s, '/'); at >= 0 {
		var err error
		if proto, err = ParseProtocol(s[at+1:]); err != nil {
			return nil, p.errorf("%w", err)
		}
		body = s[:at]
	}
	hostIP, rest, err := p.hostIP(body)
	if err != nil {
		return nil, err
	}
	host, port := "", rest
	if before, after, ok := strings.Cut(rest, ":"); ok {
		host, port = before, after
	}
	h, hEnd, err := p.span("host port", host, true)
	if err != nil {
		return nil, err
	}
	c, cEnd, err := p.span("port", port, false)
	if err != nil {
		return nil, err
	}
	return p.expand(PortSpec{Proto: proto, HostIP: hostIP, HostPort: h, HostPortEnd: hEnd, Port: c}, cEnd)
}

// portParser keeps the whole text for the errors.
type portParser struct{ whole string }

func (p portParser) errorf(format string, args ...any) error {
	why := fmt.Errorf(format, args...)
	return FieldErrorf(Invalid, "publish", "publish %q: %w; write [[HOSTIP]:][HOSTPORT[-END]:]PORT[-END][/tcp|udp|sctp]", clip(p.whole), why)
}

// hostIP cuts a leading host address off. A text without brackets has one if it holds two colons (IP:HOST:PORT), or one
// colon after something with a dot (IP:PORT).
func (p portParser) hostIP(s string) (netip.Addr, string, error) {
	text, rest := "", s
	switch {
	case strings.HasPrefix(s, "["):
		end := strings.Index(s, "]:")
		if end < 0 {
			return netip.Addr{}, "", p.errorf("no \"]:\" after the address")
		}
		text, rest = s[1:end], s[end+2:]
		if strings.IndexByte(text, ':') < 0 {
			return netip.Addr{}, "", p.errorf("%q in brackets is no IPv6 address", text)
		}
	case strings.Count(s, ":") == 2, strings.Count(s, ":") == 1 && strings.Contains(s, "."):
		text, rest, _ = strings.Cut(s, ":")
	case strings.Count(s, ":") > 2:
		return netip.Addr{}, "", p.errorf("too many colons; an IPv6 address goes in brackets")
	}
	if text == "" {
		return netip.Addr{}, rest, nil
	}
	a, err := netip.ParseAddr(text)
	if err != nil || a.Zone() != "" || a.Is4In6() {
		return netip.Addr{}, "", p.errorf("host address %q is no plain IPv4 or IPv6 address", text)
	}
	return a, rest, nil
}

// span reads N or N-M.
func (p portParser) span(what, s string, mayBeNone bool) (lo, hi uint16, err error) {
	if s == "" && mayBeNone {
		return 0, 0, nil
	}
	first, last, isRange := strings.Cut(s, "-")
	if lo, err = p.number(what, first, mayBeNone && !isRange); err != nil || !isRange {
		return lo, lo, err
	}
	if hi, err = p.number(what, last, false); err != nil {
		return 0, 0, err
	}
	if hi < lo {
		return 0, 0, p.errorf("%s range %s ends before it begins", what, s)
	}
	return lo, hi, nil
}

func (p portParser) number(what, s string, mayBeZero bool) (uint16, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || s[0] == '+' || n == 0 && !mayBeZero {
		return 0, p.errorf("%s %q is not a number from 1 to 65535", what, s)
	}
	return uint16(n), nil
}

// expand matches the two ranges.
func (p portParser) expand(first PortSpec, end uint16) ([]PortSpec, error) {
	n := int(end-first.Port) + 1
	if n == 1 {
		return []PortSpec{first}, nil
	}
	if first.HostPort != 0 && int(first.HostPortEnd-first.HostPort)+1 != n {
		return nil, p.errorf("%d host ports for %d ports; the ranges must be of one length", first.HostPortEnd-first.HostPort+1, n)
	}
	specs := make([]PortSpec, n)
	for i := range specs {
		s := first
		s.Port += uint16(i)
		if s.HostPort != 0 {
			s.HostPort += uint16(i)
			s.HostPortEnd = s.HostPort
		}
		specs[i] = s
	}
	return specs, nil
}
