// SPDX-License-Identifier: Apache-2.0

package controller_test

import (
	"net/netip"
	"path/filepath"
	"testing"

	"github.com/vishvananda/netlink"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/kernel/kerneltest"
	"github.com/libnetwork/cnm/kernel/netns"
)

// awaited is a sandbox whose namespace is to be made at foreignDir/name.
func (r *rig) awaited(name string) cnm.Sandbox {
	r.t.Helper()
	sb, err := r.CreateSandbox(r.t.Context(), cnm.SandboxSpec{Name: name, Path: filepath.Join(foreignDir, name), Await: true, Unrouted: true})
	r.ok(err)
	return sb
}

// move makes a namespace at foreignDir/name and moves a link of the host's into it.
func (r *rig) move(name, link string) {
	r.t.Helper()
	path := filepath.Join(foreignDir, name)
	_, err := netns.Make(path, nil)
	r.ok(err)
	r.pins = append(r.pins, path)
	ns, err := netns.Open(path)
	r.ok(err)
	defer ns.Close()
	l, err := netlink.LinkByName(link)
	r.ok(err)
	r.ok(netlink.LinkSetNsFd(l, ns.Fd()))
}

// TestAwaitedSandbox joins before there is a namespace, has somebody else make it and move the link, and takes the namespace away.
func TestAwaitedSandbox(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		r := newRig(t)
		red, blue := r.network("red"), r.network("blue")
		late := r.awaited("late")
		if !late.Awaited() {
			t.Fatalf("made as %+v", late)
		}
		at := r.attach(late, red, publish(t, "8080:80"))
		if l := at.Join.Result.Link; l.InPlace || l.Name == "" || at.Join.Result.Gateway(cnm.IPv4) == (netip.Addr{}) || at.Join.Default.Any() {
			t.Errorf("joined as %+v", at.Join)
		}
		r.check()
		r.restart() // nobody takes it for one that is gone
		r.check()
		r.run()
		events := r.Events(t.Context())
		r.move("late", at.Join.Result.Link.Name)
		r.await(events, "sandbox", "adopt")
		r.check()
		// From now on links are made in place, and no default route is touched.
		second := r.attach(late, blue, func(s *cnm.AttachSpec) { s.Join.Interface = "eth7" })
		if !second.Join.Result.Link.InPlace || second.Join.Default.Any() {
			t.Errorf("joined as %+v", second.Join)
		}
		r.check()
		r.ok(r.Detach(t.Context(), late.ID, blue.ID))
		for _, path := range r.pins {
			r.ok(netns.Unpin(path))
		}
		r.pins = nil
		r.await(events, "sandbox", "collect")
		if _, _, exists, _ := r.now(at.Endpoint.ID); exists {
			t.Error("the endpoint is still there")
		}
	})
}

// TestAwaitedSandboxNeverComes ends without its namespace, and its link with it.
func TestAwaitedSandboxNeverComes(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		r := newRig(t)
		late := r.awaited("late")
		r.attach(late, r.network("red"))
		r.ok(r.DeleteSandbox(t.Context(), late.ID))
		r.quiet()
		r.check()
		_, err := r.CreateSandbox(t.Context(), cnm.SandboxSpec{Name: "late", Path: "relative", Await: true})
		r.is(err, cnm.Invalid)
		_, err = r.CreateSandbox(t.Context(), cnm.SandboxSpec{Name: "late", Await: true})
		r.is(err, cnm.Invalid)
	})
}

// TestGivenIDs takes identifiers from the caller, once each.
func TestGivenIDs(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		r := newRig(t)
		id, eid := cnm.NewNetworkID(), cnm.NewEndpointID()
		red := r.network("red", func(s *cnm.NetworkSpec) { s.ID = id })
		ep, err := r.CreateEndpoint(t.Context(), red.ID, cnm.EndpointSpec{Name: "web", ID: eid})
		r.ok(err)
		if red.ID != id || ep.ID != eid {
			t.Errorf("made %s and %s, want %s and %s", red.ID, ep.ID, id, eid)
		}
		_, err = r.CreateNetwork(t.Context(), cnm.NetworkSpec{Name: "blue", ID: id})
		r.is(err, cnm.Exists)
		_, err = r.CreateEndpoint(t.Context(), red.ID, cnm.EndpointSpec{Name: "db", ID: eid})
		r.is(err, cnm.Exists)
		_, err = r.CreateNetwork(t.Context(), cnm.NetworkSpec{Name: "blue", ID: "blue"})
		r.is(err, cnm.Invalid)
		r.check()
	})
}

func TestRepublish(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		r := newRig(t)
		at := r.attach(r.sandbox("web"), r.network("red"), publish(t, "8080:80", "81"))
		before := at.Join.Result.Ports
		for range 2 {
			var err error
			at, err = r.Republish(t.Context(), at.Endpoint.ID, ports80(t, "81", "8082:82"))
			r.ok(err)
			if got := at.Join.Result.Ports; len(got) != 4 || got[0] != before[2] || got[2].HostPort != 8082 {
				t.Errorf("published are %v, before it was %v", got, before)
			}
			r.check()
		}
		at, err := r.Republish(t.Context(), at.Endpoint.ID, nil)
		r.ok(err)
		if len(at.Join.Result.Ports) > 0 {
			t.Errorf("published are %v", at.Join.Result.Ports)
		}
		r.check()
	})
}
