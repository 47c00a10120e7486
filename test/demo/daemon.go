// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"

	"github.com/libnetwork/cnm/test/probe"
)

// env is the environment of cnm's commands.
func (w *world) env() []string { return append(cleanEnv(), "CNM_SOCKET="+w.path("cnm.sock")) }

// start starts the daemon if it was not started yet, and waits until it says in its log that it is ready.
func (w *world) start(ctx context.Context) error {
	if w.before != nil {
		return nil
	}
	if err := w.startDaemon(ctx); err != nil {
		return err
	}
	before, err := w.look(ctx)
	w.before = before
	return err
}

func (w *world) startDaemon(ctx context.Context) error {
	d, err := begin(cleanEnv(), w.cnm, "daemon", "--state", w.path("state"), "--run", w.path("run"),
		"--socket", w.path("cnm.sock"), "--config", w.path("daemon.json"), "--log-format", "json")
	if err != nil {
		return err
	}
	w.daemon = d
	_, err = d.out.await(ctx, 0, func(line string) bool {
		var entry struct {
			Message string `json:"msg"`
		}
		return json.Unmarshal([]byte(line), &entry) == nil && entry.Message == "ready"
	})
	if err != nil {
		return fmt.Errorf("cnm daemon: %w", err)
	}
	return nil
}

// complaints are the last lines of the daemon's log that are not mere information.
func (w *world) complaints() string {
	const most = 20
	if w.daemon == nil {
		return ""
	}
	var lines []string
	for line := range strings.Lines(w.daemon.out.tail(1 << 16)) {
		if !strings.Contains(line, `"level":"INFO"`) {
			lines = append(lines, "daemon: "+line)
		}
	}
	return strings.Join(lines[max(0, len(lines)-most):], "")
}

// look takes a picture of the host.
func (w *world) look(ctx context.Context) (picture, error) {
	return takePicture(ctx, w.path("run/netns"))
}

// commandError is a command of cnm's that failed.
type commandError struct {
	args   []string
	status int
	words  string // on its standard error
}

// Error names the command, its exit status and what it said.
func (e *commandError) Error() string {
	return fmt.Sprintf("cnm %s: exit status %d: %s", strings.Join(e.args, " "), e.status, strings.TrimSpace(e.words))
}

// run runs a command and gives what it prints.
func (w *world) run(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, w.cnm, args...)
	var out, words bytes.Buffer
	cmd.Env, cmd.Stdout, cmd.Stderr = w.env(), &out, &words
	err := cmd.Run()
	if ended, ok := errors.AsType[*exec.ExitError](err); ok {
		return nil, &commandError{args: args, status: ended.ExitCode(), words: words.String()}
	}
	return out.Bytes(), err
}

// read runs a command and decodes the JSON it prints.
func (w *world) read(ctx context.Context, into any, args ...string) error {
	out, err := w.run(ctx, args...)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(out, into); err != nil {
		return fmt.Errorf("cnm %s printed %q: %w", strings.Join(args, " "), out, err)
	}
	return nil
}

// cut is the sabotage of rows whose mechanism is the firewall: the daemon is killed, so that nobody owns its tables any
// more, and they are flushed. All else stays, forwarding too.
func (w *world) cut(context.Context) error {
	if w.daemon == nil {
		return errors.New("the daemon does not run")
	}
	if err := w.daemon.kill(); err != nil {
		return err
	}
	return probe.FlushRuleset()
}
