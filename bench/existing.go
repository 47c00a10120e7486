// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	cnm "github.com/libnetwork/cnm"
)

// measureExisting is an attach into a sandbox that is there: one that was made just before, which the product still has open, and
// one that nobody has touched for so long that it is opened anew. The floor opens its sandbox in either case.
func measureExisting(ctx context.Context, b *bench) ([]figure, error) {
	fl, err := b.floorSide(ctx, true)
	if err != nil {
		return nil, err
	}
	p, err := b.product(ctx)
	if err != nil {
		return nil, err
	}
	warm := side{func(ctx context.Context, i int) (time.Duration, error) {
		sb, err := p.sandbox(ctx)
		if err != nil {
			return 0, err
		}
		return p.attachTo(ctx, sb.ID, i)
	}, p.clear}
	all, err := alternate(ctx, plan{rounds: b.times(12, 4), per: perRound}, fl, warm)
	if err != nil {
		return nil, err
	}
	untouched, err := alternate(ctx, plan{rounds: b.times(8, 2), per: perRound}, fl, p.coldSide())
	if err != nil {
		return nil, err
	}
	return append(
		existingFigures("attach of an existing sandbox", all[0], all[1]),
		existingFigures("attach of a sandbox long untouched", untouched[0], untouched[1])...), nil
}

func existingFigures(what string, floor, in series) []figure {
	f, m := floor.median(), in.median()
	return []figure{
		told("floor: "+what, ms(f), "ms").noted("p99 %s ms", number(ms(floor.quantile(0.99)))),
		told(what+", in process", ms(m), "ms").noted("p99 %s ms", number(ms(in.quantile(0.99)))),
		atMost(what+", over the floor", ratio(m, f), "x", existingFactor).noted("median of pairs %s", number(pairedRatio(in, floor))),
	}
}

// attachTo times an attach of a sandbox to network i.
func (p *product) attachTo(ctx context.Context, sb cnm.SandboxID, i int) (time.Duration, error) {
	start := time.Now()
	err := p.attach(ctx, sb, i%networks)
	return time.Since(start), err
}

// coldSide attaches sandboxes that the product does not have open any more. All of a round are made before its first sample.
func (p *product) coldSide() side {
	var boxes []cnm.Sandbox
	once := func(ctx context.Context, i int) (time.Duration, error) {
		if i == 0 {
			var err error
			if boxes, err = p.coldSandboxes(ctx, perRound); err != nil {
				return 0, err
			}
		}
		return p.attachTo(ctx, boxes[i].ID, i)
	}
	return side{once, p.clear}
}

// coldSandboxes makes sandboxes and waits until this process has none of them open.
func (p *product) coldSandboxes(ctx context.Context, n int) ([]cnm.Sandbox, error) {
	boxes, names := make([]cnm.Sandbox, n), make(map[string]bool, n)
	for i := range boxes {
		var err error
		if boxes[i], err = p.sandbox(ctx); err != nil {
			return nil, describe("make a sandbox", i, err)
		}
		var st unix.Stat_t
		if err := unix.Stat(boxes[i].Namespace.Path, &st); err != nil {
			return nil, fmt.Errorf("namespace %s: %w", boxes[i].Namespace.Path, err)
		}
		names["net:["+strconv.FormatUint(st.Ino, 10)+"]"] = true
	}
	return boxes, until(ctx, "the sandboxes are closed", func() (bool, error) { return noneOpen(names) })
}

// noneOpen tells whether none of this process's descriptors leads to one of the files that are named as the kernel names them.
func noneOpen(names map[string]bool) (bool, error) {
	const dir = "/proc/self/fd"
	entries, err := os.ReadDir(dir)
	if err != nil {
		return false, err
	}
	for _, e := range entries {
		to, err := os.Readlink(filepath.Join(dir, e.Name()))
		switch {
		case errors.Is(err, fs.ErrNotExist): // closed meanwhile
		case err != nil:
			return false, err
		case names[to]:
			return false, nil
		}
	}
	return true, nil
}
