// SPDX-License-Identifier: Apache-2.0

package table

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

// TestReport runs rows that pass, fail and cannot begin, and compares the table.
func TestReport(t *testing.T) {
	t.Parallel()
	fine := func(context.Context, int) error { return nil }
	wrong := func(context.Context, int) error { return errors.New("first line\nsecond line") }
	rows := []Row[int]{
		{Name: "good", Shows: "what is right", Setup: fine, Broken: wrong, Check: fine},
		{Name: "bad", Shows: "what is wrong", Setup: fine, Broken: fine, Check: wrong},
		{Name: "ugly", Shows: "what cannot begin", Setup: wrong, Broken: fine, Check: fine},
	}
	var out strings.Builder
	rep := Report{out: &out}
	rep.head()
	for i := range rows {
		res := rows[i].Run(t.Context(), 0, time.Minute, false)
		res.Millis = 7
		rep.add(res)
	}
	status, err := rep.end(1500 * time.Millisecond)
	if status != StatusFailed || err != nil {
		t.Errorf("status %d, error %v", status, err)
	}
	pad := func(s string, n int) string { return s + strings.Repeat(" ", n-len(s)) }
	line := func(verdict, name, shows, ms string) string {
		return pad(verdict, verdictWidth) + "  " + pad(name, nameWidth) + "  " + pad(shows, showsWidth) + "  " + ms + "\n"
	}
	want := line("RESULT", "ROW", "WHAT WAS CHECKED", "    MS") +
		line("passed", "good", "what is right", "     7") +
		line("FAILED", "bad", "what is wrong", "     7") +
		"        first line\n        second line\n" +
		line("ERROR", "ugly", "what cannot begin", "     7") +
		"        set up: first line\n        second line\n" +
		"1 passed, 2 failed in 1.5 s\n"
	if out.String() != want {
		t.Errorf("got\n%s\nwanted\n%s", out.String(), want)
	}
	if res := rows[0].Run(t.Context(), 0, time.Minute, true); res.Verdict != InError || !strings.HasPrefix(res.Detail, "break: ") {
		t.Errorf("a row that cannot be Broken: %+v", res)
	}
}

// TestReportJSON has one object, and a status other than 0 where nothing was run.
func TestReportJSON(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	rep := Report{out: &out, json: true}
	rep.head()
	if status, err := rep.end(0); status != StatusFailed || err != nil {
		t.Errorf("no row: status %d, error %v", status, err)
	}
	out.Reset()
	rep.add(Result{Row: "r", Shows: "s", Verdict: Passed, Millis: 3})
	if status, err := rep.end(0); status != 0 || err != nil {
		t.Errorf("one passed row: status %d, error %v", status, err)
	}
	const want = `{"rows":[{"row":"r","shows":"s","result":"passed","ms":3}],"passed":1,"failed":0}`
	if got := strings.Join(strings.Fields(out.String()), ""); got != want {
		t.Errorf("got %s", got)
	}
}

// TestChoose keeps the table's order and names what is not in it.
func TestChoose(t *testing.T) {
	t.Parallel()
	rows := []Row[int]{{Name: "one"}, {Name: "two"}, {Name: "three"}}
	got, err := choose(rows, []string{"three", "one"})
	if err != nil || len(got) != 2 || got[0].Name != "one" || got[1].Name != "three" {
		t.Errorf("got %v, %v", got, err)
	}
	if _, err := choose(rows, []string{"one", "four"}); err == nil || !strings.Contains(err.Error(), `"four"`) {
		t.Errorf("an unknown row: %v", err)
	}
}

// TestComplete finds each fault that a row can have.
func TestComplete(t *testing.T) {
	t.Parallel()
	fine := func(context.Context, int) error { return nil }
	good := Row[int]{Name: "good", Shows: "what is right", Breaks: "it is left out", Setup: fine, Broken: fine, Check: fine}
	const readme = "| row |\n| `good` | what is right | it is left out |\n"
	if err := Complete([]Row[int]{good}, readme); err != nil {
		t.Error(err)
	}
	unbroken, wide, untold := good, good, good
	unbroken.Broken = nil
	wide.Shows = strings.Repeat("w", showsWidth+1)
	untold.Breaks = "something else"
	for want, rows := range map[string][]Row[int]{
		"is not complete": {unbroken}, "is too wide": {wide}, "two rows good": {good, good}, "does not have the line": {untold},
	} {
		if err := Complete(rows, readme); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// TestSteps goes no further than the first that fails.
func TestSteps(t *testing.T) {
	t.Parallel()
	taken := 0
	count := func(context.Context, int) error { taken++; return nil }
	wrong := func(context.Context, int) error { return errors.New("wrong") }
	if err := Steps(count, count, wrong, count)(t.Context(), 0); err == nil || taken != 2 {
		t.Errorf("%d steps were taken, %v", taken, err)
	}
}
