// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/kernel/link"
)

const (
	detachMost    = 1.0  // ms
	goneMost      = 1.0  // s
	meanwhileMost = 15.0 // ms, p99
)

// measureDetach times detaches, also with connections of others in the kernel's table.
func measureDetach(ctx context.Context, b *bench) ([]figure, error) {
	p, err := b.product(ctx)
	if err != nil {
		return nil, err
	}
	n := b.times(600, 200)
	plain, err := p.detaches(ctx, n)
	if err != nil {
		return nil, err
	}
	if err := trackForeign(foreignEntries); err != nil {
		return nil, err
	}
	tracked, err := p.detaches(ctx, n)
	if err = errors.Join(err, forgetForeign()); err != nil {
		return nil, err
	}
	row := func(what string, s series) figure {
		return atMost(what, ms(s.median()), "ms", detachMost).noted("p99 %s ms", number(ms(s.quantile(0.99))))
	}
	return []figure{row("detach returns", plain), row("detach returns, 20,000 foreign connections", tracked)}, nil
}

// detaches attaches and detaches n endpoints, some at a time.
func (p *product) detaches(ctx context.Context, n int) (series, error) {
	var all series
	for len(all) < n {
		for i := range perRound {
			if _, err := p.attachNew(ctx, i%networks); err != nil {
				return nil, describe("attach", i, err)
			}
		}
		for i, a := range p.live {
			took, err := p.detach(ctx, a)
			if err != nil {
				return nil, describe("detach", i, err)
			}
			all = append(all, took)
		}
		if err := p.clear(ctx); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// measureGone attaches a thousand, detaches them as fast as one caller can, and tells when the kernel has lost the last,
// and what an attach takes all the while.
func measureGone(ctx context.Context, b *bench) ([]figure, error) {
	p, err := b.product(ctx)
	if err != nil {
		return nil, err
	}
	var gone, meanwhile series
	for range b.times(5, 1) {
		g, m, err := p.massDetach(ctx)
		if err != nil {
			return nil, err
		}
		gone, meanwhile = append(gone, g), append(meanwhile, m...)
	}
	return []figure{
		atMost("1,000 detached are gone from the kernel", gone.quantile(1).Seconds(), "s", goneMost).noted("after the last call, worst of %d", len(gone)),
		atMost("an attach meanwhile, p99", ms(meanwhile.quantile(0.99)), "ms", meanwhileMost).
			noted("p50 %s ms, most %s, %d samples", number(ms(meanwhile.median())), number(ms(meanwhile.quantile(1))), len(meanwhile)),
	}, nil
}

// massDetach is one round of it.
func (p *product) massDetach(ctx context.Context) (gone time.Duration, meanwhile series, err error) {
	const each = thousand / networks
	for i := range thousand {
		if _, err := p.attachNew(ctx, i/each); err != nil {
			return 0, nil, describe("attach", i, err)
		}
	}
	victims := p.live
	p.live = nil
	others := p.attachUntilStopped(ctx)
	for i, a := range victims {
		if _, err = p.detach(ctx, a); err != nil {
			err = describe("detach", i, err)
			break
		}
	}
	last := time.Now()
	if err == nil {
		err = p.goneAll(ctx, victims)
		gone = time.Since(last)
	}
	made, oerr := others.stop()
	p.live = append(victims, made...)
	return gone, others.took, errors.Join(err, oerr, p.clear(ctx))
}

// goneAll waits until none of the links is left. It asks for one after the other: a dump of all may still have what went while it
// was read, and links come and go all the time here.
func (p *product) goneAll(ctx context.Context, victims []attached) error {
	left := victims
	return until(ctx, "a thousand links are gone", func() (bool, error) {
		for len(left) > 0 {
			_, err := p.conn.Link(link.Named(left[len(left)-1].link))
			if !errors.Is(err, unix.ENODEV) {
				return false, err
			}
			left = left[:len(left)-1]
		}
		return true, nil
	})
}

// attacher attaches new sandboxes, one after the other.
type attacher struct {
	cancel context.CancelFunc
	done   chan struct{}
	took   series
	made   []attached
	err    error
}

// attachUntilStopped starts one.
func (p *product) attachUntilStopped(ctx context.Context) *attacher {
	ctx, cancel := context.WithCancel(ctx)
	a := &attacher{cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(a.done)
		for i := 0; ctx.Err() == nil && a.err == nil; i++ {
			a.err = a.once(context.WithoutCancel(ctx), p, i)
		}
	}()
	return a
}

func (a *attacher) once(ctx context.Context, p *product, i int) error {
	start := time.Now()
	sb, err := p.ctl.CreateSandbox(ctx, cnm.SandboxSpec{Name: "meanwhile" + strconv.Itoa(i)})
	if err != nil {
		return err
	}
	nw := p.nets[i%networks].ID
	if _, err := p.ctl.Attach(ctx, cnm.AttachSpec{Sandbox: sb.ID, Network: nw}); err != nil {
		return err
	}
	a.took, a.made = append(a.took, time.Since(start)), append(a.made, attached{sandbox: sb.ID, network: nw})
	return nil
}

// stop ends it and gives what it made.
func (a *attacher) stop() ([]attached, error) {
	a.cancel()
	<-a.done
	return a.made, a.err
}

// callerName names the sandbox of a caller.
func callerName(round, i int) string { return fmt.Sprintf("call%d-%d", round, i) }
