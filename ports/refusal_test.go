// SPDX-License-Identifier: Apache-2.0

package ports

import (
	"context"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/kernel/kerneltest"
)

func TestRefusals(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		h := newHolder(t, Config{})
		for _, spec := range []string{"192.0.2.77:8080:80", "[2001:db8::77]:8080:80", "192.0.2.77::80/udp"} {
			_, err := h.Hold(t.Context(), request(t, "a", spec))
			wantKind(t, err, cnm.Invalid, "is not one of this host's; publish on one that is")
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := h.Hold(ctx, request(t, "a", "80"))
		wantKind(t, err, cnm.Unavailable, "")
	})
}

func TestPrivilegedPort(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		h := newHolder(t, Config{})
		failed := make(chan error)
		go func() {
			runtime.LockOSThread() // and never unlocked: the thread ends with its lack of capabilities
			hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
			var none [2]unix.CapUserData
			if err := unix.Capset(&hdr, &none[0]); err != nil {
				failed <- err
				return
			}
			_, err := h.Hold(t.Context(), request(t, "a", "80:80"))
			failed <- err
		}()
		wantKind(t, <-failed, cnm.NotPermitted, "lower net.ipv4.ip_unprivileged_port_start (now 1024)")
	})
}

func TestBudget(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		h := newHolder(t, Config{Budget: 3})
		hold1(t, h, "a", "8080:80", "8081:80")
		_, err := h.Hold(t.Context(), request(t, "b", "8082:80", "8083:80"))
		wantKind(t, err, cnm.Exhausted, "budget of 3")
		_, err = h.Hold(t.Context(), request(t, "b", "80", "80"))
		wantKind(t, err, cnm.Exhausted, "budget of 3")
		hold1(t, h, "b", "8082:80")
		h.ReleaseAll("a")
		hold1(t, h, "c", "80", "80")
	})
}

// TestNoDescriptor runs out of descriptors below the budget.
func TestNoDescriptor(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		h := newHolder(t, Config{})
		var old unix.Rlimit
		if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
			t.Fatal(err)
		}
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 3, Max: old.Max}); err != nil {
			t.Fatal(err)
		}
		_, err := h.Hold(t.Context(), request(t, "a", "8080:80"))
		_, err2 := h.Hold(t.Context(), request(t, "a", "80/udp"))
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
			t.Fatal(err)
		}
		wantKind(t, err, cnm.Exhausted, "raise the daemon's limit of open files")
		wantKind(t, err2, cnm.Exhausted, "raise the daemon's limit of open files")
	})
}
