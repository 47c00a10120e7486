// SPDX-License-Identifier: Apache-2.0

package sandbox

import (
	"fmt"
	"testing"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/kernel/kerneltest"
	"github.com/libnetwork/cnm/kernel/link"
)

func BenchmarkCreate(b *testing.B) {
	kerneltest.Bench(b, func(b *testing.B) {
		g := newStage(b)
		made := 0
		for b.Loop() {
			made++
			sb := cnm.Sandbox{ID: cnm.NewSandboxID(), Name: fmt.Sprintf("box%d", made), Owned: true}
			if _, err := g.stack.Create(b.Context(), sb, nil); err != nil {
				b.Fatal(err)
			}
		}
		for i := range made {
			if err := g.stack.Delete(b.Context(), cnm.Sandbox{Name: fmt.Sprintf("box%d", i+1), Owned: true}); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkOpen is one entry: path, cookie, socket, and back.
func BenchmarkOpen(b *testing.B) {
	kerneltest.Bench(b, func(b *testing.B) {
		g := newStage(b)
		sb := g.sandbox("box")
		for b.Loop() {
			n, err := g.stack.Open(b.Context(), sb)
			if err != nil {
				b.Fatal(err)
			}
			n.Close()
		}
	})
}

// BenchmarkPlug plugs a dual-stack endpoint; what is measured includes no link's making.
func BenchmarkPlug(b *testing.B) { benchPlug(b, true) }

// BenchmarkUnplug takes it out.
func BenchmarkUnplug(b *testing.B) { benchPlug(b, false) }

func benchPlug(b *testing.B, plug bool) {
	b.Helper()
	kerneltest.Bench(b, func(b *testing.B) {
		g := newStage(b)
		sb := g.sandbox("box")
		n := g.open(sb)
		var trips uint64
		for b.Loop() {
			b.StopTimer()
			g.links = 0
			at := g.join(sb, 1, nil)
			before := n.RoundTrips()
			if plug {
				b.StartTimer()
			}
			if err := plugAndAwait(b.Context(), g.stack, n, at); err != nil {
				b.Fatal(err)
			}
			b.StopTimer()
			if plug {
				trips += n.RoundTrips() - before
			}
			before = n.RoundTrips()
			if !plug {
				b.StartTimer()
			}
			if err := g.stack.Unplug(b.Context(), n, at); err != nil {
				b.Fatal(err)
			}
			b.StopTimer()
			if !plug {
				trips += n.RoundTrips() - before
			}
			var del link.Batch
			del.DeleteLink(link.Numbered(101))
			g.do(link.Here, &del)
			b.StartTimer()
		}
		b.ReportMetric(float64(trips)/float64(b.N), "trips/op")
	})
}

// BenchmarkCheck compares a sandbox that is as it should be.
func BenchmarkCheck(b *testing.B) {
	kerneltest.Bench(b, func(b *testing.B) {
		g := newStage(b)
		sb := g.sandbox("box")
		at := g.join(sb, 1, nil)
		g.plug(at)
		for b.Loop() {
			drifts, err := g.stack.Check(b.Context(), sb, []cnm.Attachment{at})
			if err != nil || len(drifts) > 0 {
				b.Fatal(drifts, err)
			}
		}
	})
}
