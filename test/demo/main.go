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
	"github.com/libnetwork/cnm/test/table"
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
	table.Options

	cnm string // path of the binary
}

// rowTime bounds one row with all it sets up.
const rowTime = 20 * time.Second

// parse reads the command line.
func parse(args []string, errOut io.Writer) (options, error) {
	o := options{Options: table.Options{Limit: 2 * time.Minute, RowLimit: rowTime}}
	fl := flag.NewFlagSet("demo", flag.ContinueOnError)
	fl.SetOutput(errOut)
	fl.StringVar(&o.cnm, "cnm", "bin/cnm", "the `binary` to show")
	return o, table.Parse(&o.Options, fl, args, allRows())
}

// outerMain is the program as it is called: it starts itself on the stage.
func outerMain(args []string, out, errOut io.Writer) int {
	o, err := parse(args, errOut)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		fmt.Fprintln(errOut, "demo:", err)
		return table.StatusUsage
	}
	if o.List {
		return table.List(out, allRows())
	}
	err = isolated(o, args, out, errOut)
	var ended *exec.ExitError
	if errors.As(err, &ended) && ended.Exited() {
		return ended.ExitCode()
	}
	if err != nil {
		fmt.Fprintln(errOut, "demo:", err)
		return table.StatusUsage
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
	ctx, cancel := context.WithTimeoutCause(context.Background(), o.Limit, fmt.Errorf("not done within %v", o.Limit))
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

// stageMain is the program on the stage.
func stageMain(args []string) int {
	o, err := parse(args, os.Stderr)
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		return table.StatusUsage
	}
	status, err := perform(context.Background(), o, os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		return max(status, table.StatusUsage)
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
	show := table.Show[*world]{
		Rows: allRows(), Options: o.Options, World: w, Out: out, Began: began,
		Failed: func() { fmt.Fprint(os.Stderr, w.complaints()) },
	}
	return show.Perform(ctx)
}
