// SPDX-License-Identifier: Apache-2.0

package oci

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/api/client"
	"github.com/libnetwork/cnm/api/server"
	"github.com/libnetwork/cnm/api/server/servertest"
	"github.com/libnetwork/cnm/api/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A client of the daemon is what a hook needs.
var _ Daemon = (*client.Client)(nil)

// rig is a daemon over a fake, with the networks web and db, and a bundle.
type rig struct {
	*client.Client
	t      *testing.T
	fake   *servertest.Fake
	bundle string
}

func newRig(t *testing.T) *rig {
	t.Helper()
	dir := t.TempDir()
	r := &rig{t: t, fake: servertest.New(), bundle: filepath.Join(dir, "bundle")}
	r.ok(os.MkdirAll(filepath.Join(r.bundle, filesDir), 0o755))
	r.fake.FileSet = cnm.NameFiles{Hosts: filepath.Join(dir, "h"), ResolvConf: filepath.Join(dir, "r"), Hostname: filepath.Join(dir, "n")}
	r.write(r.fake.FileSet.Hosts, "# Written by cnm and so on\n192.0.2.2\tbox\n")
	r.write(r.fake.FileSet.ResolvConf, "nameserver 192.0.2.1\n")
	r.write(r.fake.FileSet.Hostname, "box\n")
	s, err := server.New(server.Config{
		Controller: r.fake, Log: slog.New(slog.DiscardHandler),
		Group: func() (uint32, bool) { return uint32(os.Getegid()), true },
	})
	r.ok(err)
	socket := filepath.Join(dir, "s")
	ln, err := server.Listen(t.Context(), socket, 0o600, -1)
	r.ok(err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, ln) }()
	r.Client = client.NewBrief(socket, 0)
	t.Cleanup(func() { r.Close(); cancel(); r.ok(<-ended) })
	for _, name := range []string{"web", "db"} {
		_, err := r.CreateNetwork(t.Context(), wire.NetworkCreate{Name: name})
		r.ok(err)
	}
	return r
}

func (r *rig) ok(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) write(path, text string) {
	r.t.Helper()
	r.ok(os.WriteFile(path, []byte(text), 0o600))
}

func (r *rig) read(path string) string {
	r.t.Helper()
	data, err := os.ReadFile(path)
	r.ok(err)
	return string(data)
}

// file is a file of the bundle that is mounted in the container.
func (r *rig) file(name string) string { return filepath.Join(r.bundle, filesDir, name) }

// hook runs a hook for container id with a process.
func (r *rig) hook(stage, id string, pid int, annotations ...string) error {
	r.t.Helper()
	state, err := json.Marshal(map[string]any{"ociVersion": "1.2.0", "id": id, "pid": pid, "bundle": r.bundle, "status": "creating", "annotations": ours(annotations...), "root": "/x"})
	r.ok(err)
	return Hook(r.t.Context(), stage, strings.NewReader(string(state)), r.Client)
}

func (r *rig) is(err error, kind cnm.Kind, part string) {
	r.t.Helper()
	if !errors.Is(err, kind) || !strings.Contains(err.Error(), part) {
		r.t.Errorf("got %v (%v), want %v with %q", err, cnm.KindOf(err), kind, part)
	}
}

// has checks the names of all sandboxes and endpoints.
func (r *rig) has(want ...string) {
	r.t.Helper()
	all, err := r.Sandboxes(r.t.Context())
	r.ok(err)
	got := []string{}
	for i := range all {
		got = append(got, all[i].Name)
		for _, ep := range all[i].Endpoints {
			got = append(got, fmt.Sprintf("%s/%s %v", ep.Network, ep.Name, ep.Publish))
		}
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		r.t.Errorf("there are %q, want %q", got, want)
	}
}

