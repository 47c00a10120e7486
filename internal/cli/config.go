// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"

	"github.com/spf13/pflag"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/api/wire"
)

// DaemonConfig is what a daemon is started with. Paths are absolute.
type DaemonConfig struct {
	StateDir   string      // networks and kept endpoints, over restarts of the machine
	RunDir     string      // everything else, until the machine restarts
	Socket     string      // of the API
	SocketMode fs.FileMode // of the socket: 0666, 0660 or 0600
	LogFormat  string      // text or json
	LogLevel   slog.Level
	// DockerPlugin is the socket at which Docker finds us as a plugin; "": none.
	DockerPlugin string
	// DockerHost is the socket of Docker's own API; "": we do not ask it.
	DockerHost string
}

// settings are the configuration as it is written, by flag, environment (CNM_ and the key in capitals, - as _) or file. "" is what was not given.
type settings struct {
	State           string `json:"state"`
	Run             string `json:"run"`
	Socket          string `json:"socket"`
	SocketMode      string `json:"socket-mode"`
	DockerPlugin    string `json:"docker-plugin"`
	DockerPluginDir string `json:"docker-plugin-dir"`
	DockerHost      string `json:"docker-host"`
	LogFormat       string `json:"log-format"`
	LogLevel        string `json:"log-level"`
}

// configFile is read if it is there; another one that is named must be.
const configFile = "/etc/cnm/daemon.json"

// setting is one key with what it means and whether it can change while the daemon runs.
type setting struct {
	key, fallback, help string
	live                bool
}

// keys describes the settings. An empty fallback follows from another setting.
func keys() []setting {
	return []setting{
		{"state", "/var/lib/cnm", "directory of networks and kept endpoints, which outlive a restart of the machine", false},
		{"run", "/run/cnm", "directory of everything else, which does not", false},
		{"socket", "", "the API's socket (default cnm.sock in the run directory)", false},
		{"socket-mode", "0666", "permissions of the socket: 0666, 0660 for the group cnm alone, or 0600 for root alone", false},
		{"docker-plugin", "", "serve Docker as the network and address manager plugin of this name (default: none)", false},
		{"docker-plugin-dir", "/run/docker/plugins", "directory in which Docker looks for plugins", false},
		{"docker-host", "", "Docker's own API, as unix:///run/docker.sock, from which the plugin learns names and what Docker has no more (default: none)", false},
		{"log-format", "text", "text or json", false},
		{"log-level", "info", "debug, info, warn or error", true},
	}
}

// field is the setting with a key.
func (s *settings) field(key string) *string {
	v := reflect.ValueOf(s).Elem()
	for i := range v.NumField() {
		if p, ok := reflect.TypeAssert[*string](v.Field(i).Addr()); ok && v.Type().Field(i).Tag.Get("json") == key {
			return p
		}
	}
	return nil
}

// source is where settings come from.
type source struct {
	flags *pflag.FlagSet
	env   map[string]string
}

// file is the configuration file's path and whether it was named.
func (s *source) file() (path string, named bool) {
	if f := s.flags.Lookup("config"); f.Changed {
		return f.Value.String(), true
	}
	if path := s.env["CNM_CONFIG"]; path != "" {
		return path, true
	}
	return configFile, false
}

// load reads all sources: a flag beats the environment, which beats the file.
func (s *source) load() (settings, error) {
	path, named := s.file()
	var given settings
	data, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !named:
	case err != nil:
		return given, cnm.FieldErrorf(cnm.Invalid, "config", "configuration file: %w", err)
	default:
		if err := wire.Decode(data, &given); err != nil {
			return given, cnm.FieldErrorf(cnm.Invalid, "config", "configuration file %s: %w", path, err)
		}
	}
	for _, k := range keys() {
		value := given.field(k.key)
		*value = cmp.Or(*value, k.fallback)
		if env := s.env["CNM_"+strings.ToUpper(strings.ReplaceAll(k.key, "-", "_"))]; env != "" {
			*value = env
		}
		if f := s.flags.Lookup(k.key); f.Changed {
			*value = f.Value.String()
		}
	}
	given.Socket = cmp.Or(given.Socket, filepath.Join(given.Run, "cnm.sock"))
	return given, nil
}

