// SPDX-License-Identifier: Apache-2.0

package sandbox

import (
	"testing"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/kernel/kerneltest"
	"github.com/libnetwork/cnm/kernel/link"
)

// TestNamespaceIDs: the kernel finds each new namespace before all that were there, also where another process goes on.
func TestNamespaceIDs(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		g := newStage(t)
		idOf := func(sb cnm.Sandbox) int {
			t.Helper()
			id, ok, err := g.stack.conn.NamespaceID(g.open(sb).FD())
			if err != nil || !ok {
				t.Fatalf("sandbox %s has an id: %t (%v)", sb.Name, ok, err)
			}
			return id
		}
		a, b := idOf(g.sandbox("a")), idOf(g.sandbox("b"))
		next, err := newNamespaceIDs(t.Context()) // as another process does
		if err != nil {
			t.Fatal(err)
		}
		g.stack.ids, next = next, g.stack.ids
		c := idOf(g.sandbox("c"))
		if err := next.close(); err != nil {
			t.Error(err)
		}
		if a <= firstID/2 || a <= b || b <= c {
			t.Errorf("ids %d, %d and %d do not descend from %d", a, b, c, firstID)
		}
	})
}

// TestNamespaceIDTaken: an id that somebody else has given away meanwhile keeps no sandbox from being made.
func TestNamespaceIDTaken(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		g := newStage(t)
		g.sandbox("a")
		var b link.Batch
		b.AssignNamespaceID(kerneltest.NewNS(t).Fd(), int(g.stack.ids.last.Load())-1)
		if err := g.stack.conn.Do(&b); err != nil {
			t.Fatal(err)
		}
		g.sandbox("b")
	})
}

// TestMulticastRoute: the kernel's route for multicast by a bridge's port goes when the endpoint is in service, so that the next carrier
// does not walk through it.
func TestMulticastRoute(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		g := newStage(t)
		sb := g.sandbox("box")
		at := g.join(sb, 1, func(at *cnm.Attachment) { at.Join.Result.Link.Bridge = "a bridge" })
		if err := plugAndAwait(t.Context(), g.stack, g.open(sb), at); err != nil {
			t.Fatal(err)
		}
		routes, err := g.stack.conn.Routes(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range routes {
			if r.Link == at.Join.Result.Link.Index && r.Dst == multicast() {
				t.Errorf("there is %+v", r)
			}
		}
	})
}
