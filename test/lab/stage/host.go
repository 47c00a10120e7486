// SPDX-License-Identifier: Apache-2.0

package stage

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"runtime"
	"testing"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/kernel/kerneltest"
	"github.com/libnetwork/cnm/kernel/link"
	"github.com/libnetwork/cnm/kernel/netns"
)

// LANLink is the host's link to its LAN; the neighbour's is eth0.
const LANLink = "lan0"

// The addresses on the LAN (RFC 5737, RFC 3849).
const (
	Host4, Host6           = "192.0.2.1", "2001:db8:1::1"
	Neighbour4, Neighbour6 = "192.0.2.2", "2001:db8:1::2"
	// SecondHost4 and SecondHost6 are further addresses of the host on the LAN.
	SecondHost4, SecondHost6 = "192.0.2.11", "2001:db8:1::11"
)

const lanIndex = 100 // of both ends of the LAN

// Host is the host and its neighbour, who is the host's default gateway and forwards nothing.
type Host struct {
	t         testing.TB
	Place     Place // the host itself
	Neighbour Place
}

// New builds the LAN. MTU is that of the LAN in bytes; 0 is 1500.
func New(t testing.TB, mtu int) *Host {
	t.Helper()
	kerneltest.Clear(t, LANLink, "cnm") // the firewall's tables outlive a daemon
	// A daemon leaves the directory of pins ready for the next one.
	t.Cleanup(func() {
		if err := netns.ReleaseDir(filepath.Join(RunDir, "netns")); err != nil && !t.Failed() {
			t.Error(err)
		}
		// The standard library keeps the pipes of splice(2) until the collector has passed twice.
		runtime.GC()
		runtime.GC()
	})
	ns := kerneltest.NewNS(t)
	h := &Host{t: t, Place: Place{Name: "the host"}, Neighbour: Place{Name: "the neighbour", ns: ns}}
	var here, there, uplink link.Batch
	here.CreateVeth(link.Veth{Name: LANLink, Index: lanIndex, MTU: mtu, Peer: link.Peer{Name: "eth0", Index: lanIndex, MTU: mtu, Namespace: ns.Fd()}})
	there.SetLink(link.Change{Link: link.Named("lo"), Up: link.On})
	for _, a := range []string{Host4 + "/24", Host6 + "/64", SecondHost4 + "/24", SecondHost6 + "/64", "fe80::1/64"} {
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
	h.Place.Change(t, &here)
	h.Neighbour.Change(t, &there)
	h.Place.Change(t, &uplink)
	return h
}

// RouteVia has the neighbour send what is for a prefix to the host, as an attacker on the LAN would.
func (h *Host) RouteVia(p netip.Prefix) {
	h.t.Helper()
	gw := netip.MustParseAddr(Host4)
	if p.Addr().Is6() {
		gw = netip.MustParseAddr(Host6)
	}
	var b link.Batch
	b.ReplaceRoute(link.Route{Dst: p, Gateway: gw, Link: lanIndex})
	h.Neighbour.Change(h.t, &b)
}

// Change sends a batch to a place.
func (p Place) Change(t testing.TB, b *link.Batch) {
	t.Helper()
	err := p.Do(func() error {
		conn, err := link.Dial(link.Here)
		if err != nil {
			return err
		}
		defer conn.Close()
		return conn.Do(b)
	})
	if err != nil {
		t.Fatalf("change the links of %s: %v; of the batch\n%s", p.Name, err, b)
	}
}

// Place is where something is done: the host, its neighbour, or a sandbox.
type Place struct {
	Name string
	ns   *netns.NS // nil: the host, or path
	path string    // of a sandbox's namespace, opened for each use so that nothing keeps it
}

// Do runs fn on a thread that is there. Sockets opened by it stay there.
func (p Place) Do(fn func() error) error {
	switch {
	case p.ns != nil:
		return p.ns.Do(fn)
	case p.path == "":
		return fn()
	}
	ns, err := netns.Open(p.path)
	if err != nil {
		return fmt.Errorf("enter %s: %w", p.Name, err)
	}
	defer ns.Close()
	return ns.Do(fn)
}

// In is the place of a sandbox.
func In(sb cnm.Sandbox) Place { return Place{Name: sb.Name, path: sb.Namespace.Path} }

// Inside is the place of a namespace that the caller holds open.
func Inside(name string, ns *netns.NS) Place { return Place{Name: name, ns: ns} }
