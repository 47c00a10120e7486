// SPDX-License-Identifier: Apache-2.0

package launch

import (
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// relay passes our signals on to the command.
type relay struct{ signals chan os.Signal }

// listen begins to take signals: those with which one process asks another to do something. Stopping and continuing stay the kernel's.
func listen() *relay {
	r := &relay{signals: make(chan os.Signal, 16)}
	signal.Notify(r.signals, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGALRM)
	return r
}

func (r *relay) stop() { signal.Stop(r.signals) }

// wait passes signals on until the command has ended, and gives its status.
func (r *relay) wait(cmd *exec.Cmd) (int, error) {
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	for {
		select {
		case s := <-r.signals:
			if fromTerminal(s) {
				continue
			}
			// An error says that the command has just ended, which done tells.
			_ = cmd.Process.Signal(s)
		case err := <-done:
			var exit *exec.ExitError
			if err != nil && !errors.As(err, &exit) {
				return StatusOurs, err
			}
			return statusOf(cmd.ProcessState), nil
		}
	}
}

// fromTerminal tells whether the command has got the signal already: keys are signals to all of the terminal's
// foreground group, which we are in with it. One that was sent to us alone meanwhile cannot be told from a key.
func fromTerminal(s os.Signal) bool {
	if s != syscall.SIGINT && s != syscall.SIGQUIT {
		return false
	}
	tty, err := os.OpenFile("/dev/tty", os.O_RDONLY|syscall.O_NOCTTY, 0)
	if err != nil {
		return false // we have none
	}
	defer tty.Close()
	group, err := unix.IoctlGetInt(int(tty.Fd()), unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}

// IsTerminal tells whether a file is a terminal, with a person at its other end.
func IsTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}
