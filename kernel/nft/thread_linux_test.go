// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// fileOf makes a file of a descriptor.
func fileOf(fd int) *os.File { return os.NewFile(uintptr(fd), "socket") }

// withoutCapabilities runs fn on a thread that has no capabilities and ends with
// it.
func withoutCapabilities(t *testing.T, fn func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var none [2]unix.CapUserData
		if err := unix.Capset(&header, &none[0]); err != nil {
			t.Error(err)
			return
		}
		fn()
	}()
	<-done
}
