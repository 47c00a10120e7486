// SPDX-License-Identifier: Apache-2.0

//go:build interop

package interop_test

import (
	"slices"
	"testing"
	"time"

	"github.com/libnetwork/cnm/test/interop/engine"
)

// BenchmarkDockerRun measures docker run --rm, from the command's start to its end, without networking, on a bridge network
// of Docker's own, and there with a published port. The figure to look at is median-ms.
func BenchmarkDockerRun(b *testing.B) {
	for _, g := range engine.Generations() {
		b.Run(string(g), func(b *testing.B) {
			d := engine.StartDocker(b, engine.NewPlace(b), g, engine.DockerOptions{OwnNetworks: true})
			d.Run("network", "create", "own")
			for _, c := range []struct {
				name  string
				flags []string
			}{
				{"none", []string{"--network", "none"}},
				{"own", []string{"--network", "own"}},
				{"published", []string{"--network", "own", "--publish", "8080:80"}},
			} {
				b.Run(c.name, func(b *testing.B) { medianRun(b, d, c.flags...) })
			}
		})
	}
}

// medianRun reports the median time of docker run --rm with the flags.
func medianRun(b *testing.B, d *engine.Docker, flags ...string) {
	b.Helper()
	args := slices.Concat([]string{"run", "--rm"}, flags, []string{engine.Image, "true"})
	d.Run(args...) // the first one makes what the others find
	var times []time.Duration
	for b.Loop() {
		r := d.Try(args...)
		r.Must(b, "docker run")
		times = append(times, r.Time)
	}
	slices.Sort(times)
	b.ReportMetric(float64(times[len(times)/2].Microseconds())/1000, "median-ms")
}
