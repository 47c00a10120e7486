// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
)

func TestClaimsAreGrantedInOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newClaims()
		k := networkKey("n")
		if err := c.acquire(t.Context(), k, true); err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex
		var order []int
		for i, exclusive := range []bool{false, false, true, false} {
			go func() {
				if err := c.acquire(t.Context(), k, exclusive); err != nil {
					t.Error(err)
				}
				mu.Lock()
				order = append(order, i)
				mu.Unlock()
			}()
			synctest.Wait() // each asks before the next does
		}
		c.release(k, true)
		synctest.Wait()
		if len(order) != 2 || order[0]+order[1] != 1 {
			t.Fatalf("after the first release %v hold it, want the two that share", order)
		}
		c.release(k, false)
		synctest.Wait()
		if len(order) != 2 {
			t.Fatalf("%v hold it while one still shares, want the exclusive one to wait", order)
		}
		c.release(k, false)
		synctest.Wait()
		if len(order) != 3 || order[2] != 2 {
			t.Fatalf("%v, want the exclusive one third", order)
		}
		c.release(k, true)
		synctest.Wait()
		if len(order) != 4 {
			t.Fatalf("%v, want the last one too", order)
		}
		c.release(k, false)
		if len(c.of) != 0 {
			t.Errorf("%d claims are remembered when none is held", len(c.of))
		}
	})
}

func TestClaimEndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newClaims()
		k := sandboxKey("s")
		if err := c.acquire(t.Context(), k, false); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		refused := make(chan error, 1)
		go func() { refused <- c.acquire(ctx, k, true) }()
		synctest.Wait()
		behind := make(chan error, 1)
		go func() { behind <- c.acquire(t.Context(), k, false) }()
		synctest.Wait()
		cancel()
		if err := <-refused; !errors.Is(err, context.Canceled) {
			t.Errorf("the cancelled wait ends with %v", err)
		}
		// Whoever waited behind the one that gave up must not wait for ever.
		if err := <-behind; err != nil {
			t.Error(err)
		}
		c.release(k, false)
		c.release(k, false)
		if len(c.of) != 0 {
			t.Errorf("%d claims are left", len(c.of))
		}
	})
}

func TestClaimedReleasesWhatItHas(t *testing.T) {
	t.Parallel()
	c := newClaims()
	h := claimed{from: c}
	ctx, cancel := context.WithCancel(t.Context())
	if err := errors.Join(h.share(ctx, driverKey("d")), h.own(ctx, networkKey("n"))); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := h.own(ctx, networkKey("n")); !errors.Is(err, context.Canceled) {
		t.Errorf("claiming twice on an ended context: %v", err)
	}
	h.release()
	h.release()
	if len(c.of) != 0 {
		t.Errorf("%d claims are left", len(c.of))
	}
}
