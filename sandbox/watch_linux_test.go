// SPDX-License-Identifier: Apache-2.0

package sandbox

import (
	"context"
	"errors"
	"maps"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/kernel/kerneltest"
	"github.com/libnetwork/cnm/kernel/link"
	"github.com/libnetwork/cnm/kernel/netns"
)

// watching runs Watch until the test ends.
func (g *stage) watching() *listener {
	g.tb.Helper()
	ctx, cancel := context.WithCancel(g.tb.Context())
	hints := make(chan cnm.Hint, 100)
	done := make(chan error, 1)
	go func() { done <- g.stack.Watch(ctx, func(h cnm.Hint) { hints <- h }) }()
	g.tb.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			g.tb.Errorf("watch: %v", err)
		}
	})
	for g.stack.current() == nil {
		select {
		case err := <-done:
			g.tb.Fatalf("watch: %v", err)
		case <-time.After(time.Millisecond):
		}
	}
	l := &listener{hints: hints, ended: make(map[uint64]bool)}
	l.start(g)
	return l
}

// start passes over the hint at everything that a watch begins with where it follows a sandbox. What came before it is kept.
func (l *listener) start(g *stage) {
	g.stack.mu.Lock()
	known := slices.Collect(maps.Values(g.stack.known))
	g.stack.mu.Unlock()
	if !slices.ContainsFunc(known, func(sb cnm.Sandbox) bool { _, err := os.Stat(sb.Namespace.Path); return sb.PID != 0 || err == nil }) {
		return
	}
	var before []cnm.Hint
	for h := range l.hints {
		if h == (cnm.Hint{}) {
			break
		}
		before = append(before, h)
	}
	for _, h := range before {
		l.hints <- h
	}
}

// patience is for the kernel: one thread ends all namespaces of a machine, one
// after the other.
const patience = time.Minute

// listener receives hints.
type listener struct {
	hints chan cnm.Hint
	ended map[uint64]bool // namespaces that were said to be gone
}

// expect waits for one hint and fails if it is another. The end of a namespace may
// be told twice, by its path or process and by itself: the second time is passed over.
func (l *listener) expect(tb testing.TB, want cnm.Hint) {
	tb.Helper()
	for {
		select {
		case h := <-l.hints:
			if h.Gone && h != want && l.ended[h.Cookie] {
				continue
			}
			l.ended[h.Cookie] = h.Gone
			if h != want {
				tb.Errorf("hint %+v, want %+v", h, want)
			}
			return
		case <-time.After(patience):
			tb.Fatalf("no hint, want %+v", want)
		}
	}
}

// none fails if there is a hint before the one that a namespace of the test's own gives.
func none(tb testing.TB, g *stage, hints *listener) {
	tb.Helper()
	sb := cnm.Sandbox{ID: cnm.NewSandboxID(), Name: "fence"}
	sb.Namespace.Path = g.foreign("fence" + string(sb.ID))
	g.create(&sb)
	// The fence's hint is gathered like any other, so it comes after those before it.
	n := g.open(sb)
	var b link.Batch
	b.SetLink(link.Change{Link: link.Named("lo"), Up: link.On})
	b.SetLink(link.Change{Link: link.Named("lo"), Up: link.Off})
	g.do(n.FD(), &b)
	n.Close()
	hints.expect(tb, cnm.Hint{Cookie: sb.Namespace.Cookie})
	g.unpin(sb.Namespace.Path)
	hints.expect(tb, cnm.Hint{Gone: true, Cookie: sb.Namespace.Cookie})
}

