// SPDX-License-Identifier: Apache-2.0

package drivertest

import (
	"errors"
	"net"
	"net/netip"
	"sync"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/kernel/link"
	"github.com/libnetwork/cnm/kernel/netns"
	"github.com/libnetwork/cnm/kernel/sysctl"
)

// box is a sandbox.
type box struct {
	record cnm.Sandbox
	ns     *netns.NS
	at     []cnm.Attachment

	tcp     *net.TCPListener
	udp     *net.UDPConn
	serving sync.WaitGroup
	mu      sync.Mutex // guards conns
	conns   []*net.TCPConn
}

// newSandbox makes a namespace as a sandbox is: loopback up, and no router listened to.
func newSandbox() (*netns.NS, error) {
	ns, err := netns.New()
	if err != nil {
		return nil, err
	}
	err = ns.Do(func() error {
		if err := sysctl.Write("net/ipv6/conf/default/accept_ra", "0"); err != nil {
			return err
		}
		var b link.Batch
		b.SetLink(link.Change{Link: link.Named("lo"), Up: link.On})
		return send(&b)
	})
	if err != nil {
		return nil, errors.Join(err, ns.Close())
	}
	return ns, nil
}

// send sends a batch to the namespace of the calling thread.
func send(b *link.Batch) error {
	conn, err := link.Dial(link.Here)
	if err != nil {
		return err
	}
	defer conn.Close()
	return conn.Do(b)
}

func (b *box) fd() int { return b.ns.Fd() }

// close ends the server and gives the namespace up. It may be repeated.
func (b *box) close() {
	if b.tcp != nil {
		b.tcp.Close()
		b.udp.Close()
		b.mu.Lock()
		for _, c := range b.conns {
			c.Close()
		}
		b.mu.Unlock()
		b.serving.Wait()
	}
	_ = b.ns.Close() // closing a descriptor that is only held has nothing to lose
}

// address is the box's of a family on a network.
func (b *box) address(nw cnm.Network, f cnm.Family) netip.Addr {
	for i := range b.at {
		if b.at[i].Network.ID == nw.ID {
			return b.at[i].Endpoint.Address(f)
		}
	}
	return netip.Addr{}
}

// plug gives the endpoint's link what a sandbox gives it: its addresses, its neighbours, a table of its own that answers leave
// by, and the default route if it holds it.
func (b *box) plug(at cnm.Attachment) error {
	l := at.Join.Result.Link
	if l == (cnm.Link{}) {
		return nil
	}
	return b.ns.Do(func() error {
		if !l.InPlace {
			return errors.New("a link that is to be moved is not in the sandbox yet")
		}
		var batch link.Batch
		batch.SetLink(link.Change{Link: link.Numbered(l.Index), Up: link.On, MTU: at.Join.Result.MTU})
		table := uint32(1000 + len(b.at))
		for _, p := range at.Endpoint.Addresses {
			batch.AddAddress(link.Address{Link: l.Index, Prefix: p, NoDAD: true})
			batch.AddRoute(link.Route{Dst: p.Masked(), Link: l.Index, Table: table})
			batch.AddRule(link.Rule{Priority: 100, From: netip.PrefixFrom(p.Addr(), p.Addr().BitLen()), Table: table})
		}
		for _, n := range at.Join.Result.Neighbours {
			batch.ReplaceNeighbour(link.Neighbour{Link: l.Index, Addr: n.Address, MAC: link.MAC(n.MAC)})
		}
		for _, r := range at.Join.Result.Routes {
			batch.ReplaceRoute(link.Route{Dst: r.Prefix, Gateway: r.Via, Link: l.Index})
			batch.ReplaceRoute(link.Route{Dst: r.Prefix, Gateway: r.Via, Link: l.Index, Table: table})
		}
		for _, gw := range at.Join.Result.Gateways {
			batch.AddRoute(link.Route{Dst: anywhere(gw), Gateway: gw, Link: l.Index, Table: table})
			if at.Join.Default.Has(cnm.FamilyOf(gw)) {
				batch.ReplaceRoute(link.Route{Dst: anywhere(gw), Gateway: gw, Link: l.Index})
			}
		}
		return send(&batch)
	})
}

// anywhere is the default route's destination in the family of an address.
func anywhere(a netip.Addr) netip.Prefix {
	if a.Is4() {
		return netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	}
	return netip.PrefixFrom(netip.IPv6Unspecified(), 0)
}

// links are the names of the links inside, but for loopback.
func (b *box) links() ([]string, error) {
	var names []string
	err := b.ns.Do(func() error {
		all, err := net.Interfaces()
		for _, i := range all {
			if i.Name != "lo" {
				names = append(names, i.Name)
			}
		}
		return err
	})
	return names, err
}
