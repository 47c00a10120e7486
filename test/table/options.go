// SPDX-License-Identifier: Apache-2.0

package table

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"time"
)

// Exit statuses of a program. One that shows all rows ends with 0.
const (
	StatusFailed = 1 // a row has not passed
	StatusUsage  = 2 // the command line or the machine did not let it begin
)

// Options are what every program with a table is told by its command line.
type Options struct {
	Rows     []string      // names; none: all
	Sabotage string        // the row whose mechanism is switched off; "" is none
	JSON     bool          // print one object at the end
	List     bool          // print the rows, and run none
	Limit    time.Duration // of the whole run
	RowLimit time.Duration // of one row with all it sets up
}

// names collects a flag that may be repeated.
type names []string

func (n *names) String() string     { return fmt.Sprint([]string(*n)) }
func (n *names) Set(s string) error { *n = append(*n, s); return nil }

// Parse reads a command line. The program may have put flags of its own into fl,
// and a Limit and RowLimit into o. The error is for the user, or flag.ErrHelp.
func Parse[W any](o *Options, fl *flag.FlagSet, args []string, rows []Row[W]) error {
	fl.Var((*names)(&o.Rows), "row", "run only the row of this `name`; may be repeated")
	fl.StringVar(&o.Sabotage, "break", "", "run only the row of this `name`, with its mechanism switched off: it must fail")
	fl.BoolVar(&o.JSON, "json", false, "print one JSON object at the end")
	fl.BoolVar(&o.List, "list", false, "print the rows and what -break does to each")
	fl.DurationVar(&o.Limit, "timeout", o.Limit, "give up after this long")
	if err := fl.Parse(args); err != nil {
		return err
	}
	if fl.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", fl.Arg(0))
	}
	if o.Sabotage != "" {
		if len(o.Rows) > 0 {
			return errors.New("-break runs its own row; leave out -row")
		}
		o.Rows = []string{o.Sabotage}
	}
	_, err := choose(rows, o.Rows)
	return err
}

// List prints the rows, and gives the exit status.
func List[W any](out io.Writer, rows []Row[W]) int {
	for _, r := range rows {
		if _, err := fmt.Fprintf(out, "%-*s  %s\n%-*s    broken: %s\n", nameWidth, r.Name, r.Shows, nameWidth, "", r.Breaks); err != nil {
			return StatusFailed
		}
	}
	return 0
}

// Show is a run of a table.
type Show[W any] struct {
	Rows    []Row[W]
	Options Options
	World   W
	Out     io.Writer
	Began   time.Time // before its world was made
	Failed  func()    // is called at the end if a row has not passed, to tell more
}

// Perform runs the rows that the options name, prints what they came to, and
// gives the exit status.
func (s *Show[W]) Perform(ctx context.Context) (status int, err error) {
	rows, err := choose(s.Rows, s.Options.Rows)
	if err != nil {
		return StatusUsage, err
	}
	rep := Report{out: s.Out, json: s.Options.JSON}
	rep.head()
	for i := range rows {
		rep.add(rows[i].Run(ctx, s.World, s.Options.RowLimit, s.Options.Sabotage == rows[i].Name))
	}
	if rep.Failed > 0 {
		s.Failed()
	}
	return rep.end(time.Since(s.Began))
}
