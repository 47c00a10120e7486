// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"context"
	"errors"
	"net/netip"
	"slices"

	cnm "github.com/libnetwork/cnm"
)

func (p *Plugin) createNetwork(ctx context.Context, r networkRequest) (any, error) {
	spec, ours, err := networkSpec(&r)
	if err != nil {
		return nil, err
	}
	if have, err := p.ctl.LookupNetwork(string(spec.ID)); err == nil {
		return nothing{}, sameNetwork(&have, &spec)
	}
	return nothing{}, p.createWithPools(ctx, spec, ours)
}

// sameNetwork lets Docker ask again for what it has, and for nothing else by the same identifier.
func sameNetwork(have *cnm.Network, want *cnm.NetworkSpec) error {
	same := have.State == cnm.Ready && len(have.Subnets) == len(want.Subnets)
	for _, s := range want.Subnets {
		same = same && slices.ContainsFunc(have.Subnets, func(h cnm.Subnet) bool { return h.Prefix == s.Prefix && h.Gateway == s.Gateway })
	}
	if !same {
		return cnm.FieldErrorf(cnm.Exists, "NetworkID", "network %s exists with other subnets; remove it with: cnm network rm --force %s", have.ID, have.ID)
	}
	return nil
}

func (p *Plugin) deleteNetwork(ctx context.Context, r networkRequest) (any, error) {
	id, err := networkID(r.NetworkID)
	if err != nil {
		return nil, err
	}
	// Docker removes no network that is in use: what is left on it was forgotten.
	err = p.ctl.DeleteNetwork(ctx, id, true)
	if errors.Is(err, cnm.NotFound) {
		err = nil
	}
	return nothing{}, err
}

// allocateNetwork is asked for networks of a whole swarm only.
func (p *Plugin) allocateNetwork(context.Context, networkRequest) (any, error) {
	return nil, cnm.Errorf(cnm.Unsupported, "networks of a whole swarm are not supported; make one on each host")
}

// networkSpec is Docker's network as a controller takes it. ours tells of each subnet whether it is of a pool that Docker asked us for.
func networkSpec(r *networkRequest) (spec cnm.NetworkSpec, ours []bool, err error) {
	id, err := networkID(r.NetworkID)
	if err != nil {
		return cnm.NetworkSpec{}, nil, err
	}
	spec = cnm.NetworkSpec{
		ID: id, Name: "docker-" + r.NetworkID[:nameDigits], Driver: "bridge", IPAM: ipamPool,
		Labels: map[string]string{labelNetwork: r.NetworkID},
	}
	if err := decodeNetworkOptions(r.Options, &spec); err != nil {
		return cnm.NetworkSpec{}, nil, err
	}
	for _, f := range []struct {
		on    **bool
		pools []pool
		what  cnm.Family
	}{{&spec.IPv4, r.IPv4Data, cnm.IPv4}, {&spec.IPv6, r.IPv6Data, cnm.IPv6}} {
		if *f.on != nil && **f.on && len(f.pools) == 0 {
			return cnm.NetworkSpec{}, nil, cnm.FieldErrorf(cnm.Invalid, "subnet", "%s is on and no %s pool is given", f.what, f.what)
		}
		on := len(f.pools) > 0 && (*f.on == nil || **f.on)
		*f.on = &on
		if !on {
			continue
		}
		for _, pl := range f.pools {
			s, err := pl.subnet(f.what)
			if err != nil {
				return cnm.NetworkSpec{}, nil, err
			}
			spec.Subnets, ours = append(spec.Subnets, s), append(ours, pl.AddressSpace == localSpace)
		}
	}
	return spec, ours, nil
}

// subnet is one of Docker's pools.
func (pl *pool) subnet(f cnm.Family) (cnm.Subnet, error) {
	prefix, err := netip.ParsePrefix(pl.Pool)
	if err != nil || cnm.FamilyOf(prefix.Addr()) != f {
		return cnm.Subnet{}, cnm.FieldErrorf(cnm.Invalid, "subnet", "pool %.80q is no %s prefix", pl.Pool, f)
	}
	if prefix.Bits() == 0 {
		return cnm.Subnet{}, cnm.FieldErrorf(cnm.Unsupported, "subnet", "a network without addresses is not supported; leave --ipam-driver null out")
	}
	s := cnm.Subnet{Prefix: prefix.Masked()}
	if pl.Gateway != "" {
		if s.Gateway, err = addressIn("gateway", pl.Gateway, s.Prefix); err != nil {
			return cnm.Subnet{}, err
		}
	}
	for name, text := range pl.AuxAddresses {
		a, err := addressIn("aux-address", text, s.Prefix)
		if err != nil {
			return cnm.Subnet{}, err
		}
		if err := cnm.CheckName("aux-address", name); err != nil {
			return cnm.Subnet{}, err
		}
		if s.Reserved == nil {
			s.Reserved = map[string]netip.Addr{}
		}
		s.Reserved[name] = a
	}
	return s, nil
}

// addressIn reads an address of a pool, which Docker writes with the pool's length.
func addressIn(what, text string, in netip.Prefix) (netip.Addr, error) {
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return netip.Addr{}, cnm.FieldErrorf(cnm.Invalid, what, "%s %.80q is no address with the length of its subnet", what, text)
	}
	if !in.Contains(p.Addr()) {
		return netip.Addr{}, cnm.FieldErrorf(cnm.Invalid, what, "%s %s is outside subnet %s", what, p.Addr(), in)
	}
	return p.Addr(), nil
}
