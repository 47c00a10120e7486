// SPDX-License-Identifier: Apache-2.0

package controller_test

import (
	"testing"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/kernel/kerneltest"
)

func TestAttachAndDetach(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		r := newRig(t)
		red, web := r.network("red"), r.sandbox("web")
		at := r.attach(web, red, func(s *cnm.AttachSpec) { s.Endpoint.Publish = ports80(t, "8080:80", "53/udp") })
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
