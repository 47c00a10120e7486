// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// performance bounds one run of the demo in a test.
const performance = time.Minute

// programs are the demo and what it shows.
type programs struct{ demo, cnm string }

// build builds both as `make demo` does. It looks at every folder with sources first: go test then knows that its last result
// says nothing of other ones.
func build(t *testing.T) programs {
	t.Helper()
	root := filepath.Join("..", "..")
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.IsDir() && path != root && (e.Name() == "bin" || strings.HasPrefix(e.Name(), ".")) {
			return fs.SkipDir
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	p := programs{demo: filepath.Join(dir, "demo"), cnm: filepath.Join(dir, "cnm")}
	for out, pkg := range map[string]string{p.demo: ".", p.cnm: "../../cmd/cnm"} {
		cmd := exec.CommandContext(t.Context(), "go", "build", "-o", out, pkg)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if words, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("go build %s: %v\n%s", pkg, err, words)
		}
	}
	return p
}

// perform runs the demo and gives its report and exit status.
func (p programs) perform(t *testing.T, args ...string) (rep report, status int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), performance)
	defer cancel()
	cmd := exec.CommandContext(ctx, p.demo, append([]string{"-cnm", p.cnm, "-json"}, args...)...)
	// It ends with the test: with the thread that starts it, which is held until then.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var out, words bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &words
	err := cmd.Run()
	var ended *exec.ExitError
	if err != nil && !errors.As(err, &ended) {
		t.Fatal(err)
	}
	status = cmd.ProcessState.ExitCode()
	if words.Len() > 0 {
		t.Logf("%v: exit status %d, on stderr:\n%s", args, status, words.String())
	}
	if err := json.Unmarshal(out.Bytes(), &rep); err != nil {
		t.Fatalf("%v: exit status %d, %v in %q", args, status, err, out.String())
	}
	return rep, status
}

// TestDemo runs the whole demo, which must pass, and then each row with its mechanism switched off, which must fail. A row
// that cannot even begin without its mechanism has not failed: it would pass nothing and show nothing.
func TestDemo(t *testing.T) {
	t.Parallel()
	p := build(t)
	t.Run("static", func(t *testing.T) {
		t.Parallel()
		testStatic(t, p)
	})
	t.Run("whole", func(t *testing.T) {
		t.Parallel()
		rep, status := p.perform(t)
		for _, res := range rep.Rows {
			if res.Verdict != passed {
				t.Errorf("%s: %s: %s", res.Row, res.Verdict, res.Detail)
			}
		}
		if want := len(table()); status != 0 || rep.Passed != want || rep.Failed != 0 {
			t.Errorf("exit status %d, %d rows passed and %d failed of %d", status, rep.Passed, rep.Failed, want)
		}
	})
	for _, r := range table() {
		t.Run("broken/"+r.name, func(t *testing.T) {
			t.Parallel()
			rep, status := p.perform(t, "-break", r.name)
			if len(rep.Rows) != 1 || rep.Rows[0].Row != r.name {
				t.Fatalf("the run was of %+v", rep.Rows)
			}
			res := rep.Rows[0]
			t.Logf("broken (%s): %s: %s", r.breaks, res.Verdict, res.Detail)
			if res.Verdict != failed || status != statusFailed || rep.Failed != 1 {
				t.Errorf("%s with its mechanism switched off (%s): %s, exit status %d", r.name, r.breaks, res.Verdict, status)
			}
		})
	}
}

// testStatic takes a program for static only until it asks for a loader.
func testStatic(t *testing.T, p programs) {
	w, err := newWorld(nil, p.demo, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := checkStatic(t.Context(), w); err != nil {
		t.Error(err)
	}
	if err := dynamicCopy(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	if checkStatic(t.Context(), w) == nil {
		t.Error("a program that asks for a loader was found static")
	}
}
