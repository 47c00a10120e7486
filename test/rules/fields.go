// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"fmt"
	"go/ast"
	"go/token"
	"regexp"
	"slices"
)

// Fields finds errors whose field is no option of the command line, as docs/cli.md lists them, no noun that an argument names, and no
// header of the API. A field that is passed on is looked at where it comes from; only the API, whose callers write JSON and
// queries, the command line, which knows its flags, and the hooks of containers, which read annotations, may take one from their
// input. The adapter of Docker is left out: its fields have the names of Docker's protocol.
func Fields(t *Tree) []Finding {
	s := &fieldSearch{tree: t, known: fieldNames(t), takers: map[string]int{
		"cnm.FieldErrorf": 1, "cnm.CheckName": 0, "FieldErrorf@.": 1, "CheckName@.": 0,
	}}
	for before := 0; before != len(s.takers); {
		before, s.found = len(s.takers), nil
		for _, f := range t.GoFiles() {
			if !f.Test() && !within(f.Dir(), "test", "bench", "adapter/docker") {
				s.file(f)
			}
		}
	}
	return s.found
}

// fieldNames are the names a field may have.
func fieldNames(t *Tree) map[string]bool {
	names := map[string]bool{
		"network": true, "sandbox": true, "endpoint": true, "driver": true, "name": true, "bundle": true, "stage": true, // arguments
		"Host": true, "Content-Type": true, "Origin": true, "Referer": true, "Sec-Fetch-Site": true, // headers
		"id": true, "pool": true, // what an orchestrator gives that owns identifiers and addresses
		"verbose": true, // query of the API's /readyz
		"":        true, // what nobody gave, as a record that is damaged
	}
	flag := regexp.MustCompile("`(?:-[a-z], )?--([a-z0-9-]+)")
	for _, f := range t.Files {
		if f.Path == "docs/cli.md" {
			for _, m := range flag.FindAllSubmatch(f.Text, -1) {
				names[string(m[1])] = true
			}
		}
	}
	return names
}

// fieldSearch knows the functions that take the name of a field, by package and by folder, with the place of that parameter.
type fieldSearch struct {
	tree   *Tree
	known  map[string]bool
	takers map[string]int
	found  []Finding
}

// function is one function that the search is in, or a literal with the name it is assigned to.
type function struct {
	name   string
	params []string
	body   *ast.BlockStmt
}

// file looks at every function of a file.
func (s *fieldSearch) file(f *File) {
	for _, decl := range f.Go.Decls {
		if fn, ok := decl.(*ast.FuncDecl); ok && fn.Body != nil {
			s.function(f, []function{{fn.Name.Name, parameters(fn.Type), fn.Body}}, fn.Body)
		}
	}
}

// function looks at the calls of a function. Literals that have a name are functions of their own, inside of it.
func (s *fieldSearch) function(f *File, in []function, body ast.Node) {
	ast.Inspect(body, func(n ast.Node) bool {
		switch x := n.(type) {
		case *ast.AssignStmt:
			if lit, ok := x.Rhs[0].(*ast.FuncLit); ok && len(x.Rhs) == 1 {
				s.function(f, append(slices.Clone(in), function{selector(x.Lhs[0]), parameters(lit.Type), lit.Body}), lit.Body)
				return false
			}
		case *ast.CallExpr:
			if at, ok := s.taker(f, selector(x.Fun)); ok && at < len(x.Args) {
				s.field(f, in, x.Args[at])
			}
		case *ast.KeyValueExpr:
			if selector(x.Key) == "Field" {
				s.field(f, in, x.Value)
			}
		}
		return true
	})
}

// taker tells whether a function as it is called takes a field's name, and where.
func (s *fieldSearch) taker(f *File, called string) (int, bool) {
	if at, ok := s.takers[called]; ok {
		return at, true
	}
	at, ok := s.takers[regexp.MustCompile(`^.*\.`).ReplaceAllString(called, "")+"@"+f.Dir()]
	return at, ok
}

// field looks at what is given as a field's name.
func (s *fieldSearch) field(f *File, in []function, given ast.Expr) {
	values, ok := s.values(f, in, given)
	if !ok && !within(f.Dir(), "api", "internal/cli", "adapter/oci") {
		s.found = append(s.found, Finding{f.Path, s.tree.Line(given.Pos()), "the field of an error is not plain to see here: write its name, or take it as a parameter"})
	}
	for _, v := range values {
		if !s.known[v] {
			s.found = append(s.found, Finding{f.Path, s.tree.Line(given.Pos()), fmt.Sprintf("there is no option %q: name the field as its option is named", v)})
		}
	}
}

// values are the strings that an expression may be. A parameter is none: its function becomes one whose callers are looked at.
func (s *fieldSearch) values(f *File, in []function, x ast.Expr) ([]string, bool) {
	if v, ok := text(x); ok {
		return []string{v}, true
	}
	id, ok := x.(*ast.Ident)
	if !ok {
		return nil, false
	}
	for _, fn := range slices.Backward(in) {
		if at := slices.Index(fn.params, id.Name); at >= 0 {
			s.takers[fn.name+"@"+f.Dir()] = at
			s.takers[f.Go.Name.Name+"."+fn.name] = at
			return nil, true
		}
		if values := assigned(fn.body, id.Name); len(values) > 0 {
			return values, true
		}
	}
	return s.constant(f, id.Name)
}

// constant is the string of a constant of the file's package.
func (s *fieldSearch) constant(f *File, name string) ([]string, bool) {
	for _, other := range s.tree.Packages()[f.Dir()] {
		for _, decl := range other.Go.Decls {
			d, ok := decl.(*ast.GenDecl)
			if !ok || d.Tok != token.CONST {
				continue
			}
			if values := assigned(d, name); len(values) > 0 {
				return values, true
			}
		}
	}
	return nil, false
}

// assigned are the strings that a name is given below a node: as a constant, by assignment, or by a loop over a list.
func assigned(below ast.Node, name string) []string {
	var values []string
	ast.Inspect(below, func(n ast.Node) bool {
		for _, x := range givenTo(n, name) {
			if v, ok := text(x); ok {
				values = append(values, v)
			}
		}
		return true
	})
	return values
}

// givenTo is what a statement or declaration gives to a name.
func givenTo(n ast.Node, name string) []ast.Expr {
	var given []ast.Expr
	switch x := n.(type) {
	case *ast.ValueSpec:
		for i, id := range x.Names {
			if id.Name == name && i < len(x.Values) {
				given = append(given, x.Values[i])
			}
		}
	case *ast.AssignStmt:
		for i, left := range x.Lhs {
			if selector(left) == name && len(x.Lhs) == len(x.Rhs) {
				given = append(given, x.Rhs[i])
			}
		}
	case *ast.RangeStmt:
		if list, ok := x.X.(*ast.CompositeLit); ok && x.Value != nil && selector(x.Value) == name {
			given = list.Elts
		}
	}
	return given
}

// parameters are the names of a function's parameters, in their order.
func parameters(signature *ast.FuncType) []string {
	var names []string
	for _, field := range signature.Params.List {
		for _, name := range field.Names {
			names = append(names, name.Name)
		}
	}
	return names
}
