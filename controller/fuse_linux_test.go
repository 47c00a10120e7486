// SPDX-License-Identifier: Apache-2.0

package controller_test

import (
	"context"
	"slices"
	"sync"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/driver/bridge"
	"github.com/libnetwork/cnm/firewall"
)

// fuse counts the steps that a verb makes, and ends or spoils them at one of them. The zero fuse lets all pass.
type fuse struct {
	mu    sync.Mutex // guards all below
	steps int        // made so far
	at    int        // the step that it burns at; 0: none
	only  string     // steps of other names do not count; "": all do
	kill  bool       // and all steps after it, as if the process had ended there
	after bool       // the step itself is still made
	burnt bool
	log   []string
	meet  func(name string) // is called before each step; nil for none
}

// set prepares the fuse to burn at a step, counted from 1; 0 for none.
func (f *fuse) set(at int, kill, after bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.steps, f.at, f.only, f.kill, f.after, f.burnt, f.log = 0, at, "", kill, after, false, nil
}

// setAmong prepares the fuse to burn once, at the step of a name that comes after so many others of it: what repairs meanwhile makes steps too.
func (f *fuse) setAmong(name string, before int) {
	f.set(before+1, false, false)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.only = name
}

func (f *fuse) mend() { f.set(0, false, false) }

// watch has meet called before each step from now on; nil ends that.
func (f *fuse) watch(meet func(name string)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.meet = meet
}

// counted is how many steps were made since the fuse was set.
func (f *fuse) counted() (steps int, names []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.steps, f.log
}

// allOrNone tells whether a step's contract is that it has done nothing when it fails.
func allOrNone(name string) bool {
	return slices.Contains([]string{"put", "drop", "publish", "set rules", "drop rules"}, name)
}

// step makes one step unless the fuse is burnt.
func (f *fuse) step(name string, do func() error) error {
	f.mu.Lock()
	if f.only == "" || f.only == name {
		f.steps++
	}
	f.log = append(f.log, name)
	now := f.steps == f.at && !f.burnt && (f.only == "" || f.only == name)
	dead := f.kill && f.burnt
	f.burnt = f.burnt || now
	after := f.after && (f.kill || !allOrNone(name))
	meet := f.meet
	f.mu.Unlock()
	if meet != nil {
		meet(name)
	}
	switch {
	case dead, now && !after:
		return cnm.Errorf(cnm.Internal, "the fuse is burnt at %s", name)
	case now:
		_ = do()
		return cnm.Errorf(cnm.Internal, "the fuse is burnt after %s", name)
	}
	return do()
}

// store is a store behind a fuse.
type store struct {
	cnm.Store
	fuse *fuse
}

func (s *store) Put(ctx context.Context, r cnm.Records) error {
	return s.fuse.step("put", func() error { return s.Store.Put(ctx, r) })
}

func (s *store) Drop(ctx context.Context, k cnm.Keys) error {
	return s.fuse.step("drop", func() error { return s.Store.Drop(ctx, k) })
}

// stacker is what a sandbox room is to the controller.
type stacker interface {
	cnm.Stack
	cnm.Watcher
}

// stack is sandboxes behind a fuse.
type stack struct {
	stacker
	fuse *fuse
}

func (s stack) Create(ctx context.Context, sb cnm.Sandbox, record func(cnm.Namespace) error) (ns cnm.Namespace, err error) {
	err = s.fuse.step("make namespace", func() (err error) { ns, err = s.stacker.Create(ctx, sb, record); return err })
	return ns, err
}

func (s stack) Delete(ctx context.Context, sb cnm.Sandbox) error {
	return s.fuse.step("delete namespace", func() error { return s.stacker.Delete(ctx, sb) })
}

func (s stack) Plug(ctx context.Context, ns cnm.OpenNamespace, at cnm.Attachment) error {
	return s.fuse.step("plug", func() error { return s.stacker.Plug(ctx, ns, at) })
}

func (s stack) Await(ctx context.Context, ns cnm.OpenNamespace, at cnm.Attachment) error {
	return s.fuse.step("await", func() error { return s.stacker.Await(ctx, ns, at) })
}

func (s stack) Unplug(ctx context.Context, ns cnm.OpenNamespace, at cnm.Attachment) error {
	return s.fuse.step("unplug", func() error { return s.stacker.Unplug(ctx, ns, at) })
}

// names are name files behind a fuse.
type names struct {
	cnm.Names
	fuse *fuse
}

func (n names) Put(ctx context.Context, sb cnm.Sandbox, at []cnm.Attachment) error {
	return n.fuse.step("put names", func() error { return n.Names.Put(ctx, sb, at) })
}

func (n names) Drop(ctx context.Context, id cnm.SandboxID) error {
	return n.fuse.step("drop names", func() error { return n.Names.Drop(ctx, id) })
}

// driver is the bridge driver behind a fuse.
type driver struct {
	*bridge.Driver
	fuse *fuse
	rig  *rig
}

func (d driver) Reconcile(ctx context.Context, w cnm.Wanted) ([]cnm.Drift, error) {
	if w.All {
		defer func() {
			d.rig.looks.Add(1)
			select {
			case d.rig.looked <- struct{}{}:
			default:
			}
		}()
	}
	return d.Driver.Reconcile(ctx, w)
}

func (d driver) CreateNetwork(ctx context.Context, nw cnm.Network) error {
	return d.fuse.step("create network", func() error { return d.Driver.CreateNetwork(ctx, nw) })
}

func (d driver) DeleteNetwork(ctx context.Context, nw cnm.Network) error {
	return d.fuse.step("delete network", func() error { return d.Driver.DeleteNetwork(ctx, nw) })
}

func (d driver) CreateEndpoint(ctx context.Context, nw cnm.Network, ep cnm.Endpoint) (p cnm.EndpointPatch, err error) {
	err = d.fuse.step("create endpoint", func() (err error) { p, err = d.Driver.CreateEndpoint(ctx, nw, ep); return err })
	return p, err
}

func (d driver) Join(ctx context.Context, req cnm.JoinRequest) (r cnm.JoinResult, err error) {
	err = d.fuse.step("join", func() (err error) { r, err = d.Driver.Join(ctx, req); return err })
	return r, err
}

func (d driver) Leave(ctx context.Context, at cnm.Attachment) error {
	return d.fuse.step("leave", func() error { return d.Driver.Leave(ctx, at) })
}

func (d driver) Publish(ctx context.Context, at cnm.Attachment) (p []cnm.Port, err error) {
	err = d.fuse.step("publish", func() (err error) { p, err = d.Driver.Publish(ctx, at); return err })
	return p, err
}

// rules are the firewall behind a fuse.
type rules struct {
	fw   *firewall.Firewall
	fuse *fuse
}

func (r rules) Set(ctx context.Context, owner firewall.Owner, rules firewall.Rules) error {
	return r.fuse.step("set rules", func() error { return r.fw.Set(ctx, owner, rules) })
}

func (r rules) Drop(ctx context.Context, owner firewall.Owner) error {
	return r.fuse.step("drop rules", func() error { return r.fw.Drop(ctx, owner) })
}
