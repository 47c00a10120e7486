// SPDX-License-Identifier: Apache-2.0

package stage

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/internal/audit"
)

// World is a host with a daemon and what a test makes with it. When the test ends everything is compared with the records,
// deleted, and the host compared with what it was before.
type World struct {
	*Host
	Verbs
	t        testing.TB
	pristine audit.Picture
	over     bool // nothing is to be looked at when the test ends
}

// Build builds a world with a daemon in this process.
func Build(t testing.TB) *World {
	t.Helper()
	h := New(t, 0)
	return On(t, h, StartHere(t))
}

// On makes a world of a host and a daemon that has nothing yet.
func On(t testing.TB, h *Host, v Verbs) *World {
	t.Helper()
	w := &World{Host: h, Verbs: v, t: t}
	w.pristine = w.Picture()
	t.Cleanup(w.end)
	return w
}

// scope is where to look: in the daemon's process, if it has one.
func (w *World) scope() audit.Scope {
	s := audit.Scope{RunDir: RunDir}
	if a, ok := w.Verbs.(*Away); ok {
		s.PID, s.Alone = a.PID(), true
	}
	return s
}

// end takes everything down and looks for what is left.
func (w *World) end() {
	if w.t.Failed() || w.over {
		return // a test that failed has often not cleaned up
	}
	w.Audit()
	w.Clear()
	w.Quiet()
	if lines := w.Picture().Diff(w.pristine); len(lines) > 0 {
		w.t.Errorf("after all was deleted the host is not what it was:\n%s", strings.Join(lines, "\n"))
	}
}

// Abandon leaves what there is as it is when the test ends.
func (w *World) Abandon() { w.over = true }

// Clear deletes everything.
func (w *World) Clear() {
	w.t.Helper()
	ctx := context.WithoutCancel(w.t.Context())
	r := w.Records(ctx)
	for _, sb := range r.Sandboxes {
		if err := w.DeleteSandbox(ctx, sb.ID); err != nil {
			w.t.Errorf("delete sandbox %s: %v", sb.Name, err)
		}
	}
	for _, nw := range r.Networks {
		if err := w.DeleteNetwork(ctx, nw.ID, true); err != nil {
			w.t.Errorf("delete network %s: %v", nw.Name, err)
		}
	}
}

// Picture is what is on the host now.
func (w *World) Picture() audit.Picture {
	w.t.Helper()
	p, err := audit.Take(context.WithoutCancel(w.t.Context()), w.scope())
	if err != nil {
		w.t.Fatal(err)
	}
	return p
}

// Quiet waits until what was deleted is gone, sandboxes included.
func (w *World) Quiet() {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(w.t.Context()), Patience)
	defer cancel()
	if err := audit.WaitQuiet(ctx, w.pristine); err != nil {
		w.t.Error(err)
	}
}

// Audit fails the test if the kernel is not as the records say.
func (w *World) Audit() {
	w.t.Helper()
	ctx := context.WithoutCancel(w.t.Context())
	if lines := audit.Check(ctx, w.Records(ctx), w.scope()); len(lines) > 0 {
		w.t.Errorf("the host is not as the records say:\n%s", strings.Join(lines, "\n"))
	}
}

// Findings is what the audit finds.
func (w *World) Findings() []string {
	ctx := context.WithoutCancel(w.t.Context())
	return audit.Check(ctx, w.Records(ctx), w.scope())
}

// Network creates a network.
func (w *World) Network(name string, more ...func(*cnm.NetworkSpec)) cnm.Network {
	w.t.Helper()
	spec := cnm.NetworkSpec{Name: name}
	for _, m := range more {
		m(&spec)
	}
	nw, err := w.CreateNetwork(w.t.Context(), spec)
	if err != nil {
		w.t.Fatalf("create network %s: %v", name, err)
	}
	return nw
}

// Option sets an option of the network's driver.
func Option(key, value string) func(*cnm.NetworkSpec) {
	return func(s *cnm.NetworkSpec) {
		if s.Options == nil {
			s.Options = map[string]string{}
		}
		s.Options[key] = value
	}
}

// Internal makes the network internal.
func Internal(s *cnm.NetworkSpec) { s.Internal = true }

// Isolate keeps the network's endpoints apart.
func Isolate(s *cnm.NetworkSpec) { s.IsolateEndpoints = true }

