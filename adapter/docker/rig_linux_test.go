// SPDX-License-Identifier: Apache-2.0

package docker_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/adapter/docker"
	"github.com/libnetwork/cnm/controller"
	"github.com/libnetwork/cnm/dns"
	"github.com/libnetwork/cnm/driver/bridge"
	"github.com/libnetwork/cnm/firewall"
	"github.com/libnetwork/cnm/internal/audit"
	"github.com/libnetwork/cnm/ipam/pool"
	"github.com/libnetwork/cnm/kernel/kerneltest"
	"github.com/libnetwork/cnm/kernel/link"
	"github.com/libnetwork/cnm/kernel/netns"
	"github.com/libnetwork/cnm/ports"
	"github.com/libnetwork/cnm/sandbox"
	"github.com/libnetwork/cnm/store/mem"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	runDir    = "/run/cnm"
	dockerDir = "/run/docker/netns" // where Docker pins its containers' namespaces
	socket    = "/run/docker/plugins/cnm.sock"
	group     = 67 << 1
	patience  = 20 * time.Second
)

// rig is a host with a controller made of the real parts, and a plugin that serves Docker on a socket.
type rig struct {
	*controller.Controller
	t         *testing.T
	store     *mem.Store
	client    *http.Client
	stop      func() // ends the plugin and the controller, as a kill would
	abandoned time.Duration
	engine    string // the socket of Docker's own API; "" for none
	pristine  audit.Picture
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, store: mem.New(), abandoned: time.Hour}
	var d net.Dialer
	r.client = &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return d.DialContext(ctx, "unix", socket) },
	}}
	for _, dir := range []string{runDir, dockerDir, filepath.Dir(socket)} {
		r.ok(os.MkdirAll(dir, 0o755))
	}
	kerneltest.Clear(t, "lan0", "cnm") // the firewall's tables outlive a daemon
	var b link.Batch
	b.CreateBridge(link.Bridge{Name: "lan0", MAC: link.MAC{2, 0, 0, 0, 0, 100}})
	b.SetLink(link.Change{Link: link.Named("lan0"), AddrGenMode: link.AddrGenNone, Up: link.On})
	conn, err := link.Dial(link.Here)
	r.ok(err)
	defer conn.Close()
	r.ok(conn.Do(&b))
	t.Cleanup(func() {
		if err := netns.ReleaseDir(filepath.Join(runDir, "netns")); err != nil && !t.Failed() {
			t.Error(err)
		}
	})
	r.start()
	t.Cleanup(func() { r.stop() })
	r.pristine = r.picture()
	t.Cleanup(r.end)
	return r
}

// start composes the parts over the rig's store and serves Docker.
func (r *rig) start() {
	r.t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(r.t.Context()))
	log := slog.New(slog.NewTextHandler(r.t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	closes := []func() error{}
	wait := func() {}
	r.stop = func() {
		cancel()
		wait()
		r.client.CloseIdleConnections()
		for _, f := range slices.Backward(closes) {
			if err := f(); err != nil {
				r.t.Error(err)
			}
		}
		r.stop = func() {}
	}
	fw, err := firewall.Open(ctx, firewall.Config{Log: log})
	r.ok(err)
	closes = append(closes, fw.Close)
	holder, err := ports.New(ports.Config{Log: log})
	r.ok(err)
	closes = append(closes, func() error {
		holder.Close()
		// The standard library keeps the pipes of splice(2) until the collector has passed them twice, and then needs a third pass to
		// close them.
		for range 3 {
			runtime.GC()
		}
		return nil
	})
	br, err := bridge.New(bridge.Config{Log: log, Firewall: fw, Ports: holder, Group: group, Opened: fw.Opened(), Published: func(cnm.Port) {}})
	r.ok(err)
	closes = append(closes, br.Close)
	addresses, err := pool.New(pool.Config{Seed: []byte("rig")})
	r.ok(err)
	stack, err := sandbox.New(sandbox.Config{RunDir: runDir, Log: log})
	r.ok(err)
	closes = append(closes, stack.Close)
	records, err := r.store.Load(ctx)
	r.ok(err)
	records.Boot = cnm.Boot{Group: group}
	r.Controller, err = controller.New(ctx, controller.Config{
		Log: log, Store: r.store, Stack: stack, Names: dns.New(dns.Config{RunDir: runDir}), Together: fw.Together,
		Drivers: map[string]cnm.Driver{"bridge": br}, Allocators: map[string]cnm.Allocator{"pool": addresses},
	}, records)
	r.ok(err)
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "unix", socket)
	r.ok(err)
	plugin := docker.New(ctx, docker.Config{Controller: r.Controller, Log: log, Abandoned: r.abandoned, Engine: r.engine})
	ended := make(chan error, 2)
	go func() { ended <- r.Controller.Run(ctx) }()
	go func() { ended <- plugin.Serve(ctx, ln) }()
	wait = func() {
		for range 2 {
			if err := <-ended; err != nil {
				r.t.Error(err)
			}
		}
	}
}

