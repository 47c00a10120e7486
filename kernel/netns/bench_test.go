// SPDX-License-Identifier: Apache-2.0

package netns_test

import (
	"os"
	"slices"
	"testing"
	"time"

	"github.com/libnetwork/cnm/kernel/kerneltest"
	"github.com/libnetwork/cnm/kernel/netns"
)

// BenchmarkMakeUnpin reports the median of each half beside the mean of both:
// the kernel takes apart what was unpinned in the background meanwhile, which
// shows in some of the rounds.
func BenchmarkMakeUnpin(b *testing.B) {
	kerneltest.Bench(b, func(b *testing.B) {
		var makes, unpins []time.Duration
		for b.Loop() {
			begin := time.Now()
			if _, err := netns.Make("/run/pin", nil); err != nil {
				b.Fatal(err)
			}
			made := time.Now()
			if err := netns.Unpin("/run/pin"); err != nil {
				b.Fatal(err)
			}
			makes, unpins = append(makes, made.Sub(begin)), append(unpins, time.Since(made))
		}
		slices.Sort(makes)
		slices.Sort(unpins)
		b.ReportMetric(float64(makes[len(makes)/2].Nanoseconds()), "make-p50-ns")
		b.ReportMetric(float64(makes[len(makes)*99/100].Nanoseconds()), "make-p99-ns")
		b.ReportMetric(float64(unpins[len(unpins)/2].Nanoseconds()), "unpin-p50-ns")
	})
}

func BenchmarkDo(b *testing.B) {
	kerneltest.Bench(b, func(b *testing.B) {
		ns := kerneltest.NewNS(b)
		for b.Loop() {
			if err := ns.Do(func() error { return nil }); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkDoAs(b *testing.B) {
	kerneltest.Bench(b, func(b *testing.B) {
		ns := kerneltest.NewNS(b)
		cookie, err := ns.Cookie()
		if err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			if err := ns.DoAs(cookie, func() error { return nil }); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkOpen(b *testing.B) {
	kerneltest.Bench(b, func(b *testing.B) {
		if _, err := netns.Make("/run/pin", nil); err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			ns, err := netns.Open("/run/pin")
			if err != nil {
				b.Fatal(err)
			}
			ns.Close()
		}
		if err := netns.Unpin("/run/pin"); err != nil {
			b.Fatal(err)
		}
	})
}

func BenchmarkOfProcess(b *testing.B) {
	kerneltest.Bench(b, func(b *testing.B) {
		for b.Loop() {
			ns, err := netns.OfProcess(os.Getpid())
			if err != nil {
				b.Fatal(err)
			}
			ns.Close()
		}
	})
}

func BenchmarkSurvivors(b *testing.B) {
	kerneltest.Bench(b, func(b *testing.B) {
		for b.Loop() {
			if _, err := netns.Survivors(b.Context(), 1); err != nil {
				b.Fatal(err)
			}
		}
	})
}
