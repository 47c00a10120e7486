// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/libnetwork/cnm/test/table"
)

// performance bounds one run of the demo in a test.
const performance = time.Minute

// build builds the demo and what it shows as `make demo` does. It looks at every folder with sources first: go test then knows that its last result
// says nothing of other ones.
func build(t *testing.T) (demo, cnm string) {
	t.Helper()
	root := filepath.Join("..", "..")
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.IsDir() && path != root && (e.Name() == "bin" || strings.HasPrefix(e.Name(), ".")) {
			return fs.SkipDir
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	demo, cnm = filepath.Join(dir, "demo"), filepath.Join(dir, "cnm")
	for out, pkg := range map[string]string{demo: ".", cnm: "../../cmd/cnm"} {
		cmd := exec.CommandContext(t.Context(), "go", "build", "-o", out, pkg)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if words, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("go build %s: %v\n%s", pkg, err, words)
		}
	}
	return demo, cnm
}

// TestDemo runs the whole demo, and each row broken; and looks at a row that breaks what it makes by itself.
func TestDemo(t *testing.T) {
	t.Parallel()
	demo, cnm := build(t)
	t.Run("static", func(t *testing.T) {
		t.Parallel()
		testStatic(t, demo)
	})
	table.Try(t, table.Program{Args: []string{demo, "-cnm", cnm}, Limit: performance})
}

// testStatic takes a program for static only until it asks for a loader.
func testStatic(t *testing.T, program string) {
	t.Helper()
	w, err := newWorld(nil, program, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := checkStatic(t.Context(), w); err != nil {
		t.Error(err)
	}
	if err := dynamicCopy(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	if checkStatic(t.Context(), w) == nil {
		t.Error("a program that asks for a loader was found static")
	}
}
