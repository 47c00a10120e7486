// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"fmt"
	"testing"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/kernel/kerneltest"
	"github.com/libnetwork/cnm/test/lab/stage"
)

// TestFirstPacket sends one packet to each address of a new endpoint as soon as it is attached: it is answered.
func TestFirstPacket(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		w := stage.Build(t)
		red := w.Network("red")
		peer := w.Sandbox("peer", red)
		lost := map[string]int{}
		const times = 40
		for i := range times {
			box := w.Sandbox(fmt.Sprintf("box%d", i), red)
			from := []stage.Place{w.Place, peer.Place}[i%2]
			for _, f := range cnm.Families() {
				ctx, cancel := context.WithTimeout(t.Context(), stage.Silence)
				if err := from.PingOnce(ctx, box.Address(red, f)); err != nil {
					lost[f.String()+" from "+from.Name]++
				}
				cancel()
			}
		}
		if len(lost) > 0 {
			t.Errorf("of %d first packets of each family were lost: %v", times, lost)
		}
	})
}
