// SPDX-License-Identifier: Apache-2.0

//go:build interop

package interop_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/libnetwork/cnm/test/interop/engine"
	"github.com/libnetwork/cnm/test/interop/place"
)

// serve is a server of one page for a bundle.
func serve(page string) []string {
	return []string{"sh", "-c", "mkdir -p /www && echo " + page + " >/www/index.html && exec httpd -f -h /www"}
}

// left fails the test unless the daemon has no sandbox and no endpoint.
func left(t *testing.T, c *engine.CNM) {
	t.Helper()
	if got := c.Run("sandbox", "ls", "--quiet") + c.Run("endpoint", "ls", "--quiet"); got != "" {
		t.Errorf("left is %s", got)
	}
}

// A container of a runtime joins by hooks, is reached from the LAN on both families, knows its names, and is gone when it is deleted.
func TestBundlesJoin(t *testing.T) {
	t.Parallel()
	for _, r := range engine.Runtimes() {
		t.Run(string(r), func(t *testing.T) {
			t.Parallel()
			p := engine.NewPlace(t)
			c := engine.StartCNM(t, p)
			c.Run("network", "create", "web")
			c.Run("network", "create", "db")
			b := engine.NewBundle(t, p, r, engine.BundleOptions{Args: serve("joined")})
			c.Run("oci", "bundle", b.Dir, "--network", "web", "--network", "db", "--publish", "8080:80", "--alias", "web=front", "--interface", "db=back0")
			b.Try("c1", "run", "--detach").Must(t, string(r), "run")
			for _, host := range []string{place.Host4, "[" + place.Host6 + "]"} {
				if got := fetch(t, p.Neighbour, "http://"+host+":8080"); got != "joined\n" {
					t.Errorf("%s answers %q", host, got)
				}
			}
			inside := func(command string) string {
				cmd := b.Command("c1", "exec")
				cmd.Args = append(cmd.Args, "sh", "-c", command)
				return p.Run(cmd).Must(t, string(r), "exec")
			}
			if got := inside("cat /etc/hosts"); strings.Count(got, "\tbundle c1 front\n") != 2 || strings.Count(got+"\n", "\tbundle c1\n") != 2 {
				t.Errorf("hosts:\n%s", got)
			}
			if got := inside("cat /etc/hostname; ip -o link | cut -d ' ' -f 2 | cut -d @ -f 1 | tr -d : | sort"); got != "bundle\nback0\neth0\nlo" {
				t.Errorf("it has %q", got)
			}
			b.Try("c1", "delete", "--force").Must(t, string(r), "delete")
			c.Daemon.Await("its namespace is gone")
			left(t, c)
		})
	}
}

// The runtime does not start what cannot join, and nothing is left.
func TestBundlesThatCannotJoin(t *testing.T) {
	t.Parallel()
	for _, r := range engine.Runtimes() {
		t.Run(string(r), func(t *testing.T) {
			t.Parallel()
			p := engine.NewPlace(t)
			c := engine.StartCNM(t, p)
			c.Run("network", "create", "web")
			b := engine.NewBundle(t, p, r, engine.BundleOptions{Args: []string{"echo", "it ran"}})
			c.Run("oci", "bundle", b.Dir, "--network", "web", "--network", "nowhere")
			got := b.Try("c1", "run")
			if got.Status == 0 || strings.Contains(got.Out, "it ran") {
				t.Errorf("it ran, and said %q", got.Out)
			}
			if said := got.Err + got.Out; r == engine.Runc && !strings.Contains(said, `no network \"nowhere\"`) {
				t.Errorf("it said %q", said)
			}
			left(t, c)
			c.Run("oci", "bundle", b.Dir, "--network", "web")
			b.Try("c1", "run").Must(t, string(r), "run")
			c.Daemon.Await("its namespace is gone")
			left(t, c)
			c.Run("oci", "bundle", b.Dir, "--network", "web", "--poststop")
			b.Try("c1", "run").Must(t, string(r), "run")
			left(t, c)
		})
	}
}

// What a container had is free for the next one at once, though nobody calls at its end.
func TestBundlesOneAfterAnother(t *testing.T) {
	t.Parallel()
	for _, r := range engine.Runtimes() {
		t.Run(string(r), func(t *testing.T) {
			t.Parallel()
			p := engine.NewPlace(t)
			c := engine.StartCNM(t, p)
			c.Run("network", "create", "web", "--subnet", "10.80.1.0/24")
			b := engine.NewBundle(t, p, r, engine.BundleOptions{Args: []string{"true"}})
			c.Run("oci", "bundle", b.Dir, "--network", "web", "--publish", "8080:80", "--ip", "10.80.1.9")
			for _, id := range []string{"c1", "c2", "c1", "c3"} {
				b.Try(id, "run").Must(t, string(r), "run", id)
			}
		})
	}
}

// Containers are started in a sandbox that was made before, and come and go in it.
func TestBundlesInASandbox(t *testing.T) {
	t.Parallel()
	for _, r := range engine.Runtimes() {
		t.Run(string(r), func(t *testing.T) {
			t.Parallel()
			p := engine.NewPlace(t)
			c := engine.StartCNM(t, p)
			c.Run("network", "create", "web")
			c.Run("sandbox", "create", "box", "--hostname", "made")
			c.Run("attach", "box", "web")
			b := engine.NewBundle(t, p, r, engine.BundleOptions{Args: []string{"cat", "/etc/hosts"}})
			c.Run("oci", "bundle", b.Dir, "--sandbox", "box")
			for range 2 {
				if got := b.Try("c1", "run").Must(t, string(r), "run"); strings.Count(got, "\tmade box") != 2 {
					t.Errorf("hosts:\n%s", got)
				}
			}
			if got := c.Run("endpoint", "ls", "--format", "{{.sandbox}} {{.state}}"); got != "box joined" {
				t.Errorf("the endpoint is %q", got)
			}
		})
	}
}

// BenchmarkRuncRun measures what the hooks add to runc run. Runs with and without them take turns, each after one that counts
// for nothing, so that none of them pays for what the kernel takes apart of the one before. The figures to look at are plain-ms
// and added-ms, of medians.
func BenchmarkRuncRun(b *testing.B) {
	p := engine.NewPlace(b)
	c := engine.StartCNM(b, p)
	c.Run("network", "create", "web")
	bundle := func() *engine.Bundle {
		return engine.NewBundle(b, p, engine.Runc, engine.BundleOptions{Args: []string{"true"}})
	}
	plain, hooked := bundle(), bundle()
	c.Run("oci", "bundle", hooked.Dir, "--network", "web", "--publish", "8080:80")
	run := func(of *engine.Bundle) time.Duration {
		plain.Try("c0", "run").Must(b, "runc run")
		r := of.Try("c1", "run")
		r.Must(b, "runc run")
		return r.Time
	}
	var without, with []time.Duration
	for b.Loop() {
		without, with = append(without, run(plain)), append(with, run(hooked))
	}
	slices.Sort(without)
	slices.Sort(with)
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	b.ReportMetric(ms(without[len(without)/2]), "plain-ms")
	b.ReportMetric(ms(with[len(with)/2]-without[len(without)/2]), "added-ms")
}
