// SPDX-License-Identifier: Apache-2.0

package script

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"

	"github.com/libnetwork/cnm/kernel/kerneltest"
)

// binaries is the environment variable that names the directory of the built programs, for the child processes.
const binaries = "CNM_SCRIPT_BINARIES"

func TestMain(m *testing.M) {
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
	defer os.RemoveAll(dir)
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

// TestScripts runs each script of testdata in namespaces of its own.
func TestScripts(t *testing.T) {
	t.Parallel()
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
	bin := os.Getenv(binaries)
	d := &daemon{bin: filepath.Join(bin, "cnm")}
	testscript.Run(t, testscript.Params{
		Files: []string{file},
		Setup: func(e *testscript.Env) error {
			e.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH"))
			e.Setenv("HELLO", filepath.Join(bin, "hello"))
			e.Setenv("CNM_SOCKET", filepath.Join(e.WorkDir, "cnm.sock"))
			d.dir = e.WorkDir
			e.Defer(d.end)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"daemon": d.command,
			"status": status,
		},
	})
}

// daemon is the daemon of a script: `daemon start`, `daemon stop` (SIGTERM), `daemon kill` (SIGKILL).
type daemon struct {
	bin, dir string
	cmd      *exec.Cmd
	log      sync.WaitGroup
}

func (d *daemon) command(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) == 0 || neg {
		ts.Fatalf("usage: daemon start [FLAG...] | stop | kill")
	}
	switch args[0] {
	case "start":
		ts.Check(d.start(ts, args[1:]))
	case "stop":
		ts.Check(d.signal(unix.SIGTERM))
	case "kill":
		ts.Check(d.signal(unix.SIGKILL))
	default:
		ts.Fatalf("unknown: daemon %s", args[0])
	}
}

// start starts the daemon and waits for its word that it is ready.
func (d *daemon) start(ts *testscript.TestScript, flags []string) error {
	args := append([]string{"daemon", "--state", filepath.Join(d.dir, "state"), "--run", filepath.Join(d.dir, "run"), "--socket", filepath.Join(d.dir, "cnm.sock")}, flags...)
	d.cmd = exec.Command(d.bin, args...)
	d.cmd.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGKILL}
	out, err := d.cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := d.cmd.Start(); err != nil {
		return err
	}
	lines := bufio.NewReader(out)
	var said strings.Builder
	for {
		line, err := lines.ReadString('\n')
		said.WriteString(line)
		if err != nil {
			return errors.Join(fmt.Errorf("the daemon ended before it was ready:\n%s", said.String()), d.cmd.Wait())
		}
		if strings.Contains(line, "msg=ready") {
			break
		}
	}
	d.log.Go(func() {
		rest, _ := io.ReadAll(lines) // ends with the process
		ts.Logf("daemon:\n%s%s", said.String(), rest)
	})
	return nil
}

// signal ends the daemon and waits for it.
func (d *daemon) signal(s unix.Signal) error {
	if d.cmd == nil {
		return errors.New("no daemon runs")
	}
	cmd := d.cmd
	d.cmd = nil
	if err := cmd.Process.Signal(s); err != nil {
		return err
	}
	d.log.Wait()
	err := cmd.Wait()
	if s == unix.SIGKILL {
		return nil
	}
	return err
}

func (d *daemon) end() {
	if d.cmd != nil {
		_ = d.signal(unix.SIGKILL)
	}
}

// status runs a command and compares its exit status: `status 3 cnm network inspect nothing`.
func status(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 || neg {
		ts.Fatalf("usage: status NUMBER COMMAND [ARG...]")
	}
	err := ts.Exec(args[1], args[2:]...)
	got := 0
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		got = e.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if fmt.Sprint(got) != args[0] {
		ts.Fatalf("exit status %d, want %s", got, args[0])
	}
}
