// SPDX-License-Identifier: Apache-2.0

package controller_test

import (
	"context"
	"errors"
	"maps"
	"math"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/controller"
	"github.com/libnetwork/cnm/kernel/kerneltest"
	"github.com/libnetwork/cnm/kernel/link"
	"github.com/libnetwork/cnm/kernel/netns"
)

func TestAttachAndDetach(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		r := newRig(t)
		red, web := r.network("red"), r.sandbox("web")
		at := r.attach(web, red, publish(t, "8080:80", "53/udp"))
		if at.Endpoint.Name != "web" || at.Join.Interface != "eth0" || len(at.Endpoint.Addresses) != 2 || len(at.Join.Result.Ports) != 4 {
			t.Errorf("attached as %+v", at)
		}
		r.check()
		_, err := r.Attach(t.Context(), cnm.AttachSpec{Sandbox: web.ID, Network: red.ID})
		r.is(err, cnm.Exists)
		r.check()
		r.ok(r.Detach(t.Context(), web.ID, red.ID))
		r.quiet()
		r.check()
		r.is(r.Detach(t.Context(), web.ID, red.ID), cnm.NotFound)
	})
}

func TestJoinAndLeave(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		r := newRig(t)
		red, web, db := r.network("red"), r.sandbox("web"), r.sandbox("db")
		ep, err := r.CreateEndpoint(t.Context(), red.ID, cnm.EndpointSpec{Name: "shop", Keep: true})
		r.ok(err)
		r.check()
		at, err := r.Join(t.Context(), ep.ID, web.ID, cnm.JoinSpec{Interface: "lan0"})
		r.ok(err)
		if at.Join.Interface != "lan0" || !slices.Equal(at.Endpoint.Addresses, ep.Addresses) {
			t.Errorf("joined as %+v", at)
		}
		r.check()
		_, err = r.Join(t.Context(), ep.ID, db.ID, cnm.JoinSpec{})
		r.is(err, cnm.Exists)
		r.is(r.DeleteEndpoint(t.Context(), ep.ID, false), cnm.Busy)
		r.ok(r.Leave(t.Context(), ep.ID))
		r.is(r.Leave(t.Context(), ep.ID), cnm.NotFound)
		// The interface's name is free at once, though the dead link may still be there.
		_, err = r.Join(t.Context(), ep.ID, web.ID, cnm.JoinSpec{Interface: "lan0"})
		r.ok(err)
		r.check()
		r.ok(r.DeleteEndpoint(t.Context(), ep.ID, true))
		r.quiet()
		r.check()
	})
}

// TestForeignInterfaces: a namespace of others may have links under the names that we would choose.
func TestForeignInterfaces(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		r := newRig(t)
		red, blue := r.network("red"), r.network("blue")
		box := r.adopted("box")
		ns, err := netns.Open(box.Namespace.Path)
		r.ok(err)
		conn, err := link.Dial(ns.Fd())
		r.ok(err)
		var b link.Batch
		for _, name := range []string{"eth0", "eth1", "eth3"} {
			b.CreateBridge(link.Bridge{Name: name})
		}
		r.ok(errors.Join(conn.Do(&b), conn.Close(), ns.Close()))
		at := r.attach(box, red, publish(t, "80"))
		if at.Join.Interface != "eth2" || at.Join.Result.Link.Name != "eth2" || len(at.Join.Result.Ports) != 2 {
			t.Errorf("joined as %+v, want as eth2", at.Join)
		}
		r.check()
		if at := r.attach(box, blue); at.Join.Interface != "eth4" {
			t.Errorf("joined as %s, want as eth4", at.Join.Interface)
		}
		r.check()
		r.restart()
		r.check()
		r.ok(r.Detach(t.Context(), box.ID, blue.ID))
		r.quiet()
		before, was := byID(r.Records(t.Context())), r.picture()
		_, err = r.Attach(t.Context(), cnm.AttachSpec{Sandbox: box.ID, Network: blue.ID, Join: cnm.JoinSpec{Interface: "eth3"}})
		r.is(err, cnm.Exists)
		if !strings.Contains(err.Error(), `interface "eth3" exists in sandbox "box"`) {
			t.Errorf("the error %q does not name the interface", err)
		}
		if now := byID(r.Records(t.Context())); !reflect.DeepEqual(now, before) {
			t.Errorf("the records became\n%v\nthey were\n%v", now, before)
		}
		r.quiet()
		if lines := r.picture().Diff(was); len(lines) > 0 {
			t.Errorf("the host is not what it was: %q", lines)
		}
	})
}

