// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"fmt"
	"go/ast"
	"go/token"
	"slices"
	"strconv"
	"strings"
)

// operations are the names of what the product does, as errors, the log and events give them: noun and verb, or a verb of the
// model that has no noun.
func operations() map[string][]string {
	return map[string][]string{
		"network":  {"create", "delete", "rename", "ls", "inspect", "prune"},
		"sandbox":  {"create", "delete", "rename", "ls", "inspect", "prune", "enter", "adopt", "collect"},
		"endpoint": {"create", "delete", "rename", "ls", "inspect", "prune", "join", "leave"},
		"port":     {"publish", "unpublish"},
		"pool":     {"create", "delete"},
		"address":  {"allocate", "release"},
		"driver":   {"ls", "inspect"},
		"drift":    {"repair", "report"},
		"firewall": {"restore"},
		"events":   {"", "lost"},
		"provide":  {""}, "attach": {""}, "detach": {""}, "publish": {""}, "livez": {""}, "readyz": {""},
	}
}

// Operations finds operations that go by another name than the table has.
func Operations(t *Tree) []Finding {
	var found []Finding
	check := func(f *File, at token.Pos, operation string) {
		noun, verb, _ := strings.Cut(operation, " ")
		if !slices.Contains(operations()[noun], verb) {
			found = append(found, Finding{f.Path, t.Line(at), fmt.Sprintf("there is no operation %q: see operations in test/rules", operation)})
		}
	}
	for _, f := range t.GoFiles() {
		if f.Test() || within(f.Dir(), "kernel", "test") {
			continue
		}
		ast.Inspect(f.Go, func(n ast.Node) bool {
			switch x := n.(type) {
			case *ast.CallExpr:
				if name := selector(x.Fun); (name == "cnm.During" || name == "During") && len(x.Args) > 0 {
					if op, ok := text(x.Args[0]); ok {
						check(f, x.Pos(), op)
					}
				}
			case *ast.CompositeLit:
				if op, ok := operationOf(x); ok {
					check(f, x.Pos(), op)
				}
			}
			return true
		})
	}
	return found
}

// operationOf is the operation that an error, a route or an event is made with.
func operationOf(lit *ast.CompositeLit) (string, bool) {
	given := map[string]string{}
	for _, e := range lit.Elts {
		if kv, ok := e.(*ast.KeyValueExpr); ok {
			if value, ok := text(kv.Value); ok {
				given[selector(kv.Key)] = value
			}
		}
	}
	for _, key := range []string{"op", "Op"} {
		if op, ok := given[key]; ok {
			return op, true
		}
	}
	action, ok := given["Action"]
	return given["Object"] + " " + action, ok
}

// text is the value of a string literal.
func text(x ast.Expr) (string, bool) {
	lit, ok := x.(*ast.BasicLit)
	if !ok || lit.Kind != token.STRING {
		return "", false
	}
	value, err := strconv.Unquote(lit.Value)
	return value, err == nil
}
