// SPDX-License-Identifier: Apache-2.0

package place

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// roleVariable is the environment variable that makes the test program one of
// the processes that a place needs; see [Play].
const roleVariable = "CNM_INTEROP_ROLE"

// The processes of a place beside those that a test starts in it.
const (
	asKeeper  = "keeper"  // outside: makes the control groups, starts the first process, and clears up
	asBuilder = "builder" // the first process, which builds the mounts and then becomes the steward
	asSteward = "steward" // starts and ends what the test orders
)

// orderFile is the descriptor of the socket between the test and the first
// process, in all processes that hand it on.
const orderFile = 3

// plan is what a process of a place has to know.
type plan struct {
	Role     string
	Name     string // of the place: its control groups and its host name
	Dir      string // an empty folder for what is mounted
	Unpacked string // the folder of unpacked packages that are laid over the machine's own; "" is none
	Path     string // PATH inside
	Groups   []group
}

// environment is what makes the test program act as the plan says.
func (p plan) environment() ([]string, error) {
	text, err := json.Marshal(p)
	if err != nil {
		return nil, err
	}
	return []string{roleVariable + "=" + string(text), "PATH=" + p.Path, "GORACE=atexit_sleep_ms=10"}, nil
}

// Main is the TestMain of a package whose tests use [New]. They have mounts of
// their own, so that [Look] sees what they do and nobody else.
func Main(m *testing.M) {
	if Play() {
		return
	}
	if err := ownMounts(); err != nil {
		fmt.Fprintln(os.Stderr, "make mounts of our own:", err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// mountsVariable is set in the environment of a process that has mounts of its
// own.
const mountsVariable = "CNM_INTEROP_MOUNTS"

// ownMounts gives this process mounts of its own, by executing it once more: only
// so do all of its threads have them. It does nothing without root, as New says.
func ownMounts() error {
	if os.Getenv(mountsVariable) != "" || os.Geteuid() != 0 {
		return nil
	}
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return err
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	return unix.Exec("/proc/self/exe", os.Args, append(os.Environ(), mountsVariable+"=own"))
}

// Play has to be called first by every program that uses [New]: executed once
// more, the program is also the first process of a place and its keeper. It
// tells whether this process was one of them, and is done.
func Play() bool {
	text := os.Getenv(roleVariable)
	if text == "" {
		return false
	}
	var p plan
	err := json.Unmarshal([]byte(text), &p)
	if err == nil {
		err = p.act()
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s of the place %s: %v\n", p.Role, p.Name, err)
		os.Exit(1)
	}
	return true
}

func (p plan) act() error {
	switch p.Role {
	case asKeeper:
		return p.keep()
	case asBuilder:
		return p.build()
	case asSteward:
		return serve()
	default:
		return errors.New("there is no such role")
	}
}
