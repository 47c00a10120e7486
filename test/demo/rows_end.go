// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/libnetwork/cnm/kernel/link"
)

// endRows are about what is left in the end.
func endRows() []row {
	all := steps(makeNetwork("red"), makeNetwork("blue"), makeNetwork("inner", "--internal"),
		makeSandbox("a", "red"), makeSandbox("d", "red", "blue"), makeSandbox("e", "inner"), serving(publishWeb, publishEcho))
	return []row{{
		Name: "gone", Shows: "after removal nothing is left: links, routes, rules, ports, mounts, settings",
		Breaks: "a network is not removed",
		Setup:  all, Broken: steps(all, func(_ context.Context, w *world) error { w.forget = true; return nil }), Check: checkGone,
	}}
}

// goneTime is how long links that were deleted may take to go: the kernel waits for other processors with each batch.
const goneTime = 3 * time.Second

// checkGone removes everything and compares the host with what it was when the daemon had just been started.
func checkGone(ctx context.Context, w *world) error {
	if err := w.remove(ctx); err != nil {
		return err
	}
	recorded, err := w.recorded(ctx)
	if err != nil {
		return err
	}
	if want := "[]\n[]\n[]\n"; recorded != want && !w.forget {
		return fmt.Errorf("cnm's lists are not empty:\n%s", recorded)
	}
	ctx, cancel := context.WithTimeout(ctx, goneTime)
	defer cancel()
	watch, err := link.Watch(ctx, link.WatchOptions{Namespace: link.Here})
	if err != nil {
		return err
	}
	for {
		now, err := w.look(context.WithoutCancel(ctx))
		if err != nil {
			return err
		}
		left := now.differs(w.before)
		if left == "" {
			cancel()
			for range watch.Events() { // until it has ended
			}
			return nil
		}
		if _, more := <-watch.Events(); !more {
			return fmt.Errorf("after %v:\n%s", goneTime, left)
		}
	}
}

// remove removes all that the rows made.
func (w *world) remove(ctx context.Context) error {
	w.closeServers()
	if err := w.web.process.finish(ctx); err != nil {
		return fmt.Errorf("cnm run: %w; it said: %s", err, w.web.process.out.tail(5))
	}
	sandboxes := slices.Sorted(maps.Keys(w.sandboxes))
	networks := slices.Sorted(maps.Keys(w.networks))
	if w.forget {
		networks = networks[1:]
	}
	_, err := w.run(ctx, append([]string{"sandbox", "rm"}, sandboxes...)...)
	_, err2 := w.run(ctx, append([]string{"network", "rm"}, networks...)...)
	return errors.Join(err, err2)
}
