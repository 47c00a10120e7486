// SPDX-License-Identifier: Apache-2.0

// Command cnm is the command line and the daemon of the Container Network Model.
package main

import (
	"context"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/libnetwork/cnm/adapter/oci"
	"github.com/libnetwork/cnm/api/client"
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
		In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Environ: os.Environ(), Version: cli.Version(),
		InTerminal: launch.IsTerminal(os.Stdin), ErrTerminal: launch.IsTerminal(os.Stderr),
		Launch: func(ctx context.Context, p cli.Process) (int, error) { return launch.Run(ctx, launch.Process(p)) },
		Daemon: serve, Hangups: cli.Hangups,
		OCIHook: func(ctx context.Context, stage string, in io.Reader, c *client.Client) error {
			return oci.Hook(ctx, stage, in, c)
		},
		OCIBundle: prepare,
	}, os.Args[1:]))
}

// prepare writes a container's bundle. Its hooks are this program.
func prepare(b cli.Bundle) ([]string, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return oci.Prepare(b.Dir, oci.Setup{
		Hook: oci.Command{Path: exe, Args: b.HookArgs}, Annotations: b.Annotations, Sandbox: b.Sandbox, Files: b.Files,
	})
}

// serve is the daemon. With the default directories its namespaces are also where other tools look for them.
func serve(ctx context.Context, c cli.DaemonConfig, log *slog.Logger) error {
	cfg := daemon.Config{StateDir: c.StateDir, RunDir: c.RunDir, Socket: c.Socket, SocketMode: c.SocketMode, DockerPlugin: c.DockerPlugin, Version: cli.Version()}
	if c.RunDir == "/run/cnm" {
		cfg.LinkDir = "/run/netns"
	}
	return daemon.Run(ctx, cfg, log, func() {})
}
