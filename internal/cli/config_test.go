// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// daemonConsole is a console whose daemon calls run.
func daemonConsole(t *testing.T, run func(context.Context, DaemonConfig, *slog.Logger) error) (*console, chan os.Signal) {
	t.Helper()
	hangups := make(chan os.Signal)
	con := newConsole(t)
	con.Daemon = run
	con.Environ = nil
	con.Hangups = func() (<-chan os.Signal, func()) { return hangups, func() {} }
	return con, hangups
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestDaemonConfig(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "daemon.json")
	writeFile(t, file, `{"state":"/file/state","run":"/file/run","log-format":"json","socket-mode":"0660"}`)
	for name, c := range map[string]struct {
		args, env []string
		want      DaemonConfig
	}{
		"nothing": {nil, nil, DaemonConfig{"/var/lib/cnm", "/run/cnm", "/run/cnm/cnm.sock", 0o666, "text", slog.LevelInfo, "", ""}},
		"flags": {
			strings.Fields("--state /s --run /r --socket /k --socket-mode 0660 --log-format json --log-level debug --docker-plugin cnm --docker-plugin-dir /d --docker-host unix:///run/docker.sock"), nil,
			DaemonConfig{"/s", "/r", "/k", 0o660, "json", slog.LevelDebug, "/d/cnm.sock", "/run/docker.sock"},
		},
		"environment": {
			nil, strings.Fields("CNM_STATE=/s CNM_RUN=/r CNM_SOCKET=/k CNM_SOCKET_MODE=0660 CNM_LOG_FORMAT=json CNM_LOG_LEVEL=error CNM_DOCKER_PLUGIN=cnm"),
			DaemonConfig{"/s", "/r", "/k", 0o660, "json", slog.LevelError, "/run/docker/plugins/cnm.sock", ""},
		},
		"file":              {[]string{"--config", file}, nil, DaemonConfig{"/file/state", "/file/run", "/file/run/cnm.sock", 0o660, "json", slog.LevelInfo, "", ""}},
		"file by variable":  {nil, []string{"CNM_CONFIG=" + file}, DaemonConfig{"/file/state", "/file/run", "/file/run/cnm.sock", 0o660, "json", slog.LevelInfo, "", ""}},
		"flag beats all":    {[]string{"--config", file, "--state", "/s"}, []string{"CNM_STATE=/e"}, DaemonConfig{"/s", "/file/run", "/file/run/cnm.sock", 0o660, "json", slog.LevelInfo, "", ""}},
		"env beats file":    {[]string{"--config", file}, []string{"CNM_RUN=/e"}, DaemonConfig{"/file/state", "/e", "/e/cnm.sock", 0o660, "json", slog.LevelInfo, "", ""}},
		"default beats not": {[]string{"--config", file, "--log-format", "text"}, nil, DaemonConfig{"/file/state", "/file/run", "/file/run/cnm.sock", 0o660, "text", slog.LevelInfo, "", ""}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got DaemonConfig
			con, _ := daemonConsole(t, func(_ context.Context, cfg DaemonConfig, _ *slog.Logger) error { got = cfg; return nil })
			con.Environ = c.env
			if status := con.run(t.Context(), append([]string{"daemon"}, c.args...)...); status != 0 {
				t.Fatalf("status %d, said %q", status, con.err)
			}
			if got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}

func TestDaemonConfigRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		writeFile(t, path, text)
		return path
	}
	for name, c := range map[string]struct {
		args   []string
		status int
		text   string
	}{
		"unknown key":    {[]string{"--config", file("a", `{"colour":"red"}`)}, 5, `field "colour" is unknown`},
		"key with _":     {[]string{"--config", file("b", `{"log_level":"info"}`)}, 5, `field "log_level" is unknown; known are docker-host, docker-plugin, docker-plugin-dir, log-format, log-level`},
		"trailing":       {[]string{"--config", file("c", `{} {}`)}, 5, "more after"},
		"number":         {[]string{"--config", file("d", `{"socket-mode":438}`)}, 5, "socket-mode is a JSON number; it must be a string"},
		"no file":        {[]string{"--config", filepath.Join(dir, "none")}, 5, "no such file"},
		"relative":       {[]string{"--state", "here"}, 5, `state "here" is no absolute path`},
		"empty":          {[]string{"--run", ""}, 5, "run is empty; give a value, or leave --run out"},
		"mode":           {[]string{"--socket-mode", "0888"}, 5, "socket-mode"},
		"useless mode":   {[]string{"--socket-mode", "0066"}, 5, `socket-mode "0066" is unknown; use 0666, 0660 or 0600`},
		"half a mode":    {[]string{"--socket-mode", "0640"}, 5, "socket-mode"},
		"executable":     {[]string{"--socket-mode", "0777"}, 5, "socket-mode"},
		"set user id":    {[]string{"--socket-mode", "04666"}, 5, "socket-mode"},
		"decimal mode":   {[]string{"--socket-mode", "438"}, 5, "socket-mode"},
		"short mode":     {[]string{"--socket-mode", "666"}, 5, "socket-mode"},
		"format":         {[]string{"--log-format", "xml"}, 5, "use text or json"},
		"level":          {[]string{"--log-level", "loud"}, 5, "use debug, info, warn or error"},
		"plugin":         {[]string{"--docker-plugin", "a/b"}, 5, `docker-plugin "a/b" has '/'`},
		"plugin's place": {[]string{"--docker-plugin", "cnm", "--docker-plugin-dir", "here"}, 5, `docker-plugin-dir "here" is no absolute path`},
		"plugin's path":  {[]string{"--docker-plugin", "cnm", "--docker-plugin-dir", "/" + strings.Repeat("a", 100)}, 5, "choose a shorter name or directory"},
		"docker's host":  {[]string{"--docker-plugin", "cnm", "--docker-host", "tcp://10.0.0.1:2375"}, 5, "write it as unix:///run/docker.sock"},
		"host alone":     {[]string{"--docker-host", "unix:///run/docker.sock"}, 5, "give --docker-plugin too"},
		"unknown flag":   {[]string{"--metrics", ":1"}, 2, "unknown flag: --metrics"},
		"client's flag":  {[]string{"--timeout", "1s"}, 2, "unknown flag: --timeout"},
		"argument":       {[]string{"now"}, 2, "is not wanted"},
		"checked as run": {[]string{"--check-config", "--log-level", "loud"}, 5, "log-level"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			con, _ := daemonConsole(t, func(context.Context, DaemonConfig, *slog.Logger) error { t.Error("it was started"); return nil })
			if status := con.run(t.Context(), append([]string{"daemon"}, c.args...)...); status != c.status || !strings.Contains(con.err.String(), c.text) {
				t.Errorf("status %d, said %q", status, con.err)
			}
		})
	}
}

