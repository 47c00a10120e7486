// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
)

// Hangups listens for SIGHUP to this process; it is what a program gives as [IO].Hangups.
func Hangups() (hangups <-chan os.Signal, stop func()) {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGHUP)
	return c, func() { signal.Stop(c) }
}

// Version is what the build recorded of this program.
func Version() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		return info.Main.Version
	}
	return "unknown"
}
