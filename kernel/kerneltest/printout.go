// SPDX-License-Identifier: Apache-2.0

package kerneltest

import (
	"regexp"
	"strings"
	"testing"
)

// frame is the byte that -test.v=test2json puts before each of its own lines.
const frame = "\x16"

// verdict is what became of one test.
type verdict struct {
	name   string
	result string // PASS, FAIL or SKIP
}

// printout is what an isolated process printed, taken apart.
type printout struct {
	text     string // what a person wants to read
	verdicts []verdict
}

// parseOutput separates the verdicts from the output and drops the lines that
// only say that a test began, paused or went on.
func parseOutput(output []byte) printout {
	line := regexp.MustCompile(`^\s*--- (PASS|FAIL|SKIP): (\S+) \(`)
	summary := regexp.MustCompile(`^(PASS|FAIL|coverage: .*)\n$`)
	var out printout
	var text strings.Builder
	for row := range strings.Lines(string(output)) {
		// A test that prints without a line's end is followed by the frame.
		printed, framed, found := strings.Cut(row, frame)
		if !found && summary.MatchString(row) {
			continue
		}
		text.WriteString(printed)
		if !found {
			continue
		}
		if match := line.FindStringSubmatch(framed); match != nil {
			out.verdicts = append(out.verdicts, verdict{name: match[2], result: match[1]})
		}
		if printed != "" {
			text.WriteString("\n")
		}
		if !strings.HasPrefix(framed, "===") {
			text.WriteString(framed)
		}
	}
	out.text = strings.TrimRight(strings.ReplaceAll(text.String(), frame, ""), "\n")
	return out
}

// result gives what became of the test name, or "" if it never ended.
func (r printout) result(name string) string {
	for _, v := range r.verdicts {
		if v.name == name {
			return v.result
		}
	}
	return ""
}

// relay makes t, and a subtest of t for each of the isolated ones, end as the
// report says. err is how the process ended.
func relay(t *testing.T, out printout, err error) {
	t.Helper()
	result := out.result(t.Name())
	if err == nil && result == "SKIP" {
		t.Skip(out.text)
	}
	t.Log("isolated run:\n" + out.text)
	for _, v := range out.verdicts {
		if name, ok := strings.CutPrefix(v.name, t.Name()+"/"); ok {
			t.Run(name, func(t *testing.T) { repeat(t, v) })
		}
	}
	switch {
	case err != nil:
		t.Errorf("isolated run of %s: %v", t.Name(), err)
	case result != "PASS":
		t.Errorf("isolated run of %s ended without a verdict", t.Name())
	}
}

// repeat ends a subtest as its isolated twin did.
func repeat(t *testing.T, v verdict) {
	t.Helper()
	switch v.result {
	case "SKIP":
		t.Skip("skipped in the isolated run, see the output of its test for the reason")
	case "FAIL":
		t.Error("failed in the isolated run, see the output of its test")
	}
}
