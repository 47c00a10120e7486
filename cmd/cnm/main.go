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
	cio := cli.IO{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Environ: os.Environ(), OCIHook: hook, OCIBundle: prepare}
	if status, done := cli.Hook(context.Background(), cio, os.Args[1:]); done {
		os.Exit(status)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends us at once
	cio.Version = cli.Version()
	cio.InTerminal, cio.ErrTerminal = launch.IsTerminal(os.Stdin), launch.IsTerminal(os.Stderr)
	cio.Launch = func(ctx context.Context, p cli.Process) (int, error) { return launch.Run(ctx, launch.Process(p)) }
	cio.Daemon, cio.Hangups, cio.Install, cio.Doctor = serve, cli.Hangups, installer(), examine
	os.Exit(cli.Run(ctx, cio, os.Args[1:]))
}

// hook is what an OCI runtime calls us for.
func hook(ctx context.Context, stage string, in io.Reader, c *client.Client) error {
	return oci.Hook(ctx, stage, in, c)
}

// prepare writes a container's bundle. Its hooks are this program.
func prepare(b cli.Bundle) ([]string, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return oci.Prepare(b.Dir, oci.Setup{
		Hook: oci.Command{Path: exe, Args: b.HookArgs}, Annotations: b.Annotations, Sandbox: b.Sandbox, Files: b.Files, Poststop: b.Poststop,
	})
}

// serve is the daemon. With the default directories its namespaces are also where other tools look for them.
func serve(ctx context.Context, c cli.DaemonConfig, log *slog.Logger) error {
	cfg := daemon.Config{StateDir: c.StateDir, RunDir: c.RunDir, Socket: c.Socket, SocketMode: c.SocketMode, DockerPlugin: c.DockerPlugin, DockerHost: c.DockerHost, Version: cli.Version()}
	var err error
	if cfg.Inherited, err = daemon.Inherited(os.Getenv); err != nil {
		return err
	}
	if c.RunDir == "/run/cnm" {
		cfg.LinkDir = "/run/netns"
	}
	return daemon.Run(ctx, cfg, log, func() {
		if err := daemon.Notify(ctx, os.Getenv("NOTIFY_SOCKET")); err != nil {
			log.WarnContext(ctx, "service manager is not told", slog.String("error", err.Error()))
		}
	})
}
