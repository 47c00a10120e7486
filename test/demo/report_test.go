// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"
)

// TestReport runs rows that pass, fail and cannot begin, and compares the table.
func TestReport(t *testing.T) {
	t.Parallel()
	fine := func(context.Context, *world) error { return nil }
	wrong := func(context.Context, *world) error { return errors.New("first line\nsecond line") }
	rows := []row{
		{name: "good", shows: "what is right", setup: fine, broken: wrong, check: fine},
		{name: "bad", shows: "what is wrong", setup: fine, broken: fine, check: wrong},
		{name: "ugly", shows: "what cannot begin", setup: wrong, broken: fine, check: fine},
	}
	var out strings.Builder
	rep := report{out: &out}
	rep.head()
	for i := range rows {
		res := rows[i].run(t.Context(), nil, false)
		res.Millis = 7
		rep.add(res)
	}
	status, err := rep.end(1500 * time.Millisecond)
	if status != statusFailed || err != nil {
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
	if res := rows[0].run(t.Context(), nil, true); res.Verdict != inError || !strings.HasPrefix(res.Detail, "break: ") {
		t.Errorf("a row that cannot be broken: %+v", res)
	}
}

// TestReportJSON has one object, and a status other than 0 where nothing was run.
func TestReportJSON(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	rep := report{out: &out, json: true}
	rep.head()
	if status, err := rep.end(0); status != statusFailed || err != nil {
		t.Errorf("no row: status %d, error %v", status, err)
	}
	out.Reset()
	rep.add(result{Row: "r", Shows: "s", Verdict: passed, Millis: 3})
	if status, err := rep.end(0); status != 0 || err != nil {
		t.Errorf("one passed row: status %d, error %v", status, err)
	}
	const want = `{"rows":[{"row":"r","shows":"s","result":"passed","ms":3}],"passed":1,"failed":0}`
	if got := strings.Join(strings.Fields(out.String()), ""); got != want {
		t.Errorf("got %s", got)
	}
}

// TestTable checks that rows are complete, fit the columns, and are explained.
func TestTable(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, r := range table() {
		if r.setup == nil || r.broken == nil || r.check == nil || r.breaks == "" {
			t.Errorf("row %s is not complete", r.name)
		}
		if len(r.name) > nameWidth || len(r.shows) > showsWidth {
			t.Errorf("row %s is too wide: name %d of %d, shows %d of %d", r.name, len(r.name), nameWidth, len(r.shows), showsWidth)
		}
		if seen[r.name] {
			t.Errorf("there are two rows %s", r.name)
		}
		seen[r.name] = true
		if line := "| `" + r.name + "` | " + r.shows + " | " + r.breaks + " |"; !strings.Contains(string(readme), line) {
			t.Errorf("README.md does not have the line\n%s", line)
		}
	}
}

// TestChoose keeps the table's order and names what is not in it.
func TestChoose(t *testing.T) {
	t.Parallel()
	rows := []row{{name: "one"}, {name: "two"}, {name: "three"}}
	got, err := choose(rows, []string{"three", "one"})
	if err != nil || len(got) != 2 || got[0].name != "one" || got[1].name != "three" {
		t.Errorf("got %v, %v", got, err)
	}
	if _, err := choose(rows, []string{"one", "four"}); err == nil || !strings.Contains(err.Error(), `"four"`) {
		t.Errorf("an unknown row: %v", err)
	}
}

// TestUsage refuses a wrong command line with status 2 before anything is made.
func TestUsage(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"-row", "none-such"}, {"-break", "none-such"}, {"-break", "flush", "-row", "gone"}, {"extra"}, {"-wrong"}, {"-cnm", "/none/such"},
	} {
		var out, errOut strings.Builder
		if status := outerMain(args, &out, &errOut); status != statusUsage || errOut.Len() == 0 || out.Len() > 0 {
			t.Errorf("%v: status %d, %q, %q", args, status, out.String(), errOut.String())
		}
	}
	var out strings.Builder
	if status := outerMain([]string{"-list"}, &out, &out); status != 0 || !strings.Contains(out.String(), "kill-tcp") {
		t.Errorf("-list: status %d, %s", status, out.String())
	}
}

// TestTranscript waits for lines that come in pieces, and for an end.
func TestTranscript(t *testing.T) {
	t.Parallel()
	tr := newTranscript()
	is := func(want string) func(string) bool { return func(line string) bool { return line == want } }
	found := make(chan error, 1)
	go func() {
		_, err := tr.await(t.Context(), 0, is("second"))
		found <- err
	}()
	for _, piece := range []string{"fir", "st\nsec", "ond\nthi"} {
		if n, err := tr.Write([]byte(piece)); n != len(piece) || err != nil {
			t.Fatal(n, err)
		}
	}
	if err := <-found; err != nil {
		t.Error(err)
	}
	if tr.tail(5) != "first\nsecond\n" || tr.tail(1) != "second\n" {
		t.Errorf("lines %q, the last %q", tr.tail(5), tr.tail(1))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := tr.await(ctx, 2, is("first")); !errors.Is(err, context.Canceled) {
		t.Errorf("an old line was taken: %v", err)
	}
	tr.end()
	if _, err := tr.await(t.Context(), 0, is("third")); err == nil || !strings.Contains(err.Error(), "ended") {
		t.Errorf("after the end: %v", err)
	}
}
