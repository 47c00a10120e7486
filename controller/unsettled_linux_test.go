// SPDX-License-Identifier: Apache-2.0

//go:build unsettled

package controller_test

import (
	"path/filepath"
	"testing"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/kernel/kerneltest"
	"github.com/libnetwork/cnm/kernel/netns"
)

func TestVanishedNamespaceIsCollected(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		r := newRig(t)
		red, blue := r.network("red"), r.network("blue")
		box := r.adopted("box")
		short := r.attach(box, red, publish(t, "8080:80"))
		long := r.attach(box, blue, keep)
		other := r.attach(r.sandbox("other"), red)
		r.run()
		events := r.Events(t.Context())
		r.ok(netns.Unpin(filepath.Join(foreignDir, "box")))
		r.await(events, "sandbox", "collect")
		r.stop()
		r.quiet()
		r.check()
		if _, _, exists, _ := r.now(short.Endpoint.ID); exists {
			t.Error("the endpoint is still there")
		}
		if ep, _, exists, joined := r.now(long.Endpoint.ID); !exists || joined || ep.State != cnm.Ready {
			t.Errorf("the endpoint that is kept is %+v, joined %t", ep, joined)
		}
		if _, _, _, joined := r.now(other.Endpoint.ID); !joined {
			t.Error("another's endpoint was taken apart")
		}
		if drifts := r.drifts(); len(drifts) > 0 {
			t.Errorf("the end of a namespace is told as drifts: %q", drifts)
		}
	})
}
