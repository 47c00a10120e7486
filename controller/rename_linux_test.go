// SPDX-License-Identifier: Apache-2.0

package controller_test

import (
	"testing"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/kernel/kerneltest"
)

// TestRename: the new name leads to the object, over a restart too, and the old one is free; a name that another has, or a step
// that fails, changes nothing.
func TestRename(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		r := newRig(t)
		ctx := t.Context()
		red, blue := r.network("red"), r.network("blue")
		web := r.sandbox("web")
		at, other := r.attach(web, red), r.attach(r.sandbox("other"), red)
		ep := at.Endpoint.ID
		labels := map[string]string{"tier": "front"}
		r.is(r.RenameNetwork(ctx, red.ID, "BLUE", labels), cnm.Exists)
		r.is(r.RenameNetwork(ctx, red.ID, "no name", labels), cnm.Invalid)
		r.is(r.RenameNetwork(ctx, cnm.NewNetworkID(), "green", labels), cnm.NotFound)
		r.is(r.RenameSandbox(ctx, web.ID, "other", labels), cnm.Unsupported)
		r.ok(r.RenameNetwork(ctx, red.ID, "green", labels))
		r.ok(r.RenameNetwork(ctx, blue.ID, "red", nil))
		r.ok(r.RenameSandbox(ctx, web.ID, "web", labels))
		for _, at := range []int{1, 2} { // the store, the name files
			r.fuse.set(at, false, false)
			if err := r.RenameEndpoint(ctx, ep, "front", labels); err == nil {
				t.Errorf("step %d fails, and renaming does not", at)
			}
			r.fuse.mend()
			if got, err := r.LookupEndpoint("green", "web"); err != nil || got.Labels["tier"] != "" {
				t.Errorf("after step %d failed: %+v, %v", at, got, err)
			}
		}
		// Until it is stored nobody sees the new name, and nobody else gets it.
		met := false
		r.fuse.watch(func(name string) {
			if name != "put" || met {
				return
			}
			met = true
			_, err := r.LookupEndpoint("green", "front")
			r.is(err, cnm.NotFound)
			_, err = r.CreateEndpoint(ctx, red.ID, cnm.EndpointSpec{Name: "Front"})
			r.is(err, cnm.Exists)
			r.is(r.RenameEndpoint(ctx, other.Endpoint.ID, "front", nil), cnm.Exists)
		})
		r.ok(r.RenameEndpoint(ctx, ep, "front", labels))
		r.fuse.watch(nil)
		if !met {
			t.Error("the new name was not stored")
		}
		r.check()
		r.restart()
		nw, err := r.LookupNetwork("green")
		r.ok(err)
		_, err = r.LookupNetwork("blue")
		r.is(err, cnm.NotFound)
		sb, err := r.LookupSandbox("web")
		r.ok(err)
		front, err := r.LookupEndpoint("green", "front")
		r.ok(err)
		_, err = r.LookupEndpoint("green", "web")
		r.is(err, cnm.NotFound)
		for _, l := range []map[string]string{nw.Labels, sb.Labels, front.Labels} {
			if l["tier"] != "front" {
				t.Errorf("labels are %v", l)
			}
		}
		r.network("blue") // is free
	})
}
