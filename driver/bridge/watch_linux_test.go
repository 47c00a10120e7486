// SPDX-License-Identifier: Apache-2.0

package bridge

import (
	"context"
	"slices"
	"testing"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/kernel/kerneltest"
	"github.com/libnetwork/cnm/kernel/link"
)

// TestWatchOwnWork: a network and its shards that are being made give no hint, which would have everything compared; what somebody does to a
// bridge or a link does.
func TestWatchOwnWork(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		d := newReal(t)
		hints := make(chan cnm.Hint, 64)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- d.Watch(ctx, func(h cnm.Hint) { hints <- h }) }()
		if h := <-hints; h != (cnm.Hint{}) {
			t.Errorf("a watch begins with %+v", h)
		}
		must(t, d.CreateNetwork(t.Context(), blue()))
		var all []cnm.Attachment
		for i := range 3 {
			for _, s := range d.nets[blue().ID].shards {
				s.room = 0
			}
			all = append(all, enter(t, d, i+3, kerneltest.NewNS(t)))
		}
		down := func(name string) {
			t.Helper()
			var b link.Batch
			b.SetLink(link.Change{Link: link.Named(name), Up: link.Off})
			must(t, d.conn.Do(&b))
		}
		first := all[0].Join.Result.Link.Host
		down(first)
		if got := <-hints; got != (cnm.Hint{Link: first}) { // all that was made before has given none
			t.Errorf("the first hint after the beginning is %+v, want one at %s", got, first)
		}
		down(all[1].Join.Result.Link.Bridge)
		for got := range hints { // one at the bridge's port may come before
			if got == (cnm.Hint{}) {
				break
			}
		}
		cancel()
		must(t, <-done)
		for _, at := range slices.Backward(all) {
			must(t, d.Leave(t.Context(), at))
		}
		must(t, d.DeleteNetwork(t.Context(), blue()))
	})
}