func (r *rig) restart() {
	r.t.Helper()
	r.stop()
	r.start()
}

// end takes everything down and looks for what is left.
func (r *rig) end() {
	if r.t.Failed() {
		r.stop()
		r.unpinAll()
		return
	}
	r.check()
	ctx := context.WithoutCancel(r.t.Context())
	all := r.Records(ctx)
	for _, nw := range all.Networks {
		r.ok(r.DeleteNetwork(ctx, nw.ID, true))
	}
	for _, sb := range r.Records(ctx).Sandboxes {
		if err := r.DeleteSandbox(ctx, sb.ID); err != nil {
			r.t.Error(err)
		}
	}
	r.unpinAll()
	quiet, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	r.ok(audit.WaitQuiet(quiet, r.pristine))
	r.stop()
	if lines := r.picture().Diff(r.pristine); len(lines) > 0 {
		r.t.Errorf("after all was deleted the host is not what it was:\n%s", strings.Join(lines, "\n"))
	}
}

func (r *rig) unpinAll() {
	entries, err := os.ReadDir(dockerDir)
	r.ok(err)
	for _, e := range entries {
		if err := netns.Unpin(filepath.Join(dockerDir, e.Name())); err != nil {
			r.t.Error(err)
		}
	}
}

func (r *rig) picture() audit.Picture {
	r.t.Helper()
	p, err := audit.Take(context.WithoutCancel(r.t.Context()), audit.Scope{RunDir: runDir})
	r.ok(err)
	p.Lines = slices.DeleteFunc(p.Lines, func(line string) bool {
		return strings.HasPrefix(line, "route local ") || strings.HasPrefix(line, "route multicast ") || strings.HasPrefix(line, "namespaces joined ")
	})
	for i, line := range p.Lines {
		p.Lines[i] = strings.TrimSuffix(strings.Replace(line, `flags "owner,persist"`, `flags "persist"`, 1), ", running")
	}
	return p
}

// check compares the kernel with the records.
func (r *rig) check() {
	r.t.Helper()
	ctx := context.WithoutCancel(r.t.Context())
	if lines := audit.Check(ctx, r.Records(ctx), audit.Scope{RunDir: runDir}); len(lines) > 0 {
		r.t.Errorf("the host is not as the records say:\n%s", strings.Join(lines, "\n"))
	}
}

func (r *rig) ok(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

// answer is what a call answered.
type answer map[string]any

// call makes one call over the socket. body is JSON text with words of it replaced, in pairs.
func (r *rig) call(method, body string, words ...string) answer {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodPost, "http://plugin.moby.localhost/"+method, strings.NewReader(strings.NewReplacer(words...).Replace(body)))
	r.ok(err)
	req.Header.Set("Accept", "application/vnd.docker.plugins.v1.2+json")
	resp, err := r.client.Do(req)
	r.ok(err)
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	r.ok(err)
	a := answer{}
	r.ok(json.NewDecoder(bytes.NewReader(data)).Decode(&a))
	return a
}

// done makes one call that must succeed.
func (r *rig) done(method, body string, words ...string) answer {
	r.t.Helper()
	a := r.call(method, body, words...)
	if a["Err"] != nil || a["Error"] != nil {
		r.t.Fatalf("%s %s: %v", method, strings.NewReplacer(words...).Replace(body), a)
	}
	return a
}

// refused makes one call that must fail, with texts in what it says.
func (r *rig) refused(method, body string, texts ...string) {
	r.t.Helper()
	a := r.call(method, body)
	for _, text := range texts {
		if s, _ := a["Err"].(string); !strings.Contains(s, text) || a["Error"] != a["Err"] {
			r.t.Errorf("%s %s: %v, want an error with %q", method, body, a, text)
		}
	}
}

// id draws an identifier as Docker does.
func id() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b)
	return hex.EncodeToString(b)
}

func (r *rig) late() <-chan time.Time { return time.After(patience) }
