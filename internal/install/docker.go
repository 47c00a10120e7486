// SPDX-License-Identifier: Apache-2.0

package install

import (
	"fmt"
	"path/filepath"
	"strings"

	cnm "github.com/libnetwork/cnm"
)

// Config says what is installed where.
type Config struct {
	Root    string // above all paths; "/" is this host
	Plugin  string // Docker's name for us; of no meaning where files are removed
	Program string // path of our program, as the unit has it
}

// Paths below the root.
const (
	unitPath   = "etc/systemd/system/cnm.service"
	socketPath = "etc/systemd/system/cnm.socket"
	specDir    = "etc/docker/plugins"
)

// optionPlugin is how the unit names the plugin.
const optionPlugin = " daemon --docker-host unix:///run/docker.sock --docker-plugin "

// Docker writes what makes Docker use us: a unit that starts the daemon before Docker, and where Docker finds the plugin. What is
// there already stays. The error is of kind [cnm.Exists] if a file is not ours; then nothing was written.
func Docker(cfg Config) ([]Change, error) {
	if err := cnm.CheckName("plugin", cfg.Plugin); err != nil {
		return nil, err
	}
	// Where these mean something to systemd, none of them is worth an escape.
	if !filepath.IsAbs(cfg.Program) || strings.ContainsAny(cfg.Program, " \t\n\"'\\%$;") {
		return nil, cnm.FieldErrorf(cnm.Invalid, "program", "program %q is no absolute path without blanks, quotes, %% and $; name another with --program", cfg.Program)
	}
	unit := file{path: filepath.Join(cfg.Root, unitPath), text: unitText(cfg), signed: true}
	if old, err := installed(unit.path); err != nil {
		return nil, err
	} else if old != "" && old != cfg.Plugin {
		return nil, cnm.FieldErrorf(cnm.Exists, "plugin", "%s has the plugin %q; remove it with: cnm uninstall docker", unit.path, old)
	}
	return write(unit, socketFile(cfg.Root, cfg.Plugin), specFile(cfg.Root, cfg.Plugin))
}

// RemoveDocker removes what [Docker] wrote, and says so. The error is of kind [cnm.Exists] if a file is not ours any more; then
// nothing was removed.
func RemoveDocker(root string) ([]Change, error) {
	unit := file{path: filepath.Join(root, unitPath), signed: true}
	plugin, err := installed(unit.path)
	if err != nil || plugin == "" {
		return nil, err
	}
	// The unit goes last: it is what tells of the other.
	return remove(specFile(root, plugin), socketFile(root, plugin), unit)
}

// socketFile has the service manager make the plugin's socket and keep it while the daemon is away: Docker's calls wait there for the
// daemon to come back. Refused, each of them would be tried again for 15 seconds, though the daemon is back at once.
func socketFile(root, plugin string) file {
	return file{path: filepath.Join(root, socketPath), signed: true, text: fmt.Sprintf(`
[Unit]
Description=Where Docker calls cnm
Before=docker.service

[Socket]
ListenStream=/run/docker/plugins/%s.sock
SocketMode=0600
RemoveOnStop=yes

[Install]
WantedBy=sockets.target
`, plugin)}
}

// specFile is how Docker finds a plugin that does not listen yet: it waits for it then, and does not take it for unknown.
func specFile(root, plugin string) file {
	return file{path: filepath.Join(root, specDir, plugin+".spec"), text: "unix:///run/docker/plugins/" + plugin + ".sock\n"}
}

// installed is the plugin's name in our unit; "" without a unit.
func installed(path string) (string, error) {
	f := file{path: path, signed: true}
	text, there, err := f.read()
	if err != nil || !there {
		return "", err
	}
	_, rest, _ := strings.Cut(text, optionPlugin)
	plugin, _, _ := strings.Cut(rest, "\n")
	if err := cnm.CheckName("plugin", plugin); err != nil {
		return "", cnm.Errorf(cnm.Exists, "%s names no plugin: %w", path, err)
	}
	return plugin, nil
}

func unitText(cfg Config) string {
	return fmt.Sprintf(`
[Unit]
Description=Networks for containers, processes and microVMs
After=network-pre.target firewalld.service nftables.service cnm.socket
Before=docker.service
Requires=cnm.socket

[Service]
Type=notify
ExecStart=%s%s%s
Restart=always
RestartSec=100ms
LimitNOFILE=1048576
OOMScoreAdjust=-900

[Install]
WantedBy=multi-user.target docker.service
`, cfg.Program, optionPlugin, cfg.Plugin)
}
