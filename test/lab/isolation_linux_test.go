// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/kernel/kerneltest"
	"github.com/libnetwork/cnm/kernel/link"
	"github.com/libnetwork/cnm/kernel/sysctl"
	"github.com/libnetwork/cnm/test/lab/stage"
)

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

// host4and6 are the host's addresses on the LAN.
func host4and6() []netip.Addr { return []netip.Addr{addr(stage.Host4), addr(stage.Host6)} }

// hostAll are all of them.
func hostAll() []netip.Addr {
	return append(host4and6(), addr(stage.SecondHost4), addr(stage.SecondHost6))
}

func neighbour4and6() []netip.Addr {
	return []netip.Addr{addr(stage.Neighbour4), addr(stage.Neighbour6)}
}

// gateways are the network's.
func gateways(nw cnm.Network) []netip.Addr {
	var all []netip.Addr
	for _, f := range cnm.Families() {
		if g := nw.Gateway(f); g.IsValid() {
			all = append(all, g)
		}
	}
	return all
}

// pings are probes by ICMP alone.
func pings(from stage.Place, to ...netip.Addr) []stage.Probe {
	var all []stage.Probe
	for _, a := range to {
		all = append(all, stage.Probe{From: from, Proto: "icmp", To: netip.AddrPortFrom(a, 0)})
	}
	return all
}

func TestNetworksAreApart(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		w := stage.Build(t)
		w.Neighbour.Serve(t, stage.EchoPort)
		red, blue := w.Network("red"), w.Network("blue")
		a, b, c := w.Server("a", red), w.Server("b", red), w.Server("c", blue)
		stage.Answered(t, stage.Every(a.Place, b.Addresses(red)...)...)
		stage.Answered(t, stage.Every(w.Place, append(a.Addresses(red), c.Addresses(blue)...)...)...)
		stage.Answered(t, stage.Every(a.Place, neighbour4and6()...)...)
		stage.Answered(t, pings(a.Place, append(gateways(red), host4and6()...)...)...)
		silent := append(stage.Every(a.Place, c.Addresses(blue)...), stage.Every(c.Place, a.Addresses(red)...)...)
		for _, s := range append(red.Subnets, blue.Subnets...) {
			w.RouteVia(s.Prefix) // as an attacker on the LAN would
		}
		stage.Silent(t, append(silent, stage.Every(w.Neighbour, append(a.Addresses(red), c.Addresses(blue)...)...)...)...)
		for _, to := range neighbour4and6() {
			seen(t, a.Place, "tcp", netip.AddrPortFrom(to, stage.EchoPort), hostAll()...)
			seen(t, a.Place, "udp", netip.AddrPortFrom(to, stage.EchoPort), hostAll()...)
		}
	})
}

// seen fails the test unless the server at an address sees the client under one of the wanted ones.
func seen(t *testing.T, from stage.Place, proto string, to netip.AddrPort, want ...netip.Addr) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), stage.Patience)
	defer cancel()
	got, err := from.Exchange(ctx, proto, to, stage.Who)
	if err != nil || !slices.ContainsFunc(want, func(a netip.Addr) bool { return a.String() == got }) {
		t.Errorf("%s -> %s/%s is seen as %q (%v), want one of %v", from.Name, to, proto, got, err, want)
	}
}

func TestInternalNetworkReachesNothingElse(t *testing.T) {
	t.Parallel()
	for _, filter := range []string{"0", "1"} {
		t.Run("bridge netfilter "+filter, func(t *testing.T) {
			t.Parallel()
			kerneltest.Run(t, func(t *testing.T) {
				needBridgeNetfilter(t, filter)
				w := stage.Build(t)
				w.Neighbour.Serve(t, stage.EchoPort)
				w.Place.Serve(t, 53) // a service of the host's own
				inside, red := w.Network("inside", stage.Internal), w.Network("red")
				a, b, c := w.Server("a", inside), w.Server("b", inside), w.Server("c", red)
				published := w.Sandbox("published")
				w.Plug(published, red, w.Publishing("8007:7/tcp", "8007:7/udp"))
				published.Serve(t, stage.EchoPort)
				stage.Answered(t, stage.Every(a.Place, b.Addresses(inside)...)...)
				breakOut(t, a, inside)
				for _, s := range inside.Subnets {
					w.RouteVia(s.Prefix)
				}
				silent := append(stage.Every(a.Place, c.Addresses(red)...), stage.Every(a.Place, neighbour4and6()...)...)
				silent = append(silent, stage.Every(c.Place, a.Addresses(inside)...)...)
				silent = append(silent, stage.Every(w.Neighbour, a.Addresses(inside)...)...)
				for _, h := range append(gateways(inside), host4and6()...) {
					for _, proto := range []string{"tcp", "udp"} {
						silent = append(silent,
							stage.Probe{From: a.Place, Proto: proto, To: netip.AddrPortFrom(h, 53)},
							stage.Probe{From: a.Place, Proto: proto, To: netip.AddrPortFrom(h, 8007)})
					}
				}
				stage.Silent(t, silent...)
				stage.Answered(t, pings(a.Place, gateways(inside)...)...)
			})
		})
	}
}

