// SPDX-License-Identifier: Apache-2.0

package controller_test

import (
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/controller"
	"github.com/libnetwork/cnm/kernel/kerneltest"
)

func address(s string) netip.Addr { return netip.MustParseAddr(s) }

// ahead makes a pool that waits for its network, with its gateway.
func (r *rig) ahead(subnet string) (cnm.Pool, cnm.Subnet) {
	r.t.Helper()
	p, err := r.CreatePool(r.t.Context(), "pool", cnm.PoolRequest{Family: cnm.FamilyOf(prefix(subnet).Addr()), Subnet: cnm.Subnet{Prefix: prefix(subnet)}})
	r.ok(err)
	l, err := r.AllocateAddress(r.t.Context(), cnm.AddressRequest{Pool: p.ID, Purpose: cnm.ForGateway})
	r.ok(err)
	return p, cnm.Subnet{Prefix: p.Prefix, Pool: p.ID, Gateway: l.Address.Addr()}
}

func only4(subnets ...cnm.Subnet) func(*cnm.NetworkSpec) {
	return func(s *cnm.NetworkSpec) { s.IPv6, s.Subnets = new(bool), subnets }
}

// TestPoolBeforeNetwork has pools and addresses asked for ahead, taken, not taken, and given back.
func TestPoolBeforeNetwork(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		r := newRig(t)
		ctx := t.Context()
		p, s := r.ahead("10.20.0.0/24")
		_, err := r.CreatePool(ctx, "pool", cnm.PoolRequest{Family: cnm.IPv4, Subnet: cnm.Subnet{Prefix: prefix("10.20.0.0/25")}})
		r.is(err, cnm.Exists)
		_, err = r.CreatePool(ctx, "nobody", cnm.PoolRequest{Family: cnm.IPv4})
		r.is(err, cnm.NotFound)
		_, err = r.AllocateAddress(ctx, cnm.AddressRequest{Pool: p.ID})
		r.is(err, cnm.Invalid)
		_, err = r.AllocateAddress(ctx, cnm.AddressRequest{Pool: p.ID, Address: address("10.20.0.9"), Purpose: cnm.ForReserved})
		r.ok(err)
		s.Reserved = map[string]netip.Addr{"printer": address("10.20.0.9"), "router": address("10.20.0.8")}
		// A network that fails leaves the pool with what was taken of it, and nothing more.
		spec := cnm.NetworkSpec{Name: "red", Options: map[string]string{"bridge": "lan0"}}
		only4(s)(&spec)
		_, err = r.CreateNetwork(ctx, spec)
		r.is(err, cnm.Exists)
		_, err = r.AllocateAddress(ctx, cnm.AddressRequest{Pool: p.ID, Address: address("10.20.0.8"), Purpose: cnm.ForReserved})
		r.ok(err)
		r.ok(r.ReleaseAddress(ctx, p.ID, address("10.20.0.8")))
		red := r.network("red", only4(s))
		if red.Subnets[0].Pool != p.ID || red.Subnets[0].Gateway != s.Gateway {
			t.Errorf("the network has %+v, want %+v", red.Subnets[0], s)
		}
		spec = cnm.NetworkSpec{Name: "blue"}
		only4(s)(&spec)
		_, err = r.CreateNetwork(ctx, spec)
		r.is(err, cnm.NotFound)
		// What is the network's now is not given back but with it.
		r.ok(r.ReleaseAddress(ctx, p.ID, s.Gateway))
		r.ok(r.DeletePool(ctx, p.ID))
		r.restart()
		ep, err := r.CreateEndpoint(ctx, red.ID, cnm.EndpointSpec{Name: "web"})
		r.ok(err)
		if ep.Addresses[0] != prefix("10.20.0.2/24") {
			t.Errorf("the first address is %s", ep.Addresses[0])
		}
		r.ok(r.DeleteNetwork(ctx, red.ID, true))
		p, _ = r.ahead("10.20.0.0/24")
		r.ok(r.DeletePool(ctx, p.ID))
		r.ok(r.DeletePool(ctx, p.ID))
		r.check()
	})
}

