// SPDX-License-Identifier: Apache-2.0

package sandbox

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/kernel/kerneltest"
	"github.com/libnetwork/cnm/kernel/link"
	"github.com/libnetwork/cnm/kernel/netns"
)

// keeping is a stage whose namespaces are kept until something ends them.
func keeping(tb testing.TB) *stage {
	tb.Helper()
	g := newStage(tb)
	g.stack.keeper.keepFor(time.Hour)
	return g
}

// keepFor sets how long one is kept.
func (k *keeper) keepFor(d time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.after = d
}

// kept is how many namespaces are open that nobody uses.
func (k *keeper) kept() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.idle)
}

// namespaces is how many descriptors of namespaces and sockets the process has.
func namespaces(tb testing.TB) (n int) {
	tb.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		tb.Fatal(err)
	}
	for _, e := range entries {
		target, _ := os.Readlink("/proc/self/fd/" + e.Name())
		// A namespace that was opened by its pin has the pin's name there.
		if strings.HasPrefix(target, "net:[") || strings.HasPrefix(target, "socket:[") || strings.HasPrefix(target, "/run/cnm/netns/") {
			n++
		}
	}
	return n
}

// closed opens and closes a sandbox and returns what was opened.
func (g *stage) closed(sb cnm.Sandbox) *entered {
	g.tb.Helper()
	n, err := g.stack.open(g.tb.Context(), sb)
	if err != nil {
		g.tb.Fatal(err)
	}
	if err := errors.Join(n.Close(), n.Close()); err != nil {
		g.tb.Error(err)
	}
	if n.FD() != -1 {
		g.tb.Errorf("a closed namespace has descriptor %d", n.FD())
	}
	return n.entered
}

// TestKept: a sandbox of ours is opened once for calls in a row, from its creation on, and each call has it alone.
func TestKept(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		g := keeping(t)
		sb := g.sandbox("box")
		if n := g.stack.keeper.kept(); n != 1 {
			t.Errorf("%d namespaces are kept after the creation, want 1", n)
		}
		one, two := g.open(sb), g.open(sb)
		if one.entered == two.entered {
			t.Error("two calls have one socket")
		}
		at := g.join(sb, 1, nil)
		if err := plugAndAwait(t.Context(), g.stack, one, at); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(one.Close(), two.Close()); err != nil {
			t.Error(err)
		}
		again := g.open(sb)
		if again.entered != one.entered && again.entered != two.entered {
			t.Error("the namespace was opened anew")
		}
		if trips := again.RoundTrips(); trips != 0 {
			t.Errorf("%d messages were sent before the first", trips)
		}
		again.Close()
		if n := g.stack.keeper.kept(); n != 1 {
			t.Errorf("%d namespaces are kept, want 1", n)
		}
		for i := range 3 { // the socket serves again and again
			g.plug(at)
			n := g.open(sb)
			if err := g.stack.Unplug(t.Context(), n, at); err != nil {
				t.Fatal(err)
			}
			n.Close()
			has(t, g.state(sb), "!fd00:1::2", "!10.1.0.2")
			at = g.join(sb, 1, func(at *cnm.Attachment) { at.Join.Interface = fmt.Sprintf("again%d", i) })
		}
		before := g.stack.keeper.kept()
		adopted := cnm.Sandbox{ID: cnm.NewSandboxID(), Name: "adopted"}
		adopted.Namespace.Path = g.foreign("adopted")
		g.create(&adopted)
		g.closed(adopted)
		if n := g.stack.keeper.kept(); n != before {
			t.Errorf("%d namespaces are kept, want no adopted one", n-before)
		}
	})
}

// TestKeptBounded: the one that was not used for longest makes room.
func TestKeptBounded(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		g := keeping(t)
		before := namespaces(t)
		first := g.sandbox("first")
		for i := range keepMost - 1 {
			g.sandbox(fmt.Sprintf("box%d", i))
		}
		used := g.closed(first)
		g.sandbox("last")
		if n := g.stack.keeper.kept(); n != keepMost {
			t.Errorf("%d namespaces are kept, want %d", n, keepMost)
		}
		if n := namespaces(t) - before; n != 2*keepMost {
			t.Errorf("%d descriptors for them, want two of each", n)
		}
		if g.closed(first) != used {
			t.Error("the one that was just used went, want the oldest")
		}
	})
}

