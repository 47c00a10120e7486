// SPDX-License-Identifier: Apache-2.0

package netns_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/libnetwork/cnm/kernel/kerneltest"
	"github.com/libnetwork/cnm/kernel/netns"
)

func TestSurvivors(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		busy, idle := kerneltest.NewNS(t), kerneltest.NewNS(t)
		var pids []int
		for range 2 {
			kerneltest.InNS(t, busy, func() { pids = append(pids, start(t, 0).pid()) })
		}
		alone := start(t, unix.CLONE_NEWNET)
		other, err := netns.OfProcess(alone.pid())
		if err != nil {
			t.Fatal(err)
		}
		otherCookie := cookieOf(t, other)
		other.Close()
		slices.Sort(pids)

		if got, err := busy.Processes(t.Context()); err != nil || !slices.Equal(got, pids) {
			t.Errorf("processes %v (%v), want %v", got, err, pids)
		}
		if got, err := idle.Processes(t.Context()); err != nil || len(got) != 0 {
			t.Errorf("processes %v (%v), want none", got, err)
		}
		found, err := netns.Survivors(t.Context(), cookieOf(t, busy), cookieOf(t, idle), otherCookie)
		if err != nil {
			t.Fatal(err)
		}
		if len(found) != 2 || !slices.Equal(found[cookieOf(t, busy)], pids) || !slices.Equal(found[otherCookie], []int{alone.pid()}) {
			t.Errorf("survivors %v, want %v and %d", found, pids, alone.pid())
		}
		alone.end()
		if found, err := netns.Survivors(t.Context(), otherCookie); err != nil || len(found) != 0 {
			t.Errorf("survivors %v (%v), want none", found, err)
		}
	})
}

func TestSurvivorsStopsWithItsContext(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := netns.Survivors(ctx, 1); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want that it was cancelled", err)
		}
		if _, err := kerneltest.NewNS(t).Processes(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want that it was cancelled", err)
		}
	})
}
