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

// report is what an isolated process printed, taken apart.
type report struct {
	text     string // what a person wants to read
	verdicts []verdict
}

// parseReport separates the verdicts from the output and drops the lines that
// only say that a test began, paused or went on.
func parseReport(output []byte) report {
	line := regexp.MustCompile(`^\s*--- (PASS|FAIL|SKIP): (\S+) \(`)
	var rep report
	var text strings.Builder
	for row := range strings.Lines(string(output)) {
		// A test that prints without a line's end is followed by the frame.
		printed, framed, found := strings.Cut(row, frame)
		text.WriteString(printed)
		if !found {
			continue
		}
		if match := line.FindStringSubmatch(framed); match != nil {
			rep.verdicts = append(rep.verdicts, verdict{name: match[2], result: match[1]})
		}
		if printed != "" {
			text.WriteString("\n")
		}
		if !strings.HasPrefix(framed, "===") {
			text.WriteString(framed)
		}
	}
	rep.text = strings.TrimRight(strings.ReplaceAll(text.String(), frame, ""), "\n")
	return rep
}

// result gives what became of the test name, or "" if it never ended.
func (r report) result(name string) string {
	for _, v := range r.verdicts {
		if v.name == name {
			return v.result
		}
	}
	return ""
}

// relay makes t, and a subtest of t for each of the isolated ones, end as the
// report says. err is how the process ended.
func relay(t *testing.T, rep report, err error) {
	t.Helper()
	result := rep.result(t.Name())
	if err == nil && result == "SKIP" {
		t.Skip(rep.text)
	}
	t.Log("isolated run:\n" + rep.text)
	for _, v := range rep.verdicts {
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
