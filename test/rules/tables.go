// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"bytes"
	"fmt"
	"go/ast"
	"path"
	"regexp"
	"slices"
	"strings"
)

// Kinds finds kinds of errors that have no row in the table, or not at their place.
func Kinds(t *Tree) []Finding {
	var constants, rows []string
	var at Finding
	for _, f := range t.GoFiles() {
		if f.Dir() != "." || f.Test() {
			continue
		}
		for _, decl := range f.Go.Decls {
			switch d := decl.(type) {
			case *ast.GenDecl:
				constants = append(constants, kindConstants(d)...)
			case *ast.FuncDecl:
				if d.Recv == nil && d.Name.Name == "Kinds" {
					at = Finding{Path: f.Path, Line: t.Line(d.Pos())}
					rows = kindRows(d)
				}
			}
		}
	}
	if slices.Equal(constants, rows) {
		return nil
	}
	at.Text = fmt.Sprintf("the kinds are %s, and the rows of Kinds are %s", strings.Join(constants, " "), strings.Join(rows, " "))
	if at.Path == "" {
		at.Path = "."
	}
	return []Finding{at}
}

// kindConstants are the names in the block of constants that begins with one of type Kind.
func kindConstants(d *ast.GenDecl) []string {
	var names []string
	for i, spec := range d.Specs {
		v, ok := spec.(*ast.ValueSpec)
		if !ok || i == 0 && (v.Type == nil || selector(v.Type) != "Kind") {
			return nil
		}
		for _, name := range v.Names {
			names = append(names, name.Name)
		}
	}
	return names
}

// kindRows are the first fields of the rows that Kinds returns.
func kindRows(d *ast.FuncDecl) []string {
	var names []string
	ast.Inspect(d.Body, func(n ast.Node) bool {
		row, ok := n.(*ast.CompositeLit)
		if ok && row.Type == nil && len(row.Elts) > 0 {
			names = append(names, selector(row.Elts[0]))
		}
		return true
	})
	return names
}

// Tour finds what docs/tour.md, and the walk in the root package's comment, name and is nowhere in the code: functions as
// TYPE.METHOD, PACKAGE.FUNCTION, PACKAGE.TYPE.METHOD or just camelCase, and files and folders.
func Tour(t *Tree) []Finding {
	names := declared(t)
	var found []Finding
	for _, f := range t.Files {
		var pattern *regexp.Regexp
		switch f.Path {
		case "docs/tour.md":
			pattern = regexp.MustCompile("`([a-z]+[A-Z][A-Za-z0-9]*|[A-Za-z][A-Za-z0-9/]*(?:\\.[A-Za-z][A-Za-z0-9]*){1,2}|[a-z0-9]+(?:/[a-z0-9_.]+)+)(?:\\(\\))?`")
		case "doc.go":
			pattern = regexp.MustCompile(`^//\t +([A-Za-z]+\.[A-Za-z]+(?:\.[A-Za-z]+)?) |^//\t([a-z]+\.[A-Za-z]+) `)
		default:
			continue
		}
		number := 0
		for line := range bytes.Lines(f.Text) {
			number++
			for _, m := range pattern.FindAllSubmatch(line, -1) {
				name := string(bytes.Join(m[1:], nil))
				if !names[name] {
					found = append(found, Finding{f.Path, number, fmt.Sprintf("there is no %s", name)})
				}
			}
		}
	}
	return found
}

// declared has every file and folder, and every function and method in the forms in which a text may name it.
func declared(t *Tree) map[string]bool {
	names := map[string]bool{}
	for _, f := range t.Files {
		for p := f.Path; p != "."; p = path.Dir(p) {
			names[p] = true
		}
		names[path.Base(f.Path)] = true
	}
	for _, f := range t.GoFiles() {
		if f.Test() {
			continue
		}
		for _, decl := range f.Go.Decls {
			for _, name := range declaredBy(decl) {
				for _, prefix := range []string{"", f.Go.Name.Name + ".", f.Dir() + "."} {
					names[prefix+name] = true
				}
			}
		}
	}
	return names
}

// declaredBy are the names that a declaration makes: functions, types, methods with and without their type.
func declaredBy(decl ast.Decl) []string {
	switch d := decl.(type) {
	case *ast.FuncDecl:
		if d.Recv == nil || len(d.Recv.List) == 0 {
			return []string{d.Name.Name}
		}
		return []string{d.Name.Name, receiver(d.Recv.List[0].Type) + "." + d.Name.Name}
	case *ast.GenDecl:
		var names []string
		for _, spec := range d.Specs {
			s, ok := spec.(*ast.TypeSpec)
			if !ok {
				continue
			}
			names = append(names, s.Name.Name)
			if contract, ok := s.Type.(*ast.InterfaceType); ok {
				for _, m := range contract.Methods.List {
					for _, name := range m.Names {
						names = append(names, s.Name.Name+"."+name.Name)
					}
				}
			}
		}
		return names
	default:
		return nil
	}
}

// receiver is the name of a method's type.
func receiver(x ast.Expr) string {
	switch e := x.(type) {
	case *ast.StarExpr:
		return receiver(e.X)
	case *ast.IndexExpr:
		return receiver(e.X)
	default:
		return selector(x)
	}
}
