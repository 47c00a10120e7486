// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"time"

	cnm "github.com/libnetwork/cnm"
)

// Samples of each side between two clears: they stay on the network's hub, which takes 96 endpoints, and so the bridges of all
// sides are equally full.
const perRound = 40

// What an attach may cost beyond the floor.
const (
	newFactor      = 1.5
	existingFactor = 1.3
	portMore       = 0.3 // ms
	socketMore     = 1.0 // ms
	absolute       = 2.0 // ms, where the floor leaves room for it
	moreTrips      = 2
)

// floorSide attaches with the floor, new or into sandboxes made before.
func (b *bench) floorSide(ctx context.Context, existing bool) (side, error) {
	h, err := b.floor(ctx)
	if err != nil {
		return side{}, err
	}
	w, err := b.worker(ctx, 0)
	if err != nil {
		return side{}, err
	}
	var live []*spot
	once := func(_ context.Context, i int) (time.Duration, error) {
		s := h.spot(i % networks)
		live = append(live, s)
		if !existing {
			return w.time(func(f *floor) error { return f.attachNew(s) })
		}
		if err := h.sandbox(s); err != nil {
			return 0, err
		}
		return w.time(func(f *floor) error { return f.attachExisting(s) })
	}
	tidy := func(ctx context.Context) error {
		err := h.clear(ctx, live)
		live = nil
		return err
	}
	return side{once, tidy}, nil
}

// measureAttach is an attach from nothing: in process, with a published port, and through the socket.
func measureAttach(ctx context.Context, b *bench) ([]figure, error) {
	fl, err := b.floorSide(ctx, false)
	if err != nil {
		return nil, err
	}
	p, err := b.product(ctx)
	if err != nil {
		return nil, err
	}
	d, err := b.daemon(ctx)
	if err != nil {
		return nil, err
	}
	plain := side{func(ctx context.Context, i int) (time.Duration, error) { return p.attachNew(ctx, i%networks) }, p.clear}
	port := side{func(ctx context.Context, i int) (time.Duration, error) {
		return p.attachNew(ctx, i%networks, p.port())
	}, p.clear}
	socket := side{func(ctx context.Context, i int) (time.Duration, error) { return d.attachNew(ctx, i%networks) }, d.clear}
	all, err := alternate(ctx, plan{rounds: b.times(12, 4), per: perRound}, fl, plain, port, socket)
	if err != nil {
		return nil, err
	}
	f, in, pub, through := all[0].median(), all[1].median(), all[2].median(), all[3].median()
	figures := []figure{
		told("floor: attach from nothing", ms(f), "ms").noted("p99 %s ms", number(ms(all[0].quantile(0.99)))),
		told("attach from nothing, in process", ms(in), "ms").noted("p99 %s ms, %d samples", number(ms(all[1].quantile(0.99))), len(all[1])),
		atMost("attach from nothing, over the floor", ratio(in, f), "x", newFactor).noted("median of pairs %s", number(pairedRatio(all[1], all[0]))),
		atMost("a published port costs", ms(pub-in), "ms", portMore).noted("with it %s ms", number(ms(pub))),
		atMost("the daemon's socket costs", ms(through-in), "ms", socketMore).noted("through it %s ms, p99 %s", number(ms(through)), number(ms(all[3].quantile(0.99)))),
	}
	return append(figures, absolutely(f, in)), nil
}

// absolutely is the figure that counts only where the kernel's own price allows it.
func absolutely(floor, in time.Duration) figure {
	const what = "attach from nothing, absolute"
	if ms(floor)*newFactor > absolute {
		return told(what, ms(in), "ms").noted("the kernel's price is %s ms: 2 ms are not to be had here", number(ms(floor)))
	}
	return atMost(what, ms(in), "ms", absolute)
}

// portSpecs are n ports of the host from first on.
func portSpecs(first, n int) []cnm.PortSpec {
	specs := make([]cnm.PortSpec, n)
	for i := range specs {
		number := uint16(first + i)
		specs[i] = cnm.PortSpec{Proto: cnm.TCP, HostPort: number, HostPortEnd: number, Port: uint16(1 + i)}
	}
	return specs
}

// describe names a sample in errors.
func describe(what string, i int, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s, sample %d: %w", what, i, err)
}
