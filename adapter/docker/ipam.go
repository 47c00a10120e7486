// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"context"
	"errors"
	"maps"
	"net/netip"
	"strconv"

	cnm "github.com/libnetwork/cnm"
)

// Address spaces. Docker asks for pools of the local one only, outside of a swarm.
const (
	localSpace  = "cnm"
	globalSpace = "cnm-global"
)

// Keys and values of the address manager's options.
const (
	keyAddressType = "RequestAddressType"
	typeGateway    = "com.docker.network.gateway"
	keyOverlap     = "allow-overlap"
)

type ipamCapabilities struct{ RequiresMACAddress, RequiresRequestReplay bool }

type addressSpaces struct{ LocalDefaultAddressSpace, GlobalDefaultAddressSpace string }

type poolRequest struct {
	AddressSpace, Pool, SubPool string
	Options                     map[string]string
	V6                          bool
	PoolID                      string
}

type poolAnswer struct {
	PoolID, Pool string
	Data         map[string]string
}

type addressRequest struct {
	PoolID, Address string
	Options         map[string]string
}

type addressAnswer struct {
	Address string
	Data    map[string]string
}

// requestPool makes a pool for a network of which Docker has said nothing yet.
func (p *Plugin) requestPool(ctx context.Context, r poolRequest) (any, error) {
	req, err := r.pool()
	if err != nil {
		return nil, err
	}
	made, err := p.ctl.CreatePool(ctx, ipamPool, req)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pools[made.Prefix] = made.ID
	return poolAnswer{PoolID: string(made.ID), Pool: made.Prefix.String(), Data: map[string]string{}}, nil
}

// ipamPool is our own address manager, from which all of Docker's networks have their addresses.
const ipamPool = "pool"

func (r *poolRequest) pool() (cnm.PoolRequest, error) {
	req := cnm.PoolRequest{Family: cnm.IPv4, Options: r.Options}
	if r.V6 {
		req.Family = cnm.IPv6
	}
	if r.AddressSpace != localSpace && r.AddressSpace != "" {
		return req, cnm.FieldErrorf(cnm.Invalid, "AddressSpace", "address space %.80q is not ours; it is %s", r.AddressSpace, localSpace)
	}
	for _, f := range []struct {
		what, text string
		into       *netip.Prefix
	}{{"subnet", r.Pool, &req.Subnet.Prefix}, {"ip-range", r.SubPool, &req.Subnet.Range}} {
		if f.text == "" {
			continue
		}
		prefix, err := netip.ParsePrefix(f.text)
		if err != nil || cnm.FamilyOf(prefix.Addr()) != req.Family {
			return req, cnm.FieldErrorf(cnm.Invalid, f.what, "%s %.80q is no %s prefix", f.what, f.text, req.Family)
		}
		*f.into = prefix.Masked()
	}
	if text, ok := r.Options[keyOverlap]; ok {
		overlap, err := strconv.ParseBool(text)
		if err != nil {
			return req, cnm.FieldErrorf(cnm.Invalid, "ipam-opt", "option %s: %.80q is not true or false", keyOverlap, text)
		}
		req.Overlap, req.Options = overlap, maps.Clone(r.Options)
		delete(req.Options, keyOverlap)
	}
	return req, nil
}

// releasePool gives a pool back that no network has taken. Docker says so of every pool before it removes the network.
func (p *Plugin) releasePool(ctx context.Context, r poolRequest) (any, error) {
	p.mu.Lock()
	maps.DeleteFunc(p.pools, func(_ netip.Prefix, id cnm.PoolID) bool { return string(id) == r.PoolID })
	p.mu.Unlock()
	return nothing{}, p.ctl.DeletePool(ctx, cnm.PoolID(r.PoolID))
}

// requestAddress takes an address: the gateway and reserved ones before there is a network, those of containers after.
func (p *Plugin) requestAddress(ctx context.Context, r addressRequest) (any, error) {
	req := cnm.AddressRequest{Pool: cnm.PoolID(r.PoolID)}
	if r.Address != "" {
		a, err := netip.ParseAddr(r.Address)
		if err != nil || a.Zone() != "" || a.Is4In6() {
			return nil, cnm.FieldErrorf(cnm.Invalid, "ip", "address %.80q is no plain address", r.Address)
		}
		req.Address = a
	}
	waits := p.waitsForNetwork(req.Pool)
	switch {
	case r.Options[keyAddressType] == typeGateway:
		req.Purpose = cnm.ForGateway
	case waits && r.Address != "":
		req.Purpose = cnm.ForReserved
	case waits:
		return nil, cnm.FieldErrorf(cnm.Unsupported, "ipam-driver", "pool %s is of no network of ours; use this address manager with its own driver", r.PoolID)
	}
	if text := r.Options[keyMAC]; text != "" {
		mac, err := cnm.ParseMAC(text)
		if err != nil {
			return nil, err
		}
		req.MAC = mac
	}
	lease, err := p.ctl.AllocateAddress(ctx, req)
	if err != nil {
		return nil, err
	}
	return addressAnswer{Address: lease.Address.String(), Data: map[string]string{}}, nil
}

// waitsForNetwork tells whether a pool was asked for and no network has taken it yet.
func (p *Plugin) waitsForNetwork(id cnm.PoolID) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, waiting := range p.pools {
		if waiting == id {
			return true
		}
	}
	return false
}

func (p *Plugin) releaseAddress(ctx context.Context, r addressRequest) (any, error) {
	a, err := netip.ParseAddr(r.Address)
	if err != nil {
		return nil, cnm.FieldErrorf(cnm.Invalid, "ip", "address %.80q is no address", r.Address)
	}
	return nothing{}, p.ctl.ReleaseAddress(ctx, cnm.PoolID(r.PoolID), a)
}

// createWithPools makes a network of the pools that Docker asked for. If they are not there any more, since we were restarted in
// between, it is made as if they never had been.
func (p *Plugin) createWithPools(ctx context.Context, spec cnm.NetworkSpec, ours []bool) error {
	p.mu.Lock()
	for i := range spec.Subnets {
		if ours[i] {
			spec.Subnets[i].Pool = p.pools[spec.Subnets[i].Prefix]
		}
	}
	p.mu.Unlock()
	made, err := p.ctl.CreateNetwork(ctx, spec)
	if e, ok := errors.AsType[*cnm.Error](err); ok && e.Kind == cnm.NotFound && e.Field == "pool" {
		for i := range spec.Subnets {
			spec.Subnets[i].Pool = ""
		}
		made, err = p.ctl.CreateNetwork(ctx, spec)
	}
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range made.Subnets {
		delete(p.pools, s.Prefix)
	}
	return nil
}
