// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"syscall"

	"github.com/libnetwork/cnm/internal/daemon"
)

// This program starts itself in several roles, told by the environment.
const (
	roleKey    = "CNM_BENCH_ROLE"
	dirKey     = "CNM_BENCH_DIR"
	roleStage  = "stage"  // measures, in namespaces of its own
	roleDaemon = "daemon" // is the daemon
	roleCount  = "count"  // attaches while another process counts its messages
)

// readyWord is what a daemon says on its standard output once it answers.
const readyWord = "ready\n"

// reexec is this program again in a role.
func reexec(ctx context.Context, role, dir string) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self, os.Args[1:]...)
	cmd.Env = append(os.Environ(), roleKey+"="+role, dirKey+"="+dir)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{}
	return cmd, nil
}

// play plays a role other than the stage's; false if there is none to play.
func play(ctx context.Context) (bool, error) {
	dir := os.Getenv(dirKey)
	switch os.Getenv(roleKey) {
	case roleDaemon:
		return true, beDaemon(ctx, dir)
	case roleCount:
		return true, beCounted(ctx, dir)
	default:
		return false, nil
	}
}

// logger writes what is worth a warning.
func logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
}

// beDaemon is the daemon, until its standard input ends.
func beDaemon(ctx context.Context, dir string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		defer cancel()
		_, _ = io.Copy(io.Discard, os.Stdin) // ends with whoever started us
	}()
	err := daemon.Run(ctx, daemonConfig(dir), logger(), func() { _, _ = os.Stdout.WriteString(readyWord) })
	if err != nil {
		return fmt.Errorf("daemon: %w", err)
	}
	return nil
}