// breakOut gives a sandbox a way out by its network's gateway, as whoever is root in it can. The routes are not ours, and go
// with the sandbox.
func breakOut(t *testing.T, b *stage.Box, nw cnm.Network) {
	t.Helper()
	var batch link.Batch
	for _, f := range cnm.Families() {
		all := netip.PrefixFrom(netip.IPv4Unspecified(), 0)
		if f == cnm.IPv6 {
			all = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
		}
		at := b.At[nw.ID]
		own := 1<<31 | uint32(at.Join.Result.Link.Index)
		for _, table := range []uint32{link.TableMain, own} {
			batch.AddRoute(link.Route{Dst: all, Gateway: nw.Gateway(f), Link: at.Join.Result.Link.Index, Table: table})
		}
	}
	b.Change(t, &batch)
}

// needBridgeNetfilter sets bridge netfilter of both families, where the kernel has it.
func needBridgeNetfilter(t *testing.T, value string) {
	t.Helper()
	for _, key := range []string{"net/bridge/bridge-nf-call-iptables", "net/bridge/bridge-nf-call-ip6tables"} {
		if _, err := sysctl.Read(key); err != nil {
			if value == "0" {
				return // as good as off
			}
			t.Skipf("the kernel has no bridge netfilter (CONFIG_BRIDGE_NETFILTER): %v", err)
		}
		if err := sysctl.Write(key, value); err != nil {
			t.Fatal(err)
		}
	}
}

// hubPlaces are the endpoints that fit on the first bridge of a network.
const hubPlaces = 96

func TestIsolatedEndpoints(t *testing.T) {
	t.Parallel()
	for _, filter := range []string{"0", "1"} {
		t.Run("bridge netfilter "+filter, func(t *testing.T) {
			t.Parallel()
			kerneltest.Run(t, func(t *testing.T) {
				needBridgeNetfilter(t, filter)
				w := stage.Build(t)
				w.Neighbour.Serve(t, stage.EchoPort)
				red := w.Network("red", stage.Isolate)
				a, b := w.Server("a", red), w.Sandbox("b")
				w.Plug(b, red, w.Publishing("8007:7/tcp", "8007:7/udp"))
				b.Serve(t, stage.EchoPort)
				for i := range hubPlaces - 2 {
					w.Sandbox(fmt.Sprintf("filler%d", i), red)
				}
				far, further := w.Server("far", red), w.Server("further", red)
				if at := far.At[red.ID]; at.Join.Result.Link.Bridge == b.At[red.ID].Join.Result.Link.Bridge {
					t.Fatal("the network has one bridge only")
				}
				boxes := []*stage.Box{a, b, far, further}
				var silent, answered []stage.Probe
				for _, from := range boxes {
					for _, to := range boxes {
						if from != to {
							silent = append(silent, stage.Every(from.Place, to.Addresses(red)...)...)
						}
					}
					answered = append(answered, stage.Every(w.Place, from.Addresses(red)...)...)
					answered = append(answered, stage.Every(from.Place, neighbour4and6()...)...)
					for _, h := range host4and6() {
						for _, proto := range []string{"tcp", "udp"} {
							answered = append(answered, stage.Probe{From: from.Place, Proto: proto, To: netip.AddrPortFrom(h, 8007)})
						}
					}
				}
				stage.Silent(t, silent...)
				stage.Answered(t, answered...)
			})
		})
	}
}

func TestShards(t *testing.T) {
	t.Parallel()
	for _, filter := range []string{"0", "1"} {
		t.Run("bridge netfilter "+filter, func(t *testing.T) {
			t.Parallel()
			kerneltest.Run(t, func(t *testing.T) {
				needBridgeNetfilter(t, filter)
				w := stage.Build(t)
				w.Neighbour.Serve(t, stage.EchoPort)
				red, blue := w.Network("red"), w.Network("blue")
				near, other := w.Server("near", red), w.Server("other", blue)
				for i := range hubPlaces - 1 {
					w.Sandbox(fmt.Sprintf("filler%d", i), red)
				}
				far, further := w.Sandbox("far"), w.Server("further", red)
				w.Plug(far, red, w.Publishing("8007:7/tcp", "8007:7/udp"))
				far.Serve(t, stage.EchoPort)
				if at := far.At[red.ID]; at.Join.Result.Link.Bridge == near.At[red.ID].Join.Result.Link.Bridge {
					t.Fatal("the network has one bridge only")
				}
				answered := stage.Every(w.Place, far.Addresses(red)...)
				for _, pair := range [][2]*stage.Box{{near, far}, {far, near}, {far, further}, {further, far}} {
					answered = append(answered, stage.Every(pair[0].Place, pair[1].Addresses(red)...)...)
				}
				answered = append(answered, stage.Every(far.Place, neighbour4and6()...)...)
				for _, from := range []stage.Place{w.Neighbour, w.Place, other.Place, near.Place, far.Place, further.Place} {
					for _, h := range host4and6() {
						for _, proto := range []string{"tcp", "udp"} {
							answered = append(answered, stage.Probe{From: from, Proto: proto, To: netip.AddrPortFrom(h, 8007)})
						}
					}
				}
				stage.Answered(t, answered...)
				stage.Silent(t, append(stage.Every(other.Place, far.Addresses(red)...), stage.Every(far.Place, other.Addresses(blue)...)...)...)
			})
		})
	}
}
