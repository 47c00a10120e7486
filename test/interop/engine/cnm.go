// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"encoding/json"
	"strings"
	"syscall"
	"testing"

	"github.com/libnetwork/cnm/test/interop/place"
)

// CNM is the daemon that is tried, in a place, with its own default folders and
// socket.
type CNM struct {
	Daemon *place.Process

	t      testing.TB
	place  *place.Place
	binary string
	flags  []string
}

// StartCNM starts cnm daemon with the flags. It ends with the place.
func StartCNM(t testing.TB, p *place.Place, flags ...string) *CNM {
	t.Helper()
	c := &CNM{t: t, place: p, binary: folder(t, cnmVariable), flags: flags}
	c.Start()
	return c
}

// Start starts one that has ended once more, and returns when it serves.
func (c *CNM) Start() {
	c.t.Helper()
	args := append([]string{c.binary, "daemon", "--log-format", "json", "--log-level", "debug"}, c.flags...)
	c.Daemon = c.place.Start("cnm daemon", place.Command{Args: args})
	c.Daemon.Await(`"msg":"ready"`)
}

// Stop asks it to end and waits.
func (c *CNM) Stop() {
	c.t.Helper()
	c.Daemon.End(syscall.SIGTERM)
}

// Kill ends it at once.
func (c *CNM) Kill() {
	c.t.Helper()
	c.Daemon.End(syscall.SIGKILL)
}

// Restart is Kill and Start, which is all that there is to a restart.
func (c *CNM) Restart() {
	c.t.Helper()
	c.Kill()
	c.Start()
}

// Try runs a command: cnm ARGS.
func (c *CNM) Try(args ...string) place.Result {
	c.t.Helper()
	return c.place.Run(place.Command{Args: append([]string{c.binary}, args...)})
}

// Begin starts a command that runs on, at most until the place ends. What it
// prints is its log.
func (c *CNM) Begin(name string, args ...string) *place.Process {
	c.t.Helper()
	return c.place.Start(name, place.Command{Args: append([]string{c.binary}, args...)})
}

// Run is [CNM.Try] for what has to succeed. It gives what was printed without
// the space around it.
func (c *CNM) Run(args ...string) string {
	c.t.Helper()
	return c.Try(args...).Must(c.t, "cnm", strings.Join(args, " "))
}

// Read runs a command with --json and decodes what it prints.
func (c *CNM) Read(into any, args ...string) {
	c.t.Helper()
	args = append(args, "--json")
	out := c.Run(args...)
	if err := json.Unmarshal([]byte(out), into); err != nil {
		c.t.Fatalf("cnm %s printed %q: %v", strings.Join(args, " "), out, err)
	}
}
