// SPDX-License-Identifier: Apache-2.0

//go:build unsettled

package lab

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/libnetwork/cnm/kernel/kerneltest"
	"github.com/libnetwork/cnm/test/lab/stage"
)

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
