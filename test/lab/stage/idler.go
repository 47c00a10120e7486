// SPDX-License-Identifier: Apache-2.0

package stage

import (
	"os"
	"os/exec"
	"syscall"
	"testing"
)

// asIdler is the environment variable that makes the test program an idle process; see [Main].
const asIdler = "CNM_STAGE_IDLER"

// StartIdler starts a process in a network namespace of its own that does nothing, as a container's first process may be seen
// from outside. end ends it; it ends with the test at the latest.
func StartIdler(t testing.TB) (pid int, end func()) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), asIdler+"=1", "GORACE=atexit_sleep_ms=10 "+os.Getenv("GORACE"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := false
	end = func() {
		if ended {
			return
		}
		ended = true
		_ = stdin.Close()
		_ = cmd.Wait() // what it says of its end is of no interest
	}
	t.Cleanup(end)
	return cmd.Process.Pid, end
}
