// SPDX-License-Identifier: Apache-2.0

package controller_test

import (
	"bytes"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/kernel/kerneltest"
	"github.com/libnetwork/cnm/kernel/netns"
)

// TestProvide: networks in their order, ports where the default route is, and the names in the files.
func TestProvide(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		r := newRig(t)
		red, blue := r.network("red"), r.network("blue")
		sb, at, files, err := r.Provide(t.Context(), cnm.SandboxSpec{Name: "web", Hostname: "www"},
			[]cnm.AttachSpec{{Network: red.ID}, {Network: blue.ID, Join: cnm.JoinSpec{GatewayPriority: 1}}}, ports80(t, "8080:80"))
		r.ok(err)
		if len(at) != 2 || at[0].Network.ID != red.ID || at[0].Join.Interface != "eth0" || at[0].Join.Default.Any() || len(at[0].Join.Result.Ports) != 0 {
			t.Errorf("attached %+v", at)
		}
		if at[1].Network.ID != blue.ID || !at[1].Join.Default.IPv4 || !at[1].Join.Default.IPv6 || len(at[1].Join.Result.Ports) == 0 {
			t.Errorf("attached %+v", at[1])
		}
		hosts, err := os.ReadFile(files.Hosts)
		r.ok(err)
		for _, a := range at {
			for _, p := range a.Endpoint.Addresses {
				if !bytes.Contains(hosts, []byte(p.Addr().String()+"\twww")) {
					t.Errorf("%s is not in the hosts file:\n%s", p, hosts)
				}
			}
		}
		if sb.State != cnm.Ready {
			t.Errorf("sandbox %+v", sb)
		}
		r.check()
	})
}

// TestProvideAllOrNothing: what the second network refuses undoes the first.
func TestProvideAllOrNothing(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		r := newRig(t)
		red, blue := r.network("red"), r.network("blue")
		was := r.picture()
		foreign := netip.MustParseAddr("203.0.113.9")
		_, _, _, err := r.Provide(t.Context(), cnm.SandboxSpec{Name: "web"},
			[]cnm.AttachSpec{{Network: red.ID}, {Network: blue.ID, Endpoint: cnm.EndpointSpec{Addresses: []netip.Addr{foreign}}}}, nil)
		r.is(err, cnm.Invalid)
		_, _, _, err = r.Provide(t.Context(), cnm.SandboxSpec{Name: "web"}, nil, ports80(t, "80"))
		r.is(err, cnm.Invalid)
		r.quiet()
		if left := r.Records(t.Context()); len(left.Sandboxes)+len(left.Endpoints) > 0 {
			t.Errorf("left %+v", left)
		}
		if lines := r.picture().Diff(was); len(lines) > 0 {
			t.Errorf("the host is not what it was: %v", lines)
		}
	})
}

// TestNameOfTheDead: the name of a sandbox whose namespace is gone is free, also before anybody has told that it is gone; that of one
// that lives is not.
func TestNameOfTheDead(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		r := newRig(t) // it does not run, so that nothing is collected unasked
		red := r.network("red")
		old := r.adopted("web")
		r.attach(old, red)
		_, err := r.CreateSandbox(t.Context(), cnm.SandboxSpec{Name: "WEB"})
		r.is(err, cnm.Exists)
		r.ok(netns.Unpin(filepath.Join(foreignDir, "web")))
		r.pins = nil
		sb, at, _, err := r.Provide(t.Context(), cnm.SandboxSpec{Name: "WEB"}, []cnm.AttachSpec{{Network: red.ID}}, nil)
		r.ok(err)
		if all := r.Records(t.Context()); len(all.Sandboxes) != 1 || sb.ID == old.ID || len(all.Endpoints) != 1 || len(at) != 1 {
			t.Errorf("there are %+v", all)
		}
	})
}

// TestPortOfTheDead: so is the port that it published, and its address.
func TestPortOfTheDead(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		r := newRig(t) // it does not run, so that nothing is collected unasked
		red := r.network("red")
		old := r.adopted("web")
		was := r.attach(old, red, func(s *cnm.AttachSpec) { s.Endpoint.Publish = ports80(t, "8080:80") })
		provide := func() error {
			_, _, _, err := r.Provide(t.Context(), cnm.SandboxSpec{Name: "next"},
				[]cnm.AttachSpec{{Network: red.ID, Endpoint: cnm.EndpointSpec{Addresses: []netip.Addr{was.Endpoint.Addresses[0].Addr()}}}}, ports80(t, "8080:80"))
			return err
		}
		r.is(provide(), cnm.Exists)
		r.ok(netns.Unpin(filepath.Join(foreignDir, "web")))
		r.pins = nil
		r.ok(provide())
		if all := r.Records(t.Context()); len(all.Sandboxes) != 1 || all.Sandboxes[0].Name != "next" || len(all.Endpoints) != 1 {
			t.Errorf("there are %+v", all)
		}
		r.check()
	})
}