// TestKeptPin: a pin that somebody removed or replaced is noticed by the next call.
func TestKeptPin(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		g := keeping(t)
		for _, replace := range []bool{false, true} {
			sb := g.sandbox(fmt.Sprintf("box%t", replace))
			inUse := g.open(sb)
			g.closed(sb)
			g.unpin(g.stack.pin(sb))
			if replace {
				if _, err := netns.Make(g.stack.pin(sb), nil); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := g.stack.Open(t.Context(), sb); !errors.Is(err, cnm.NotFound) {
				t.Errorf("replaced %t: open gave %v, want not found", replace, err)
			}
			if err := inUse.Close(); err != nil {
				t.Error(err)
			}
			if n := g.stack.keeper.kept(); n != 0 {
				t.Errorf("replaced %t: %d namespaces are kept, want none", replace, n)
			}
		}
	})
}

// TestKeptEnd: a namespace ends with its sandbox, with its pin where somebody watches, and when the caller who had it
// meanwhile gives it back.
func TestKeptEnd(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		g := keeping(t)
		g.watching()
		events, err := link.Watch(t.Context(), link.WatchOptions{Topics: link.Namespaces})
		if err != nil {
			t.Fatal(err)
		}
		for name, end := range map[string]func(sb cnm.Sandbox) error{
			"deleted": func(sb cnm.Sandbox) error { return g.stack.Delete(t.Context(), sb) },
			"undone": func(sb cnm.Sandbox) error {
				sb.Namespace = cnm.Namespace{} // the record of one whose creation was not finished
				return g.stack.Delete(t.Context(), sb)
			},
			"unpinned": func(sb cnm.Sandbox) error { return netns.Unpin(g.stack.pin(sb)) },
			"in use": func(sb cnm.Sandbox) error {
				n := g.open(sb)
				return errors.Join(g.stack.Delete(t.Context(), sb), n.Close())
			},
		} {
			sb := g.sandbox(strings.ReplaceAll(name, " ", "-"))
			n := g.open(sb)
			id, err := g.stack.askID(n.FD())
			if err := errors.Join(err, n.Close(), end(sb)); err != nil {
				t.Fatal(err)
			}
			awaitEnd(t, events, name, id)
		}
	})
}

// awaitEnd waits for the end of the namespace with an id.
func awaitEnd(t *testing.T, events *link.Watcher, name string, id int) {
	t.Helper()
	for {
		select {
		case e := <-events.Events():
			if e, ok := e.(*link.NamespaceEvent); ok && e.Gone && e.ID == id {
				return
			}
		case <-time.After(patience):
			t.Fatalf("%s: the namespace lives", name)
		}
	}
}

// TestKeptExpires: what nobody uses for a while is closed, what is in use is not; the end of the stack closes all.
func TestKeptExpires(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		g := newStage(t)
		g.stack.keeper.keepFor(20 * time.Millisecond)
		before := namespaces(t)
		sb, other := g.sandbox("box"), g.sandbox("other")
		inUse := g.open(sb)
		g.closed(other)
		awaitDescriptors(t, before+2)
		if _, err := inUse.conn.Link(link.Named("lo")); err != nil {
			t.Error(err)
		}
		inUse.Close()
		awaitDescriptors(t, before)
		g.closed(sb) // the timer runs again
		awaitDescriptors(t, before)
		g.stack.keeper.keepFor(time.Hour)
		inUse = g.open(sb)
		g.closed(other)
		g.stack.keeper.close()
		inUse.Close()
		awaitDescriptors(t, before)
	})
}

// awaitDescriptors waits until the process has so many.
func awaitDescriptors(t *testing.T, want int) {
	t.Helper()
	deadline := time.After(patience)
	for namespaces(t) != want {
		select {
		case <-deadline:
			t.Fatalf("%d descriptors, want %d", namespaces(t), want)
		case <-time.After(time.Millisecond):
		}
	}
}
