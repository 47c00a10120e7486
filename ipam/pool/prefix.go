// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"net/netip"

	cnm "github.com/libnetwork/cnm"
)

// lastOf is the last address of a masked prefix.
func lastOf(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < 8*len(b); i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// usable are the first and the last address of p that an interface may have. An IPv4 prefix shorter than /31 keeps its
// network and its broadcast address (RFC 3021), an IPv6 one shorter than /127 its subnet-router anycast address (RFC 6164).
func usable(p netip.Prefix) (first, last number) {
	first, last = numberOf(p.Addr()), numberOf(lastOf(p))
	switch {
	case p.Addr().Is4() && p.Bits() < 31:
		return first.next(), last.previous()
	case p.Addr().Is6() && p.Bits() < 127:
		return first.next(), last
	default:
		return first, last
	}
}

// automatic are the first and the last usable address of p that lie in within, which is inside p or invalid. There is
// none if last is less than first.
func automatic(p, within netip.Prefix) (first, last number) {
	first, last = usable(p)
	if !within.IsValid() {
		return first, last
	}
	if lo := numberOf(within.Addr()); first.less(lo) {
		first = lo
	}
	if hi := numberOf(lastOf(within)); hi.less(last) {
		last = hi
	}
	return first, last
}

// checkUsable is an error unless a is an address of p that an interface may have. what is how the error calls a:
// "address", "gateway".
func checkUsable(field, what string, a netip.Addr, p netip.Prefix) error {
	bad := func(why string) error {
		first, last := usable(p)
		return cnm.FieldErrorf(cnm.Invalid, field, "%s %s is %s subnet %s; choose one from %s to %s", what, a, why, p, first.addr(p), last.addr(p))
	}
	if !p.Contains(a) { // an address with a zone, or an IPv4-mapped one, is in no prefix
		return bad("outside")
	}
	n := numberOf(a)
	switch first, last := usable(p); {
	case n.less(first) && a.Is4():
		return bad("the network address of")
	case n.less(first):
		return bad("the subnet-router anycast address of")
	case last.less(n):
		return bad("the broadcast address of")
	default:
		return nil
	}
}
