// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// rowTime bounds one row with all it sets up.
const rowTime = 20 * time.Second

// row is one line of the table: something that cnm promises, and a way to take that away.
type row struct {
	name   string // one word, for -row and -break
	shows  string // what a passed row has shown
	breaks string // what broken does in place of setup
	// setup makes what the row needs and is not there yet. broken does so with the row's mechanism switched off.
	setup, broken func(ctx context.Context, w *world) error
	// check is nil only if everything that the row shows was seen.
	check func(ctx context.Context, w *world) error
}

// verdict is how a row ended.
type verdict string

// The verdicts. A row is in error where its check could not begin, which says nothing about what it shows.
const (
	passed  verdict = "passed"
	failed  verdict = "failed"
	inError verdict = "error"
)

// result is a row that was run.
type result struct {
	Row     string  `json:"row"`
	Shows   string  `json:"shows"`
	Verdict verdict `json:"result"`
	Millis  int64   `json:"ms"` // with its setup
	Detail  string  `json:"detail,omitempty"`
}

// run runs the row. With sabotage its mechanism is switched off.
func (r *row) run(ctx context.Context, w *world, sabotage bool) result {
	ctx, cancel := context.WithTimeout(ctx, rowTime)
	defer cancel()
	began := time.Now()
	out := result{Row: r.name, Shows: r.shows, Verdict: passed}
	prepare, word := r.setup, "set up"
	if sabotage {
		prepare, word = r.broken, "break"
	}
	if err := prepare(ctx, w); err != nil {
		out.Verdict, out.Detail = inError, fmt.Sprintf("%s: %v", word, err)
	} else if err := r.check(ctx, w); err != nil {
		out.Verdict, out.Detail = failed, err.Error()
	}
	out.Millis = time.Since(began).Milliseconds()
	return out
}

// choose gives the rows of those names, in the table's order; all of them for none.
func choose(rows []row, names []string) ([]row, error) {
	if len(names) == 0 {
		return rows, nil
	}
	wanted := map[string]bool{}
	for _, name := range names {
		wanted[name] = true
	}
	var out []row
	for _, r := range rows {
		if wanted[r.name] {
			out = append(out, r)
			delete(wanted, r.name)
		}
	}
	var errs []error
	for name := range wanted {
		errs = append(errs, fmt.Errorf("there is no row %q; -list names them", name))
	}
	return out, errors.Join(errs...)
}
