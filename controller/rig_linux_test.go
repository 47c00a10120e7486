// SPDX-License-Identifier: Apache-2.0

package controller_test

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/controller"
	"github.com/libnetwork/cnm/dns"
	"github.com/libnetwork/cnm/driver/bridge"
	"github.com/libnetwork/cnm/driver/host"
	"github.com/libnetwork/cnm/driver/null"
	"github.com/libnetwork/cnm/firewall"
	"github.com/libnetwork/cnm/internal/audit"
	ipamnull "github.com/libnetwork/cnm/ipam/null"
	"github.com/libnetwork/cnm/ipam/pool"
	"github.com/libnetwork/cnm/kernel/kerneltest"
	"github.com/libnetwork/cnm/kernel/link"
	"github.com/libnetwork/cnm/kernel/netns"
	"github.com/libnetwork/cnm/ports"
	"github.com/libnetwork/cnm/sandbox"
	"github.com/libnetwork/cnm/store/mem"
)

const (
	runDir     = "/run/cnm"
	foreignDir = "/run/foreign" // pins of namespaces that are not ours
	group      = 67 << 1
	patience   = 20 * time.Second
)

// rig is a host with a link to the outside, lan0 (a bridge, which needs no other side), and a controller made of the real parts, each behind a fuse. When the
// test ends everything is compared with the records, deleted, and the host compared with what it was before.
type rig struct {
	*controller.Controller
	t        *testing.T
	fuse     *fuse
	store    *store
	addrs    *pool.Allocator
	close    func()
	stop     func()   // ends Run
	pins     []string // of namespaces that are not ours
	spared   map[cnm.NetworkID]bool
	pristine audit.Picture
	log      *logger
	looks    atomic.Int64  // at everything
	looked   chan struct{} // gets one value after each, unless nobody took the last
	// lose changes what a controller is made of; nil: nothing.
	lose func(*cnm.Records, *controller.Config)
}

// newRig builds the host and starts a controller that has nothing yet. It does not run: see run.
func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, fuse: &fuse{}, stop: func() {}, looked: make(chan struct{}, 1), spared: map[cnm.NetworkID]bool{}}
	r.store = &store{Store: mem.New(), fuse: r.fuse}
	kerneltest.Clear(t, "lan0", "cnm") // the firewall's tables outlive a daemon
	var b link.Batch
	b.CreateBridge(link.Bridge{Name: "lan0", MAC: link.MAC{2, 0, 0, 0, 0, 100}})
	b.SetLink(link.Change{Link: link.Named("lan0"), AddrGenMode: link.AddrGenNone, Up: link.On})
	r.change(&b)
	for _, dir := range []string{filepath.Join(runDir, "sandboxes"), foreignDir} { // that of the name files stays
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		if err := netns.ReleaseDir(filepath.Join(runDir, "netns")); err != nil && !t.Failed() {
			t.Error(err)
		}
	})
	r.start()
	t.Cleanup(func() { r.close() })
	r.pristine = r.picture()
	t.Cleanup(r.end)
	return r
}

// start composes the parts over the rig's store.
func (r *rig) start() {
	r.t.Helper()
	ctx := context.WithoutCancel(r.t.Context())
	r.log = &logger{t: r.t}
	log := slog.New(slog.NewTextHandler(r.log, nil))
	var closes []func() error
	r.close = func() {
		for _, f := range slices.Backward(closes) {
			if err := f(); err != nil {
				r.t.Error(err)
			}
		}
		r.close = func() {}
	}
	must := func(err error) {
		r.t.Helper()
		if err != nil {
			r.close()
			r.t.Fatal(err)
		}
	}
	fw, err := firewall.Open(ctx, firewall.Config{Log: log})
	must(err)
	closes = append(closes, fw.Close)
	holder, err := ports.New(ports.Config{Log: log})
	must(err)
	closes = append(closes, func() error { holder.Close(); return nil })
	br, err := bridge.New(bridge.Config{
		Log: log, Firewall: rules{fw, r.fuse}, Ports: holder, Group: group, Opened: fw.Opened(), Published: func(cnm.Port) {},
	})
	must(err)
	closes = append(closes, br.Close)
	r.addrs, err = pool.New(pool.Config{Seed: []byte("rig"), Host: func(context.Context) ([]pool.Used, error) { return nil, nil }})
	must(err)
	netstack, err := sandbox.New(sandbox.Config{RunDir: runDir, Log: log})
	must(err)
	closes = append(closes, netstack.Close)
	records, err := r.store.Load(ctx)
	must(err)
	records.Boot = cnm.Boot{Group: group}
	cfg := controller.Config{
		Log: log, Store: r.store, Stack: stack{netstack, r.fuse}, Names: names{dns.New(dns.Config{RunDir: runDir}), r.fuse},
		Drivers:    map[string]cnm.Driver{"bridge": driver{br, r.fuse, r}, "host": host.Driver{}, "null": null.Driver{}},
		Allocators: map[string]cnm.Allocator{"pool": r.addrs, "null": ipamnull.Allocator{}},
		Together:   fw.Together,
	}
	if r.lose != nil {
		r.lose(&records, &cfg)
	}
	r.Controller, err = controller.New(ctx, cfg, records)
	must(err)
}

