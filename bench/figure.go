// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
)

// figure is one thing that was measured, and what is claimed of it.
type figure struct {
	What    string  `json:"what"`
	Value   float64 `json:"value"`
	Unit    string  `json:"unit"` // "ms", "x", "trips", "MiB", "/s"
	Limit   float64 `json:"limit,omitzero"`
	AtLeast bool    `json:"at_least,omitzero"` // the limit is the least, not the most
	Note    string  `json:"note,omitzero"`
}

// told is a figure without a claim.
func told(what string, value float64, unit string) figure {
	return figure{What: what, Value: value, Unit: unit}
}

// atMost is a figure with an upper limit.
func atMost(what string, value float64, unit string, limit float64) figure {
	return figure{What: what, Value: value, Unit: unit, Limit: limit}
}

// noted adds a note.
func (f figure) noted(format string, args ...any) figure {
	f.Note = fmt.Sprintf(format, args...)
	return f
}

// within tells whether the figure misses its limit by no more than factor.
func (f figure) within(factor float64) bool {
	switch {
	case f.Limit == 0:
		return true
	case f.AtLeast:
		return f.Value >= f.Limit/factor
	default:
		return f.Value <= f.Limit*factor
	}
}

// verdict is one word on the figure.
func (f figure) verdict(factor float64) string {
	switch {
	case f.Limit == 0:
		return ""
	case f.within(1):
		return "holds"
	case f.within(factor):
		return "over, within " + number(factor) + "x"
	default:
		return "MISSED"
	}
}

// limit is the limit in words.
func (f figure) limit() string {
	if f.Limit == 0 {
		return ""
	}
	word := "<= "
	if f.AtLeast {
		word = ">= "
	}
	return word + number(f.Limit) + unit(f.Unit)
}

// number writes a value with three digits that count.
func number(v float64) string {
	if v == math.Trunc(v) && math.Abs(v) < 1e6 {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	digits := 2
	switch {
	case math.Abs(v) < 1:
		digits = 3
	case math.Abs(v) >= 100:
		digits = 0
	case math.Abs(v) >= 10:
		digits = 1
	}
	return strconv.FormatFloat(v, 'f', digits, 64)
}

func unit(u string) string {
	if u == "x" || u == "/s" {
		return u
	}
	return " " + u
}

// group is what one measurement found.
type group struct {
	Name    string   `json:"name"`
	Figures []figure `json:"figures"`
}

// writeTable writes all figures as a table that reads well as text and as Markdown.
func writeTable(w io.Writer, groups []group, factor float64) error {
	rows := [][]string{{"claim", "figure", "limit", "verdict", "note"}}
	for _, g := range groups {
		for _, f := range g.Figures {
			rows = append(rows, []string{f.What, number(f.Value) + unit(f.Unit), f.limit(), f.verdict(factor), f.Note})
		}
	}
	width := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			width[i] = max(width[i], len(cell))
		}
	}
	for i, row := range rows {
		if _, err := fmt.Fprintln(w, line(row, width, " ")); err != nil {
			return err
		}
		if i == 0 {
			if _, err := fmt.Fprintln(w, line(make([]string, len(row)), width, "-")); err != nil {
				return err
			}
		}
	}
	return nil
}

// line is one row, padded.
func line(cells []string, width []int, pad string) string {
	var b strings.Builder
	b.WriteByte('|')
	for i, cell := range cells {
		b.WriteString(pad + cell + strings.Repeat(pad, width[i]-len(cell)+1) + "|")
	}
	return b.String()
}

// missed are the figures that exceed their limits by more than factor.
func missed(groups []group, factor float64) []figure {
	var all []figure
	for _, g := range groups {
		for _, f := range g.Figures {
			if !f.within(factor) {
				all = append(all, f)
			}
		}
	}
	return all
}
