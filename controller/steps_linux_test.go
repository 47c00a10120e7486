// SPDX-License-Identifier: Apache-2.0

package controller_test

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"testing"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/internal/audit"
	"github.com/libnetwork/cnm/kernel/kerneltest"
)

// scene is a verb and what there is before it.
type scene struct {
	// build makes what the verb needs and gives the verb.
	build func(r *rig) func(ctx context.Context) error
	// ends says that the verb takes something apart: where it fails it is repeated. Others leave nothing changed.
	ends bool
}

// scenes are all verbs that change something.
func scenes() map[string]scene {
	return map[string]scene{
		"create network": {build: func(r *rig) func(context.Context) error {
			return func(ctx context.Context) error {
				_, err := r.CreateNetwork(ctx, cnm.NetworkSpec{Name: "red"})
				return err
			}
		}},
		"delete network": {ends: true, build: func(r *rig) func(context.Context) error {
			red := r.network("red")
			return func(ctx context.Context) error { return r.DeleteNetwork(ctx, red.ID, false) }
		}},
		"delete network by force": {ends: true, build: func(r *rig) func(context.Context) error {
			red := r.network("red")
			r.attach(r.sandbox("web"), red)
			return func(ctx context.Context) error { return r.DeleteNetwork(ctx, red.ID, true) }
		}},
		"create sandbox": {build: func(r *rig) func(context.Context) error {
			return func(ctx context.Context) error {
				_, err := r.CreateSandbox(ctx, cnm.SandboxSpec{Name: "web"})
				return err
			}
		}},
		"delete sandbox": {ends: true, build: func(r *rig) func(context.Context) error {
			web := r.sandbox("web")
			r.attach(web, r.network("red"), publish(r.t, "8080:80"))
			r.attach(web, r.network("blue"))
			return func(ctx context.Context) error { return r.DeleteSandbox(ctx, web.ID) }
		}},
		"create endpoint": {build: func(r *rig) func(context.Context) error {
			red := r.network("red")
			return func(ctx context.Context) error {
				_, err := r.CreateEndpoint(ctx, red.ID, cnm.EndpointSpec{Name: "web", Keep: true})
				return err
			}
		}},
		"delete endpoint": {ends: true, build: func(r *rig) func(context.Context) error {
			at := r.attach(r.sandbox("web"), r.network("red"), keep)
			return func(ctx context.Context) error { return r.DeleteEndpoint(ctx, at.Endpoint.ID, true) }
		}},
		"join": {build: func(r *rig) func(context.Context) error {
			web := r.sandbox("web")
			ep, err := r.CreateEndpoint(r.t.Context(), r.network("red").ID, cnm.EndpointSpec{Name: "web", Keep: true, Publish: ports80(r.t, "80")})
			r.ok(err)
			return func(ctx context.Context) error {
				_, err := r.Join(ctx, ep.ID, web.ID, cnm.JoinSpec{})
				return err
			}
		}},
		"leave": {ends: true, build: func(r *rig) func(context.Context) error {
			at := r.attach(r.sandbox("web"), r.network("red"), keep, publish(r.t, "80"))
			return func(ctx context.Context) error { return r.Leave(ctx, at.Endpoint.ID) }
		}},
		"attach": {build: func(r *rig) func(context.Context) error {
			web, red := r.sandbox("web"), r.network("red")
			return func(ctx context.Context) error {
				spec := cnm.AttachSpec{Sandbox: web.ID, Network: red.ID}
				publish(r.t, "8080:80", "53/udp")(&spec)
				_, err := r.Attach(ctx, spec)
				return err
			}
		}},
		"attach and take the default route": {build: func(r *rig) func(context.Context) error {
			web, blue := r.sandbox("web"), r.network("blue")
			r.attach(web, r.network("red"))
			return func(ctx context.Context) error {
				_, err := r.Attach(ctx, cnm.AttachSpec{Sandbox: web.ID, Network: blue.ID, Join: cnm.JoinSpec{GatewayPriority: 1}})
				return err
			}
		}},
		"detach and give the default route": {ends: true, build: func(r *rig) func(context.Context) error {
			web, red := r.sandbox("web"), r.network("red")
			r.attach(web, red, publish(r.t, "8080:80"))
			r.attach(web, r.network("blue"))
			return func(ctx context.Context) error { return r.Detach(ctx, web.ID, red.ID) }
		}},
		"publish": {build: func(r *rig) func(context.Context) error {
			at := r.attach(r.sandbox("web"), r.network("red"), keep, publish(r.t, "80", "8081:81"))
			return func(ctx context.Context) error {
				_, err := r.Publish(ctx, at.Endpoint.ID, ports80(r.t, "8082:82", "83"), ports80(r.t, "80", "81"))
				return err
			}
		}},
	}
}

func keep(s *cnm.AttachSpec) { s.Endpoint.Keep = true }

func publish(t *testing.T, texts ...string) func(*cnm.AttachSpec) {
	return func(s *cnm.AttachSpec) { s.Endpoint.Publish = ports80(t, texts...) }
}

// walk runs a verb again and again, with the fuse burning one step later each time, until the verb comes through, and
// calls after each time, with what there was before it.
func (r *rig) walk(s scene, kill, after bool, then func(verb func(context.Context) error, before map[string]any, was audit.Picture)) {
	r.t.Helper()
	for at := 1; ; at++ {
		verb := s.build(r)
		before, was := byID(r.Records(r.t.Context())), r.picture()
		r.fuse.set(at, kill, after)
		err := verb(r.t.Context())
		_, made := r.fuse.counted()
		burnt := r.fuse.isBurnt()
		r.fuse.mend()
		switch {
		case !burnt && err != nil:
			r.t.Fatal(err)
		case !burnt:
			r.check()
			r.clear()
			return
		case err == nil:
			r.t.Errorf("step %d of %s failed and nobody was told", at, strings.Join(made, ", "))
		}
		then(verb, before, was)
		r.check()
		if r.t.Failed() {
			r.t.Fatalf("that was with step %d failing of %s: %v", at, strings.Join(made, ", "), err)
		}
		r.clear()
		r.quiet()
	}
}

func TestFailedVerbsLeaveNothing(t *testing.T) {
	t.Parallel()
	for name, s := range scenes() {
		for _, after := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/after=%t", name, after), func(t *testing.T) {
				t.Parallel()
				kerneltest.Run(t, func(t *testing.T) {
					r := newRig(t)
					r.walk(s, false, after, func(verb func(context.Context) error, before map[string]any, was audit.Picture) {
						r.quiet()
						if s.ends {
							r.ok(verb(t.Context()))
							return
						}
						if now := byID(r.Records(t.Context())); !reflect.DeepEqual(now, before) {
							t.Errorf("the records became\n%v\nthey were\n%v", now, before)
						}
						if lines := r.picture().Diff(was); len(lines) > 0 {
							t.Errorf("the host is not what it was:\n%s", strings.Join(lines, "\n"))
						}
					})
				})
			})
		}
	}
}

func TestKilledVerbsAreFinishedOrUndone(t *testing.T) {
	t.Parallel()
	for name, s := range scenes() {
		for _, after := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/after=%t", name, after), func(t *testing.T) {
				t.Parallel()
				kerneltest.Run(t, func(t *testing.T) {
					r := newRig(t)
					r.walk(s, true, after, func(func(context.Context) error, map[string]any, audit.Picture) {
						r.restart()
						r.quiet()
						r.check()
					})
				})
			})
		}
	}
}
