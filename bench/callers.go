// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"sync"
	"time"

	cnm "github.com/libnetwork/cnm"
)

const (
	callers     = 64
	perCaller   = 8 // attachments, on all networks in turn: 64 on each hub
	callersRate = 0.8
)

// together runs fn for each caller at once and tells how long all of them took.
func together(n int, fn func(caller int) error) (time.Duration, error) {
	var wg sync.WaitGroup
	errs := make([]error, n)
	gate := make(chan struct{})
	for i := range n {
		wg.Go(func() {
			<-gate
			errs[i] = fn(i)
		})
	}
	start := time.Now()
	close(gate)
	wg.Wait()
	took := time.Since(start)
	for _, err := range errs {
		if err != nil {
			return 0, err
		}
	}
	return took, nil
}

// floorCallers has 64 threads of the floor attach from nothing at once.
func (b *bench) floorCallers(ctx context.Context) (side, error) {
	h, err := b.floor(ctx)
	if err != nil {
		return side{}, err
	}
	for i := range callers {
		if _, err := b.worker(ctx, i); err != nil {
			return side{}, err
		}
	}
	var live []*spot
	once := func(context.Context, int) (time.Duration, error) {
		live = make([]*spot, callers*perCaller)
		for i := range live {
			live[i] = h.spot(i % networks)
		}
		return together(callers, func(c int) error {
			for _, s := range live[c*perCaller : (c+1)*perCaller] {
				if _, err := b.workers[c].time(func(f *floor) error { return f.attachNew(s) }); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return side{once, func(ctx context.Context) error { return h.clear(ctx, live) }}, nil
}

// productCallers has 64 callers of the product do the same.
func (p *product) callers() side {
	var live []attached
	round := 0
	once := func(ctx context.Context, _ int) (time.Duration, error) {
		live = make([]attached, callers*perCaller)
		round++
		return together(callers, func(c int) error {
			for k := range perCaller {
				i := c*perCaller + k
				sb, err := p.ctl.CreateSandbox(ctx, cnm.SandboxSpec{Name: callerName(round, i)})
				if err != nil {
					return err
				}
				nw := p.nets[i%networks].ID
				if _, err := p.ctl.Attach(ctx, cnm.AttachSpec{Sandbox: sb.ID, Network: nw}); err != nil {
					return err
				}
				live[i] = attached{sandbox: sb.ID, network: nw}
			}
			return nil
		})
	}
	return side{once, func(ctx context.Context) error { return p.end(ctx, live) }}
}

// measureCallers compares the rates of 64 callers.
func measureCallers(ctx context.Context, b *bench) ([]figure, error) {
	fl, err := b.floorCallers(ctx)
	if err != nil {
		return nil, err
	}
	p, err := b.product(ctx)
	if err != nil {
		return nil, err
	}
	all, err := alternate(ctx, plan{rounds: b.times(7, 2), per: 1}, fl, p.callers())
	if err != nil {
		return nil, err
	}
	rate := func(s series) float64 { return callers * perCaller / s.median().Seconds() }
	return []figure{
		told("floor: 64 threads, attaches from nothing", rate(all[0]), "/s"),
		told("64 callers, attaches from nothing", rate(all[1]), "/s"),
		{What: "64 callers, rate over the floor's", Value: rate(all[1]) / rate(all[0]), Unit: "x", Limit: callersRate, AtLeast: true},
	}, nil
}
