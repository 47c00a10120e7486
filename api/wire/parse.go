// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"net/netip"

	cnm "github.com/libnetwork/cnm"
)

// ParseAddr reads a plain IPv4 or IPv6 address, without a zone. field is the input it belongs to, for the error.
func ParseAddr(field, text string) (netip.Addr, error) {
	a, err := netip.ParseAddr(text)
	if err != nil || a.Zone() != "" || a.Is4In6() {
		return netip.Addr{}, cnm.FieldErrorf(cnm.Invalid, field, "%s %q is no plain IPv4 or IPv6 address; write it as 10.0.0.2 or fd00::2", field, clip(text))
	}
	return a, nil
}

// ParsePrefix reads ADDRESS/BITS without host bits. field is the input it belongs to, for the error.
func ParsePrefix(field, text string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(text)
	if err != nil || p.Addr().Is4In6() {
		return netip.Prefix{}, cnm.FieldErrorf(cnm.Invalid, field, "%s %q is no prefix; write it as 10.0.0.0/24 or fd00::/64", field, clip(text))
	}
	if p != p.Masked() {
		return netip.Prefix{}, cnm.FieldErrorf(cnm.Invalid, field, "%s %s has host bits set; write %s", field, p, p.Masked())
	}
	return p, nil
}

// ParsePorts reads published ports in their grammar, [cnm.ParsePortSpecs].
func ParsePorts(texts []string) ([]cnm.PortSpec, error) {
	var out []cnm.PortSpec
	for _, text := range texts {
		specs, err := cnm.ParsePortSpecs(text)
		if err != nil {
			return nil, err
		}
		out = append(out, specs...)
	}
	return out, nil
}

func addrs(field string, texts []string) ([]netip.Addr, error) {
	var out []netip.Addr
	for _, text := range texts {
		a, err := ParseAddr(field, text)
		if err != nil {
			return nil, err
		}
		out = append(out, a)
	}
	return out, nil
}

// list is s, never nil.
func list[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}

// dict is m, never nil.
func dict[V any](m map[string]V) map[string]V {
	if m == nil {
		return map[string]V{}
	}
	return m
}

// clip bounds what an error quotes of the input.
func clip(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	return s[:most] + "..."
}
