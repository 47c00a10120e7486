// SPDX-License-Identifier: Apache-2.0

package launch

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// needTerminal is a pseudo terminal: what a person has, and what a program has.
func needTerminal(t *testing.T) (person, program *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if errors.Is(err, os.ErrNotExist) {
		t.Skipf("this kernel has no pseudo terminals (CONFIG_UNIX98_PTYS): %v", err)
	}
	check(t, err)
	t.Cleanup(func() { person.Close() })
	check(t, unix.IoctlSetPointerInt(int(person.Fd()), unix.TIOCSPTLCK, 0))
	number, err := unix.IoctlGetInt(int(person.Fd()), unix.TIOCGPTN)
	check(t, err)
	program, err = os.OpenFile("/dev/pts/"+strconv.Itoa(number), os.O_RDWR|unix.O_NOCTTY, 0)
	check(t, err)
	t.Cleanup(func() { program.Close() })
	return person, program
}

// TestKeysReachTheCommandOnce: the kernel gives the key's signal to the command, and we do not repeat it; a signal from
// elsewhere is passed on.
func TestKeysReachTheCommandOnce(t *testing.T) {
	t.Parallel()
	person, program := needTerminal(t)
	exe, err := os.Executable()
	check(t, err)
	cmd := exec.CommandContext(t.Context(), exe)
	cmd.Env = append(os.Environ(), guestKey+"=launch count")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = program, program, program
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	check(t, cmd.Start())
	next := lines(person)
	until := func(want string) {
		t.Helper()
		var said []string
		for {
			got := next()
			said = append(said, got)
			if strings.HasSuffix(got, want) {
				return
			}
			if strings.HasPrefix(got, "end") || got == "terminated" {
				t.Fatalf("waited for %q, got %q", want, said)
			}
		}
	}
	until("ready")
	// A second signal can melt into the first one before that is taken, so one key would prove little.
	const keys = 50
	for range keys {
		_, err = io.WriteString(person, "\x03")
		check(t, err)
		until("interrupt")
	}
	check(t, cmd.Process.Signal(syscall.SIGTERM))
	until("terminated")
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != keys {
		t.Errorf("%d keys came as %v", keys, err)
	}
}

func TestIsTerminal(t *testing.T) {
	t.Parallel()
	_, program := needTerminal(t)
	null, err := os.Open(os.DevNull)
	check(t, err)
	defer null.Close()
	if !IsTerminal(program) || IsTerminal(null) {
		t.Errorf("terminal %v, %s %v", IsTerminal(program), os.DevNull, IsTerminal(null))
	}
}