// socketMax is the longest path of a unix socket in bytes (unix(7): sun_path is 108 with its end).
const socketMax = 107

// socketModes are the permissions that make sense on a socket: to connect is to write, so each reader is a writer too, and we are one.
func socketModes() map[string]fs.FileMode {
	return map[string]fs.FileMode{"0600": 0o600, "0660": 0o660, "0666": 0o666}
}

// config checks the settings.
func (s *settings) config() (DaemonConfig, error) {
	cfg := DaemonConfig{StateDir: s.State, RunDir: s.Run, Socket: s.Socket, LogFormat: s.LogFormat}
	for _, key := range []string{"state", "run", "socket"} {
		if path := *s.field(key); !filepath.IsAbs(path) {
			return cfg, cnm.FieldErrorf(cnm.Invalid, key, "%s %q is no absolute path", key, path)
		}
	}
	if len(s.Socket) > socketMax {
		return cfg, cnm.FieldErrorf(cnm.Invalid, "socket", "socket %q is %d bytes long, and Linux takes %d; choose a shorter --socket", s.Socket, len(s.Socket), socketMax)
	}
	if err := s.plugin(&cfg); err != nil {
		return cfg, err
	}
	mode, ok := socketModes()[s.SocketMode]
	if !ok {
		return cfg, cnm.FieldErrorf(cnm.Invalid, "socket-mode", "socket-mode %q is unknown; use 0666, 0660 or 0600", s.SocketMode)
	}
	cfg.SocketMode = mode
	if s.LogFormat != "text" && s.LogFormat != "json" {
		return cfg, cnm.FieldErrorf(cnm.Invalid, "log-format", "log-format %q is unknown; use text or json", s.LogFormat)
	}
	levels := map[string]slog.Level{"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError}
	level, ok := levels[s.LogLevel]
	if !ok {
		return cfg, cnm.FieldErrorf(cnm.Invalid, "log-level", "log-level %q is unknown; use debug, info, warn or error", s.LogLevel)
	}
	cfg.LogLevel = level
	return cfg, nil
}

// plugin checks where Docker finds us.
func (s *settings) plugin(cfg *DaemonConfig) error {
	if s.DockerHost != "" {
		path, ok := strings.CutPrefix(s.DockerHost, "unix://")
		if !ok || !filepath.IsAbs(path) || len(path) > socketMax {
			return cnm.FieldErrorf(cnm.Invalid, "docker-host", "docker-host %q is no socket; write it as unix:///run/docker.sock", s.DockerHost)
		}
		if s.DockerPlugin == "" {
			return cnm.FieldErrorf(cnm.Invalid, "docker-host", "docker-host is of use to a plugin only; give --docker-plugin too")
		}
		cfg.DockerHost = path
	}
	if s.DockerPlugin == "" {
		return nil
	}
	if err := cnm.CheckName("docker-plugin", s.DockerPlugin); err != nil {
		return err
	}
	if !filepath.IsAbs(s.DockerPluginDir) {
		return cnm.FieldErrorf(cnm.Invalid, "docker-plugin-dir", "docker-plugin-dir %q is no absolute path", s.DockerPluginDir)
	}
	cfg.DockerPlugin = filepath.Join(s.DockerPluginDir, s.DockerPlugin+".sock")
	if len(cfg.DockerPlugin) > socketMax {
		return cnm.FieldErrorf(cnm.Invalid, "docker-plugin-dir", "socket %q is %d bytes long, and Linux takes %d; choose a shorter name or directory", cfg.DockerPlugin, len(cfg.DockerPlugin), socketMax)
	}
	return nil
}

// needRestart lists what differs and cannot change while the daemon runs.
func needRestart(old, now settings) []string {
	var changed []string
	for _, k := range keys() {
		if was, is := *old.field(k.key), *now.field(k.key); was != is && !k.live {
			changed = append(changed, fmt.Sprintf("%s from %s to %s", k.key, was, is))
		}
	}
	return changed
}
