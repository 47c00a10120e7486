// SPDX-License-Identifier: Apache-2.0

package table

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
)

// Report is what a run came to, as -json prints it.
type Report struct {
	Rows   []Result `json:"rows"`
	Passed int      `json:"passed"`
	Failed int      `json:"failed"`

	out  io.Writer
	json bool // print one object at the end, not a line a row
}

const (
	verdictWidth = 6
	nameWidth    = 18
	showsWidth   = 76
)

// head prints the head of the table.
func (r *Report) head() {
	if !r.json {
		fmt.Fprintf(r.out, "%-*s  %-*s  %-*s  %6s\n", verdictWidth, "RESULT", nameWidth, "ROW", showsWidth, "WHAT WAS CHECKED", "MS")
	}
}

// add prints one row, and below it why it did not pass.
func (r *Report) add(res Result) {
	r.Rows = append(r.Rows, res)
	word := string(res.Verdict)
	if res.Verdict == Passed {
		r.Passed++
	} else {
		r.Failed++
		word = strings.ToUpper(word)
	}
	if r.json {
		return
	}
	fmt.Fprintf(r.out, "%-*s  %-*s  %-*s  %6d\n", verdictWidth, word, nameWidth, res.Row, showsWidth, res.Shows, res.Millis)
	if res.Detail != "" {
		fmt.Fprintf(r.out, "        %s\n", strings.ReplaceAll(res.Detail, "\n", "\n        "))
	}
}

// end prints the summary and gives the exit status: 0 if every row passed.
func (r *Report) end(took time.Duration) (int, error) {
	status := 0
	if r.Failed > 0 || r.Passed == 0 {
		status = StatusFailed
	}
	if r.json {
		enc := json.NewEncoder(r.out)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		return status, enc.Encode(r)
	}
	_, err := fmt.Fprintf(r.out, "%d passed, %d failed in %.1f s\n", r.Passed, r.Failed, took.Seconds())
	return status, err
}