func TestHook(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.write(filepath.Join(r.bundle, configName), `{"hostname":"www"}`)
	r.write(r.file("hosts"), strings.Repeat("longer than what comes", 20))
	r.write(r.file("hostname"), "")
	before, err := os.Stat(r.file("hosts"))
	r.ok(err)
	for range 2 { // the second time changes nothing
		r.ok(r.hook(StageCreate, "c1", 7, "networks", "web,db", "publish", "8080:80", "alias.db", "pg"))
		r.has("c1", "db/c1 []", "web/c1 [8080:80/tcp]")
	}
	sb, err := r.Sandbox(t.Context(), "c1")
	r.ok(err)
	if sb.PID != 7 || sb.Hostname != "www" || sb.Labels[Prefix+"container"] != "c1" || sb.Labels[Prefix+"bundle"] != r.bundle {
		t.Errorf("sandbox %+v", sb)
	}
	// The same file, since it is mounted already; what is not there is not made.
	after, err := os.Stat(r.file("hosts"))
	r.ok(err)
	if !os.SameFile(before, after) || r.read(r.file("hosts")) != "# Written by cnm when the container was made.\n192.0.2.2\tbox\n" || r.read(r.file("hostname")) != "box\n" {
		t.Errorf("hosts %q, hostname %q", r.read(r.file("hosts")), r.read(r.file("hostname")))
	}
	if _, err := os.Stat(r.file("resolv.conf")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("resolv.conf: %v", err)
	}
	for range 2 {
		r.ok(r.hook(StageDelete, "c1", 0, "networks", "web,db"))
		r.has()
	}
}

// TestHookWithoutAnnotationsInTheState: they are those of the bundle; and where that is gone too, the name does.
func TestHookWithoutAnnotationsInTheState(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	state := func(bundle string) *strings.Reader {
		return strings.NewReader(fmt.Sprintf(`{"id":"c1","pid":7,"bundle":%q}`, bundle))
	}
	r.write(filepath.Join(r.bundle, configName), `{"annotations":{"org.libnetwork.networks":"web"}}`)
	r.ok(Hook(t.Context(), StageCreate, state(r.bundle), r.Client))
	r.has("c1", "web/c1 []")
	r.ok(os.Remove(filepath.Join(r.bundle, configName)))
	r.ok(Hook(t.Context(), StageDelete, state("relative"), r.Client)) // another's
	r.has("c1", "web/c1 []")
	r.ok(Hook(t.Context(), StageDelete, state(r.bundle), r.Client))
	r.has()
}

// TestHookIsNotCalled: for a container that is none of our business the daemon need not even be there.
func TestHookIsNotCalled(t *testing.T) {
	t.Parallel()
	nobody := client.NewBrief(filepath.Join(t.TempDir(), "absent"), 0)
	for _, annotations := range []string{`{"org.example":"x"}`, `{"org.libnetwork.sandbox":"made"}`} {
		for _, stage := range []string{StageCreate, StageDelete} {
			state := fmt.Sprintf(`{"id":"c1","pid":7,"bundle":"/nowhere","annotations":%s}`, annotations)
			if err := Hook(t.Context(), stage, strings.NewReader(state), nobody); err != nil {
				t.Errorf("%s %s: %v", stage, annotations, err)
			}
		}
	}
}

// TestHookCompletes: a daemon that was killed in the middle left a part; the hook again adds the rest.
func TestHookCompletes(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := state{ID: "c1", Bundle: r.bundle}
	_, err := r.Provide(t.Context(), wire.Provide{
		SandboxCreate: wire.SandboxCreate{Name: "c1", PID: 7, Labels: s.labels()}, Attach: []wire.ProvideAttach{{Network: "web"}},
	})
	r.ok(err)
	r.ok(r.hook(StageCreate, "c1", 7, "networks", "WEB,db", "publish", "8080:80", "ip.db", "192.0.2.9"))
	r.has("c1", "db/c1 []", "web/c1 [8080:80/tcp]")
}

// TestHookLeavesOthersAlone: a sandbox of that name that is not this container's is neither used nor deleted.
func TestHookLeavesOthersAlone(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	_, err := r.CreateSandbox(t.Context(), wire.SandboxCreate{Name: "c1", PID: 7})
	r.ok(err)
	r.is(r.hook(StageCreate, "c1", 7, "networks", "web"), cnm.Exists, `"c1"`)
	r.ok(r.hook(StageDelete, "c1", 0, "networks", "web"))
	r.is(r.hook(StageCreate, "c2", 8, "networks", "web", "name", "C1"), cnm.Exists, `"C1"`)
	r.ok(r.hook(StageDelete, "c2", 0, "networks", "web", "name", "C1"))
	r.has("c1")
	// Its own, of another process, whose namespace lives: two containers cannot have it.
	r.ok(r.hook(StageCreate, "c3", 8, "networks", "web"))
	r.is(r.hook(StageCreate, "c3", 9, "networks", "web"), cnm.Exists, "with process 8, and its namespace lives")
	// What exists is not the sandbox.
	r.fake.Fail("Attach", cnm.FieldErrorf(cnm.Exists, "publish", "the port is held"))
	r.is(r.hook(StageCreate, "c4", 10, "networks", "web"), cnm.Exists, "the port is held")
	r.has("c1", "c3", "web/c3 []")
}