func TestCheckConfigStartsNothing(t *testing.T) {
	t.Parallel()
	con, _ := daemonConsole(t, func(context.Context, DaemonConfig, *slog.Logger) error { t.Error("it was started"); return nil })
	if status := con.run(t.Context(), "daemon", "--check-config", "--run", "/r"); status != 0 {
		t.Fatalf("status %d, said %q", status, con.err)
	}
	var got settings
	if err := json.Unmarshal([]byte(con.out.String()), &got); err != nil || got.Socket != "/r/cnm.sock" || got.State != "/var/lib/cnm" {
		t.Errorf("printed %s: %v", con.out, err)
	}
}

// TestHangup: the level changes at once, what cannot is named, a wrong file changes nothing.
func TestHangup(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "daemon.json")
	writeFile(t, file, `{"log-level":"info"}`)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var log *slog.Logger
	started := make(chan struct{})
	con, hangups := daemonConsole(t, func(ctx context.Context, _ DaemonConfig, l *slog.Logger) error {
		log = l
		close(started)
		<-ctx.Done()
		return nil
	})
	ended := make(chan int, 1)
	go func() { ended <- con.run(ctx, "daemon", "--config", file) }()
	<-started
	said := func(part string) {
		t.Helper()
		if err := con.err.until(ctx, part); err != nil {
			t.Error(err)
		}
	}
	log.Debug("hidden")
	writeFile(t, file, `{"log-level":"debug","socket":"/elsewhere"}`)
	hangups <- syscall.SIGHUP
	said("socket from /run/cnm/cnm.sock to /elsewhere")
	said("configuration read again")
	log.Debug("shown")
	said("msg=shown")
	writeFile(t, file, `{"log-level":"loud"}`)
	hangups <- syscall.SIGHUP
	said("configuration is wrong, the old one stays")
	log.Debug("still shown")
	said(`msg="still shown"`)
	cancel()
	if status := <-ended; status != 0 || strings.Contains(con.err.String(), "hidden") {
		t.Errorf("status %d, said %q", status, con.err)
	}
}
