// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"strings"
	"testing"

	"github.com/libnetwork/cnm/test/interop/place"
)

// Podman is the release's, which needs no daemon.
type Podman struct {
	// Root is a folder with the [Image]'s file system, for --rootfs.
	Root string

	t     testing.TB
	place *place.Place
}

// NewPodman makes one.
func NewPodman(t testing.TB, p *place.Place) *Podman {
	t.Helper()
	pm := &Podman{Root: t.TempDir(), t: t, place: p}
	makeRoot(t, p, pm.Root)
	// It has no networks of its own here, and crun refuses a hierarchy of version 2 beside others.
	p.Write("/run/podman/containers.conf", "[network]\nnetwork_backend = \"cni\"\nnetwork_config_dir = \"/run/podman/networks\"\n"+
		"[engine]\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"file\"\nruntime = \"runc\"\n"+
		"[containers]\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=1024:1024\"]\n")
	return pm
}

// Run runs a command that has to succeed: podman ARGS.
func (pm *Podman) Run(args ...string) string {
	pm.t.Helper()
	all := append([]string{"podman", "--root", "/var/lib/podman", "--runroot", "/run/podman/run", "--tmpdir", "/run/podman/tmp", "--storage-driver", "vfs"}, args...)
	r := pm.place.Run(place.Command{Args: all, Env: []string{"CONTAINERS_CONF=/run/podman/containers.conf"}})
	return r.Must(pm.t, "podman", strings.Join(args, " "))
}
