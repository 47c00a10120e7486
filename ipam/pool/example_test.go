// SPDX-License-Identifier: Apache-2.0

package pool_test

import (
	"context"
	"fmt"
	"net/netip"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/ipam/pool"
)

// A VPN uses the first of the default pools, so the network gets the second.
func Example() {
	ctx := context.Background()
	a, err := pool.New(pool.Config{
		Host: func(context.Context) ([]pool.Used, error) {
			return []pool.Used{{Prefix: netip.MustParsePrefix("172.17.0.0/16"), What: "route 172.17.0.0/16 dev tun0"}}, nil
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	p, err := a.CreatePool(ctx, cnm.PoolRequest{Network: "blue", Family: cnm.IPv4})
	fmt.Println(p.ID, err)
	gateway, err := a.Allocate(ctx, cnm.AddressRequest{Pool: p.ID, Purpose: cnm.ForGateway})
	fmt.Println(gateway.Address, err)
	lease, err := a.Allocate(ctx, cnm.AddressRequest{Pool: p.ID, Owner: "web"})
	fmt.Println(lease.Address, err)
	_, err = a.Allocate(ctx, cnm.AddressRequest{Pool: p.ID, Owner: "db", Address: lease.Address.Addr()})
	fmt.Println(err)
	_, err = a.CreatePool(ctx, cnm.PoolRequest{Network: "red", Family: cnm.IPv4, Subnet: cnm.Subnet{Prefix: netip.MustParsePrefix("172.17.5.0/24")}})
	fmt.Println(err)
	// Output:
	// blue/172.18.0.0/16 <nil>
	// 172.18.0.1/16 <nil>
	// 172.18.0.2/16 <nil>
	// ip 172.18.0.2 of subnet 172.18.0.0/16 is taken by endpoint web; choose another one
	// subnet 172.17.5.0/24 overlaps route 172.17.0.0/16 dev tun0; choose another subnet or --opt allow-overlap=true
}
