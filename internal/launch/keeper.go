// SPDX-License-Identifier: Apache-2.0

package launch

import (
	"os"
	"syscall"
)

// keep starts the command, lets whoever executed us go, waits for the command's end and becomes our own program with the
// arguments that follow it. Signals are passed on to the command.
func keep(o *order, out *os.File, say func(report) error) (int, error) {
	relay := listen()
	defer relay.stop()
	cmd := self(childName, o.Sandbox)
	after := o.After
	o.After = nil
	note := func(text string) { _ = say(report{Note: text}) } // only commentary
	if status, err := start(cmd, o, note); err != nil {
		return status, err
	}
	if err := out.Close(); err != nil {
		return StatusOurs, err
	}
	// From here on nobody listens: what fails is seen in what is left.
	if err := os.Chdir("/"); err != nil {
		return StatusOurs, nil
	}
	if status, err := relay.wait(cmd); err != nil {
		return status, nil
	}
	_ = syscall.Exec("/proc/self/exe", append([]string{"cnm"}, after...), os.Environ())
	return StatusOurs, nil
}
