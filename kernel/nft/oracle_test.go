// SPDX-License-Identifier: Apache-2.0

//go:build oracle

package nft

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/libnetwork/cnm/kernel/kerneltest"
)

// TestOracle lets the program nft judge our text: it must accept it, and what it
// prints of tables that we loaded must be the text that we print. Run it by
//
//	go test -tags oracle -run TestOracle ./kernel/nft
func TestOracle(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		c := dial(t)
		for _, l := range []*Layout{&newRouted(0).Layout, newFrames(0), newRewrite(), newVocabulary()} {
			file := filepath.Join(t.TempDir(), "layout.nft")
			if err := os.WriteFile(file, []byte(l.String()), 0o600); err != nil {
				t.Fatal(err)
			}
			nft(t, "-c", "-f", file)
			var tx Tx
			tx.Load(l)
			if err := os.WriteFile(file, []byte(tx.String()), 0o600); err != nil {
				t.Fatal(err)
			}
			nft(t, "-c", "-f", file)
			if err := c.Run(t.Context(), &tx); err != nil {
				t.Fatal(err)
			}
			// Without the state of counters, which is no part of a layout.
			listed := nft(t, "-s", "list", "table", l.Table.Family.String(), l.Table.Name)
			if got, want := lineWords(listed), lineWords(l.String()); !slices.Equal(got, want) {
				t.Errorf("nft prints\n%s\nwe print\n%s", listed, l)
			}
			nft(t, "delete", "table", l.Table.Family.String(), l.Table.Name)
			if err := os.WriteFile(file, []byte(listed), 0o600); err != nil {
				t.Fatal(err)
			}
			nft(t, "-f", file)
			again := nft(t, "-s", "list", "table", l.Table.Family.String(), l.Table.Name)
			if !slices.Equal(lineWords(again), lineWords(l.String())) {
				t.Errorf("fed back, nft prints\n%s", again)
			}
		}
	})
}

// lineWords splits text into lines without regard to how nft breaks and orders
// lists of elements.
func lineWords(text string) []string {
	var lines []string
	for _, line := range strings.Split(strings.ReplaceAll(text, ",\n", ", "), "\n") {
		line = strings.Join(strings.Fields(line), " ")
		if list, ok := strings.CutPrefix(line, "elements = { "); ok {
			elements := strings.Split(strings.TrimSuffix(list, " }"), ", ")
			slices.Sort(elements)
			line = "elements = " + strings.Join(elements, ", ")
		}
		lines = append(lines, line)
	}
	return lines
}

// nft runs the program, in the namespaces of the test.
func nft(tb testing.TB, args ...string) string {
	tb.Helper()
	out, err := exec.CommandContext(tb.Context(), "nft", args...).CombinedOutput()
	if err != nil {
		tb.Fatalf("nft %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}