// Subnets gives the network's subnets.
func Subnets(prefixes ...string) func(*cnm.NetworkSpec) {
	return func(s *cnm.NetworkSpec) {
		for _, p := range prefixes {
			s.Subnets = append(s.Subnets, cnm.Subnet{Prefix: netip.MustParsePrefix(p)})
		}
	}
}

// Box is a sandbox on its networks.
type Box struct {
	Place
	Sandbox cnm.Sandbox
	At      map[cnm.NetworkID]cnm.Attachment
}

// Sandbox creates a sandbox and attaches it to networks.
func (w *World) Sandbox(name string, networks ...cnm.Network) *Box {
	w.t.Helper()
	return w.Adopt(cnm.SandboxSpec{Name: name}, networks...)
}

// Adopt is Sandbox of what somebody else has.
func (w *World) Adopt(spec cnm.SandboxSpec, networks ...cnm.Network) *Box {
	w.t.Helper()
	sb, err := w.CreateSandbox(w.t.Context(), spec)
	if err != nil {
		w.t.Fatalf("create sandbox %s: %v", spec.Name, err)
	}
	b := &Box{Place: In(sb), Sandbox: sb, At: map[cnm.NetworkID]cnm.Attachment{}}
	for _, nw := range networks {
		w.Plug(b, nw)
	}
	return b
}

// Server is Sandbox with an echo server on [EchoPort].
func (w *World) Server(name string, networks ...cnm.Network) *Box {
	w.t.Helper()
	b := w.Sandbox(name, networks...)
	b.Serve(w.t, EchoPort)
	return b
}

// Plug attaches a sandbox to a network.
func (w *World) Plug(b *Box, nw cnm.Network, more ...func(*cnm.AttachSpec)) cnm.Attachment {
	w.t.Helper()
	spec := cnm.AttachSpec{Sandbox: b.Sandbox.ID, Network: nw.ID}
	for _, m := range more {
		m(&spec)
	}
	at, err := w.Attach(w.t.Context(), spec)
	if err != nil {
		w.t.Fatalf("attach %s to %s: %v", b.Name, nw.Name, err)
	}
	b.At[nw.ID] = at
	return at
}

// Unplug detaches a sandbox from a network.
func (w *World) Unplug(b *Box, nw cnm.Network) {
	w.t.Helper()
	if err := w.Detach(w.t.Context(), b.Sandbox.ID, nw.ID); err != nil {
		w.t.Fatalf("detach %s from %s: %v", b.Name, nw.Name, err)
	}
	delete(b.At, nw.ID)
}

// Ports are specifications as people write them.
func Ports(t testing.TB, specs ...string) []cnm.PortSpec {
	t.Helper()
	var all []cnm.PortSpec
	for _, s := range specs {
		some, err := cnm.ParsePortSpecs(s)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, some...)
	}
	return all
}

// Publishing has ports published with the attachment.
func (w *World) Publishing(specs ...string) func(*cnm.AttachSpec) {
	ports := Ports(w.t, specs...)
	return func(s *cnm.AttachSpec) { s.Endpoint.Publish = append(s.Endpoint.Publish, ports...) }
}

// Addresses are a sandbox's on a network.
func (b *Box) Addresses(nw cnm.Network) []netip.Addr {
	var all []netip.Addr
	for _, p := range b.At[nw.ID].Endpoint.Addresses {
		all = append(all, p.Addr())
	}
	return all
}

// Address is a sandbox's of a family on a network.
func (b *Box) Address(nw cnm.Network, f cnm.Family) netip.Addr {
	at := b.At[nw.ID]
	return at.Endpoint.Address(f)
}

// Await returns the first event from now that match takes, and fails the test when none comes within a time.
func Await(t testing.TB, events <-chan cnm.Event, within time.Duration, match func(cnm.Event) bool) cnm.Event {
	t.Helper()
	end := time.NewTimer(within)
	defer end.Stop()
	var seen []string
	for {
		select {
		case e, ok := <-events:
			if !ok {
				t.Fatalf("the events ended; seen before: %s", strings.Join(seen, ", "))
			}
			if match(e) {
				return e
			}
			seen = append(seen, e.Object+" "+e.Action+" "+e.Name+" "+e.Detail["what"])
		case <-end.C:
			t.Fatalf("no such event within %v; seen: %s", within, strings.Join(seen, ", "))
		}
	}
}
