// SPDX-License-Identifier: Apache-2.0

package place

import (
	"net/netip"

	"github.com/libnetwork/cnm/kernel/link"
	"github.com/libnetwork/cnm/kernel/netns"
)

// The addresses on the LAN (RFC 5737, RFC 3849). The neighbour is the place's
// default gateway, and forwards nothing.
const (
	Host4      = "192.0.2.1"
	Host6      = "2001:db8:1::1"
	Neighbour4 = "192.0.2.2"
	Neighbour6 = "2001:db8:1::2"
)

// LANLink is the place's link to its LAN; the neighbour's is eth0.
const LANLink = "lan0"

const lanIndex = 100 // of both ends of the LAN

// Stack is a network namespace of a place.
type Stack struct{ ns *netns.NS }

// Do runs fn on a thread that is there. Sockets opened by it stay there.
func (s Stack) Do(fn func() error) error { return s.ns.Do(fn) }

// change sends a batch to the stack.
func (s Stack) change(b *link.Batch) error {
	return s.Do(func() error {
		conn, err := link.Dial(link.Here)
		if err != nil {
			return err
		}
		defer conn.Close()
		return conn.Do(b)
	})
}

// joinLAN makes the neighbour and the link to it.
func (p *Place) joinLAN(host *netns.NS) {
	p.t.Helper()
	neighbour, err := netns.New()
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { neighbour.Close() })
	p.Host, p.Neighbour = Stack{host}, Stack{neighbour}
	var here, there, uplink link.Batch
	here.CreateVeth(link.Veth{Name: LANLink, Index: lanIndex, Peer: link.Peer{Name: "eth0", Index: lanIndex, Namespace: neighbour.Fd()}})
	there.SetLink(link.Change{Link: link.Named("lo"), Up: link.On})
	for _, a := range []string{Host4 + "/24", Host6 + "/64", "fe80::1/64"} {
		here.AddAddress(link.Address{Link: lanIndex, Prefix: netip.MustParsePrefix(a), NoDAD: true})
	}
	for _, a := range []string{Neighbour4 + "/24", Neighbour6 + "/64", "fe80::2/64"} {
		there.AddAddress(link.Address{Link: lanIndex, Prefix: netip.MustParsePrefix(a), NoDAD: true})
	}
	for _, b := range []*link.Batch{&here, &there} {
		b.SetLink(link.Change{Link: link.Numbered(lanIndex), AddrGenMode: link.AddrGenNone, Up: link.On})
	}
	uplink.AddRoute(link.Route{Dst: netip.MustParsePrefix("0.0.0.0/0"), Gateway: netip.MustParseAddr(Neighbour4), Link: lanIndex})
	uplink.AddRoute(link.Route{Dst: netip.MustParsePrefix("::/0"), Gateway: netip.MustParseAddr(Neighbour6), Link: lanIndex})
	for _, step := range []struct {
		where Stack
		what  *link.Batch
	}{{p.Host, &here}, {p.Neighbour, &there}, {p.Host, &uplink}} {
		if err := step.where.change(step.what); err != nil {
			p.t.Fatalf("join the LAN: %v; of the batch\n%s", err, step.what)
		}
	}
}
