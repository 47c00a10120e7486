// SPDX-License-Identifier: Apache-2.0

package controller_test

import (
	"context"
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
			r.attach(web, r.common("red"), publish(r.t, "8080:80"))
			return func(ctx context.Context) error { return r.DeleteSandbox(ctx, web.ID) }
		}},
		"provide": {build: func(r *rig) func(context.Context) error {
			red, blue := r.common("red"), r.common("blue")
			return func(ctx context.Context) error {
				_, _, _, err := r.Provide(ctx, cnm.SandboxSpec{Name: "web"}, []cnm.AttachSpec{{Network: red.ID}, {Network: blue.ID}}, ports80(r.t, "8080:80"))
				return err
			}
		}},
		"create endpoint": {build: func(r *rig) func(context.Context) error {
			red := r.common("red")
			return func(ctx context.Context) error {
				_, err := r.CreateEndpoint(ctx, red.ID, cnm.EndpointSpec{Name: "web", Keep: true})
				return err
			}
		}},
		"delete endpoint": {ends: true, build: func(r *rig) func(context.Context) error {
			at := r.attach(r.sandbox("web"), r.common("red"), keep)
			return func(ctx context.Context) error { return r.DeleteEndpoint(ctx, at.Endpoint.ID, true) }
		}},
		"join": {build: func(r *rig) func(context.Context) error {
			web := r.sandbox("web")
			ep, err := r.CreateEndpoint(r.t.Context(), r.common("red").ID, cnm.EndpointSpec{Name: "web", Keep: true, Publish: ports80(r.t, "80")})
			r.ok(err)
			return func(ctx context.Context) error {
				_, err := r.Join(ctx, ep.ID, web.ID, cnm.JoinSpec{})
				return err
			}
		}},
		"leave": {ends: true, build: func(r *rig) func(context.Context) error {
			at := r.attach(r.sandbox("web"), r.common("red"), keep, publish(r.t, "80"))
			return func(ctx context.Context) error { return r.Leave(ctx, at.Endpoint.ID) }
		}},
		"attach": {build: func(r *rig) func(context.Context) error {
			web, red := r.sandbox("web"), r.common("red")
			return func(ctx context.Context) error {
				spec := cnm.AttachSpec{Sandbox: web.ID, Network: red.ID}
				publish(r.t, "8080:80", "53/udp")(&spec)
				_, err := r.Attach(ctx, spec)
				return err
			}
		}},
		"attach and take the default route": {build: func(r *rig) func(context.Context) error {
			web, blue := r.sandbox("web"), r.common("blue")
			r.attach(web, r.common("red"))
			return func(ctx context.Context) error {
				_, err := r.Attach(ctx, cnm.AttachSpec{Sandbox: web.ID, Network: blue.ID, Join: cnm.JoinSpec{GatewayPriority: 1}})
				return err
			}
		}},
		"detach and give the default route": {ends: true, build: func(r *rig) func(context.Context) error {
			web, red := r.sandbox("web"), r.common("red")
			r.attach(web, red, publish(r.t, "8080:80"))
			r.attach(web, r.common("blue"))
			return func(ctx context.Context) error { return r.Detach(ctx, web.ID, red.ID) }
		}},
		"publish": {build: func(r *rig) func(context.Context) error {
			at := r.attach(r.sandbox("web"), r.common("red"), keep, publish(r.t, "80", "8081:81"))
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

// steps are those that a verb makes where nothing fails.
func (r *rig) steps(s scene) []string {
	r.t.Helper()
	verb := s.build(r)
	r.fuse.set(0, false, false)
	r.ok(verb(r.t.Context()))
	_, made := r.fuse.counted()
	r.fuse.mend()
	r.check()
	r.sweep()
	r.quiet()
	return made
}

// burn runs a verb with the fuse burning at a step, and then what is to be seen to.
func (r *rig) burn(s scene, at int, kill, after bool, then func(verb func(context.Context) error, before map[string]any, was audit.Picture)) {
	r.t.Helper()
	verb := s.build(r)
	before, was := byID(r.Records(r.t.Context())), r.picture()
	r.fuse.set(at, kill, after)
	err := verb(r.t.Context())
	_, made := r.fuse.counted()
	r.fuse.mend()
	if err == nil {
		r.t.Errorf("a step failed and nobody was told")
	}
	then(verb, before, was)
	r.check()
	if r.t.Failed() {
		r.t.Fatalf("that was with step %d failing of %s (killed %t, after it %t): %v", at, strings.Join(made, ", "), kill, after, err)
	}
	r.sweep()
	r.quiet()
}

// TestEveryStep has each step of each verb fail, before it is made and after, and has the process killed at each.
func TestEveryStep(t *testing.T) {
	t.Parallel()
	for name, s := range scenes() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			kerneltest.Run(t, func(t *testing.T) {
				r := newRig(t)
				all := r.steps(s)
				for i, step := range all {
					r.burn(s, i+1, false, false, func(verb func(context.Context) error, before map[string]any, was audit.Picture) {
						r.failed(s, verb, before, was)
					})
					if !allOrNone(step) {
						r.burn(s, i+1, false, true, func(verb func(context.Context) error, before map[string]any, was audit.Picture) {
							r.failed(s, verb, before, was)
						})
					}
					r.burn(s, i+1, true, false, r.killed)
					if step == "set rules" || i == len(all)-1 {
						r.burn(s, i+1, true, true, r.killed)
					}
				}
			})
		})
	}
}

// failed sees to it that a verb that failed left nothing, or, where it takes something apart, comes through when repeated.
func (r *rig) failed(s scene, verb func(context.Context) error, before map[string]any, was audit.Picture) {
	r.t.Helper()
	r.quiet()
	if s.ends {
		r.ok(verb(r.t.Context()))
		return
	}
	if now := byID(r.Records(r.t.Context())); !reflect.DeepEqual(now, before) {
		r.t.Errorf("the records became\n%v\nthey were\n%v", now, before)
	}
	if lines := r.picture().Diff(was); len(lines) > 0 {
		r.t.Errorf("the host is not what it was:\n%s", strings.Join(lines, "\n"))
	}
}

// killed sees to it that a restart finishes or undoes what was under way.
func (r *rig) killed(func(context.Context) error, map[string]any, audit.Picture) {
	r.t.Helper()
	r.restart()
	r.quiet()
}
