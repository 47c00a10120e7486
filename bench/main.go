// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"regexp"
	"runtime/pprof"
	"strings"
	"syscall"

	"github.com/libnetwork/cnm/kernel/netns"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:])
	var ended *exec.ExitError
	switch {
	case os.Getenv(roleKey) == "" && errors.As(err, &ended): // it has said why
		os.Exit(1)
	case err != nil:
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// run plays the role that the environment names: the first process only starts the second in new namespaces.
func run(ctx context.Context, args []string) error {
	if played, err := play(ctx); played {
		return err
	}
	o, err := parse(args)
	if err != nil {
		return err
	}
	if os.Getenv(roleKey) == roleStage {
		return stage(ctx, o)
	}
	cmd, err := reexec(ctx, roleStage, "")
	if err != nil {
		return err
	}
	cmd.Stdout = os.Stdout
	return netns.RunIsolated(cmd)
}

// parse reads the flags.
func parse(args []string) (options, error) {
	var o options
	var full bool
	var pattern string
	fs := flag.NewFlagSet("bench", flag.ExitOnError)
	fs.BoolVar(&o.short, "short", false, "take few samples, about a minute's worth, and fail only at twice a limit")
	fs.BoolVar(&full, "full", false, "take all samples (what is done without -short)")
	fs.StringVar(&pattern, "run", "", "measure only the parts whose names match: "+strings.Join(names(), ", "))
	fs.Float64Var(&o.limit, "limit", 0, "fail only where a figure misses its limit by more than this factor (default 1, with -short 2)")
	fs.StringVar(&o.results, "o", "", "write the table to this file too (without -short it is bench/results.md; - for none)")
	fs.StringVar(&o.json, "json", "", "write the figures as JSON to this file")
	fs.StringVar(&o.profile, "cpuprofile", "", "write a profile of the measuring process, with the product in it, to this file")
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	if fs.NArg() > 0 || full && o.short {
		return o, errors.New("give flags only, and one of -short and -full; see -help")
	}
	switch {
	case o.results == "-":
		o.results = ""
	case o.results == "" && !o.short:
		o.results = "bench/results.md"
	}
	if o.limit == 0 {
		o.limit = 1
		if o.short {
			o.limit = 2
		}
	}
	var err error
	if pattern != "" {
		o.run, err = regexp.Compile(pattern)
	}
	return o, err
}

func names() []string {
	var all []string
	for _, m := range measurements() {
		all = append(all, m.name)
	}
	return all
}

// stage measures, in the namespaces that the first process has made.
func stage(ctx context.Context, o options) (err error) {
	if err := netns.PrepareStage(); err != nil {
		return err
	}
	if o.profile != "" {
		file, err := os.Create(o.profile)
		if err != nil {
			return err
		}
		defer file.Close()
		if err := pprof.StartCPUProfile(file); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	b := &bench{options: o, log: logger(), dir: "/run/bench", progress: os.Stderr}
	groups, err := b.measure(ctx)
	err = errors.Join(err, b.close(), report(os.Stdout, o, groups))
	if n := len(missed(groups, o.limit)); n > 0 {
		err = errors.Join(err, fmt.Errorf("%d figures miss their limits by more than a factor of %s", n, number(o.limit)))
	}
	return err
}

// report writes the table and what else is asked for.
func report(w io.Writer, o options, groups []group) error {
	errs := []error{writeTable(w, groups, o.limit)}
	if o.results != "" {
		var text strings.Builder
		errs = append(errs, writeTable(&text, groups, o.limit), os.WriteFile(o.results, []byte(text.String()), 0o644))
	}
	if o.json != "" {
		data, err := json.MarshalIndent(groups, "", "  ")
		errs = append(errs, err, os.WriteFile(o.json, append(data, '\n'), 0o644))
	}
	return errors.Join(errs...)
}
