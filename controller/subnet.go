// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"errors"
	"maps"
	"net/netip"
	"slices"
	"strconv"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/internal/undo"
)

// planFamilies checks families, subnets and the address manager against each other and against the driver.
func (c *Controller) planFamilies(nw *cnm.Network, d cnm.Description) error {
	if !d.Addresses {
		return planNoAddresses(nw)
	}
	if nw.IPAM == "" {
		nw.IPAM = "pool"
	}
	if _, err := c.allocator(nw.IPAM); err != nil {
		return err
	}
	if !nw.IPv4 && !nw.IPv6 {
		return cnm.FieldErrorf(cnm.Invalid, "ipv4", "network %q has neither IPv4 nor IPv6; leave one on", nw.Name)
	}
	on := cnm.FamilySet{IPv4: nw.IPv4, IPv6: nw.IPv6}
	has := cnm.FamilySet{}
	for i, s := range nw.Subnets {
		if !s.Prefix.IsValid() {
			return cnm.FieldErrorf(cnm.Invalid, "subnet", "a subnet has no prefix; write it as 10.1.0.0/24 or fd00:1::/64")
		}
		if s.Prefix.Bits() == 0 {
			return cnm.FieldErrorf(cnm.Invalid, "subnet", "subnet %s is the whole address space; choose a longer prefix, as 10.1.0.0/24 or fd00:1::/64", s.Prefix)
		}
		for _, other := range nw.Subnets[:i] {
			if other.Prefix.Overlaps(s.Prefix) {
				return cnm.FieldErrorf(cnm.Invalid, "subnet", "subnet %s overlaps subnet %s of the same network; leave one of them out", s.Prefix, other.Prefix)
			}
		}
		f := cnm.FamilyOf(s.Prefix.Addr())
		if !on.Has(f) {
			return cnm.FieldErrorf(cnm.Invalid, "subnet", "subnet %s is %s, which is off for this network", s.Prefix, f)
		}
		has.IPv4, has.IPv6 = has.IPv4 || f == cnm.IPv4, has.IPv6 || f == cnm.IPv6
	}
	nw.Subnets = slices.Clone(nw.Subnets)
	for _, f := range cnm.Families() {
		if on.Has(f) && !has.Has(f) {
			nw.Subnets = append(nw.Subnets, cnm.Subnet{Prefix: anyOf(f)})
		}
	}
	return nil
}

// planNoAddresses is for drivers whose networks have no subnets.
func planNoAddresses(nw *cnm.Network) error {
	if len(nw.Subnets) > 0 {
		return cnm.FieldErrorf(cnm.Invalid, "subnet", "driver %s gives no addresses; leave the subnets out", nw.Driver)
	}
	if nw.IPAM != "" && nw.IPAM != "null" {
		return cnm.FieldErrorf(cnm.Invalid, "ipam-driver", "driver %s gives no addresses; leave the address manager out", nw.Driver)
	}
	if nw.Internal || nw.IsolateEndpoints {
		return cnm.FieldErrorf(cnm.Unsupported, "internal", "driver %s isolates nothing; leave internal and isolate-endpoints out", nw.Driver)
	}
	nw.IPAM = "null"
	return nil
}

// anyOf stands for "choose a prefix of this family" in a plan: a prefix no subnet can have.
func anyOf(f cnm.Family) netip.Prefix {
	if f == cnm.IPv4 {
		return netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	}
	return netip.PrefixFrom(netip.IPv6Unspecified(), 0)
}

// allocateSubnets makes a pool for each subnet and takes its gateway and reserved addresses out of it.
func (c *Controller) allocateSubnets(ctx context.Context, u *undo.Stack, nw cnm.Network) ([]cnm.Subnet, error) {
	if len(nw.Subnets) == 0 {
		return nil, nil
	}
	a, err := c.allocator(nw.IPAM)
	if err != nil {
		return nil, err
	}
	done := make([]cnm.Subnet, len(nw.Subnets))
	for i, s := range nw.Subnets {
		f := cnm.FamilyOf(s.Prefix.Addr())
		if s.Prefix == anyOf(f) {
			s.Prefix = netip.Prefix{}
		}
		if s.Pool != "" {
			if done[i], err = c.takePool(ctx, u, nw.IPAM, a, s); err != nil {
				return nil, err
			}
			continue
		}
		p, err := a.CreatePool(ctx, cnm.PoolRequest{
			Network: nw.ID, Family: f, Subnet: s, Options: nw.IPAMOptions,
			Overlap: nw.Options["allow-overlap"] == "true", Link: nw.Options["adopt"],
		})
		if err != nil {
			return nil, c.nameOverlap(ctx, s.Prefix, err)
		}
		u.Push("delete the pool", func(ctx context.Context) error { return a.DeletePool(ctx, p.ID) })
		if !p.Prefix.IsValid() {
			return nil, cnm.FieldErrorf(cnm.Invalid, "ipam-driver", "ipam-driver %s gives no addresses, and driver %s needs them; leave it out", nw.IPAM, nw.Driver)
		}
		s.Pool, s.Prefix, s.Range = p.ID, p.Prefix, p.Range
		if done[i], err = c.takeFixed(ctx, a, s, false); err != nil {
			return nil, err
		}
	}
	return done, nil
}

