// SPDX-License-Identifier: Apache-2.0

//go:build interop

package interop_test

import (
	"slices"
	"testing"
	"time"

	"github.com/libnetwork/cnm/test/interop/engine"
)

// BenchmarkDockerRun measures docker run --rm, from the command's start to its end: without networking, on a bridge network of
// Docker's own, on one of ours, and there and there with a published port. They take turns, each after a run without networking
// that counts for nothing, so that none of them pays for what the kernel takes apart of the one before. The figures to look at
// are the medians and what ours take of Docker's own.
func BenchmarkDockerRun(b *testing.B) {
	for _, g := range engine.Generations() {
		b.Run(string(g), func(b *testing.B) {
			p := engine.NewPlace(b)
			engine.StartCNM(b, p, "--docker-plugin", "cnm")
			d := engine.StartDocker(b, p, g, engine.DockerOptions{OwnNetworks: true})
			d.Run("network", "create", "own")
			d.Run("network", "create", "--driver", "cnm", "ours")
			runs := []struct {
				name  string
				flags []string
				times []time.Duration
			}{
				{name: "none", flags: []string{"--network", "none"}},
				{name: "own", flags: []string{"--network", "own"}},
				{name: "ours", flags: []string{"--network", "ours"}},
				{name: "own-published", flags: []string{"--network", "own", "--publish", "8080:80"}},
				{name: "ours-published", flags: []string{"--network", "ours", "--publish", "8080:80"}},
			}
			run := func(flags []string) time.Duration {
				r := d.Try(slices.Concat([]string{"run", "--rm"}, flags, []string{engine.Image, "true"})...)
				r.Must(b, "docker run")
				return r.Time
			}
			for b.Loop() {
				for i := range runs {
					run(runs[0].flags)
					runs[i].times = append(runs[i].times, run(runs[i].flags))
				}
			}
			ms := map[string]float64{}
			for _, r := range runs {
				slices.Sort(r.times)
				ms[r.name] = float64(r.times[len(r.times)/2].Microseconds()) / 1000
				b.ReportMetric(ms[r.name], r.name+"-ms")
			}
			b.ReportMetric(ms["ours"]/ms["own"], "ours/own")
			b.ReportMetric(ms["ours-published"]/ms["own-published"], "ours/own-published")
		})
	}
}
