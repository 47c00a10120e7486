// SPDX-License-Identifier: Apache-2.0

// Command cnm is the command line and the daemon of the Container Network Model.
package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/libnetwork/cnm/internal/cli"
	"github.com/libnetwork/cnm/internal/daemon"
	"github.com/libnetwork/cnm/internal/launch"
)

func main() {
	if status, mine := launch.Main(os.Args); mine {
		os.Exit(status)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends us at once
	os.Exit(cli.Run(ctx, cli.IO{
		In: os.Stdin, Out: os.Stdout, Err: os.Stderr,
		InTerminal: launch.IsTerminal(os.Stdin), ErrTerminal: launch.IsTerminal(os.Stderr),
		Environ: os.Environ(), Version: version(),
		Daemon: func(ctx context.Context, cfg cli.DaemonConfig, log *slog.Logger) error {
			return daemon.Run(ctx, daemon.Config{
				StateDir: cfg.StateDir, RunDir: cfg.RunDir, Socket: cfg.Socket, SocketMode: cfg.SocketMode, Version: version(),
			}, log, func() {})
		},
		Hangups: hangups,
		Launch:  func(ctx context.Context, p cli.Process) (int, error) { return launch.Run(ctx, launch.Process(p)) },
	}, os.Args[1:]))
}

// hangups delivers SIGHUP until stop is called.
func hangups() (_ <-chan os.Signal, stop func()) {
	ch := make(chan os.Signal, 1)
	signal.Notify(ch, syscall.SIGHUP)
	return ch, func() { signal.Stop(ch) }
}

// version is what the build recorded.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		return info.Main.Version
	}
	return "unknown"
}
