// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"runtime"
	"slices"
	"time"
)

// series are the times of one thing done many times.
type series []time.Duration

// quantile is the smallest time that a share q of the series does not exceed; 0 for an empty series.
func (s series) quantile(q float64) time.Duration {
	if len(s) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(s))
	return sorted[max(0, int(math.Ceil(q*float64(len(sorted))))-1)]
}

func (s series) median() time.Duration { return s.quantile(0.5) }

// ms is a time in milliseconds.
func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// ratio is a divided by b.
func ratio(a, b time.Duration) float64 { return float64(a) / float64(max(1, b)) }

// side is one of the ways to do a thing that are compared.
type side struct {
	// once does it, for the i-th time, and tells how long that took: what is needed only to be able to measure is not in it.
	once func(ctx context.Context, i int) (time.Duration, error)
	// clear takes apart what was made since the last clear, and returns when the kernel is quiet again.
	clear func(ctx context.Context) error
}

// plan says how often.
type plan struct {
	rounds int // after one that is not counted
	per    int // samples of each side between two clears
}

// alternate takes samples of all sides in turn. The collector of garbage runs between rounds, and within them
// as it does elsewhere.
func alternate(ctx context.Context, p plan, sides ...side) ([]series, error) {
	all := make([]series, len(sides))
	for round := range p.rounds + 1 {
		runtime.GC()
		for i := range p.per {
			for turn := range sides {
				// What one leaves for the kernel to do meets the next: everybody comes after everybody.
				k := (turn + i) % len(sides)
				took, err := sides[k].once(ctx, i)
				if err != nil {
					return nil, fmt.Errorf("round %d, sample %d, side %d: %w", round, i, k, err)
				}
				if round > 0 {
					all[k] = append(all[k], took)
				}
			}
		}
		for k, s := range sides {
			if err := s.clear(ctx); err != nil {
				return nil, fmt.Errorf("clear round %d, side %d: %w", round, k, err)
			}
		}
	}
	return all, nil
}

// pairedRatio is the median of the ratios of samples that were taken one after the other.
func pairedRatio(a, b series) float64 {
	ratios := make([]float64, min(len(a), len(b)))
	for i := range ratios {
		ratios[i] = ratio(a[i], b[i])
	}
	if len(ratios) == 0 {
		return 0
	}
	slices.SortFunc(ratios, cmp.Compare)
	return ratios[len(ratios)/2]
}
