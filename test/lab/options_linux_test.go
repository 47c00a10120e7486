// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"net/netip"
	"slices"
	"testing"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/kernel/kerneltest"
	"github.com/libnetwork/cnm/kernel/link"
	"github.com/libnetwork/cnm/test/lab/stage"
)

func TestRouted(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		w := stage.Build(t)
		w.Neighbour.Serve(t, stage.EchoPort)
		red := w.Network("red", stage.Option("gateway-mode", "routed"))
		open, closed := w.Sandbox("open"), w.Server("closed", red)
		w.Plug(open, red, w.Publishing("7/tcp"))
		open.Serve(t, stage.EchoPort)
		for _, s := range red.Subnets {
			w.RouteVia(s.Prefix)
		}
		var silent, answered []stage.Probe
		for i, a := range open.Addresses(red) {
			answered = append(answered, stage.Probe{From: w.Neighbour, Proto: "tcp", To: netip.AddrPortFrom(a, stage.EchoPort)})
			silent = append(silent, stage.Probe{From: w.Neighbour, Proto: "udp", To: netip.AddrPortFrom(a, stage.EchoPort)})
			to := netip.AddrPortFrom(neighbour4and6()[i], stage.EchoPort)
			for _, proto := range []string{"tcp", "udp"} { // nothing is translated
				seen(t, open.Place, proto, to, open.Addresses(red)...)
				seen(t, closed.Place, proto, to, closed.Addresses(red)...)
			}
		}
		stage.Answered(t, answered...)
		stage.Silent(t, append(silent, both(w.Neighbour, stage.EchoPort, closed.Addresses(red)...)...)...)
		going := converse(t, w.Neighbour, "tcp", netip.AddrPortFrom(open.Address(red, cnm.IPv6), stage.EchoPort))
		if !going.say("before", stage.Patience) {
			t.Error("no answer")
		}
		if _, err := w.Publish(t.Context(), open.At[red.ID].Endpoint.ID, nil, stage.Ports(t, "7/tcp")); err != nil {
			t.Fatal(err)
		}
		if going.say("after", stage.Silence) {
			t.Error("answered after the port was closed")
		}
	})
}

func TestSourceAddresses(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		w := stage.Build(t)
		w.Neighbour.Serve(t, stage.EchoPort)
		fixed := w.Network("fixed", stage.Option("snat", stage.SecondHost4+","+stage.SecondHost6))
		plain := w.Network("plain", stage.Option("masquerade", "false"))
		a, b := w.Sandbox("a", fixed), w.Sandbox("b", plain)
		for _, s := range plain.Subnets {
			w.RouteVia(s.Prefix) // or the answers would not find back
		}
		for _, to := range neighbour4and6() {
			for _, proto := range []string{"tcp", "udp"} {
				seen(t, a.Place, proto, netip.AddrPortFrom(to, stage.EchoPort), addr(stage.SecondHost4), addr(stage.SecondHost6))
				seen(t, b.Place, proto, netip.AddrPortFrom(to, stage.EchoPort), b.Addresses(plain)...)
			}
		}
	})
}

func TestHostAccess(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		w := stage.Build(t)
		w.Place.Serve(t, 53)
		w.Neighbour.Serve(t, stage.EchoPort)
		red, shut := w.Network("red"), w.Network("shut", stage.Option("host-access", "false"))
		a, b := w.Sandbox("a", red), w.Sandbox("b", shut)
		published := w.Sandbox("published")
		w.Plug(published, red, w.Publishing("8007:7/tcp", "8007:7/udp"))
		published.Serve(t, stage.EchoPort)
		stage.Answered(t, slices.Concat(
			both(a.Place, 53, append(gateways(red), host4and6()...)...),
			both(b.Place, stage.EchoPort, neighbour4and6()...), pings(b.Place, gateways(shut)...), both(b.Place, 8007, host4and6()...))...)
		stage.Silent(t, both(b.Place, 53, append(gateways(shut), host4and6()...)...)...)
	})
}

