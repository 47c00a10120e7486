// SPDX-License-Identifier: Apache-2.0

package table

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Step makes or checks something in the world that the rows share.
type Step[W any] func(ctx context.Context, w W) error

// Row is one line of the table: a promise, and a way to take away what keeps it.
type Row[W any] struct {
	Name   string // one word, for -row and -break
	Shows  string // what a passed row has shown
	Breaks string // what Broken does in place of Setup
	// Setup makes what the row needs and is not there yet. Broken does so with the
	// row's mechanism switched off.
	Setup, Broken Step[W]
	// Check is nil only if everything that the row shows was seen.
	Check Step[W]
}

// Verdict is how a row ended.
type Verdict string

// The verdicts. A row is in error where its check could not begin, which says
// nothing about what it shows.
const (
	Passed  Verdict = "passed"
	Failed  Verdict = "failed"
	InError Verdict = "error"
)

// Result is a row that was run.
type Result struct {
	Row     string  `json:"row"`
	Shows   string  `json:"shows"`
	Verdict Verdict `json:"result"`
	Millis  int64   `json:"ms"` // with its setup
	Detail  string  `json:"detail,omitempty"`
}

// Run runs the row, within the limit. With sabotage its mechanism is switched
// off.
func (r *Row[W]) Run(ctx context.Context, w W, limit time.Duration, sabotage bool) Result {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	began := time.Now()
	out := Result{Row: r.Name, Shows: r.Shows, Verdict: Passed}
	prepare, word := r.Setup, "set up"
	if sabotage {
		prepare, word = r.Broken, "break"
	}
	if err := prepare(ctx, w); err != nil {
		out.Verdict, out.Detail = InError, fmt.Sprintf("%s: %v", word, err)
	} else if err := r.Check(ctx, w); err != nil {
		out.Verdict, out.Detail = Failed, err.Error()
	}
	out.Millis = time.Since(began).Milliseconds()
	return out
}

// Steps is one step that takes others in order, up to the first that fails.
func Steps[W any](all ...Step[W]) Step[W] {
	return func(ctx context.Context, w W) error {
		for _, step := range all {
			if err := step(ctx, w); err != nil {
				return err
			}
		}
		return nil
	}
}

// choose gives the rows of those names, in the table's order; all of them for
// none.
func choose[W any](rows []Row[W], names []string) ([]Row[W], error) {
	if len(names) == 0 {
		return rows, nil
	}
	wanted := map[string]bool{}
	for _, name := range names {
		wanted[name] = true
	}
	var out []Row[W]
	for _, r := range rows {
		if wanted[r.Name] {
			out = append(out, r)
			delete(wanted, r.Name)
		}
	}
	var errs []error
	for name := range wanted {
		errs = append(errs, fmt.Errorf("there is no row %q; -list names them", name))
	}
	return out, errors.Join(errs...)
}

// Complete is nil if every row has all its parts and a name of its own, fits its
// columns, and is a line of the README's table: row, what it shows, what breaks
// it.
func Complete[W any](rows []Row[W], readme string) error {
	var errs []error
	seen := map[string]bool{}
	for _, r := range rows {
		if r.Setup == nil || r.Broken == nil || r.Check == nil || r.Breaks == "" {
			errs = append(errs, fmt.Errorf("row %s is not complete", r.Name))
		}
		if len(r.Name) > nameWidth || len(r.Shows) > showsWidth {
			errs = append(errs, fmt.Errorf("row %s is too wide: its name is %d of %d, what it shows %d of %d", r.Name, len(r.Name), nameWidth, len(r.Shows), showsWidth))
		}
		if seen[r.Name] {
			errs = append(errs, fmt.Errorf("there are two rows %s", r.Name))
		}
		seen[r.Name] = true
		if line := "| `" + r.Name + "` | " + r.Shows + " | " + r.Breaks + " |"; !strings.Contains(readme, line) {
			errs = append(errs, fmt.Errorf("the README does not have the line\n%s", line))
		}
	}
	return errors.Join(errs...)
}
