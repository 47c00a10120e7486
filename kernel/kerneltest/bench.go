// SPDX-License-Identifier: Apache-2.0

package kerneltest

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Bench is [Run] for a benchmark: fn runs in a process of its own as root of
// new namespaces, and b reports what was measured there. b.N belongs to the
// isolated process, so fn uses the benchmark it is given, best with Loop. The
// stage and the look for leaks are not measured. The subbenchmarks of fn are
// not reported: call Bench inside b.Run instead.
func Bench(b *testing.B, fn func(b *testing.B)) {
	b.Helper()
	switch os.Getenv(marker) {
	case "":
		benchOutside(b)
	case b.Name():
		before := stage(b, settle)
		b.Cleanup(func() {
			before.compare(b)
			// The next, longer round of this benchmark sets the stage again.
			if err := unix.Unmount("/run", unix.MNT_DETACH); err != nil {
				b.Errorf("unmount /run: %v", err)
			}
		})
		b.ResetTimer()
		fn(b)
		b.StopTimer()
	default:
		b.Fatalf("kerneltest.Bench of %s inside that of %s: it is isolated already", b.Name(), os.Getenv(marker))
	}
}

// benchOutside runs the benchmark in an isolated process and takes over its
// figures.
func benchOutside(b *testing.B) {
	b.Helper()
	times := flagValue("test.benchtime")
	if strings.HasSuffix(times, "x") && times != fmt.Sprintf("%dx", b.N) {
		return // the round before the one with the wanted number
	}
	args := append([]string{
		"-test.run=^$", "-test.count=1", "-test.paniconexit0", "-test.v=true",
		"-test.bench=" + exactly(b.Name()), "-test.benchtime=" + times,
		"-test.benchmem=" + flagValue("test.benchmem"),
	}, ownFlags()...)
	output, err := isolated(b.Context(), b.Name(), args, 0)
	if reason, ok := asRefusal(err); ok {
		b.Skip(reason)
	}
	if err != nil {
		b.Fatalf("isolated run of %s: %v\n%s", b.Name(), err, output)
	}
	line := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(b.Name()) + `\S*\s+\d+\s(.*)$`)
	match := line.FindSubmatch(output)
	if match == nil {
		b.Skipf("isolated run of %s measured nothing:\n%s", b.Name(), output)
	}
	reportPairs(b, strings.Fields(string(match[1])))
}

// reportPairs makes pairs of a figure and its unit the result of b.
func reportPairs(b *testing.B, pairs []string) {
	b.Helper()
	for ; len(pairs) >= 2; pairs = pairs[2:] {
		value, err := strconv.ParseFloat(pairs[0], 64)
		if err != nil {
			b.Fatalf("isolated run of %s printed figure %q: %v", b.Name(), pairs[0], err)
		}
		b.ReportMetric(value, pairs[1])
	}
}