func TestDefaultRouteMoves(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		r := newRig(t)
		web := r.sandbox("web")
		only4 := r.network("only4", func(s *cnm.NetworkSpec) { s.IPv6 = new(bool) })
		inside := r.network("inside", func(s *cnm.NetworkSpec) { s.Internal = true })
		red, blue := r.network("red"), r.network("blue")
		holds := func(want map[cnm.EndpointID]cnm.FamilySet) {
			t.Helper()
			for _, j := range r.Records(t.Context()).Joins {
				if j.Default != want[j.Endpoint] {
					t.Errorf("the endpoint on %s holds %+v, want %+v", j.Network, j.Default, want[j.Endpoint])
				}
			}
			r.check() // which looks into the sandbox
		}
		both := cnm.FamilySet{IPv4: true, IPv6: true}
		r.attach(web, inside)
		holds(nil)
		a := r.attach(web, only4, func(s *cnm.AttachSpec) { s.Join.GatewayPriority = -1 }).Endpoint.ID
		holds(map[cnm.EndpointID]cnm.FamilySet{a: {IPv4: true}})
		b := r.attach(web, red).Endpoint.ID
		holds(map[cnm.EndpointID]cnm.FamilySet{b: both})
		c := r.attach(web, blue, func(s *cnm.AttachSpec) { s.Join.GatewayPriority = math.MinInt }).Endpoint.ID
		holds(map[cnm.EndpointID]cnm.FamilySet{b: both})
		r.ok(r.Detach(t.Context(), web.ID, red.ID))
		holds(map[cnm.EndpointID]cnm.FamilySet{a: {IPv4: true}, c: {IPv6: true}})
		d := r.attach(web, red, func(s *cnm.AttachSpec) { s.Join.GatewayPriority = math.MaxInt }).Endpoint.ID
		holds(map[cnm.EndpointID]cnm.FamilySet{d: both})
	})
}

// TestTheClockGoesBack: who joined first holds the default route, also where the clock says otherwise.
func TestTheClockGoesBack(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		r := newRig(t)
		var back atomic.Int64 // nanoseconds
		r.lose = func(_ *cnm.Records, cfg *controller.Config) {
			cfg.Now = func() time.Time { return time.Now().Add(-time.Duration(back.Load())) }
		}
		r.restart()
		web := r.sandbox("web")
		first := r.attach(web, r.network("red")).Endpoint.ID
		holds := func(when string) {
			t.Helper()
			for _, j := range r.Records(t.Context()).Joins {
				if j.Default.Any() != (j.Endpoint == first) {
					t.Errorf("%s the endpoint on %s holds %+v", when, j.Network, j.Default)
				}
			}
			r.check()
		}
		for i, name := range []string{"blue", "green"} {
			back.Store(int64(time.Duration(i+1) * time.Hour))
			r.attach(web, r.network(name))
			holds("after " + name + " has joined")
		}
		r.restart()
		holds("after a restart")
		r.ok(r.Detach(t.Context(), web.ID, r.attach(web, r.network("last")).Network.ID))
		holds("after another has come and gone")
	})
}

func TestPublish(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		r := newRig(t)
		web := r.sandbox("web")
		at := r.attach(web, r.network("red"), publish(t, "8080:80", "81"))
		chosen := at.Join.Result.Ports[2].HostPort
		at, err := r.Publish(t.Context(), at.Endpoint.ID, ports80(t, "8082:82/udp"), ports80(t, "80"))
		r.ok(err)
		if got := at.Join.Result.Ports; len(got) != 4 || got[0].HostPort != chosen || got[2].HostPort != 8082 {
			t.Errorf("published are %v, want those of port 81 as they were and 8082", got)
		}
		r.check()
		// A port in use is refused and nothing is changed, not even what the same call takes away.
		before := byID(r.Records(t.Context()))
		other := r.attach(r.sandbox("db"), r.network("blue"), publish(t, "8090:90"))
		_, err = r.Publish(t.Context(), at.Endpoint.ID, ports80(t, "8090:90"), ports80(t, "81"))
		r.is(err, cnm.Exists)
		_, err = r.Publish(t.Context(), at.Endpoint.ID, nil, ports80(t, "9999"))
		r.is(err, cnm.NotFound)
		if now, _, _, _ := r.now(at.Endpoint.ID); now.Name == "" || len(before) == 0 || !slices.Equal(now.Publish, at.Endpoint.Publish) {
			t.Errorf("the endpoint publishes %v, want %v", now.Publish, at.Endpoint.Publish)
		}
		r.check()
		r.ok(r.DeleteEndpoint(t.Context(), other.Endpoint.ID, true))
		_, err = r.Publish(t.Context(), at.Endpoint.ID, ports80(t, "8090:90"), nil)
		r.ok(err)
		r.check()
	})
}