// restart ends the controller, as a kill would, and starts another one.
func (r *rig) restart() {
	r.t.Helper()
	r.stop()
	r.close()
	r.fuse.mend()
	r.start()
}

// run has the controller repair and collect until the test or the controller ends.
func (r *rig) run() {
	r.t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(r.t.Context()))
	ended := make(chan error, 1)
	ctl := r.Controller
	go func() { ended <- ctl.Run(ctx) }()
	r.stop = func() {
		cancel()
		if err := <-ended; err != nil {
			r.t.Error(err)
		}
		r.stop = func() {}
	}
	r.t.Cleanup(func() { r.stop() })
}

// end takes everything down and looks for what is left.
func (r *rig) end() {
	r.stop()
	if r.t.Failed() {
		r.tear()
		return
	}
	r.fuse.mend()
	r.check()
	r.clear()
	for _, path := range r.pins {
		r.ok(netns.Unpin(path))
	}
	r.quiet()
	if lines := r.picture().Diff(r.pristine); len(lines) > 0 {
		r.t.Errorf("after all was deleted the host is not what it was:\n%s", strings.Join(lines, "\n"))
	}
}

// tear unpins what a failed test left, so that its own failure is the only one.
func (r *rig) tear() {
	for _, dir := range []string{filepath.Join(runDir, "netns"), foreignDir} {
		entries, _ := os.ReadDir(dir)
		for _, e := range entries {
			_ = netns.Unpin(filepath.Join(dir, e.Name()))
		}
	}
}

// clear deletes everything.
func (r *rig) clear() {
	r.t.Helper()
	ctx := context.WithoutCancel(r.t.Context())
	all := r.Records(ctx)
	for _, sb := range all.Sandboxes {
		r.ok(r.DeleteSandbox(ctx, sb.ID))
	}
	for _, nw := range all.Networks {
		r.ok(r.DeleteNetwork(ctx, nw.ID, true))
	}
}

// picture is what is on the host, without what comes by itself once a bridge has had its first port, the identifiers of
// namespaces, which the first endpoint brings, and whether somebody owns our tables just now.
func (r *rig) picture() audit.Picture {
	r.t.Helper()
	p, err := audit.Take(context.WithoutCancel(r.t.Context()), audit.Scope{RunDir: runDir})
	if err != nil {
		r.t.Fatal(err)
	}
	p.Lines = slices.DeleteFunc(p.Lines, func(line string) bool {
		return strings.HasPrefix(line, "route local ") || strings.HasPrefix(line, "route multicast ") || strings.HasPrefix(line, "namespaces joined ")
	})
	for i, line := range p.Lines {
		p.Lines[i] = strings.TrimSuffix(strings.Replace(line, `flags "owner,persist"`, `flags "persist"`, 1), ", running")
	}
	return p
}

// quiet waits until what was deleted is gone, sandboxes included.
func (r *rig) quiet() {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.t.Context()), patience)
	defer cancel()
	sandboxes := 0
	for _, sb := range r.Records(ctx).Sandboxes {
		if !sb.Host {
			sandboxes++
		}
	}
	if err := audit.WaitQuiet(ctx, audit.Picture{Namespaces: r.pristine.Namespaces + sandboxes}); err != nil {
		r.t.Error(err)
	}
}

// check compares the controller's records with the store's and with the kernel.
func (r *rig) check() {
	r.t.Helper()
	ctx := context.WithoutCancel(r.t.Context())
	all := r.Records(ctx)
	stored, err := r.store.Store.Load(ctx)
	r.ok(err)
	if got, want := byID(all), byID(stored); !reflect.DeepEqual(got, want) {
		r.t.Errorf("in memory is\n%v\nand in the store\n%v", got, want)
	}
	for id, state := range states(all) {
		if !state.Settled() {
			r.t.Errorf("%s is %s", id, state)
		}
	}
	if lines := r.findings(); len(lines) > 0 {
		r.t.Errorf("the host is not as the records say:\n%s", strings.Join(lines, "\n"))
	}
}

// findings are what in the kernel is not as the records say.
func (r *rig) findings() []string {
	ctx := context.WithoutCancel(r.t.Context())
	return audit.Check(ctx, r.Records(ctx), audit.Scope{RunDir: runDir})
}

// drifts are those that this controller told of.
func (r *rig) drifts() []string {
	r.log.mu.Lock()
	defer r.log.mu.Unlock()
	return r.log.drifts
}

// closed tells whether the firewall closes a link for transit.
func (r *rig) closed(link string) bool {
	return slices.ContainsFunc(r.picture().Lines, func(line string) bool {
		return strings.Contains(line, "set opened4 ") && strings.HasSuffix(line, `element "`+link+`"`)
	})
}

