// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/cobra"
)

func (a *app) daemonCommand() *cobra.Command {
	var check bool
	c := &cobra.Command{
		Use: "daemon [flags]", Short: "Be the daemon, until SIGTERM or SIGINT; SIGHUP reads the configuration again",
		DisableFlagsInUseLine: true,
	}
	c.Args = func(cmd *cobra.Command, given []string) error {
		if err := a.noneEmpty(cmd); err != nil {
			return err
		}
		return none(cmd, given)
	}
	for _, k := range keys() {
		c.Flags().String(k.key, k.fallback, k.help)
	}
	c.Flags().String("config", configFile, "file with these settings as JSON")
	c.Flags().BoolVar(&check, "check-config", false, "check the settings, print what they come to, and end")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		a.began = true
		src := &source{flags: cmd.Flags(), env: a.env}
		given, err := src.load()
		if err != nil {
			return err
		}
		cfg, err := given.config()
		if err != nil {
			return err
		}
		if check {
			return writeJSON(a.out, given)
		}
		return a.daemon(cmd.Context(), src, given, cfg)
	}
	return c
}

// daemon runs the daemon and applies a changed configuration at each SIGHUP.
func (a *app) daemon(ctx context.Context, src *source, given settings, cfg DaemonConfig) error {
	var level slog.LevelVar
	level.Set(cfg.LogLevel)
	log := slog.New(logHandler(a.io.Err, cfg.LogFormat, &level))
	hangups, stop := a.io.Hangups()
	defer stop()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		reload(ctx, hangups, log, func() error {
			now, err := src.load()
			if err != nil {
				return err
			}
			cfg, err := now.config()
			if err != nil {
				return err
			}
			level.Set(cfg.LogLevel)
			if changed := needRestart(given, now); len(changed) > 0 {
				log.Warn("configuration needs a restart", slog.String("changed", strings.Join(changed, ", ")))
			}
			log.Info("configuration read again", slog.String("log_level", cfg.LogLevel.String()))
			return nil
		})
	}()
	err := a.io.Daemon(ctx, cfg, log)
	cancel()
	<-done
	return err
}

// reload calls read at each hangup. A configuration that is wrong changes nothing.
func reload(ctx context.Context, hangups <-chan os.Signal, log *slog.Logger, read func() error) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-hangups:
			if err := read(); err != nil {
				log.Error("configuration is wrong, the old one stays", slog.String("err", err.Error()))
			}
		}
	}
}

func logHandler(w io.Writer, format string, level slog.Leveler) slog.Handler {
	opts := &slog.HandlerOptions{Level: level}
	if format == "json" {
		return slog.NewJSONHandler(w, opts)
	}
	return slog.NewTextHandler(w, opts)
}
