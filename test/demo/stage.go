// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"github.com/libnetwork/cnm/kernel/link"
	"github.com/libnetwork/cnm/kernel/netns"
	"github.com/libnetwork/cnm/test/probe"
)

// lanLink is the host's link to its LAN. The neighbour's is called eth0.
const (
	lanLink       = "lan0"
	neighbourLink = "eth0"
)

// The addresses on the LAN (RFC 5737, RFC 3849). The neighbour is the host's default gateway, so that the host has an
// uplink; it forwards nothing.
func hostAddress(f link.Family) netip.Addr {
	if f == link.IPv4 {
		return netip.AddrFrom4([4]byte{192, 0, 2, 1})
	}
	return netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 0, 1, 15: 1})
}

func neighbourAddress(f link.Family) netip.Addr { return hostAddress(f).Next() }

// lanPrefix is an address with the length of the LAN's prefix.
func lanPrefix(a netip.Addr) netip.Prefix {
	if a.Is4() {
		return netip.PrefixFrom(a, 24)
	}
	return netip.PrefixFrom(a, 64)
}

func anywhere(f link.Family) netip.Prefix {
	if f == link.IPv4 {
		return netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	}
	return netip.PrefixFrom(netip.IPv6Unspecified(), 0)
}

// families are both, for what is shown of each.
func families() []link.Family { return []link.Family{link.IPv4, link.IPv6} }

// stage is the host, which is the namespace of this process, and its neighbour.
type stage struct {
	neighbourNS     *netns.NS
	host, neighbour probe.Place
}

// buildStage joins the host and a new neighbour.
func buildStage(ctx context.Context) (*stage, error) {
	ns, err := netns.New()
	if err != nil {
		return nil, err
	}
	st := &stage{neighbourNS: ns}
	st.host = probe.Place{Name: "the host", Inside: func(fn func() error) error { return fn() }}
	st.neighbour = probe.Place{Name: "the neighbour", Inside: ns.Do}
	if err := st.join(ctx); err != nil {
		return nil, errors.Join(err, ns.Close())
	}
	return st, nil
}

func (st *stage) close() error { return st.neighbourNS.Close() }

// join makes the LAN.
func (st *stage) join(ctx context.Context) error {
	const index = 100 // at both ends
	var host, there link.Batch
	host.CreateVeth(link.Veth{Name: lanLink, Index: index, Peer: link.Peer{Name: neighbourLink, Index: index, Namespace: st.neighbourNS.Fd()}})
	there.SetLink(link.Change{Link: link.Named("lo"), Up: link.On})
	for _, f := range families() {
		host.AddAddress(link.Address{Link: index, Prefix: lanPrefix(hostAddress(f)), NoDAD: true})
		there.AddAddress(link.Address{Link: index, Prefix: lanPrefix(neighbourAddress(f)), NoDAD: true})
	}
	for _, b := range []*link.Batch{&host, &there} {
		// No link-local addresses, which would appear on the host a second later, when they are found to be no duplicates.
		b.SetLink(link.Change{Link: link.Numbered(index), Up: link.On, AddrGenMode: link.AddrGenNone})
	}
	if err := changeLinks(link.Here, &host); err != nil {
		return err
	}
	if err := changeLinks(st.neighbourNS.Fd(), &there); err != nil {
		return err
	}
	var uplink link.Batch
	for _, f := range families() {
		uplink.AddRoute(link.Route{Dst: anywhere(f), Gateway: neighbourAddress(f), Link: index})
	}
	if err := changeLinks(link.Here, &uplink); err != nil {
		return err
	}
	return st.ready(ctx)
}

// ready waits until both families pass in both directions. A link that was just raised gets its carrier a little later.
func (st *stage) ready(ctx context.Context) error {
	var all []probe.Probe
	for _, f := range families() {
		all = append(all, probe.Probe{From: st.host, Proto: "icmp", To: neighbourAddress(f)}, probe.Probe{From: st.neighbour, Proto: "icmp", To: hostAddress(f)})
	}
	return probe.Answered(ctx, all...)
}

// routeNeighbour has the neighbour send what is for a prefix to the host, or no longer.
func (st *stage) routeNeighbour(p netip.Prefix, on bool) error {
	f := link.IPv6
	if p.Addr().Is4() {
		f = link.IPv4
	}
	r := link.Route{Dst: p, Gateway: hostAddress(f)}
	var b link.Batch
	if on {
		b.ReplaceRoute(r)
	} else {
		b.DeleteRoute(r)
	}
	return changeLinks(st.neighbourNS.Fd(), &b)
}

// changeLinks sends one batch to a namespace.
func changeLinks(ns int, b *link.Batch) error {
	conn, err := link.Dial(ns)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.Do(b); err != nil {
		return fmt.Errorf("%w, in the batch:\n%s", err, b)
	}
	return nil
}
