// SPDX-License-Identifier: Apache-2.0

package script

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"

	"github.com/libnetwork/cnm/kernel/kerneltest"
)

// binaries is the environment variable that names the directory of the built programs, for the child processes.
const binaries = "CNM_SCRIPT_BINARIES"

func TestMain(m *testing.M) {
	if bundle := os.Getenv(inside); bundle != "" {
		os.Exit(contain(bundle))
	}
	if os.Getenv(binaries) != "" {
		os.Exit(m.Run())
	}
	os.Exit(build(m))
}

// build builds the programs the scripts run, as a user would.
func build(m *testing.M) int {
	dir, err := os.MkdirTemp("", "cnm-script")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	for _, pkg := range []string{"./cmd/cnm", "./examples/hello"} {
		cmd := exec.Command("go", "build", "-o", dir, pkg)
		cmd.Dir, cmd.Env = filepath.Join("..", ".."), append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "building %s: %v\n%s", pkg, err, out)
			return 1
		}
	}
	if err := os.Setenv(binaries, dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// noteSources looks at every folder with sources of the programs: go test then knows that its last result says nothing of other ones.
func noteSources(t *testing.T) {
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
}

// TestScripts runs each script of testdata in namespaces of its own.
func TestScripts(t *testing.T) {
	t.Parallel()
	noteSources(t)
	files, err := filepath.Glob(filepath.Join("testdata", "*.txtar"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".txtar"), func(t *testing.T) {
			t.Parallel()
			kerneltest.Run(t, func(t *testing.T) { runScript(t, f) })
		})
	}
}

// runScript runs one script with a host of its own.
func runScript(t *testing.T, file string) {
	t.Helper()
	adoptOrphans(t)
	bin := os.Getenv(binaries)
	stores, err := filepath.Abs(filepath.Join("..", "..", "store", "bolt", "testdata"))
	if err != nil {
		t.Fatal(err)
	}
	kerneltest.Clear(t, "cnm") // the firewall's tables outlive a daemon
	h := &host{t: t, daemon: daemon{bin: filepath.Join(bin, "cnm")}}
	cs := &containers{of: map[string]*container{}}
	testscript.Run(t, testscript.Params{
		Files: []string{file},
		Setup: func(e *testscript.Env) error {
			e.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH"))
			e.Setenv("HELLO", filepath.Join(bin, "hello"))
			e.Setenv("CNM_SOCKET", filepath.Join(e.WorkDir, "cnm.sock"))
			e.Setenv("STORES", stores)
			h.daemon.dir = e.WorkDir
			e.Values[daemonKey{}] = &h.daemon
			e.Defer(h.end)
			e.Defer(cs.end)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"daemon": h.daemon.command,
			"status": status,
			"fail":   h.fail,
			"audit":  h.audit,
			"watch":  h.watch,
			"await":  h.await,
			"link":   h.link,
			"netns":  h.netns,
			"disk":   h.disk,
			"alike":  h.alike,
			"let":    let,

			"container": cs.command,
			"chain":     h.chain,
			"answer":    answer,
		},
	})
}

// endOthers kills the children of this process that do not run in the background: the one that is waited for.
func endOthers(ts *testscript.TestScript) {
	background := []int{}
	if d, ok := ts.Value(daemonKey{}).(*daemon); ok && d.cmd != nil {
		background = append(background, d.cmd.Process.Pid)
	}
	for _, cmd := range ts.BackgroundCmds() {
		background = append(background, cmd.Process.Pid)
	}
	pids, err := children()
	if err != nil {
		ts.Logf("ending what takes too long: %v", err)
	}
	for _, pid := range pids {
		if !slices.Contains(background, pid) {
			ts.Logf("process %d takes too long", pid)
			_ = unix.Kill(pid, unix.SIGKILL)
		}
	}
}

// daemonKey is under which a script knows its daemon.
type daemonKey struct{}

// status runs a command and compares its exit status: `status 3 cnm network inspect nothing`.
func status(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 || neg {
		ts.Fatalf("usage: status NUMBER COMMAND [ARG...]")
	}
	if got := exitStatus(ts, args[1:]); strconv.Itoa(got) != args[0] {
		ts.Fatalf("exit status %d, want %s", got, args[0])
	}
}

// let sets a variable to what the last command printed: `let ID`.
func let(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 1 || neg {
		ts.Fatalf("usage: let NAME")
	}
	ts.Setenv(args[0], strings.TrimSpace(ts.ReadFile("stdout")))
}

// exitStatus runs a command; what it printed is for stdout and stderr.
func exitStatus(ts *testscript.TestScript, command []string) int {
	defer time.AfterFunc(patience, func() { endOthers(ts) }).Stop()
	err := ts.Exec(command[0], command[1:]...)
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		return e.ExitCode()
	}
	ts.Check(err)
	return 0
}