// byID is a set of records without an order.
func byID(r cnm.Records) map[string]any {
	all := map[string]any{}
	for _, v := range r.Networks {
		all["network "+string(v.ID)] = v
	}
	for _, v := range r.Endpoints {
		all["endpoint "+string(v.ID)] = v
	}
	for _, v := range r.Sandboxes {
		all["sandbox "+string(v.ID)] = v
	}
	for _, v := range r.Joins {
		all["join "+string(v.Endpoint)] = v
	}
	return all
}

func states(r cnm.Records) map[string]cnm.State {
	all := map[string]cnm.State{}
	for id, v := range byID(r) {
		all[id] = cnm.State(reflect.ValueOf(v).FieldByName("State").String())
	}
	return all
}

// ok fails the test on an error.
func (r *rig) ok(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

// is fails the test unless err is of a kind.
func (r *rig) is(err error, kind cnm.Kind) {
	r.t.Helper()
	if !errors.Is(err, kind) {
		r.t.Fatalf("the error is %v, want one that is %v", err, kind)
	}
}

// change changes the host's links.
func (r *rig) change(b *link.Batch) {
	r.t.Helper()
	conn, err := link.Dial(link.Here)
	r.ok(err)
	defer conn.Close()
	r.ok(conn.Do(b))
}

func (r *rig) network(name string, more ...func(*cnm.NetworkSpec)) cnm.Network {
	r.t.Helper()
	spec := cnm.NetworkSpec{Name: name}
	for _, m := range more {
		m(&spec)
	}
	nw, err := r.CreateNetwork(r.t.Context(), spec)
	r.ok(err)
	return nw
}

// common is the network of a name, which sweep leaves.
func (r *rig) common(name string) cnm.Network {
	r.t.Helper()
	if nw, err := r.LookupNetwork(name); err == nil {
		return nw
	}
	nw := r.network(name)
	r.spared[nw.ID] = true
	return nw
}

// sweep deletes everything but the common networks.
func (r *rig) sweep() {
	r.t.Helper()
	all := r.Records(r.t.Context())
	for _, sb := range all.Sandboxes {
		r.ok(r.DeleteSandbox(r.t.Context(), sb.ID))
	}
	for _, ep := range r.Records(r.t.Context()).Endpoints {
		r.ok(r.DeleteEndpoint(r.t.Context(), ep.ID, true))
	}
	for _, nw := range all.Networks {
		if !r.spared[nw.ID] {
			r.ok(r.DeleteNetwork(r.t.Context(), nw.ID, true))
		}
	}
}

func (r *rig) sandbox(name string) cnm.Sandbox {
	r.t.Helper()
	sb, err := r.CreateSandbox(r.t.Context(), cnm.SandboxSpec{Name: name})
	r.ok(err)
	return sb
}

// adopted is a sandbox in a namespace that is not ours, pinned at foreignDir/name.
func (r *rig) adopted(name string) cnm.Sandbox {
	r.t.Helper()
	path := filepath.Join(foreignDir, name)
	_, err := netns.Make(path, nil)
	r.ok(err)
	r.pins = append(r.pins, path)
	sb, err := r.CreateSandbox(r.t.Context(), cnm.SandboxSpec{Name: name, Path: path})
	r.ok(err)
	return sb
}

func (r *rig) attach(sb cnm.Sandbox, nw cnm.Network, more ...func(*cnm.AttachSpec)) cnm.Attachment {
	r.t.Helper()
	spec := cnm.AttachSpec{Sandbox: sb.ID, Network: nw.ID}
	for _, m := range more {
		m(&spec)
	}
	at, err := r.Attach(r.t.Context(), spec)
	r.ok(err)
	return at
}

// now is an endpoint with what the records say of it.
func (r *rig) now(id cnm.EndpointID) (ep cnm.Endpoint, j cnm.Join, exists, joined bool) {
	all := r.Records(r.t.Context())
	i := slices.IndexFunc(all.Endpoints, func(e cnm.Endpoint) bool { return e.ID == id })
	k := slices.IndexFunc(all.Joins, func(j cnm.Join) bool { return j.Endpoint == id })
	if exists = i >= 0; exists {
		ep = all.Endpoints[i]
	}
	if joined = k >= 0; joined {
		j = all.Joins[k]
	}
	return ep, j, exists, joined
}

// await waits for the event of an action on an object.
func (r *rig) await(events <-chan cnm.Event, object, action string) cnm.Event {
	r.t.Helper()
	late := time.After(patience)
	for {
		select {
		case e := <-events:
			if e.Object == object && e.Action == action {
				return e
			}
		case <-late:
			r.t.Fatalf("no event %s %s", object, action)
		}
	}
}

func ports80(t *testing.T, texts ...string) []cnm.PortSpec {
	t.Helper()
	var all []cnm.PortSpec
	for _, text := range texts {
		specs, err := cnm.ParsePortSpecs(text)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, specs...)
	}
	return all
}

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

// logger writes what is logged into the test's own log.
type logger struct {
	t      *testing.T
	mu     sync.Mutex // guards drifts
	drifts []string
}

func (l *logger) Write(b []byte) (int, error) {
	line := strings.TrimSpace(string(b))
	l.t.Log(line)
	if strings.Contains(line, "msg=drift") {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.drifts = append(l.drifts, line)
	}
	return len(b), nil
}
