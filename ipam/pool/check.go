// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	cnm "github.com/libnetwork/cnm"
)

// The inputs that errors name, in the words of the command line.
const (
	fieldSubnet  = "subnet"
	fieldGateway = "gateway"
	fieldRange   = "ip-range"
	fieldReserve = "reserve"
	fieldAddress = "ip"
	fieldOptions = "ipam-opt"
)

// checkRequest checks all of a request that can be checked without looking at anything else.
func checkRequest(req *cnm.PoolRequest, o options) error {
	if req.Family != cnm.IPv4 && req.Family != cnm.IPv6 {
		return cnm.Errorf(cnm.Invalid, "family %d is neither IPv4 (4) nor IPv6 (6)", uint8(req.Family))
	}
	s := &req.Subnet
	if !s.Prefix.IsValid() {
		return checkOpen(s)
	}
	if cnm.FamilyOf(s.Prefix.Addr()) != req.Family {
		return cnm.FieldErrorf(cnm.Invalid, fieldSubnet, "subnet %s is not of the family %s", s.Prefix, req.Family)
	}
	if size := o.size(req.Family); size != 0 && s.Pool == "" {
		return cnm.FieldErrorf(cnm.Invalid, fieldOptions, "option %s is for a subnet that is chosen, and %s is given; leave one of them out", sizeKey(req.Family), s.Prefix)
	}
	if err := checkPrefix(fieldSubnet, "subnet", s.Prefix); err != nil {
		return err
	}
	if err := checkRange(s); err != nil {
		return err
	}
	if s.Gateway != (netip.Addr{}) {
		if err := checkUsable(fieldGateway, "gateway", s.Gateway, s.Prefix); err != nil {
			return err
		}
	}
	return checkReserved(s)
}

// checkOpen checks a subnet whose prefix is to be chosen: what depends on the prefix cannot be given.
func checkOpen(s *cnm.Subnet) error {
	needs := func(field, what string) error {
		return cnm.FieldErrorf(cnm.Invalid, field, "%s is given but no subnet it is in; add --subnet", what)
	}
	switch {
	case s.Prefix != (netip.Prefix{}):
		return cnm.FieldErrorf(cnm.Invalid, fieldSubnet, "subnet has no valid prefix length; write it as 10.0.0.0/24")
	case s.Pool != "":
		return cnm.FieldErrorf(cnm.Invalid, fieldSubnet, "recorded pool %.80q has no subnet; delete its network and make it anew", s.Pool)
	case s.Range != (netip.Prefix{}):
		return needs(fieldRange, "ip-range "+s.Range.String())
	case s.Gateway != (netip.Addr{}):
		return needs(fieldGateway, "gateway "+s.Gateway.String())
	case len(s.Reserved) > 0:
		return needs(fieldReserve, fmt.Sprintf("reserve %.80q", slices.Min(slices.Collect(maps.Keys(s.Reserved)))))
	default:
		return nil
	}
}

// checkPrefix is an error unless p, which is valid, is masked and its addresses are for interfaces. what is how the error calls
// p; field may be empty.
func checkPrefix(field, what string, p netip.Prefix) error {
	switch {
	case p.Addr().Is4In6():
		return cnm.FieldErrorf(cnm.Invalid, field, "%s %s is IPv4-mapped; write it as IPv4", what, p)
	case p.Bits() == 0:
		return cnm.FieldErrorf(cnm.Invalid, field, "%s %s is the whole address space; choose a longer prefix", what, p)
	case p != p.Masked():
		return cnm.FieldErrorf(cnm.Invalid, field, "%s %s has bits set beyond its length; write %s", what, p, p.Masked())
	}
	for _, s := range specials() {
		if p.Overlaps(s.Prefix) {
			return cnm.FieldErrorf(cnm.Invalid, field, "%s %s overlaps %s, which is %s; choose another one", what, p, s.Prefix, s.What)
		}
	}
	return nil
}

// specials are the blocks no subnet can be in.
func specials() []Used {
	return []Used{
		{Prefix: netip.MustParsePrefix("0.0.0.0/8"), What: "for \"this host\""},
		{Prefix: netip.MustParsePrefix("127.0.0.0/8"), What: "loopback"},
		{Prefix: netip.MustParsePrefix("169.254.0.0/16"), What: "link-local"},
		{Prefix: netip.MustParsePrefix("224.0.0.0/4"), What: "multicast"},
		{Prefix: netip.MustParsePrefix("255.255.255.255/32"), What: "the broadcast address"},
		{Prefix: netip.MustParsePrefix("::/128"), What: "the unspecified address"},
		{Prefix: netip.MustParsePrefix("::1/128"), What: "loopback"},
		{Prefix: netip.MustParsePrefix("fe80::/10"), What: "link-local"},
		{Prefix: netip.MustParsePrefix("ff00::/8"), What: "multicast"},
	}
}

func checkRange(s *cnm.Subnet) error {
	r := s.Range
	bad := func(why string) error {
		return cnm.FieldErrorf(cnm.Invalid, fieldRange, "ip-range %s %s", r, why)
	}
	switch {
	case r == netip.Prefix{}:
		return nil
	case !r.IsValid():
		return bad("has no valid prefix length; write it as 10.0.0.128/25")
	case r.Bits() < s.Prefix.Bits() || !s.Prefix.Contains(r.Addr()):
		return bad("is not inside subnet " + s.Prefix.String())
	case r != r.Masked():
		return bad("has bits set beyond its length; write " + r.Masked().String())
	}
	if first, last := automatic(s.Prefix, r); last.less(first) {
		return bad("holds no address of subnet " + s.Prefix.String() + " that can be given out; choose a wider one")
	}
	return nil
}

// checkReserved goes through the names in order, so that the same request always has the same error.
func checkReserved(s *cnm.Subnet) error {
	owner := map[netip.Addr]string{}
	for _, name := range slices.Sorted(maps.Keys(s.Reserved)) {
		a := s.Reserved[name]
		if err := cnm.CheckName(fieldReserve, name); err != nil {
			return err
		}
		if !a.IsValid() {
			return cnm.FieldErrorf(cnm.Invalid, fieldReserve, "reserve %q has no address; write it as %s=ADDRESS", name, name)
		}
		if err := checkUsable(fieldReserve, "reserve "+name, a, s.Prefix); err != nil {
			return err
		}
		if a == s.Gateway {
			return cnm.FieldErrorf(cnm.Invalid, fieldReserve, "reserve %s %s is the gateway of subnet %s; choose another address for one of them", name, a, s.Prefix)
		}
		if other, ok := owner[a]; ok {
			return cnm.FieldErrorf(cnm.Invalid, fieldReserve, "reserve %s %s is reserved for %s already; leave one of them out", name, a, other)
		}
		owner[a] = name
	}
	return nil
}
