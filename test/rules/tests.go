// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"go/ast"
	"path"
	"regexp"
	"strings"
)

// testsOf are the tests there are: by name, and by file and name.
func testsOf(t *Tree) map[string]bool {
	tests := map[string]bool{}
	for _, f := range t.GoFiles() {
		if !f.Test() {
			continue
		}
		for _, decl := range f.Go.Decls {
			if d, ok := decl.(*ast.FuncDecl); ok && d.Recv == nil && strings.HasPrefix(d.Name.Name, "Test") {
				tests[d.Name.Name], tests[f.Path+":"+d.Name.Name] = true, true
			}
		}
	}
	return tests
}

// untested gives the tests that a line of a page names and that are not there: `TestX` anywhere, and one that links to a file in that file.
func (w *words) untested(page, line string) []string {
	var wrong []string
	for _, m := range regexp.MustCompile("`(Test[A-Z][A-Za-z0-9]*)`(?:\\]\\(([^)#:]+)\\))?").FindAllStringSubmatch(line, -1) {
		name := m[1]
		if m[2] != "" {
			name = path.Join(path.Dir(page), m[2]) + ":" + name
		}
		if !w.tests[name] {
			wrong = append(wrong, "test "+name)
		}
	}
	return wrong
}
