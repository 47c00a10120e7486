// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"strings"
	"testing"
)

// TestDescribeStaysOnItsLine has texts that would look like other keys, or steer the terminal.
func TestDescribeStaysOnItsLine(t *testing.T) {
	t.Parallel()
	type object struct {
		Name   string            `json:"name"`
		Labels map[string]string `json:"labels"`
	}
	var b strings.Builder
	err := describe(&b, []object{
		{Name: "grün", Labels: map[string]string{"a": "1 2"}},
		{Name: "x\nstate: ready", Labels: map[string]string{"k\x1b[2J": "v\tw"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	const want = "name: grün\nlabels:\n  a: 1 2\n\nname: \"x\\nstate: ready\"\nlabels:\n  \"k\\x1b[2J\": \"v\\tw\"\n"
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}
