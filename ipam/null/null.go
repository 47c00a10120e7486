// SPDX-License-Identifier: Apache-2.0

// Package null is the address manager of networks without addresses of their own: those of the host and null drivers,
// and layer 2 networks whose sandboxes get their addresses elsewhere.
package null

import (
	"context"
	"maps"
	"net/netip"
	"slices"

	cnm "github.com/libnetwork/cnm"
)

var (
	_ cnm.Allocator = Allocator{}
	_ cnm.Describer = Allocator{}
	_ cnm.Decoder   = Allocator{}
)

// Allocator gives no addresses. It is a [cnm.Allocator] that keeps nothing: its zero value is ready, safe for concurrent
// use, and knows every pool. What asks for an address by name (a subnet, a range, a gateway, a reserved or a
// wanted address) is refused as [cnm.Unsupported].
type Allocator struct{}

// CreatePool answers with a handle and no prefix. The handle follows from the network and the family.
func (Allocator) CreatePool(_ context.Context, req cnm.PoolRequest) (cnm.Pool, error) {
	if err := check(req.Options); err != nil {
		return cnm.Pool{}, err
	}
	s := &req.Subnet
	switch {
	case s.Prefix != netip.Prefix{}:
		return cnm.Pool{}, unsupported("subnet", s.Prefix.String())
	case s.Range != netip.Prefix{}:
		return cnm.Pool{}, unsupported("ip-range", s.Range.String())
	case s.Gateway != netip.Addr{}:
		return cnm.Pool{}, unsupported("gateway", s.Gateway.String())
	case len(s.Reserved) > 0:
		return cnm.Pool{}, unsupported("reserve", slices.Min(slices.Collect(maps.Keys(s.Reserved))))
	case s.Pool != "":
		return cnm.Pool{ID: s.Pool}, nil
	default:
		return cnm.Pool{ID: cnm.PoolID(string(req.Network) + "/" + req.Family.String())}, nil
	}
}

// DeletePool does nothing.
func (Allocator) DeletePool(context.Context, cnm.PoolID) error { return nil }

// Allocate answers with the zero lease, which has no address; a wanted address is refused.
func (Allocator) Allocate(_ context.Context, req cnm.AddressRequest) (cnm.Lease, error) {
	if (req.Address != netip.Addr{}) {
		return cnm.Lease{}, unsupported("ip", req.Address.String())
	}
	return cnm.Lease{}, nil
}

// Release does nothing.
func (Allocator) Release(context.Context, cnm.PoolID, netip.Addr) error { return nil }

// Decode refuses all options of a network for this address manager: there are none. It implements [cnm.Decoder].
func (Allocator) Decode(nw cnm.Network, ep *cnm.Endpoint) error {
	if ep != nil {
		return nil
	}
	return check(nw.IPAMOptions)
}

// Describe says that there are no addresses and no options. It implements [cnm.Describer].
func (Allocator) Describe(context.Context) cnm.Description { return cnm.Description{} }

func check(options map[string]string) error {
	if len(options) == 0 {
		return nil
	}
	key := slices.Min(slices.Collect(maps.Keys(options)))
	return cnm.FieldErrorf(cnm.Invalid, "ipam-opt", "option %.80q is unknown to the address manager null; it has no options", key)
}

func unsupported(field, value string) error {
	return cnm.FieldErrorf(cnm.Unsupported, field, "%s %.80q needs addresses and the address manager null gives none; leave it out or use the address manager pool", field, value)
}
