// SPDX-License-Identifier: Apache-2.0

package table

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Program is a program that shows a table, for tests: a path and arguments.
type Program struct {
	Args  []string
	Limit time.Duration // of one run
}

// Perform runs it with further arguments, and gives its report and exit status.
func (p Program) Perform(t *testing.T, args ...string) (rep Report, status int) {
	t.Helper()
	args = append([]string{"-json"}, args...)
	out, status := p.run(t, args...)
	if err := json.Unmarshal(out, &rep); err != nil {
		t.Fatalf("%v: exit status %d, %v in %q", args, status, err, out)
	}
	return rep, status
}

// run gives what the program prints.
func (p Program) run(t *testing.T, args ...string) (out []byte, status int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), p.Limit)
	defer cancel()
	args = append(p.Args[1:len(p.Args):len(p.Args)], args...)
	cmd := exec.CommandContext(ctx, p.Args[0], args...)
	// It ends with the test: with the thread that starts it, which is held until then.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var printed, words bytes.Buffer
	cmd.Stdout, cmd.Stderr = &printed, &words
	err := cmd.Run()
	if ended := (*exec.ExitError)(nil); err != nil && !errors.As(err, &ended) {
		t.Fatal(err)
	}
	if words.Len() > 0 {
		t.Logf("%v: exit status %d, on stderr:\n%s", args, cmd.ProcessState.ExitCode(), words.String())
	}
	return printed.Bytes(), cmd.ProcessState.ExitCode()
}

// names are those of its rows.
func (p Program) names(t *testing.T) []string {
	t.Helper()
	out, _ := p.run(t, "-list")
	var all []string
	for line := range strings.Lines(string(out)) {
		if !strings.HasPrefix(line, " ") {
			all = append(all, strings.Fields(line)[0])
		}
	}
	if len(all) == 0 {
		t.Fatalf("-list names no row: %q", out)
	}
	return all
}

// Try runs a program's whole table, which must pass, and then each row with its
// mechanism switched off, which must fail, all of them in parallel. A row that
// cannot even begin without its mechanism has not failed: it would pass nothing
// and show nothing.
func Try(t *testing.T, p Program) {
	t.Helper()
	rows := p.names(t)
	t.Run("whole", func(t *testing.T) {
		t.Parallel()
		TryWhole(t, p)
	})
	for _, row := range rows {
		t.Run("broken/"+row, func(t *testing.T) {
			t.Parallel()
			rep, status := p.Perform(t, "-break", row)
			if len(rep.Rows) != 1 || rep.Rows[0].Row != row {
				t.Fatalf("the run was of %+v", rep.Rows)
			}
			res := rep.Rows[0]
			t.Logf("broken: %s: %s", res.Verdict, res.Detail)
			if res.Verdict != Failed || status != StatusFailed || rep.Failed != 1 {
				t.Errorf("%s with its mechanism switched off: %s, exit status %d", row, res.Verdict, status)
			}
		})
	}
}

// TryWhole runs a program's whole table, which must pass.
func TryWhole(t *testing.T, p Program) {
	t.Helper()
	rows := len(p.names(t))
	rep, status := p.Perform(t)
	for _, res := range rep.Rows {
		if res.Verdict != Passed {
			t.Errorf("%s: %s: %s", res.Row, res.Verdict, res.Detail)
		}
	}
	if status != 0 || rep.Passed != rows || rep.Failed != 0 {
		t.Errorf("exit status %d, %d rows passed and %d failed of %d", status, rep.Passed, rep.Failed, rows)
	}
}
