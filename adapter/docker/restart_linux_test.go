// SPDX-License-Identifier: Apache-2.0

package docker_test

import (
	"slices"
	"testing"
	"time"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/kernel/kerneltest"
)

// TestRestart has us die between all calls of a container's life, with both generations of Docker.
func TestRestart(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) { restarts(t, false) })
}

func TestRestartWithOldDocker(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) { restarts(t, true) })
}

func restarts(t *testing.T, old bool) {
	t.Helper()
	const ports = `{"Proto":6,"Port":80,"HostIP":"","HostPort":8081,"HostPortEnd":8081}`
	r := newRig(t)
	nid := id()
	again := func(call func()) {
		t.Helper()
		r.restart()
		call()
		r.restart()
		call() // as Docker asks again when the connection was cut
		r.check()
	}
	again(func() { r.done("NetworkDriver.CreateNetwork", networkBody(nid, "", "172.28.0.0/24", "fd28::/64")) })
	web := r.container(old)
	e := &endpoint{c: web, network: nid, id: id(), addresses: []string{"172.28.0.2/24", "fd28::2/64"}}
	again(func() { e.create(`{`+portmap+`}`, "PORTS", ports) })
	again(func() { web.moves = nil; e.join(ports) })
	e.route()
	again(func() {
		r.done("NetworkDriver.ProgramExternalConnectivity", `{"NetworkID":"NID","EndpointID":"EID","Options":{`+portmap+`}}`, e.words("PORTS", ports)...)
	})
	if old {
		// Docker makes the namespace, and moves the link, while we are away.
		r.stop()
		web.make()
		r.start()
		r.arrived(1)
	}
	web.serve("80")
	r.restart()
	r.check()
	r.asks("127.0.0.1:8081", web)
	r.asks("172.28.0.2:80", web)
	again(func() {
		r.done("NetworkDriver.RevokeExternalConnectivity", `{"NetworkID":"NID","EndpointID":"EID"}`, e.words()...)
	})
	r.asks("127.0.0.1:8081", nil)
	again(func() { r.done("NetworkDriver.Leave", `{"NetworkID":"NID","EndpointID":"EID"}`, e.words()...) })
	again(func() { r.done("NetworkDriver.DeleteEndpoint", `{"NetworkID":"NID","EndpointID":"EID"}`, e.words()...) })
	web.die()
	again(func() { r.done("NetworkDriver.DeleteNetwork", `{"NetworkID":"NID"}`, e.words()...) })
	if all := r.Records(t.Context()); len(all.Sandboxes)+len(all.Endpoints)+len(all.Networks) > 0 {
		t.Errorf("%+v is left", all)
	}
}

// TestDeadContainers has containers end without a word of Docker, whose daemon was killed, and comes back afterwards.
func TestDeadContainers(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		r := newRig(t)
		red := r.network("", "172.28.0.0/24")
		gone := r.container(false)
		e := gone.connect(red, "", "172.28.0.2/24")
		e.program("")
		seen := r.Events(t.Context())
		gone.die()
		r.await(seen, "sandbox", "collect")
		if n := len(r.Records(t.Context()).Endpoints); n > 0 {
			t.Errorf("%d endpoints are left", n)
		}
		// Docker tidies up at its start, and has the address free.
		e.disconnect(true)
		next := r.container(false)
		next.connect(red, "", "172.28.0.2/24").program("")
		r.check()
	})
}

// TestForgotten has Docker die between two calls, and never ask again.
func TestForgotten(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		r := newRig(t)
		red := r.network("", "172.28.0.0/24")
		stays := r.container(false)
		stays.connect(red, "", "172.28.0.9/24").program("")
		r.stop()
		r.abandoned = 40 * time.Millisecond
		r.start()
		seen := r.Events(t.Context())
		lost := &endpoint{c: stays, network: red, id: id(), addresses: []string{"172.28.0.2/24"}}
		lost.create("{}")
		r.await(seen, "endpoint", "delete")
		// One that has joined a container that was never started.
		r.container(true).connect(red, "", "172.28.0.3/24")
		r.await(seen, "sandbox", "delete")
		// What is in use is left.
		left := r.Records(t.Context())
		if len(left.Endpoints) != 1 || len(left.Sandboxes) != 1 || left.Sandboxes[0].Awaited() {
			t.Errorf("left are %+v", left)
		}
		r.check()
	})
}

// TestForgottenAddress has Docker give an address out anew whose container it has forgotten, though the container's namespace is still there.
func TestForgottenAddress(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		r := newRig(t)
		red := r.network("", "172.28.0.0/24", "fd28::/64")
		lost := r.container(false)
		const ports = `{"Proto":6,"Port":80,"HostPort":8081,"HostPortEnd":8081}`
		lost.connect(red, ports, "172.28.0.2/24", "fd28::2/64").program(ports)
		stays := r.container(false)
		stays.connect(red, "", "172.28.0.3/24", "fd28::3/64").program("")
		next := r.container(false)
		next.connect(red, ports, "172.28.0.2/24", "fd28::4/64").program(ports)
		next.serve("80")
		r.asks("127.0.0.1:8081", next)
		stays.asks("172.28.0.2:80", next)
		if all := r.Records(t.Context()); len(all.Endpoints) != 2 || len(all.Sandboxes) != 2 {
			t.Errorf("there are %+v and %+v", all.Endpoints, all.Sandboxes)
		}
		r.check()
	})
}

// await waits for the event of an action on an object.
func (r *rig) await(events <-chan cnm.Event, object, action string) {
	r.t.Helper()
	for e := r.next(events); e.Object != object || e.Action != action; {
		e = r.next(events)
	}
}

// TestStaleSandbox has an endpoint join another container than the one it is in, which Docker has forgotten.
func TestStaleSandbox(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		r := newRig(t)
		red := r.network("", "172.28.0.0/24")
		before, after := r.container(false), r.container(false)
		e := before.connect(red, "", "172.28.0.2/24")
		e.c = after
		e.join("")
		e.program("")
		after.serve("80")
		r.asks("172.28.0.2:80", after)
		r.check()
		if i := slices.IndexFunc(r.Records(t.Context()).Joins, func(j cnm.Join) bool { return j.State == cnm.Joined }); i < 0 {
			t.Error("it has not joined")
		}
	})
}
