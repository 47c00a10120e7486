// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/libnetwork/cnm/kernel/kerneltest"
	"github.com/libnetwork/cnm/kernel/nft"
)

// TestRefusedAlone: of changes that are made in one transaction, the kernel's refusal reaches only the one that it is of.
func TestRefusedAlone(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		kerneltest.Clear(t, "cnm")
		f, err := Open(t.Context(), Config{})
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := f.Close(); err != nil {
				t.Error(err)
			}
		}()
		if err := f.Set(t.Context(), "first", Rules{}); err != nil {
			t.Fatal(err)
		}
		// Spans that lie across each other, for which no checks of ours look.
		span := func(first, last string) item {
			return item{set: setCnet4, elem: nft.Element{Key: nft.Addr(netip.MustParseAddr(first)), End: nft.Addr(netip.MustParseAddr(last))}}
		}
		poison, more := span("192.0.2.0", "192.0.2.9"), span("192.0.2.5", "192.0.2.12")
		var batch []*request
		for _, c := range []change{
			{"one": {{set: setIfs, elem: nft.Key(nft.Ifname("one"))}}},
			{"two": {{set: setIfs, elem: nft.Key(nft.Ifname("two"))}, poison, more}},
			{"three": {{set: setIfs, elem: nft.Key(nft.Ifname("three"))}}},
		} {
			batch = append(batch, &request{change: c})
		}
		gate, held := make(chan struct{}), make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() {
			err := f.submit(t.Context(), &request{do: func(context.Context) error { close(held); <-gate; return nil }})
			if err != nil {
				t.Error(err)
			}
		})
		<-held // the turn is taken, so that the three come together
		for _, r := range batch {
			f.queue.add(r)
		}
		close(gate)
		wg.Wait()
		lines, err := f.Audit(t.Context()) // takes the three too
		if err != nil || len(lines) != 0 {
			t.Errorf("audit: %q, %v", lines, err)
		}
		for i, refused := range []bool{false, true, false} {
			if err := <-batch[i].done; errors.Is(err, unix.EEXIST) != refused {
				t.Errorf("change %d: %v", i, err)
			}
		}
		elements, err := f.conn.Elements(t.Context(), f.layout.sets[setIfs])
		if err != nil || len(elements) != 2 {
			t.Errorf("bridges %v, %v", elements, err)
		}
	})
}

// held keeps the turn until the returned function is called, which waits for the call that had it.
func held(t *testing.T, f *Firewall) (release func()) {
	t.Helper()
	gate, begun, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		done <- f.submit(t.Context(), &request{do: func(context.Context) error { close(begun); <-gate; return nil }})
	}()
	<-begun
	return sync.OnceFunc(func() {
		close(gate)
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// await waits until so many requests wait.
func (q *queue) await(t *testing.T, n int) {
	t.Helper()
	deadline := time.After(time.Minute)
	for {
		q.mu.Lock()
		found := len(q.all)
		q.mu.Unlock()
		if found == n {
			return
		}
		select {
		case <-deadline:
			t.Fatalf("%d requests wait, want %d", found, n)
		case <-time.After(time.Millisecond):
		}
	}
}

// TestTurn: those that wait while another writes are served by one of them, in one transaction, but for one that gave up.
func TestTurn(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		kerneltest.Clear(t, "cnm")
		f, err := Open(t.Context(), Config{})
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := f.Close(); err != nil {
				t.Error(err)
			}
		}()
		if err := f.Set(t.Context(), "first", Rules{}); err != nil {
			t.Fatal(err)
		}
		const callers = 20
		release := held(t, f)
		defer release()
		before := f.conn.RoundTrips()
		var wg sync.WaitGroup
		for i := range callers {
			wg.Go(func() {
				if err := f.Set(t.Context(), Owner(strconv.Itoa(i)), Rules{Bridges: []Bridge{{Link: fmt.Sprintf("br%d", i)}}}); err != nil {
					t.Error(err)
				}
			})
		}
		f.queue.await(t, callers)
		ctx, cancel := context.WithCancel(t.Context())
		gone := make(chan error, 1)
		go func() { gone <- f.Set(ctx, "gone", Rules{Bridges: []Bridge{{Link: "gone"}}}) }()
		f.queue.await(t, callers+1)
		cancel()
		if err := <-gone; !errors.Is(err, context.Canceled) {
			t.Errorf("the one that gave up got %v", err)
		}
		release()
		wg.Wait()
		if n := f.conn.RoundTrips() - before; n != 1 {
			t.Errorf("%d transactions, want 1", n)
		}
		elements, err := f.conn.Elements(t.Context(), f.layout.sets[setIfs])
		if err != nil || len(elements) != callers {
			t.Errorf("%d bridges (%v), want %d", len(elements), err, callers)
		}
	})
}

// TestCloseWaits: what is under way at the end is finished, what waits is refused, and so is what comes later.
func TestCloseWaits(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		kerneltest.Clear(t, "cnm")
		f, err := Open(t.Context(), Config{})
		if err != nil {
			t.Fatal(err)
		}
		release := held(t, f)
		refused := make(chan error, 2)
		for i := range 2 {
			go func() { refused <- f.Set(t.Context(), Owner(strconv.Itoa(i)), Rules{}) }()
		}
		f.queue.await(t, 2)
		ended := make(chan error, 2)
		for range 2 {
			go func() { ended <- f.Close() }()
		}
		<-f.life.Done()
		select {
		case <-f.closed:
			t.Error("closed while a call writes")
		default:
		}
		release()
		for range 2 {
			if err := <-refused; !errors.Is(err, errClosed) {
				t.Errorf("one that waited got %v", err)
			}
		}
		if err := errors.Join(<-ended, <-ended); err != nil {
			t.Error(err)
		}
		if err := f.Set(t.Context(), "late", Rules{}); !errors.Is(err, errClosed) {
			t.Errorf("a late one got %v", err)
		}
	})
}
