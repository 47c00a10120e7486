// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestRules holds the repository against every rule.
func TestRules(t *testing.T) {
	t.Parallel()
	tree, err := Read(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	if len(tree.Files) < 50 || len(tree.Packages()["."]) == 0 {
		t.Fatalf("only %d files: this is not the repository", len(tree.Files))
	}
	for _, rule := range Rules() {
		t.Run(rule.Name, func(t *testing.T) {
			t.Parallel()
			for _, f := range rule.Find(tree) {
				t.Errorf("%s\n\twhy: %s", f, rule.Why)
			}
		})
	}
}

// TestEveryRuleCanFail has for each rule a tree that breaks it: the rule finds exactly the lines that end with "// found", and what the
// tree's found.txt names.
func TestEveryRuleCanFail(t *testing.T) {
	t.Parallel()
	for _, rule := range Rules() {
		t.Run(rule.Name, func(t *testing.T) {
			t.Parallel()
			root := filepath.Join("testdata", rule.Name)
			tree, err := Read(root)
			if err != nil {
				t.Fatal(err)
			}
			want := expected(t, root, tree)
			if len(want) == 0 {
				t.Fatal("the tree breaks nothing")
			}
			got := map[string]bool{}
			for _, f := range rule.Find(tree) {
				place := f.Path
				if f.Line != 0 {
					place = fmt.Sprintf("%s:%d", f.Path, f.Line)
				}
				got[place] = true
				if !want[place] {
					t.Errorf("it finds too much: %s", f)
				}
			}
			for _, place := range slices.Sorted(maps.Keys(want)) {
				if !got[place] {
					t.Errorf("it does not find %s", place)
				}
			}
		})
	}
}

// expected reads what is to be found in a tree.
func expected(t *testing.T, root string, tree *Tree) map[string]bool {
	t.Helper()
	want := map[string]bool{}
	for _, f := range tree.Files {
		if f.Path == "found.txt" {
			for line := range strings.Lines(string(f.Text)) {
				want[strings.TrimSpace(line)] = true
			}
			continue
		}
		number := 0
		for line := range bytes.Lines(f.Text) {
			number++
			if bytes.HasSuffix(bytes.TrimSpace(line), []byte("// found")) {
				want[fmt.Sprintf("%s:%d", f.Path, number)] = true
			}
		}
	}
	if _, err := os.Stat(root); err != nil {
		t.Fatal(err)
	}
	return want
}

// TestLayout sees to it that the table of layers is sound: every room is in one row, and no row lets imports point up.
func TestLayout(t *testing.T) {
	t.Parallel()
	for _, l := range Layout() {
		if l.Why == "" {
			t.Errorf("the row of %v gives no reason", l.Rooms)
		}
		for _, room := range l.Rooms {
			if row, ok := layerOf(room); !ok || row.Why != l.Why {
				t.Errorf("%s is governed by another row", room)
			}
		}
		for _, below := range l.May {
			row, ok := layerOf(below)
			if !ok || row.Number > l.Number {
				t.Errorf("%v may import %s, which is above", l.Rooms, below)
			}
		}
	}
}
