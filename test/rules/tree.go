// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Module is the path that imports within the tree begin with.
const Module = "github.com/libnetwork/cnm"

// Tree is a checked-out repository. It is not changed once it is read.
type Tree struct {
	Files []*File // every file that is text, in the order of their paths
	Fset  *token.FileSet
}

// File is one text file.
type File struct {
	Path string // from the root, with slashes
	Text []byte
	Go   *ast.File // nil if it is not Go
}

// Dir is the folder, "." for the root.
func (f *File) Dir() string { return path.Dir(f.Path) }

// Test tells whether it is a Go test file.
func (f *File) Test() bool { return strings.HasSuffix(f.Path, "_test.go") }

// Finding is one place where a rule is broken.
type Finding struct {
	Path string
	Line int // 0: the file or folder as a whole
	Text string
}

// String is the finding as compilers write theirs.
func (f Finding) String() string {
	if f.Line == 0 {
		return fmt.Sprintf("%s: %s", f.Path, f.Text)
	}
	return fmt.Sprintf("%s:%d: %s", f.Path, f.Line, f.Text)
}

// Read reads the repository at root. Folders that begin with a dot or hold test data or built programs are left out.
func Read(root string) (*Tree, error) {
	t := &Tree{Fset: token.NewFileSet()}
	err := filepath.WalkDir(root, func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		if e.IsDir() {
			if rel != "." && leftOut(e.Name()) {
				return fs.SkipDir
			}
			return nil
		}
		if !e.Type().IsRegular() {
			return nil
		}
		return t.add(name, filepath.ToSlash(rel))
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(t.Files, func(a, b *File) int { return strings.Compare(a.Path, b.Path) })
	return t, nil
}

func leftOut(folder string) bool {
	return folder == "testdata" || folder == "bin" || strings.HasPrefix(folder, ".") && folder != ".ci"
}

// add reads one file.
func (t *Tree) add(name, rel string) error {
	text, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	if bytes.IndexByte(text, 0) >= 0 {
		return nil
	}
	f := &File{Path: rel, Text: text}
	if strings.HasSuffix(rel, ".go") {
		if f.Go, err = parser.ParseFile(t.Fset, rel, text, parser.ParseComments); err != nil {
			return err
		}
	}
	t.Files = append(t.Files, f)
	return nil
}

// Line is the line of a position.
func (t *Tree) Line(p token.Pos) int { return t.Fset.Position(p).Line }

// GoFiles are the Go files.
func (t *Tree) GoFiles() []*File {
	return slices.DeleteFunc(slices.Clone(t.Files), func(f *File) bool { return f.Go == nil })
}

// Packages are the folders with Go files that are no tests, with those files.
func (t *Tree) Packages() map[string][]*File {
	m := map[string][]*File{}
	for _, f := range t.GoFiles() {
		if !f.Test() {
			m[f.Dir()] = append(m[f.Dir()], f)
		}
	}
	return m
}

// within tells whether the folder is one of the rooms or below one.
func within(dir string, rooms ...string) bool {
	for _, r := range rooms {
		if dir == r || strings.HasPrefix(dir, r+"/") {
			return true
		}
	}
	return false
}

// isSuite tells whether the folder holds tests for others to run: kerneltest, drivertest, servertest, ...
func isSuite(dir string) bool { return strings.HasSuffix(path.Base(dir), "test") }
