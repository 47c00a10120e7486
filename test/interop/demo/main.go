// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/libnetwork/cnm/test/interop/engine"
	"github.com/libnetwork/cnm/test/interop/place"
	"github.com/libnetwork/cnm/test/table"
)

func main() {
	if place.Play() {
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	status := demo(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}

// options are the command line.
type options struct {
	table.Options

	generation engine.Generation
}

// parse reads the command line.
func parse(args []string, errOut io.Writer) (options, error) {
	o := options{Options: table.Options{Limit: 5 * time.Minute, RowLimit: time.Minute}}
	fl := flag.NewFlagSet("demo", flag.ContinueOnError)
	fl.SetOutput(errOut)
	fl.StringVar((*string)(&o.generation), "docker", string(engine.Current), "the Docker `generation`: current, or debian for the distribution's own")
	if err := table.Parse(&o.Options, fl, args, allRows()); err != nil {
		return o, err
	}
	if !slices.Contains(engine.Generations(), o.generation) {
		return o, fmt.Errorf("there is no Docker %q, only %q", o.generation, engine.Generations())
	}
	return o, nil
}

// demo is the program.
func demo(ctx context.Context, args []string, out, errOut io.Writer) (status int) {
	o, err := parse(args, errOut)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err == nil && o.List {
		return table.List(out, allRows())
	}
	if err != nil {
		fmt.Fprintln(errOut, "demo:", err)
		return table.StatusUsage
	}
	status, err = perform(ctx, o, out, errOut)
	if err != nil {
		fmt.Fprintln(errOut, "demo:", err)
		return max(status, table.StatusFailed)
	}
	return status
}

// perform makes the world and runs the rows in it.
func perform(ctx context.Context, o options, out, errOut io.Writer) (status int, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, o.Limit, fmt.Errorf("not done within %v", o.Limit))
	defer cancel()
	began := time.Now()
	w := newWorld(newStand(ctx, errOut), o.generation)
	defer func() { err = errors.Join(err, w.end()) }()
	if err := w.try(ctx, w.start); err != nil {
		return table.StatusUsage, err
	}
	show := table.Show[*world]{
		Rows: allRows(), Options: o.Options, World: w, Out: out, Began: began, Failed: w.fail,
	}
	return show.Perform(ctx)
}