// TestEventsOfPorts: whoever follows the events knows which ports are published, by whatever verb.
func TestEventsOfPorts(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		r := newRig(t)
		events := r.Events(t.Context())
		web, red := r.sandbox("web"), r.network("red")
		published := map[string]bool{}
		follow := func(verb string, want ...string) {
			t.Helper()
			c, err := r.CreateSandbox(t.Context(), cnm.SandboxSpec{Name: "mark"})
			r.ok(err)
			for e := range events {
				if e.Sandbox == c.ID {
					break
				}
				port := e.Detail["port"]
				switch {
				case e.Object != "port":
				case e.Name != "red/web" || e.Network != red.ID || e.Endpoint == "" || e.Sandbox != web.ID || published[port] == (e.Action == "publish"):
					t.Errorf("%s: %s of %q is told of %+v", verb, e.Action, port, e)
				default:
					published[port] = e.Action == "publish"
				}
			}
			r.ok(r.DeleteSandbox(t.Context(), c.ID))
			maps.DeleteFunc(published, func(_ string, is bool) bool { return !is })
			if got := slices.Sorted(maps.Keys(published)); !slices.Equal(got, want) {
				t.Errorf("%s: published are %q, want %q", verb, got, want)
			}
		}
		four, six := "0.0.0.0:8080->80/tcp", "[::]:8080->80/tcp"
		at := r.attach(web, red, keep, publish(t, "8080:80"))
		follow("attach", four, six)
		r.ok(r.Leave(t.Context(), at.Endpoint.ID))
		follow("leave")
		_, err := r.Join(t.Context(), at.Endpoint.ID, web.ID, cnm.JoinSpec{})
		r.ok(err)
		follow("join", four, six)
		_, err = r.Publish(t.Context(), at.Endpoint.ID, ports80(t, "127.0.0.1:81:80"), nil)
		r.ok(err)
		follow("publish", four, "127.0.0.1:81->80/tcp", six)
		r.ok(r.Detach(t.Context(), web.ID, red.ID))
		follow("detach")
		r.ok(r.DeleteEndpoint(t.Context(), at.Endpoint.ID, false))
		r.attach(web, red, publish(t, "8080:80"))
		follow("attach again", four, six)
		r.ok(r.DeleteSandbox(t.Context(), web.ID))
		follow("delete sandbox")
		_, err = r.Attach(t.Context(), cnm.AttachSpec{Sandbox: r.sandbox("db").ID, Network: red.ID, Endpoint: cnm.EndpointSpec{Publish: ports80(t, "192.0.2.9:80:80")}})
		r.is(err, cnm.Invalid)
		follow("an attach that failed")
	})
}

