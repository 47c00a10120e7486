// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"net/netip"
	"strconv"
	"time"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/api/wire"
	"github.com/libnetwork/cnm/kernel/link"
)

// networks is how many networks each host has: endpoints are spread over them where it is not the size of one network that
// is measured.
const networks = 8

// portPrefix begins the names of endpoints' host-side links.
const portPrefix = "cnv"

// subnets are those of network i.
func subnets(i int) []cnm.Subnet {
	four := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(64 + i), 0, 0}), 16)
	six := netip.PrefixFrom(netip.AddrFrom16([16]byte{0xfd, 0xbe, 0xc4, 7: byte(i)}), 64)
	return []cnm.Subnet{{Prefix: four, Gateway: four.Addr().Next()}, {Prefix: six, Gateway: six.Addr().Next()}}
}

func networkName(i int) string { return "bench" + strconv.Itoa(i) }

// networkSpec asks for network i.
func networkSpec(i int) cnm.NetworkSpec {
	return cnm.NetworkSpec{Name: networkName(i), Subnets: subnets(i)}
}

// wireNetwork is networkSpec for the daemon's socket.
func wireNetwork(i int) wire.NetworkCreate {
	req := wire.NetworkCreate{Name: networkName(i)}
	for _, s := range subnets(i) {
		req.Subnets = append(req.Subnets, wire.SubnetCreate{Prefix: s.Prefix.String(), Gateway: s.Gateway.String()})
	}
	return req
}

// pollEvery is how often something is looked at that nobody announces.
const pollEvery = 2 * time.Millisecond

// until looks again and again until ok says that it is so.
func until(ctx context.Context, what string, ok func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		yes, err := ok()
		if err != nil || yes {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting until %s: %w", what, context.Cause(ctx))
		case <-tick.C:
		}
	}
}

// quiet waits until so many links of endpoints are left in the host that conn is in, and every namespace of another is dead.
func quiet(ctx context.Context, conn *link.Conn, left int) error {
	return until(ctx, "the endpoints' links and namespaces are gone", func() (bool, error) {
		ids, err := conn.NamespaceIDs(ctx)
		if err != nil || len(ids) > left {
			return false, err
		}
		n, err := portCount(ctx, conn)
		return n == left, err
	})
}

// portCount counts the endpoints' host-side links.
func portCount(ctx context.Context, conn *link.Conn) (int, error) {
	links, err := conn.Links(ctx, link.LinkFilter{Kind: "veth"})
	n := 0
	for _, l := range links {
		if len(l.Name) > len(portPrefix) && l.Name[:len(portPrefix)] == portPrefix {
			n++
		}
	}
	return n, err
}