func TestTrustedInterfaces(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		w := stage.Build(t)
		red, blue := w.Network("red", stage.Option("trusted-interfaces", stage.LANLink)), w.Network("blue")
		a, b := w.Server("a", red), w.Server("b", blue)
		for _, s := range append(red.Subnets, blue.Subnets...) {
			w.RouteVia(s.Prefix)
		}
		stage.Answered(t, stage.Every(w.Neighbour, a.Addresses(red)...)...)
		stage.Silent(t, stage.Every(w.Neighbour, b.Addresses(blue)...)...)
	})
}

func TestMTUFollowsTheDefaultRoute(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		w := stage.On(t, stage.New(t, 1400), stage.StartHere(t))
		follows, fixed := w.Network("follows"), w.Network("fixed", func(s *cnm.NetworkSpec) { s.MTU = 1300 })
		box := w.Sandbox("box", follows, fixed)
		for nw, want := range map[cnm.NetworkID]int{follows.ID: 1400, fixed.ID: 1300} {
			if got := box.At[nw].Join.Result.MTU; got != want {
				t.Errorf("mtu %d, want %d", got, want)
			}
		}
	})
}

func TestSeveralNetworks(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		w := stage.Build(t)
		w.Neighbour.Serve(t, stage.EchoPort)
		off := false
		red, blue := w.Network("red", stage.Option("snat", stage.Host4+","+stage.Host6)), w.Network("blue", stage.Option("snat", stage.SecondHost4+","+stage.SecondHost6))
		four := w.Network("four", func(s *cnm.NetworkSpec) { s.IPv6 = &off }, stage.Option("snat", "192.0.2.77"))
		shut := w.Network("shut", stage.Internal)
		extra := stage.Place{Name: "the host"}
		var b link.Batch
		b.AddAddress(link.Address{Link: indexOf(t, stage.LANLink), Prefix: netip.MustParsePrefix("192.0.2.77/24")})
		extra.Change(t, &b)
		t.Cleanup(func() {
			var b link.Batch
			b.DeleteAddress(link.Address{Link: indexOf(t, stage.LANLink), Prefix: netip.MustParsePrefix("192.0.2.77/24")})
			extra.Change(t, &b)
		})
		box := w.Sandbox("box", shut)
		on := func(nw cnm.Network, priority int, ports ...string) {
			w.Plug(box, nw, w.Publishing(ports...), func(s *cnm.AttachSpec) { s.Join.GatewayPriority = priority })
		}
		// The source that the neighbour sees tells by which network a packet left.
		leaves := func(when, v4, v6 string) {
			t.Helper()
			for i, want := range []string{v4, v6} {
				to := netip.AddrPortFrom(neighbour4and6()[i], stage.EchoPort)
				seen(t, box.Place, "udp", to, addr(want))
			}
			if t.Failed() {
				t.Fatal(when)
			}
			w.Audit()
		}
		on(red, 0, "8001:7/tcp", "8001:7/udp")
		leaves("on red", stage.Host4, stage.Host6)
		on(blue, 10, "8002:7/tcp", "8002:7/udp")
		leaves("blue has a higher priority", stage.SecondHost4, stage.SecondHost6)
		on(four, 20, "8003:7/tcp", "8003:7/udp")
		leaves("four has a higher one for IPv4", "192.0.2.77", stage.SecondHost6)
		box.Serve(t, stage.EchoPort)
		answered := slices.Concat(both(w.Neighbour, 8001, host4and6()...), both(w.Neighbour, 8002, host4and6()...), both(w.Neighbour, 8003, addr(stage.Host4)))
		for _, nw := range []cnm.Network{red, blue, four, shut} {
			peer := w.Server("peer-"+nw.Name, nw)
			answered = append(answered, stage.Every(peer.Place, box.Addresses(nw)...)...)
			answered = append(answered, stage.Every(box.Place, peer.Addresses(nw)...)...)
		}
		stage.Answered(t, answered...)
		w.Unplug(box, blue)
		leaves("blue is left", "192.0.2.77", stage.Host6)
		w.Unplug(box, four)
		leaves("four is left", stage.Host4, stage.Host6)
		stage.Answered(t, both(w.Neighbour, 8001, host4and6()...)...)
	})
}

