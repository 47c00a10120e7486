// SPDX-License-Identifier: Apache-2.0

package netns_test

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/libnetwork/cnm/kernel/kerneltest"
	"github.com/libnetwork/cnm/kernel/netns"
)

func TestRunIsolated(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		own := cookieOf(t, current(t)).String()
		seen := map[string]bool{own: true}
		report := func() error {
			var out strings.Builder
			cmd := helper("report")
			cmd.Stdout = &out
			err := netns.RunIsolated(cmd)
			cookie, _, _ := strings.Cut(out.String(), "\n")
			if err == nil && (cookie == "" || seen[cookie]) {
				t.Errorf("the program was in namespace %q, want another than %v", cookie, seen)
			}
			seen[cookie] = true
			return err
		}
		if err := report(); err != nil {
			t.Error(err)
		}
		limit(t, "user/max_user_namespaces", 0)
		if err := report(); err != nil {
			t.Errorf("root without user namespaces: %v", err)
		}
		limit(t, "user/max_net_namespaces", 0)
		err := report()
		if _, ok := errors.AsType[*netns.RefusedError](err); !ok || !errors.Is(err, unix.ENOSPC) ||
			!strings.Contains(err.Error(), "user.max_user_namespaces") {
			t.Errorf("got %v, want a refusal that names the limit", err)
		}
	})
}

func TestRunIsolatedWithoutProgram(t *testing.T) {
	t.Parallel()
	err := netns.RunIsolated(exec.Command("/nonexistent"))
	if _, refused := errors.AsType[*netns.RefusedError](err); refused || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v, want that there is no such program", err)
	}
}

// needProcessNamespace skips where a program that is isolated is not the first of a process namespace.
func needProcessNamespace(t *testing.T) {
	t.Helper()
	var out strings.Builder
	cmd := helper("number")
	cmd.Stdout = &out
	if err := netns.RunIsolated(cmd); err != nil {
		t.Fatal(err)
	}
	if number, _, _ := strings.Cut(out.String(), "\n"); number != "1" {
		t.Skip("no process namespaces with a /proc of their own: they are refused, or parts of /proc are hidden here")
	}
}

// A program must not outlive its parent, however that ended, and what it started must not outlive it. All hold the
// write end of a pipe, so its reader sees when none is left.
func TestRunIsolatedDiesWithItsParent(t *testing.T) {
	t.Parallel()
	for _, program := range []string{"wait", "forsake"} {
		t.Run(program, func(t *testing.T) {
			t.Parallel()
			kerneltest.Run(t, func(t *testing.T) {
				if program == "forsake" {
					needProcessNamespace(t)
				}
				diesWithItsParent(t, program)
			})
		})
	}
}

func diesWithItsParent(t *testing.T, program string) {
	t.Helper()
	stdin, keep, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer keep.Close()
	parent := helper("isolate", program)
	parent.Stdin = stdin
	stdout, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	stdin.Close()
	if _, err := io.ReadFull(stdout, make([]byte, 3)); err != nil {
		t.Errorf("wait for the program to be up: %v", err)
	}
	if err := parent.Process.Kill(); err != nil {
		t.Error(err)
	}
	if rest, err := io.ReadAll(stdout); err != nil || len(rest) != 0 {
		t.Errorf("got %q (%v), want the end of the pipe", rest, err)
	}
	if err := parent.Wait(); err == nil {
		t.Error("the parent was not killed")
	}
}
