// SPDX-License-Identifier: Apache-2.0

package script

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// adoptOrphans has processes that a command left running become children of this one, and ends them with the test.
func adoptOrphans(t *testing.T) {
	t.Helper()
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for pids, err := children(); len(pids) > 0 || err != nil; pids, err = children() {
			for _, pid := range pids {
				err = errors.Join(err, unix.Kill(pid, unix.SIGKILL), await(pid))
			}
			if err != nil {
				t.Error("ending what was left running:", err)
				return
			}
		}
	})
}

func await(pid int) error {
	for {
		if _, err := unix.Wait4(pid, nil, 0, nil); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// children are the child processes of this one.
func children() ([]int, error) {
	stats, err := filepath.Glob("/proc/[1-9]*/stat")
	if err != nil {
		return nil, err
	}
	var found []int
	for _, path := range stats {
		text, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) {
			continue
		}
		if err != nil {
			return found, err
		}
		// PID (NAME) STATE PPID ...: a name may hold anything, so look from its end.
		var state string
		var parent, pid int
		at := bytes.LastIndexByte(text, ')')
		if _, err := fmt.Sscan(string(text[at+1:]), &state, &parent); err != nil {
			return found, fmt.Errorf("%s: %w", path, err)
		}
		if _, err := fmt.Sscan(string(text), &pid); err != nil {
			return found, fmt.Errorf("%s: %w", path, err)
		}
		if parent == os.Getpid() {
			found = append(found, pid)
		}
	}
	return found, nil
}
