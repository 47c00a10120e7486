// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/libnetwork/cnm/test/interop/place"
)

// Runtime is a program that runs OCI bundles.
type Runtime string

// The runtimes there are.
const (
	Runc Runtime = "runc"
	Crun Runtime = "crun"
)

// Runtimes are all of them.
func Runtimes() []Runtime { return []Runtime{Runc, Crun} }

// Hook is a program that a runtime runs at some moment of a container's life.
type Hook struct {
	Path string   `json:"path"`
	Args []string `json:"args,omitempty"` // with the program's name
	Env  []string `json:"env,omitempty"`
}

// Bundle is a container that is described in a folder, which both the test and
// the place see.
type Bundle struct {
	Dir string

	t       testing.TB
	place   *place.Place
	runtime Runtime
}

// BundleOptions say what the container is.
type BundleOptions struct {
	Args      []string          // the program, and its arguments
	Namespace string            // path of its network namespace; "" is a new one
	Hooks     map[string][]Hook // by moment: createRuntime, poststop, ...
}

// NewBundle makes a bundle with the [Image]'s file system, to be run by the
// runtime.
func NewBundle(t testing.TB, p *place.Place, r Runtime, o BundleOptions) *Bundle {
	t.Helper()
	b := &Bundle{Dir: t.TempDir(), t: t, place: p, runtime: r}
	makeRoot(t, p, filepath.Join(b.Dir, "rootfs"))
	text, err := json.MarshalIndent(o.spec(), "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(b.Config(), text, 0o644); err != nil {
		t.Fatal(err)
	}
	return b
}

// Config is the path of the bundle's config.json.
func (b *Bundle) Config() string { return filepath.Join(b.Dir, "config.json") }

// spec is the content of config.json.
func (o BundleOptions) spec() map[string]any {
	capabilities := []string{"CAP_NET_RAW", "CAP_NET_BIND_SERVICE", "CAP_KILL", "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_SETUID", "CAP_SETGID"}
	network := map[string]string{"type": "network"}
	if o.Namespace != "" {
		network["path"] = o.Namespace
	}
	return map[string]any{
		"ociVersion": "1.0.2",
		"process": map[string]any{
			"user": map[string]int{"uid": 0, "gid": 0}, "args": o.Args, "env": []string{"PATH=/bin"}, "cwd": "/",
			"capabilities": map[string]any{"bounding": capabilities, "effective": capabilities, "permitted": capabilities},
		},
		"root":     map[string]any{"path": "rootfs"},
		"hostname": "bundle",
		"mounts": []map[string]any{
			{"destination": "/proc", "type": "proc", "source": "proc"},
			{"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": []string{"mode=755"}},
			{"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": []string{"newinstance", "ptmxmode=0666"}},
		},
		"hooks": o.Hooks,
		"linux": map[string]any{
			"namespaces": []map[string]string{network, {"type": "pid"}, {"type": "mount"}, {"type": "ipc"}, {"type": "uts"}},
		},
	}
}

// Try runs a command of the runtime's on the container: RUNTIME COMMAND ... ID.
// What precedes the command is the same for every one.
func (b *Bundle) Try(id, command string, args ...string) place.Result {
	b.t.Helper()
	return b.place.Run(b.Command(id, command, args...))
}

// Command is what Try runs, for what goes on.
func (b *Bundle) Command(id, command string, args ...string) place.Command {
	argv := []string{string(b.runtime), command}
	if command == "run" || command == "create" {
		argv = append(argv, "--bundle", b.Dir)
	}
	if b.runtime == Crun {
		// It refuses a hierarchy of version 2 beside others, so it sees no other.
		argv = append([]string{
			"unshare", "--mount", "--propagation", "private", "sh", "-c",
			`mount -t cgroup2 none /sys/fs/cgroup && exec "$@"`, "sh", "crun", "--cgroup-manager", "disabled",
		}, argv[1:]...)
	}
	return place.Command{Args: append(append(argv, args...), id), Dir: b.Dir}
}
