// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"
)

// event is one line of go test -json.
type event struct {
	Action  string  `json:"Action"`
	Package string  `json:"Package"`
	Test    string  `json:"Test"`
	Elapsed float64 `json:"Elapsed"` // seconds
	Output  string  `json:"Output"`
}

// id names a test: its package and its name with those of the tests around it.
func (e event) id() string { return e.Package + "." + e.Test }

// counts is what became of tests.
type counts struct{ passed, failed, skipped int }

// results is what is known so far.
type results struct {
	out      io.Writer
	output   map[string][]string // by test, or by package with no test
	parents  map[string]bool     // tests that have tests of their own: only the innermost are counted
	states   map[string]string   // the action that ended each test
	packages map[string]counts   // of packages that ended
	broken   []string            // packages that failed outside of a test
	faults   []string            // what judge found
}

func newResults(out io.Writer) *results {
	return &results{out: out, output: map[string][]string{}, parents: map[string]bool{}, states: map[string]string{}, packages: map[string]counts{}}
}

// read takes everything in and prints a line for each package as it ends.
func (r *results) read(in io.Reader) error {
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			r.line(line)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// line takes one line in. What is no event is passed on.
func (r *results) line(line []byte) {
	var e event
	if err := json.Unmarshal(line, &e); err != nil || e.Action == "" {
		fmt.Fprintf(r.out, "%s", line)
		return
	}
	switch e.Action {
	case "output":
		r.output[e.id()] = append(r.output[e.id()], e.Output)
	case "build-output":
		fmt.Fprint(r.out, e.Output)
	case "run":
		if at := strings.LastIndexByte(e.Test, '/'); at >= 0 {
			r.parents[e.Package+"."+e.Test[:at]] = true
		}
	case "pass", "fail", "skip":
		if e.Test == "" {
			r.endPackage(e)
		} else {
			r.states[e.id()] = e.Action
		}
	}
}

// endPackage counts a package's tests and prints its line, after the output of those that failed.
func (r *results) endPackage(e event) {
	var c counts
	for _, id := range slices.Sorted(maps.Keys(r.states)) {
		if !r.in(e.Package, id) {
			continue
		}
		switch {
		case r.states[id] == "fail":
			r.printFailed(id)
			if !r.parents[id] || !r.childFailed(id) {
				c.failed++
			}
		case r.parents[id]:
		case r.states[id] == "skip":
			c.skipped++
		default:
			c.passed++
		}
	}
	if e.Action == "fail" && c.failed == 0 {
		fmt.Fprint(r.out, strings.Join(r.output[e.id()], ""))
		r.broken = append(r.broken, e.Package)
		c.failed++
	}
	r.packages[e.Package] = c
	took := time.Duration(e.Elapsed * float64(time.Second)).Round(10 * time.Millisecond)
	if e.Action == "skip" {
		fmt.Fprintf(r.out, "-     %s (no tests)\n", e.Package)
		return
	}
	fmt.Fprintf(r.out, "%-5s %-60s %4d passed %3d failed %3d skipped %8s\n", e.Action, e.Package, c.passed, c.failed, c.skipped, took)
}

// printFailed prints what a failed test said, less the lines that only say that it runs.
func (r *results) printFailed(id string) {
	for _, line := range r.output[id] {
		if !strings.HasPrefix(line, "=== ") {
			fmt.Fprint(r.out, line)
		}
	}
}

// in tells whether a test is one of the package's.
func (r *results) in(pkg, id string) bool {
	rest, ok := strings.CutPrefix(id, pkg+".")
	return ok && !strings.Contains(strings.SplitN(rest, "/", 2)[0], ".")
}

// childFailed tells whether a test below this one failed, and so accounts for its failure.
func (r *results) childFailed(id string) bool {
	for other, state := range r.states {
		if state == "fail" && strings.HasPrefix(other, id+"/") {
			return true
		}
	}
	return false
}

// judge holds what was skipped against the list of what may be.
func (r *results) judge(allowed map[string]string) {
	for _, id := range slices.Sorted(maps.Keys(r.states)) {
		_, listed := allowed[id]
		switch state := r.states[id]; {
		case r.parents[id]:
		case state == "skip" && !listed:
			r.faults = append(r.faults, id+" was skipped and is not on the list of those that may be")
		case state != "skip" && listed:
			r.faults = append(r.faults, id+" ran and is on the list of those that do not: take it off")
		}
	}
	for _, id := range slices.Sorted(maps.Keys(allowed)) {
		if _, known := r.states[id]; !known {
			r.faults = append(r.faults, id+" is on the list of those that do not run, and there is no such test")
		}
	}
}

// conclude prints what was skipped, what is wrong, and the closing line, which it returns.
func (r *results) conclude() string {
	var total counts
	for _, c := range r.packages {
		total.passed += c.passed
		total.failed += c.failed
		total.skipped += c.skipped
	}
	if total.skipped > 0 {
		fmt.Fprintf(r.out, "\n%d skipped:\n", total.skipped)
		for _, id := range slices.Sorted(maps.Keys(r.states)) {
			if r.states[id] == "skip" && !r.parents[id] {
				fmt.Fprintf(r.out, "  %s: %s\n", id, reason(r.output[id]))
			}
		}
	}
	for _, f := range r.faults {
		fmt.Fprintf(r.out, "fail  %s\n", f)
	}
	line := fmt.Sprintf("%d passed, %d failed", total.passed, total.failed+len(r.faults))
	fmt.Fprintf(r.out, "\n%s\n", line)
	return line
}

// ok tells whether something ran and nothing failed.
func (r *results) ok() bool {
	passed := 0
	for _, c := range r.packages {
		if c.failed > 0 {
			return false
		}
		passed += c.passed
	}
	return passed > 0 && len(r.faults) == 0
}

// reason is what a skipped test printed, less the lines of the testing package.
func reason(output []string) string {
	var words []string
	for _, line := range output {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "=== ") && !strings.HasPrefix(line, "--- ") {
			words = append(words, line)
		}
	}
	if len(words) == 0 {
		return "it does not say why"
	}
	return strings.Join(words, " ")
}

// readList reads a file of tests, one a line as PACKAGE.TEST, then why; lines that begin with # are comments.
func readList(path string) (map[string]string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	list := map[string]string{}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		id, why, _ := strings.Cut(line, " ")
		if strings.TrimSpace(why) == "" {
			return nil, fmt.Errorf("%s: %s is listed without a reason", path, id)
		}
		list[id] = why
	}
	return list, nil
}