func TestWatchAltered(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		g := newStage(t)
		early := g.sandbox("early")
		hints := g.watching()
		late := g.sandbox("late")
		for i, sb := range []cnm.Sandbox{early, late} {
			at := g.join(sb, i+1, nil)
			g.plug(at)
			none(t, g, hints) // our own plug is no news
			index := at.Join.Result.Link.Index
			for _, harm := range []func(b *link.Batch){
				func(b *link.Batch) { b.DeleteAddress(link.Address{Link: index, Prefix: at.Endpoint.Addresses[0]}) },
				func(b *link.Batch) { b.DeleteAddress(link.Address{Link: index, Prefix: at.Endpoint.Addresses[1]}) },
				func(b *link.Batch) { b.DeleteRoute(link.Route{Dst: netip.MustParsePrefix("::/0"), Link: index}) },
				func(b *link.Batch) {
					b.ReplaceRoute(link.Route{Dst: netip.MustParsePrefix("0.0.0.0/0"), Link: index, Gateway: gatewaysOf(i + 1)[0].Next().Next()})
				},
				func(b *link.Batch) { b.DeleteRule(link.Rule{Family: link.IPv4, Priority: RulePriority}) },
				func(b *link.Batch) { b.DeleteRule(link.Rule{Family: link.IPv6, Priority: RulePriority}) },
				func(b *link.Batch) { b.SetLink(link.Change{Link: link.Numbered(index), Up: link.Off}) },
				func(b *link.Batch) { b.SetLink(link.Change{Link: link.Numbered(index), MTU: 1300}) },
				func(b *link.Batch) {
					b.SetLink(link.Change{Link: link.Numbered(index), MAC: link.MAC{2, 2, 2, 2, 2, 2}})
				},
			} {
				var b link.Batch
				harm(&b)
				n := g.open(sb)
				g.do(n.FD(), &b)
				n.Close()
				hints.expect(t, cnm.Hint{Cookie: sb.Namespace.Cookie})
				if drifts, err := g.stack.Check(t.Context(), sb, []cnm.Attachment{at}); err != nil || len(drifts) == 0 {
					t.Errorf("drifts %v (%v)", drifts, err)
				}
				drain(hints)
			}
		}
	})
}

// drain waits until our own repairs have been announced, which may be one hint.
func drain(l *listener) {
	for {
		select {
		case <-l.hints:
		case <-time.After(2 * coalesce):
			return
		}
	}
}

func TestWatchGone(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		g := newStage(t)
		owned := g.sandbox("owned")
		byPath := cnm.Sandbox{ID: cnm.NewSandboxID(), Name: "path", Namespace: cnm.Namespace{Path: g.foreign("one")}}
		g.create(&byPath)
		pid, end := start(t)
		byPID := cnm.Sandbox{ID: cnm.NewSandboxID(), Name: "pid", PID: pid}
		g.create(&byPID)
		hints := g.watching()
		for _, tc := range []struct {
			sb  cnm.Sandbox
			end func()
		}{
			{owned, func() { g.unpin(owned.Namespace.Path) }},
			{byPath, func() { g.unpin(byPath.Namespace.Path) }},
			{byPID, end},
		} {
			tc.end()
			hints.expect(t, cnm.Hint{Gone: true, Cookie: tc.sb.Namespace.Cookie})
			if _, err := g.stack.Open(t.Context(), tc.sb); !errors.Is(err, cnm.NotFound) {
				t.Errorf("%s: %v", tc.sb.Name, err)
			}
		}
		if err := g.stack.Delete(t.Context(), owned); err != nil {
			t.Error(err)
		}

		// A sandbox that is deleted is followed no more; another Watch is refused.
		none(t, g, hints)
		deleted := g.sandbox("deleted")
		if err := g.stack.Delete(t.Context(), deleted); err != nil {
			t.Error(err)
		}
		none(t, g, hints)
		if err := g.stack.Watch(t.Context(), func(cnm.Hint) {}); !errors.Is(err, cnm.Busy) {
			t.Errorf("second watch: %v", err)
		}
	})
}

// A watch keeps no namespace alive, and follows anew what it was told of before.
func TestWatchAgain(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		g := newStage(t)
		sb := g.sandbox("box")
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- g.stack.Watch(ctx, func(cnm.Hint) {}) }()
		cancel()
		if err := <-done; err != nil {
			t.Errorf("watch: %v", err)
		}
		ended := g.sandbox("ended") // while nobody watches
		g.unpin(ended.Namespace.Path)
		hints := g.watching()
		hints.expect(t, cnm.Hint{Gone: true, Cookie: ended.Namespace.Cookie})

		// After lost events all is followed anew.
		w := g.stack.current()
		w.clear()
		if err := w.followKnown(func(h cnm.Hint) { t.Errorf("hint %+v", h) }); err != nil {
			t.Error(err)
		}
		none(t, g, hints)

		n := g.open(sb)
		ns, err := netns.Open(sb.Namespace.Path)
		if err != nil {
			t.Fatal(err)
		}
		n.Close()
		g.unpin(sb.Namespace.Path)
		gone := cnm.Hint{Gone: true, Cookie: sb.Namespace.Cookie}
		hints.expect(t, gone)
		ns.Close() // the last that holds it
		hints.expect(t, gone)
	})
}