// TestHookUndoes what it did when the files cannot be filled, and follows no link out of the bundle.
func TestHookUndoes(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	outside := filepath.Join(t.TempDir(), "shadow")
	r.write(outside, "secret")
	r.ok(os.Symlink(outside, r.file("hosts")))
	r.is(r.hook(StageCreate, "c1", 7, "networks", "web"), cnm.Internal, "fill "+r.file("hosts"))
	r.has()
	r.ok(os.Remove(r.file("hosts")))
	r.ok(unix.Mkfifo(r.file("hosts"), 0o600)) // that nobody reads
	r.is(r.hook(StageCreate, "c1", 7, "networks", "web"), cnm.Internal, "fill "+r.file("hosts"))
	r.ok(os.Remove(r.file("hosts")))
	r.ok(os.Mkdir(r.file("hosts"), 0o700))
	r.is(r.hook(StageCreate, "c1", 7, "networks", "web"), cnm.Internal, "fill "+r.file("hosts"))
	r.has()
	if r.read(outside) != "secret" {
		t.Errorf("a file outside of the bundle became %q", r.read(outside))
	}
}

func TestHookRefuses(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.is(r.hook(StageCreate, "c1", 0, "networks", "web"), cnm.Invalid, "for createRuntime")
	r.is(r.hook("begin", "c1", 7), cnm.Invalid, `no stage "begin"`)
	r.is(r.hook(StageCreate, "", 7), cnm.Invalid, "no id")
	r.is(r.hook(StageCreate, "c1", 7, "networks", "web", "x", ""), cnm.Invalid, "org.libnetwork.x")
	r.is(r.hook(StageCreate, "c1", 7, "networks", "nope"), cnm.NotFound, "nope")
	for _, text := range []string{"", "[]", "{", `{"id":3}`} {
		r.is(Hook(t.Context(), StageCreate, strings.NewReader(text), r.Client), cnm.Invalid, "state on standard input")
	}
	r.fake.Fail("DeleteSandbox", cnm.Errorf(cnm.Busy, "stuck"))
	r.ok(r.hook(StageCreate, "c1", 7, "networks", "web"))
	r.is(r.hook(StageDelete, "c1", 0, "networks", "web", "x", "is no reason to keep it"), cnm.Busy, "stuck")
}

func TestPrepare(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	config := filepath.Join(r.bundle, configName)
	before := sample(t, "runtime")
	r.ok(os.WriteFile(config, before, 0o640))
	r.write(r.file("of another"), "x")
	_, err := Prepare(r.bundle, networks())
	r.ok(err)
	first, err := os.Stat(config)
	r.ok(err)
	if first.Mode().Perm() != 0o640 || r.read(r.file("hosts")) != "" {
		t.Errorf("mode %v", first.Mode())
	}
	r.write(r.file("hosts"), "filled")
	_, err = Prepare(r.bundle, networks())
	r.ok(err)
	if again, err := os.Stat(config); err != nil || !os.SameFile(first, again) || r.read(r.file("hosts")) != "filled" {
		t.Errorf("it was written again, %v", err)
	}
	_, err = Prepare(r.bundle, Setup{})
	r.ok(err)
	if r.read(config) != string(before) || r.read(r.file("of another")) != "x" {
		t.Errorf("it became %s", r.read(config))
	}
	if _, err := os.Stat(r.file("hosts")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("hosts: %v", err)
	}
	wrong := networks()
	wrong.Annotations["x"] = ""
	_, err = Prepare(r.bundle, wrong)
	r.is(err, cnm.Invalid, "org.libnetwork.x")
	_, err = Prepare(filepath.Join(r.bundle, "none"), networks())
	r.is(err, cnm.Invalid, "none")
	_, err = Prepare(filepath.Join(r.bundle, filesDir), networks())
	r.is(err, cnm.NotFound, "runc spec")
}