// TestAddressBeforeEndpoint keeps an address until whoever took it ahead gives it back.
func TestAddressBeforeEndpoint(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		r := newRig(t)
		ctx := t.Context()
		red := r.network("red", only4(cnm.Subnet{Prefix: prefix("10.20.0.0/24")}))
		id := red.Subnets[0].Pool
		l, err := r.AllocateAddress(ctx, cnm.AddressRequest{Pool: id})
		r.ok(err)
		want := cnm.EndpointSpec{Name: "web", Addresses: []netip.Addr{l.Address.Addr()}, MAC: cnm.MAC{2, 1}}
		other, err := r.CreateEndpoint(ctx, red.ID, cnm.EndpointSpec{Name: "other", MAC: want.MAC})
		r.ok(err)
		_, err = r.CreateEndpoint(ctx, red.ID, want) // its MAC is another's
		r.is(err, cnm.Exists)
		want.MAC = cnm.MAC{}
		ep, err := r.CreateEndpoint(ctx, red.ID, want)
		r.ok(err)
		if ep.Addresses[0] != l.Address {
			t.Errorf("the endpoint has %s, want %s", ep.Addresses[0], l.Address)
		}
		want.Name = "again"
		_, err = r.CreateEndpoint(ctx, red.ID, want)
		r.is(err, cnm.Exists)
		r.check()
		r.ok(r.DeleteEndpoint(ctx, ep.ID, false))
		_, err = r.AllocateAddress(ctx, cnm.AddressRequest{Pool: id, Address: l.Address.Addr()})
		r.is(err, cnm.Exists)
		r.ok(r.ReleaseAddress(ctx, id, l.Address.Addr()))
		r.ok(r.ReleaseAddress(ctx, id, l.Address.Addr()))
		r.ok(r.ReleaseAddress(ctx, id, other.Addresses[0].Addr())) // an endpoint's own
		_, err = r.AllocateAddress(ctx, cnm.AddressRequest{Pool: id, Address: other.Addresses[0].Addr()})
		r.is(err, cnm.Exists)
		_, err = r.CreateEndpoint(ctx, red.ID, want)
		r.ok(err)
		r.check()
	})
}

// TestForgottenReserves gives back what nobody took.
func TestForgottenReserves(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		r := newRig(t)
		ctx := t.Context()
		var later atomic.Int64
		r.lose = func(_ *cnm.Records, cfg *controller.Config) {
			cfg.Now = func() time.Time { return time.Now().Add(time.Duration(later.Load())) }
		}
		r.restart()
		red := r.network("red", only4(cnm.Subnet{Prefix: prefix("10.30.0.0/24")}))
		forgotten, _ := r.ahead("10.20.0.0/24")
		l, err := r.AllocateAddress(ctx, cnm.AddressRequest{Pool: red.Subnets[0].Pool})
		r.ok(err)
		used, err := r.AllocateAddress(ctx, cnm.AddressRequest{Pool: red.Subnets[0].Pool})
		r.ok(err)
		_, err = r.CreateEndpoint(ctx, red.ID, cnm.EndpointSpec{Name: "web", Addresses: []netip.Addr{used.Address.Addr()}})
		r.ok(err)
		later.Store(int64(time.Hour))
		until := r.looks.Load() + 1
		r.run() // which begins with a look at everything
		for r.looks.Load() < until {
			<-r.looked
		}
		_, err = r.AllocateAddress(ctx, cnm.AddressRequest{Pool: forgotten.ID, Purpose: cnm.ForGateway})
		r.is(err, cnm.NotFound)
		_, err = r.AllocateAddress(ctx, cnm.AddressRequest{Pool: red.Subnets[0].Pool, Address: l.Address.Addr()})
		r.ok(err)
		_, err = r.AllocateAddress(ctx, cnm.AddressRequest{Pool: red.Subnets[0].Pool, Address: used.Address.Addr()})
		r.is(err, cnm.Exists)
	})
}
