// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/libnetwork/cnm/kernel/netns"
)

// Exit statuses. A failed row is statusFailed.
const (
	statusFailed = 1
	statusUsage  = 2
)

// First arguments of the program when it starts itself.
const (
	asStage  = "stage"  // on the stage: run the rows
	asServer = "server" // in a sandbox: be the web server
)

// daemonHome is on the stage's own tmpfs, which nobody else sees.
const daemonHome = "/run/cnm-demo"

func main() {
	args := os.Args[1:]
	switch {
	case len(args) > 0 && args[0] == asServer:
		os.Exit(serverMain())
	case len(args) > 0 && args[0] == asStage:
		os.Exit(stageMain(args[1:]))
	default:
		os.Exit(outerMain(args, os.Stdout, os.Stderr))
	}
}

// options are the command line.
type options struct {
	cnm      string   // path of the binary
	rows     []string // names; none: all
	sabotage string
	json     bool
	list     bool
	limit    time.Duration
}

// names collects a flag that may be repeated.
type names []string

func (n *names) String() string     { return fmt.Sprint([]string(*n)) }
func (n *names) Set(s string) error { *n = append(*n, s); return nil }

// parse reads the command line.
func parse(args []string, errOut io.Writer) (options, error) {
	var o options
	fl := flag.NewFlagSet("demo", flag.ContinueOnError)
	fl.SetOutput(errOut)
	fl.StringVar(&o.cnm, "cnm", "bin/cnm", "the `binary` to show")
	fl.Var((*names)(&o.rows), "row", "run only the row of this `name`; may be repeated")
	fl.StringVar(&o.sabotage, "break", "", "run only the row of this `name`, with its mechanism switched off: it must fail")
	fl.BoolVar(&o.json, "json", false, "print one JSON object at the end")
	fl.BoolVar(&o.list, "list", false, "print the rows and what -break does to each")
	fl.DurationVar(&o.limit, "timeout", 2*time.Minute, "give up after this long")
	if err := fl.Parse(args); err != nil {
		return o, err
	}
	if fl.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", fl.Arg(0))
	}
	if o.sabotage != "" {
		if len(o.rows) > 0 {
			return o, errors.New("-break runs its own row; leave out -row")
		}
		o.rows = []string{o.sabotage}
	}
	_, err := choose(table(), o.rows)
	return o, err
}

// outerMain is the program as it is called: it starts itself on the stage.
func outerMain(args []string, out, errOut io.Writer) int {
	o, err := parse(args, errOut)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		fmt.Fprintln(errOut, "demo:", err)
		return statusUsage
	}
	if o.list {
		return list(out)
	}
	err = isolated(o, args, out, errOut)
	var ended *exec.ExitError
	if errors.As(err, &ended) && ended.Exited() {
		return ended.ExitCode()
	}
	if err != nil {
		fmt.Fprintln(errOut, "demo:", err)
		return statusUsage
	}
	return 0
}

// isolated runs the program on the stage.
func isolated(o options, args []string, out, errOut io.Writer) error {
	path, err := filepath.Abs(o.cnm)
	if err != nil {
		return err
	}
	if _, err := os.Stat(path); err != nil {
		return fmt.Errorf("%w; build it with: CGO_ENABLED=0 go build -o bin/cnm ./cmd/cnm", err)
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(context.Background(), o.limit, fmt.Errorf("not done within %v", o.limit))
	defer cancel()
	args = append(append([]string{asStage}, args...), "-cnm", path)
	cmd := exec.CommandContext(ctx, self, args...)
	cmd.Stdout, cmd.Stderr = out, errOut
	err = netns.RunIsolated(cmd)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// list prints the rows.
func list(out io.Writer) int {
	for _, r := range table() {
		if _, err := fmt.Fprintf(out, "%-*s  %s\n%-*s    broken: %s\n", nameWidth, r.name, r.shows, nameWidth, "", r.breaks); err != nil {
			return statusFailed
		}
	}
	return 0
}

// stageMain is the program on the stage.
func stageMain(args []string) int {
	o, err := parse(args, os.Stderr)
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		return statusUsage
	}
	status, err := perform(context.Background(), o, os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		return max(status, statusUsage)
	}
	return status
}

// perform builds the stage and runs the rows on it.
func perform(ctx context.Context, o options, out io.Writer) (status int, err error) {
	began := time.Now()
	if err := netns.PrepareStage(); err != nil {
		return 0, err
	}
	st, err := buildStage(ctx)
	if err != nil {
		return 0, fmt.Errorf("build the stage: %w", err)
	}
	defer st.close()
	w, err := newWorld(st, o.cnm, daemonHome)
	if err != nil {
		return 0, err
	}
	defer w.close()
	rows, err := choose(table(), o.rows)
	if err != nil {
		return 0, err
	}
	rep := report{out: out, json: o.json}
	rep.head()
	for _, r := range rows {
		rep.add(r.run(ctx, w, o.sabotage == r.name))
	}
	if rep.Failed > 0 {
		fmt.Fprint(os.Stderr, w.complaints())
	}
	return rep.end(time.Since(began))
}
