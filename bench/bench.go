// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"regexp"
	"runtime"
	"runtime/debug"
	"time"
)

// options are what the command line says.
type options struct {
	short   bool
	run     *regexp.Regexp
	limit   float64
	results string
	json    string
	profile string
}

// bench holds the hosts that are measured, each made when it is first needed.
type bench struct {
	options
	log       *slog.Logger
	dir       string // for state and pins; gone with the namespaces
	progress  io.Writer
	inProcess *product
	byHand    *floorHost
	apart     *daemonProcess
	workers   []*worker
}

// measurement is one part of the benchmark.
type measurement struct {
	name string
	run  func(ctx context.Context, b *bench) ([]figure, error)
}

// measurements are all parts, in their order. What fills tables comes last, so that the others see them empty.
func measurements() []measurement {
	return []measurement{
		{"trips", measureTrips},
		{"attach", measureAttach},
		{"existing", measureExisting},
		{"callers", measureCallers},
		{"detach", measureDetach},
		{"gone", measureGone},
		{"daemon", measureDaemon},
		{"flat", measureFlat},
	}
}

// product is the product in this process.
func (b *bench) product(ctx context.Context) (*product, error) {
	if b.inProcess == nil {
		p, err := startProduct(ctx, filepath.Join(b.dir, "product"), b.log)
		if err != nil {
			return nil, err
		}
		b.inProcess = p
	}
	return b.inProcess, nil
}

// floor is the floor's host.
func (b *bench) floor(ctx context.Context) (*floorHost, error) {
	if b.byHand == nil {
		h, err := newFloorHost(ctx, filepath.Join(b.dir, "floor"), b.log)
		if err != nil {
			return nil, err
		}
		b.byHand = h
	}
	return b.byHand, nil
}

// worker is the i-th thread of the floor.
func (b *bench) worker(ctx context.Context, i int) (*worker, error) {
	h, err := b.floor(ctx)
	if err != nil {
		return nil, err
	}
	for len(b.workers) <= i {
		w, err := h.worker()
		if err != nil {
			return nil, err
		}
		b.workers = append(b.workers, w)
	}
	return b.workers[i], nil
}

// daemon is the daemon in a process of its own.
func (b *bench) daemon(ctx context.Context) (*daemonProcess, error) {
	if b.apart == nil {
		d, err := newDaemonProcess(ctx, filepath.Join(b.dir, "daemon"))
		if err != nil {
			return nil, err
		}
		b.apart = d
	}
	return b.apart, nil
}

// close ends what was started.
func (b *bench) close() error {
	var errs []error
	for _, w := range b.workers {
		errs = append(errs, w.end())
	}
	if b.byHand != nil {
		errs = append(errs, b.byHand.close())
	}
	if b.apart != nil {
		errs = append(errs, b.apart.close())
	}
	if b.inProcess != nil {
		errs = append(errs, b.inProcess.stop())
	}
	return errors.Join(errs...)
}

// measure runs the chosen parts.
func (b *bench) measure(ctx context.Context) ([]group, error) {
	var groups []group
	for _, m := range measurements() {
		if b.run != nil && !b.run.MatchString(m.name) {
			continue
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		start := time.Now()
		figures, err := m.run(ctx, b)
		if err != nil {
			return groups, fmt.Errorf("%s: %w", m.name, err)
		}
		runtime.ReadMemStats(&after)
		fmt.Fprintf(b.progress, "%-9s %6.1f s, %d collections of garbage\n", m.name, time.Since(start).Seconds(), after.NumGC-before.NumGC)
		groups = append(groups, group{m.name, figures})
		debug.FreeOSMemory()
	}
	return groups, nil
}

// times chooses between the number of the full and of the short benchmark.
func (b *bench) times(full, short int) int {
	if b.short {
		return short
	}
	return full
}