func TestPublishOnBothDefaultRoutes(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		r := newRig(t)
		web := r.sandbox("web")
		four := r.attach(web, r.network("four", func(s *cnm.NetworkSpec) {
			s.IPv6, s.Options = new(bool), map[string]string{"publish-address": "127.0.0.1"}
		}))
		six := r.attach(web, r.network("six", func(s *cnm.NetworkSpec) { s.IPv4 = new(bool) }))
		ats, err := r.PublishOn(t.Context(), web.ID, "", ports80(t, "8080:80"), nil)
		r.ok(err)
		if len(ats) != 2 || len(ats[0].Join.Result.Ports) != 1 || len(ats[1].Join.Result.Ports) != 1 {
			t.Fatalf("published on %+v", ats)
		}
		if a, b := ats[0].Join.Result.Ports[0].HostIP, ats[1].Join.Result.Ports[0].HostIP; a != netip.MustParseAddr("127.0.0.1") || b != netip.IPv6Unspecified() {
			t.Errorf("published on %s and %s, want the publish address of each network", a, b)
		}
		r.check()
		// What the second refuses is taken back from the first.
		_, err = r.Publish(t.Context(), six.Endpoint.ID, ports80(t, "8081:81"), nil)
		r.ok(err)
		_, err = r.PublishOn(t.Context(), web.ID, "", ports80(t, "8081:81"), ports80(t, "80"))
		r.is(err, cnm.Exists)
		if ep, _, _, _ := r.now(four.Endpoint.ID); !slices.Equal(ep.Publish, ports80(t, "8080:80")) {
			t.Errorf("the first publishes %v, want what it did", ep.Publish)
		}
		r.check()
		_, err = r.PublishOn(t.Context(), web.ID, "", nil, ports80(t, "80"))
		r.ok(err)
		_, err = r.PublishOn(t.Context(), web.ID, "", nil, ports80(t, "80"))
		r.is(err, cnm.NotFound)
		r.check()
	})
}

func TestNetworksWithoutLinks(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		r := newRig(t)
		ctx := context.WithoutCancel(t.Context())
		hostNet := r.network("host", func(s *cnm.NetworkSpec) { s.Driver = "host" })
		none := r.network("none", func(s *cnm.NetworkSpec) { s.Driver = "null" })
		self, err := r.CreateSandbox(ctx, cnm.SandboxSpec{Name: "self", Host: true})
		r.ok(err)
		_, err = r.CreateSandbox(ctx, cnm.SandboxSpec{Name: "again", Host: true})
		r.is(err, cnm.Exists)
		web := r.sandbox("web")
		if at := r.attach(self, hostNet); at.Join.Interface != "" || len(at.Endpoint.Addresses) != 0 {
			t.Errorf("on the host's stack the endpoint is %+v", at)
		}
		on := r.attach(web, none)
		r.fuse.mend()
		_, err = r.Publish(ctx, on.Endpoint.ID, nil, nil)
		r.ok(err)
		if n, steps := r.fuse.counted(); n > 0 {
			t.Errorf("publishing nothing made the steps %q", steps)
		}
		_, err = r.Publish(ctx, on.Endpoint.ID, ports80(t, "80"), nil)
		r.is(err, cnm.Unsupported)
		if at := r.attach(web, r.network("red")); at.Join.Interface != "eth0" {
			t.Errorf("the first link is %s", at.Join.Interface)
		}
		_, err = r.Attach(ctx, cnm.AttachSpec{Sandbox: web.ID, Network: hostNet.ID})
		r.is(err, cnm.Invalid)
		r.check()
		r.restart()
		r.check()
	})
}

func TestWhatIsGoingTakesNoPart(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		r := newRig(t)
		red, web := r.network("red"), r.sandbox("web")
		ep, err := r.CreateEndpoint(t.Context(), red.ID, cnm.EndpointSpec{Name: "shop"})
		r.ok(err)
		r.fuse.set(2, false, false) // the record that is dropped last
		if r.DeleteEndpoint(t.Context(), ep.ID, false) == nil {
			t.Fatal("the fuse did not burn")
		}
		r.fuse.mend()
		_, err = r.Join(t.Context(), ep.ID, web.ID, cnm.JoinSpec{})
		r.is(err, cnm.Busy)
		_, err = r.Publish(t.Context(), ep.ID, ports80(t, "80"), nil)
		r.is(err, cnm.Busy)
		// Its address is free, and is not given back a second time when it belongs to another.
		other, err := r.CreateEndpoint(t.Context(), red.ID, cnm.EndpointSpec{Name: "other", Addresses: []netip.Addr{ep.Address(cnm.IPv4)}})
		r.ok(err)
		r.ok(r.DeleteEndpoint(t.Context(), ep.ID, false))
		_, err = r.CreateEndpoint(t.Context(), red.ID, cnm.EndpointSpec{Name: "third", Addresses: []netip.Addr{other.Address(cnm.IPv4)}})
		r.is(err, cnm.Exists)
		r.check()
	})
}
