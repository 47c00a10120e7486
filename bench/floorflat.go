// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
)

// floorGrowth is what the kernel itself takes more for the last of many endpoints than for the first: the floor attaches
// them, on all networks in turn, so that no bridge gets more ports than the product gives it.
func (b *bench) floorGrowth(ctx context.Context) (figure, error) {
	h, err := b.floor(ctx)
	if err != nil {
		return figure{}, err
	}
	w, err := b.worker(ctx, 0)
	if err != nil {
		return figure{}, err
	}
	var all series
	live := make([]*spot, 0, thousand)
	for i := range thousand {
		s := h.spot(i % networks)
		live = append(live, s)
		took, err := w.time(func(f *floor) error { return f.attachNew(s) })
		if err != nil {
			return figure{}, errors.Join(describe("floor", i, err), h.clear(ctx, live))
		}
		all = append(all, took)
	}
	first, last := all[:window].median(), all[thousand-window:].median()
	return told("floor: 1,000 endpoints, last 100 over first 100", ratio(last, first), "x").
		noted("%s and %s ms: the kernel's own growth", number(ms(first)), number(ms(last))), h.clear(ctx, live)
}
