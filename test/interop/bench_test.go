// SPDX-License-Identifier: Apache-2.0

//go:build interop

package interop_test

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/libnetwork/cnm/test/interop/engine"
)

// race measures kinds of what is done again and again, by the time each of them takes.
type race struct {
	names []string
	run   map[string]func() time.Duration
	times map[string][]time.Duration
}

// lap runs every kind once, in an order of its own, so that none of them always pays for what the kernel takes apart of the one
// before.
func (r *race) lap() {
	if r.times == nil {
		r.times = map[string][]time.Duration{}
	}
	for _, i := range rand.Perm(len(r.names)) {
		name := r.names[i]
		r.times[name] = append(r.times[name], r.run[name]())
	}
}

// median of a kind, in milliseconds.
func (r *race) median(name string) float64 {
	all := slices.Sorted(slices.Values(r.times[name]))
	return float64(all[len(all)/2].Microseconds()) / 1000
}

// report tells the medians of all kinds.
func (r *race) report(b *testing.B) {
	for _, name := range r.names {
		b.ReportMetric(r.median(name), name+"-ms")
	}
}

// containers are kinds of docker run --rm, from the command's start to its end, each after one without networking that counts for
// nothing.
func containers(b *testing.B, d *engine.Docker, names []string, flags map[string][]string) *race {
	run := func(flags []string) time.Duration {
		r := d.Try(slices.Concat([]string{"run", "--rm"}, flags, []string{engine.Image, "true"})...)
		r.Must(b, "docker run")
		return r.Time
	}
	r := &race{names: names, run: map[string]func() time.Duration{}}
	for _, name := range names {
		r.run[name] = func() time.Duration {
			run([]string{"--network", "none"})
			return run(flags[name])
		}
	}
	return r
}

// forDocker runs a benchmark with each generation, which has a bridge network of its own and one of ours.
func forDocker(b *testing.B, measure func(*testing.B, *engine.Docker)) {
	for _, g := range engine.Generations() {
		b.Run(string(g), func(b *testing.B) {
			p := engine.NewPlace(b)
			engine.StartCNM(b, p, "--docker-plugin", "cnm")
			d := engine.StartDocker(b, p, g, engine.DockerOptions{OwnNetworks: true})
			d.Run("network", "create", "own")
			d.Run("network", "create", "--driver", "cnm", "ours")
			measure(b, d)
		})
	}
}

// BenchmarkDockerRun measures docker run --rm without networking, on a bridge network of Docker's own, on one of ours, and there and
// there with a published port. The figures to look at are what ours take of Docker's own, beside what is Docker's alone: none/own
// is the least that ours/own can be.
func BenchmarkDockerRun(b *testing.B) {
	forDocker(b, func(b *testing.B, d *engine.Docker) {
		r := containers(b, d, []string{"none", "own", "ours", "own-published", "ours-published"}, map[string][]string{
			"none":           {"--network", "none"},
			"own":            {"--network", "own"},
			"ours":           {"--network", "ours"},
			"own-published":  {"--network", "own", "--publish", "8080:80"},
			"ours-published": {"--network", "ours", "--publish", "8080:80"},
		})
		for b.Loop() {
			r.lap()
		}
		r.report(b)
		b.ReportMetric(r.median("none")/r.median("own"), "none/own")
		b.ReportMetric(r.median("ours")/r.median("own"), "ours/own")
		b.ReportMetric(r.median("ours-published")/r.median("own-published"), "ours/own-published")
	})
}

// BenchmarkDockerPorts measures what 200 published ports add to docker run --rm: on a network of ours, and on Docker's own. What
// they cost Docker's client and daemon before a network is asked is in both.
func BenchmarkDockerPorts(b *testing.B) {
	forDocker(b, func(b *testing.B, d *engine.Docker) {
		ports := []string{"--publish", "20000-20199:20000-20199"}
		r := containers(b, d, []string{"none", "none-200", "own", "own-200", "ours", "ours-200"}, map[string][]string{
			"none":     {"--network", "none"},
			"none-200": append([]string{"--network", "none"}, ports...),
			"own":      {"--network", "own"},
			"own-200":  append([]string{"--network", "own"}, ports...),
			"ours":     {"--network", "ours"},
			"ours-200": append([]string{"--network", "ours"}, ports...),
		})
		for b.Loop() {
			r.lap()
		}
		r.report(b)
		for _, name := range []string{"none", "own", "ours"} {
			b.ReportMetric(r.median(name+"-200")-r.median(name), name+"-added-ms")
		}
	})
}

// BenchmarkDockerStart measures what 200 published ports add to docker start of a container that is there, on a network of ours: how much later it
// starts, without the command line's and the daemon's reading of the ports at its creation, and without its end.
func BenchmarkDockerStart(b *testing.B) {
	forDocker(b, func(b *testing.B, d *engine.Docker) {
		r := &race{names: []string{"plain", "200"}, run: map[string]func() time.Duration{}}
		for name, flags := range map[string][]string{"plain": nil, "200": {"--publish", "20000-20199:20000-20199"}} {
			d.Run(slices.Concat([]string{"create", "--name", "box-" + name, "--network", "ours"}, flags, []string{engine.Image, "sleep", "1000"})...)
			r.run[name] = func() time.Duration {
				started := d.Try("start", "box-"+name)
				started.Must(b, "docker start")
				d.Run("kill", "box-"+name)
				d.Run("wait", "box-"+name)
				return started.Time
			}
		}
		for b.Loop() {
			r.lap()
		}
		r.report(b)
		b.ReportMetric(r.median("200")-r.median("plain"), "added-ms")
		d.Run("rm", "--force", "box-plain", "box-200")
	})
}
