// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"

	cnm "github.com/libnetwork/cnm"
)

// What the last endpoints may cost beyond the first.
const (
	window     = 100 // endpoints at either end
	thousand   = 1000
	flatFactor = 1.2 // of a thousand endpoints
	flatMore   = 1.5 // of three thousand
)

// Published ports in the tables: so many endpoints with so many ports each.
const (
	portHolders   = 20
	portsEach     = 500
	firstHeldPort = 30000
)

// measureFlat attaches many endpoints to one network and compares the last with the first.
func measureFlat(ctx context.Context, b *bench) ([]figure, error) {
	p, err := b.product(ctx)
	if err != nil {
		return nil, err
	}
	var figures []figure
	grow := func(what string, n int, limit float64) error {
		f, err := p.grow(ctx, what, n, limit)
		figures = append(figures, f)
		return err
	}
	own, err := b.floorGrowth(ctx)
	if err != nil {
		return nil, err
	}
	figures = append(figures, own)
	if err := grow("1,000 endpoints", thousand, flatFactor); err != nil {
		return nil, err
	}
	if !b.short {
		if err := grow("3,000 endpoints", 3*thousand, flatMore); err != nil {
			return nil, err
		}
	}
	if err := trackForeign(foreignEntries); err != nil {
		return nil, err
	}
	err = grow("1,000 endpoints, 20,000 foreign connections", thousand, flatFactor)
	if err = errors.Join(err, forgetForeign()); err != nil {
		return nil, err
	}
	holders, err := p.holdPorts(ctx)
	if err != nil {
		return nil, err
	}
	err = grow("1,000 endpoints, 10,000 published ports", thousand, flatFactor)
	return figures, errors.Join(err, p.end(ctx, holders))
}

// grow attaches n endpoints from nothing, all to the first network, and takes them apart.
func (p *product) grow(ctx context.Context, what string, n int, limit float64) (figure, error) {
	for i := range 2 * networks { // not the first ever
		if _, err := p.attachNew(ctx, i%networks); err != nil {
			return figure{}, describe("warm-up", i, err)
		}
	}
	if err := p.clear(ctx); err != nil {
		return figure{}, err
	}
	runtime.GC()
	var all series
	for i := range n {
		took, err := p.attachNew(ctx, 0)
		if err != nil {
			return figure{}, errors.Join(describe(what, i, err), p.clear(ctx))
		}
		all = append(all, took)
	}
	first, last := all[:window].median(), all[n-window:].median()
	f := atMost(fmt.Sprintf("%s: last 100 over first 100", what), ratio(last, first), "x", limit).
		noted("%s and %s ms, p99 of all %s ms", number(ms(first)), number(ms(last)), number(ms(all.quantile(0.99))))
	return f, p.clear(ctx)
}

// holdPorts publishes 10,000 ports on endpoints of the last network and takes those off the list that clear ends.
func (p *product) holdPorts(ctx context.Context) ([]attached, error) {
	for i := range portHolders {
		if _, err := p.attachNew(ctx, networks-1, portSpecs(firstHeldPort+i*portsEach, portsEach)...); err != nil {
			return nil, describe("publish ports", i, err)
		}
	}
	holders := p.live
	p.live = nil
	p.held = len(holders)
	return holders, nil
}

// end deletes sandboxes.
func (p *product) end(ctx context.Context, all []attached) error {
	p.live, p.held = all, 0
	return p.clear(ctx)
}

// sandboxes makes n sandboxes on the networks in turn.
func (p *product) sandboxes(ctx context.Context, n int) ([]cnm.SandboxID, error) {
	ids := make([]cnm.SandboxID, n)
	for i := range ids {
		sb, err := p.sandbox(ctx)
		if err != nil {
			return nil, describe("make a sandbox", i, err)
		}
		ids[i] = sb.ID
	}
	return ids, nil
}
