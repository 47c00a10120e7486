// SPDX-License-Identifier: Apache-2.0

package netns_test

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/libnetwork/cnm/kernel/netns"
)

// roleVariable tells a process started by helper what to be.
const roleVariable = "CNM_NETNS_TEST_ROLE"

// helper gives a command that runs this test binary as TestHelper in a role, and
// has it start another in the next one. Its stdin is to be kept open for as long
// as it is to live.
func helper(roles ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestHelper$")
	cmd.Env = append(os.Environ(), roleVariable+"="+strings.Join(roles, " "))
	cmd.Stderr = os.Stderr
	return cmd
}

// process is a running helper.
type process struct {
	*exec.Cmd
	stdin io.Closer
}

// start runs a helper that waits, in namespaces of its own where flags say so,
// and returns when it is up. It is killed when the test ends.
func start(t *testing.T, flags uintptr) *process {
	t.Helper()
	cmd := helper("wait")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &process{Cmd: cmd, stdin: stdin}
	t.Cleanup(p.end)
	if _, err := io.ReadFull(stdout, make([]byte, 3)); err != nil {
		t.Fatalf("wait for process %d to be up: %v", cmd.Process.Pid, err)
	}
	return p
}

// end kills the helper and waits for it. It may be repeated.
func (p *process) end() {
	_ = p.Process.Kill()
	_ = p.Wait()
}

// pid gives the helper's number.
func (p *process) pid() int { return p.Process.Pid }

// TestHelper is no test but what helpers run.
func TestHelper(t *testing.T) {
	t.Parallel()
	role, next, _ := strings.Cut(os.Getenv(roleVariable), " ")
	switch role {
	case "wait":
		fmt.Print("up\n")
		_, _ = io.Copy(io.Discard, os.Stdin)
	case "forsake": // as "wait", and a process that nobody waits for does the same
		cmd := helper("wait")
		cmd.Stdin, cmd.Stdout = os.Stdin, os.Stdout
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if err := cmd.Start(); err != nil {
			t.Error(err)
		}
		_, _ = io.Copy(io.Discard, os.Stdin)
	case "number":
		fmt.Printf("%d\n", os.Getpid())
	case "isolate": // the next role, in namespaces of its own, under a process that can be killed
		cmd := helper(next)
		cmd.Stdin, cmd.Stdout = os.Stdin, os.Stdout
		if err := netns.RunIsolated(cmd); err != nil {
			t.Error(err)
		}
	case "report": // tells which namespace it is in
		current, err := netns.Current()
		if err != nil {
			t.Fatal(err)
		}
		defer current.Close()
		cookie, err := current.Cookie()
		if err != nil {
			t.Fatal(err)
		}
		fmt.Print(cookie.String() + "\n")
	}
}

// cookieOf gives the cookie of a namespace.
func cookieOf(t *testing.T, ns *netns.NS) netns.Cookie {
	t.Helper()
	cookie, err := ns.Cookie()
	if err != nil {
		t.Fatal(err)
	}
	return cookie
}

// current opens the test's own namespace until the test ends.
func current(t *testing.T) *netns.NS {
	t.Helper()
	ns, err := netns.Current()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	return ns
}

// expectNS checks that a handle just opened is of the wanted namespace, and
// closes it.
func expectNS(t *testing.T, ns *netns.NS, err error, want netns.Cookie) {
	t.Helper()
	if err != nil {
		t.Error(err)
		return
	}
	defer ns.Close()
	if got := cookieOf(t, ns); got != want {
		t.Errorf("opened the namespace with cookie %v, want %v", got, want)
	}
}