// nameOverlap names the network whose subnet is in the way: an allocator knows its identifier only.
func (c *Controller) nameOverlap(ctx context.Context, p netip.Prefix, err error) error {
	if !errors.Is(err, cnm.Exists) {
		return err
	}
	for _, nw := range c.Records(ctx).Networks {
		for _, s := range nw.Subnets {
			if s.Prefix.Overlaps(p) {
				return cnm.FieldErrorf(cnm.Exists, "subnet", "subnet %s overlaps subnet %s of network %q; choose another subnet or --opt allow-overlap=true", p, s.Prefix, nw.Name)
			}
		}
	}
	return err
}

// takeFixed takes a subnet's gateway and reserved addresses.
func (c *Controller) takeFixed(ctx context.Context, a cnm.Allocator, s cnm.Subnet, replay bool) (cnm.Subnet, error) {
	if !replay || s.Gateway.IsValid() {
		l, err := a.Allocate(ctx, cnm.AddressRequest{Pool: s.Pool, Address: s.Gateway, Purpose: cnm.ForGateway, Replay: replay})
		if err != nil {
			return s, err
		}
		s.Gateway = l.Address.Addr()
	}
	for _, name := range sortedKeys(s.Reserved) {
		if _, err := a.Allocate(ctx, cnm.AddressRequest{Pool: s.Pool, Address: s.Reserved[name], Purpose: cnm.ForReserved, Replay: replay}); err != nil {
			return s, err
		}
	}
	return s, nil
}

// releaseSubnets gives a network's pools back.
func (c *Controller) releaseSubnets(ctx context.Context, nw cnm.Network) error {
	if len(nw.Subnets) == 0 {
		return nil
	}
	a, err := c.allocator(nw.IPAM)
	if err != nil {
		return err
	}
	var errs []error
	for _, s := range nw.Subnets {
		if s.Pool != "" {
			errs = append(errs, a.DeletePool(ctx, s.Pool))
			c.ahead.mu.Lock()
			c.ahead.forget(s.Pool)
			c.ahead.mu.Unlock()
		}
	}
	return errors.Join(errs...)
}

// allocateAddresses takes the wanted addresses of a new endpoint, and one in each family of the network that has none
// wanted, from the first subnet of the family that is not exhausted.
func (c *Controller) allocateAddresses(ctx context.Context, u *undo.Stack, nw cnm.Network, ep cnm.Endpoint, wanted []netip.Addr) ([]netip.Prefix, error) {
	if len(nw.Subnets) == 0 {
		return nil, nil
	}
	a, err := c.allocator(nw.IPAM)
	if err != nil {
		return nil, err
	}
	var got []netip.Prefix
	take := func(s cnm.Subnet, want netip.Addr) error {
		if want.IsValid() && c.takeLease(u, s.Pool, want, ep.ID) {
			got = append(got, netip.PrefixFrom(want, s.Prefix.Bits()))
			return nil
		}
		l, err := a.Allocate(ctx, cnm.AddressRequest{Pool: s.Pool, Address: want, Owner: ep.ID, MAC: ep.MAC})
		if err != nil {
			return c.nameTaker(nw, s, want, err)
		}
		u.Push("release the address", func(ctx context.Context) error { return a.Release(ctx, s.Pool, l.Address.Addr()) })
		if l.Address.IsValid() {
			got = append(got, l.Address)
		}
		return nil
	}
	for _, f := range cnm.Families() {
		asked := false
		for _, w := range wanted {
			if cnm.FamilyOf(w) == f {
				asked = true
				s, _ := nw.SubnetOf(w) // checked by planEndpoint
				if err := take(s, w); err != nil {
					return nil, err
				}
			}
		}
		if !asked {
			if err := takeFirst(nw, f, take); err != nil {
				return nil, err
			}
		}
	}
	return got, nil
}

// nameTaker names who has an address, or the network that has none left: an allocator knows their identifiers only.
func (c *Controller) nameTaker(nw cnm.Network, s cnm.Subnet, want netip.Addr, err error) error {
	switch {
	case errors.Is(err, cnm.Exhausted):
		return cnm.FieldErrorf(cnm.Exhausted, "ip", "subnet %s of network %q has no free address; delete endpoints, or use a network with more addresses", s.Prefix, nw.Name)
	case errors.Is(err, cnm.Exists):
		for _, ep := range c.table.endpointsOf(nw.ID) {
			if ep.Address(cnm.FamilyOf(want)) == want {
				return cnm.FieldErrorf(cnm.Exists, "ip", "ip %s is that of endpoint %s/%s; choose another one", want, nw.Name, ep.Name)
			}
		}
	}
	return err
}

// takeFirst takes an automatic address from the first subnet of a family that has one left.
func takeFirst(nw cnm.Network, f cnm.Family, take func(cnm.Subnet, netip.Addr) error) error {
	var full error
	for _, s := range nw.Subnets {
		if cnm.FamilyOf(s.Prefix.Addr()) != f {
			continue
		}
		err := take(s, netip.Addr{})
		if !errors.Is(err, cnm.Exhausted) {
			return err
		}
		full = err
	}
	return full
}

// releaseAddresses gives an endpoint's addresses back.
func (c *Controller) releaseAddresses(ctx context.Context, nw cnm.Network, ep cnm.Endpoint) error {
	if len(ep.Addresses) == 0 {
		return nil
	}
	a, err := c.allocator(nw.IPAM)
	if err != nil {
		return err
	}
	var errs []error
	for _, p := range ep.Addresses {
		if s, ok := nw.SubnetOf(p.Addr()); ok && !c.returnLease(s.Pool, p.Addr()) {
			errs = append(errs, a.Release(ctx, s.Pool, p.Addr()))
		}
	}
	return errors.Join(errs...)
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

func itoa(n int) string { return strconv.Itoa(n) }
