// SPDX-License-Identifier: Apache-2.0

package kerneltest

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/libnetwork/cnm/kernel/netns"
)

// marker is the environment variable that tells the isolated process which
// test or benchmark it was started for.
const marker = "CNM_KERNELTEST"

// Run runs fn as the test t in a process of its own, as root of new user,
// network, mount and process namespaces: every mount is private, /run is an empty tmpfs,
// lo is up and there is no other link. The caller's test becomes what fn's
// became, passed, failed or skipped, and so do fn's subtests; output is
// relayed. Anything that precedes Run in the test function runs in both
// processes, so Run is best its only statement after t.Parallel, which the
// caller may and should call: runs do not see each other.
//
// After fn and all cleanups the test fails unless the process and its network
// namespace are as they were: for each goroutine, descriptor, mount, process and
// thread in another network namespace that is left, and for each link, address,
// route, rule, permanent neighbour, forwarding entry, table of nftables and
// waiting socket that is new or gone. What a test leaves on
// purpose it declares with [Clear].
//
// The test's deadline holds in the isolated process too, which dies with the
// caller, and takes with it what it started (see [netns.RunIsolated]). Where the kernel refuses namespaces the test is skipped with the
// switches to set. Run cannot be nested.
func Run(t *testing.T, fn func(t *testing.T)) {
	t.Helper()
	run(t, settle, fn)
}

// run is Run with a bound to how long what is on its way out may take.
func run(t *testing.T, settle time.Duration, fn func(t *testing.T)) {
	t.Helper()
	switch os.Getenv(marker) {
	case "":
		outside(t)
	case t.Name():
		before := stage(t, settle)
		t.Cleanup(func() { before.compare(t) })
		fn(t)
	default:
		t.Fatalf("kerneltest.Run of %s inside that of %s: it is isolated already", t.Name(), os.Getenv(marker))
	}
}

// NewNS makes a fresh, unnamed network namespace with nothing but lo, which is
// down. It is closed when the test ends.
func NewNS(tb testing.TB) *netns.NS {
	tb.Helper()
	ns, err := netns.New()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := ns.Close(); err != nil {
			tb.Error(err)
		}
	})
	return ns
}

// InNS runs fn on a thread that has entered ns. fn may end the test with
// FailNow, Fatal or Skip as usual.
func InNS(tb testing.TB, ns *netns.NS, fn func()) {
	tb.Helper()
	if err := ns.Do(func() error { fn(); return nil }); err != nil {
		tb.Fatal(err)
	}
}

// stage prepares the isolated process and notes what is there.
func stage(tb testing.TB, settle time.Duration) *inventory {
	tb.Helper()
	if err := netns.PrepareStage(); err != nil {
		tb.Fatalf("prepare the test's namespaces: %v", err)
	}
	before, err := takeInventory(settle)
	if err != nil {
		tb.Fatalf("note what is open before the test: %v", err)
	}
	return before
}

// outside runs the test in an isolated process and takes over its result.
func outside(t *testing.T) {
	t.Helper()
	coverDir := ""
	if parent := flagValue("test.gocoverdir"); testing.CoverMode() != "" && parent != "" {
		coverDir = t.TempDir()
		defer collectCoverage(t, coverDir, parent)
	}
	limit, margin := time.Duration(0), time.Duration(0)
	if deadline, ok := t.Deadline(); ok {
		limit = time.Until(deadline)
		margin = min(limit/10, 10*time.Second)
	}
	args := testArgs(t.Name(), limit-2*margin, coverDir)
	output, err := isolated(t.Context(), t.Name(), args, limit-margin)
	if reason, ok := asRefusal(err); ok {
		t.Skip(reason)
	}
	relay(t, parseOutput(output), err)
}

// asRefusal finds the kernel's refusal of namespaces in err.
func asRefusal(err error) (*netns.RefusedError, bool) {
	return errors.AsType[*netns.RefusedError](err)
}

// isolated executes this test binary with args in new namespaces, for at most
// limit if that is not zero, and gives all that it printed.
func isolated(ctx context.Context, name string, args []string, limit time.Duration) ([]byte, error) {
	if limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	var output bytes.Buffer
	cmd := exec.CommandContext(ctx, self, args...)
	// The race detector otherwise makes each process wait a second at its end.
	race := "GORACE=atexit_sleep_ms=10 " + os.Getenv("GORACE")
	cmd.Env = append(os.Environ(), marker+"="+name, race)
	cmd.Stdout, cmd.Stderr = &output, &output
	cmd.WaitDelay = time.Second
	err = netns.RunIsolated(cmd)
	if ctx.Err() != nil {
		err = errors.Join(ctx.Err(), err)
	}
	return output.Bytes(), err
}

// collectCoverage moves what an isolated process counted to where the testing
// package merges it into this process's own count. Each process writes into a
// directory of its own first, because the testing package also reads that
// directory when it ends, and would find the half-written files of others.
func collectCoverage(tb testing.TB, from, to string) {
	tb.Helper()
	files, err := os.ReadDir(from)
	if err != nil {
		tb.Error(err)
	}
	for _, file := range files {
		content, err := os.ReadFile(filepath.Join(from, file.Name()))
		if err == nil {
			err = os.WriteFile(filepath.Join(to, file.Name()), content, 0o600)
		}
		if err != nil {
			tb.Error(err)
		}
	}
}
