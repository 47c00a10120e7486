// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/libnetwork/cnm/kernel/conntrack"
	"github.com/libnetwork/cnm/kernel/kerneltest"
	"github.com/libnetwork/cnm/kernel/netns"
)

// TestMain plays a role where the measuring part started this program again.
func TestMain(m *testing.M) {
	played, err := play(context.Background())
	switch {
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	case played:
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestQuantile(t *testing.T) {
	t.Parallel()
	var s series
	if got := s.median(); got != 0 {
		t.Errorf("median of nothing is %v", got)
	}
	for i := 100; i > 0; i-- {
		s = append(s, time.Duration(i))
	}
	for q, want := range map[float64]time.Duration{0: 1, 0.5: 50, 0.99: 99, 1: 100} {
		if got := s.quantile(q); got != want {
			t.Errorf("quantile %v is %v, not %v", q, got, want)
		}
	}
	if s[0] != 100 {
		t.Error("the series was sorted in place")
	}
}

func TestPairedRatio(t *testing.T) {
	t.Parallel()
	if got := pairedRatio(series{2, 30, 400}, series{1, 10, 200}); got != 2 {
		t.Errorf("ratio %v, not 2", got)
	}
	if got := pairedRatio(nil, series{1}); got != 0 {
		t.Errorf("ratio of nothing is %v", got)
	}
}

func TestVerdict(t *testing.T) {
	t.Parallel()
	rate := figure{Value: 0.5, Limit: 0.8, AtLeast: true}
	for _, c := range []struct {
		figure figure
		factor float64
		want   string
	}{
		{atMost("", 1, "x", 1), 1, "holds"},
		{atMost("", 1.5, "x", 1), 1, "MISSED"},
		{atMost("", 1.5, "x", 1), 2, "over, within 2x"},
		{atMost("", 2.5, "x", 1), 2, "MISSED"},
		{atMost("", -1, "ms", 0.3), 1, "holds"},
		{rate, 1, "MISSED"},
		{rate, 2, "over, within 2x"},
		{told("", 9, "ms"), 1, ""},
	} {
		if got := c.figure.verdict(c.factor); got != c.want {
			t.Errorf("%+v by factor %v: %q, not %q", c.figure, c.factor, got, c.want)
		}
		groups := []group{{Figures: []figure{c.figure}}}
		if got := len(missed(groups, c.factor)) == 1; got != (c.want == "MISSED") {
			t.Errorf("%+v by factor %v is among the missed: %v", c.figure, c.factor, got)
		}
	}
}

func TestTable(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	groups := []group{{"a", []figure{atMost("one", 0.12345, "ms", 1).noted("p99 %d", 7), told("two", 512, "/s")}}}
	if err := writeTable(&b, groups, 1); err != nil {
		t.Fatal(err)
	}
	want := `| claim | figure   | limit   | verdict | note  |
|-------|----------|---------|---------|-------|
| one   | 0.123 ms | <= 1 ms | holds   | p99 7 |
| two   | 512/s    |         |         |       |
`
	if b.String() != want {
		t.Errorf("got\n%s", b.String())
	}
}

func TestParse(t *testing.T) {
	t.Parallel()
	short, err := parse([]string{"-short", "-run", "^attach$"})
	if err != nil || short.limit != 2 || short.results != "" || !short.run.MatchString("attach") {
		t.Errorf("-short: %+v, %v", short, err)
	}
	full, err := parse(nil)
	if err != nil || full.limit != 1 || full.results != "bench/results.md" {
		t.Errorf("no flags: %+v, %v", full, err)
	}
	for _, args := range [][]string{{"-short", "-full"}, {"-run", "("}, {"more"}} {
		if _, err := parse(args); err == nil {
			t.Errorf("%q is taken", args)
		}
	}
}

// TestForeign sees the connections of others come and go.
func TestForeign(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		count := func() int {
			c := must(conntrack.Dial())(t)
			defer c.Close()
			return must(c.Count())(t)
		}
		for _, n := range []int{450, foreignEntries} {
			if err := trackForeign(n); err != nil {
				t.Fatal(err)
			}
			if got := count(); got != n {
				t.Errorf("%d connections, not %d", got, n)
			}
			if err := forgetForeign(); err != nil {
				t.Fatal(err)
			}
		}
		if got := count(); got != 0 {
			t.Errorf("%d connections are left", got)
		}
	})
}

// TestTrips counts in another process, which is the whole way of a measurement but its length.
func TestTrips(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		kerneltest.Clear(t)
		figures := must(measureTrips(t.Context(), &bench{dir: t.TempDir()}))(t)
		for _, f := range figures {
			if strings.HasPrefix(f.What, "floor") && f.Value != 3 {
				t.Errorf("%s: %v, not 3", f.What, f.Value)
			}
			if !f.within(2) {
				t.Errorf("%s: %v is more than twice %v", f.What, f.Value, f.Limit)
			}
		}
	})
}

// TestDaemonProcess starts, kills and starts the daemon, and attaches through its socket.
func TestDaemonProcess(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		kerneltest.Clear(t)
		dir := t.TempDir()
		d := must(newDaemonProcess(t.Context(), dir))(t)
		must(d.attachNew(t.Context(), 0))(t)
		must(d.restart(t.Context()))(t)
		rss, pss, err := d.memory()
		if err != nil || rss < 1 || pss > rss {
			t.Errorf("memory %v and %v MiB, %v", rss, pss, err)
		}
		if err := d.clear(t.Context()); err != nil {
			t.Error(err)
		}
		if err := d.close(); err != nil {
			t.Error(err)
		}
		if err := netns.ReleaseDir(daemonConfig(dir).RunDir + "/netns"); err != nil {
			t.Error(err)
		}
	})
}