func TestAdoptedBridge(t *testing.T) {
	t.Parallel()
	for _, filter := range []string{"0", "1"} {
		t.Run("bridge netfilter "+filter, func(t *testing.T) {
			t.Parallel()
			kerneltest.Run(t, func(t *testing.T) {
				needBridgeNetfilter(t, filter)
				host := stage.New(t, 0)
				guest := theirBridge(t, host)
				guest.Serve(t, stage.EchoPort)
				w := stage.On(t, host, stage.StartHere(t))
				w.Place.Serve(t, 53)
				w.Neighbour.Serve(t, stage.EchoPort)
				adopted := w.Network("adopted", stage.Option("adopt", "br0"), func(s *cnm.NetworkSpec) {
					for _, p := range []string{"10.50.0.0/24", "fd00:50::/64"} {
						prefix := netip.MustParsePrefix(p)
						rest := netip.PrefixFrom(prefix.Addr().Next(), prefix.Bits()+2).Masked()
						s.Subnets = append(s.Subnets, cnm.Subnet{Prefix: prefix, Gateway: prefix.Addr().Next(), Range: rest})
					}
				})
				red := w.Network("red")
				a, b, c := w.Server("a", adopted), w.Server("b", adopted), w.Server("c", red)
				guests := []netip.Addr{addr("10.50.0.200"), addr("fd00:50::200")}
				stage.Answered(t, slices.Concat(
					stage.Every(a.Place, b.Addresses(adopted)...), stage.Every(a.Place, guests...), stage.Every(guest, a.Addresses(adopted)...),
					both(guest, 53, gateways(adopted)...), both(a.Place, 53, gateways(adopted)...), stage.Every(a.Place, neighbour4and6()...),
					stage.Every(w.Place, a.Addresses(adopted)...))...)
				for _, s := range adopted.Subnets {
					w.RouteVia(s.Prefix)
				}
				stage.Silent(t, slices.Concat(
					stage.Every(a.Place, c.Addresses(red)...), stage.Every(c.Place, a.Addresses(adopted)...),
					stage.Every(guest, c.Addresses(red)...), stage.Every(w.Neighbour, a.Addresses(adopted)...))...)
			})
		})
	}
}

// theirBridge makes a bridge that is not ours, with a guest on it, and returns the guest.
func theirBridge(t *testing.T, h *stage.Host) stage.Place {
	t.Helper()
	const bridge, port = 70, 71
	kerneltest.Clear(t, "br0")
	ns := kerneltest.NewNS(t)
	guest := stage.Inside("the guest", ns)
	var here, there link.Batch
	here.CreateBridge(link.Bridge{Name: "br0", Index: bridge, MAC: link.MAC{2, 0, 0, 0, 0, 0x50}})
	here.CreateVeth(link.Veth{Name: "guest0", Index: port, Master: bridge, Peer: link.Peer{Name: "eth0", Index: port, Namespace: ns.Fd()}})
	for _, a := range []string{"10.50.0.1/24", "fd00:50::1/64"} {
		here.AddAddress(link.Address{Link: bridge, Prefix: netip.MustParsePrefix(a), NoDAD: true})
	}
	for _, i := range []int{bridge, port} {
		here.SetLink(link.Change{Link: link.Numbered(i), AddrGenMode: link.AddrGenNone, Up: link.On})
	}
	there.SetLink(link.Change{Link: link.Named("lo"), Up: link.On})
	for _, a := range []string{"10.50.0.200/24", "fd00:50::200/64"} {
		there.AddAddress(link.Address{Link: port, Prefix: netip.MustParsePrefix(a), NoDAD: true})
	}
	there.SetLink(link.Change{Link: link.Numbered(port), Up: link.On})
	for _, gw := range []string{"10.50.0.1", "fd00:50::1"} {
		all := netip.PrefixFrom(netip.IPv4Unspecified(), 0)
		if addr(gw).Is6() {
			all = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
		}
		there.AddRoute(link.Route{Dst: all, Gateway: addr(gw), Link: port})
	}
	h.Place.Change(t, &here)
	guest.Change(t, &there)
	return guest
}
