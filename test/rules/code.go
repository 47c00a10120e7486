// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"fmt"
	"go/ast"
	"go/token"
	"path"
	"regexp"
	"slices"
	"strings"
)

// Globals finds init functions and variables of packages. Interface guards, sentinel errors, embedded files and the flags of tests are none.
func Globals(t *Tree) []Finding {
	var found []Finding
	for _, f := range t.GoFiles() {
		for _, decl := range f.Go.Decls {
			switch d := decl.(type) {
			case *ast.FuncDecl:
				if d.Recv == nil && d.Name.Name == "init" {
					found = append(found, Finding{f.Path, t.Line(d.Pos()), "an init function runs before anybody asked"})
				}
			case *ast.GenDecl:
				found = append(found, t.variables(f, d)...)
			}
		}
	}
	return found
}

// variables finds the variables in a declaration.
func (t *Tree) variables(f *File, d *ast.GenDecl) []Finding {
	if d.Tok != token.VAR || embeds(d.Doc) {
		return nil
	}
	var found []Finding
	for _, spec := range d.Specs {
		v, ok := spec.(*ast.ValueSpec)
		if !ok || embeds(v.Doc) {
			continue
		}
		for i, name := range v.Names {
			if name.Name != "_" && (i >= len(v.Values) || !isConstant(f, name.Name, v.Values[i])) {
				found = append(found, Finding{f.Path, t.Line(name.Pos()), fmt.Sprintf("variable %s belongs to the whole package: put it where it is used, or pass it", name.Name)})
			}
		}
	}
	return found
}

func embeds(doc *ast.CommentGroup) bool {
	return doc != nil && slices.ContainsFunc(doc.List, func(c *ast.Comment) bool { return strings.HasPrefix(c.Text, "//go:embed ") })
}

// isConstant tells whether a variable of that name and value is one by the grammar only: an error made once, or a test's flag.
func isConstant(f *File, name string, value ast.Expr) bool {
	call, ok := value.(*ast.CallExpr)
	if !ok {
		return false
	}
	from := selector(call.Fun)
	if strings.HasPrefix(name, "Err") || strings.HasPrefix(name, "err") {
		return from == "errors.New" || strings.HasSuffix(from, "Errorf")
	}
	return f.Test() && strings.HasPrefix(from, "flag.")
}

// selector is "x.Sel" for that expression, the name for an identifier, else "".
func selector(x ast.Expr) string {
	switch e := x.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		if id, ok := e.X.(*ast.Ident); ok {
			return id.Name + "." + e.Sel.Name
		}
		return "." + e.Sel.Name
	default:
		return ""
	}
}

// Sleeps finds calls of time.Sleep and other waiting by the clock in place of an event.
func Sleeps(t *Tree) []Finding {
	var found []Finding
	for _, f := range t.GoFiles() {
		ast.Inspect(f.Go, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok {
				if name := selector(s); slices.Contains([]string{"time.Sleep", "unix.Nanosleep", "syscall.Nanosleep"}, name) {
					found = append(found, Finding{f.Path, t.Line(s.Pos()), name + " waits for nothing in particular"})
				}
			}
			return true
		})
	}
	return found
}

// Skips finds tests that skip without a probe: kerneltest may skip, and functions whose name begins with need, which find out
// by trying whether the kernel has a feature, and name it.
func Skips(t *Tree) []Finding {
	var found []Finding
	for _, f := range t.GoFiles() {
		if !f.Test() && !isSuite(f.Dir()) || within(f.Dir(), "kernel/kerneltest") {
			continue
		}
		for _, decl := range f.Go.Decls {
			fn, ok := decl.(*ast.FuncDecl)
			if !ok || fn.Body == nil {
				continue
			}
			for _, call := range skips(fn) {
				if why := badSkip(fn.Name.Name, call); why != "" {
					found = append(found, Finding{f.Path, t.Line(call.Pos()), why})
				}
			}
		}
	}
	return found
}

// skips are the calls of a testing value's Skip methods. A skip of rapid's only draws another example.
func skips(fn *ast.FuncDecl) []*ast.CallExpr {
	drawing := map[string]bool{}
	var calls []*ast.CallExpr
	ast.Inspect(fn, func(n ast.Node) bool {
		switch x := n.(type) {
		case *ast.Field:
			if star, ok := x.Type.(*ast.StarExpr); ok && selector(star.X) == "rapid.T" {
				for _, name := range x.Names {
					drawing[name.Name] = true
				}
			}
		case *ast.CallExpr:
			receiver, method, _ := strings.Cut(selector(x.Fun), ".")
			if slices.Contains([]string{"Skip", "Skipf", "SkipNow"}, method) && slices.Contains([]string{"t", "b", "tb", "f"}, receiver) && !drawing[receiver] {
				calls = append(calls, x)
			}
		}
		return true
	})
	return calls
}

// badSkip tells what is wrong with a skip.
func badSkip(function string, call *ast.CallExpr) string {
	if !strings.HasPrefix(function, "need") {
		return fmt.Sprintf("%s skips: only a probe may, a function needFEATURE that tries and names what is missing", function)
	}
	if len(call.Args) == 0 {
		return "the skip does not say what is missing"
	}
	if text, ok := call.Args[0].(*ast.BasicLit); ok && len(text.Value) < len(`"no sctp sockets"`) {
		return fmt.Sprintf("%s does not say what is missing", text.Value)
	}
	return ""
}

// DeferredErr finds deferred functions that compare an error variable of the function around them with nil, unless that
// is a named result.
func DeferredErr(t *Tree) []Finding {
	var found []Finding
	for _, f := range t.GoFiles() {
		ast.Inspect(f.Go, func(n ast.Node) bool {
			switch fn := n.(type) {
			case *ast.FuncDecl:
				if fn.Body != nil {
					found = append(found, t.deferredErr(f, fn.Type, fn.Body)...)
				}
			case *ast.FuncLit:
				found = append(found, t.deferredErr(f, fn.Type, fn.Body)...)
			}
			return true
		})
	}
	return found
}

// deferredErr looks at the deferred functions of one function.
func (t *Tree) deferredErr(f *File, signature *ast.FuncType, body *ast.BlockStmt) []Finding {
	results := map[string]bool{}
	if signature.Results != nil {
		for _, field := range signature.Results.List {
			for _, name := range field.Names {
				results[name.Name] = true
			}
		}
	}
	var found []Finding
	ast.Inspect(body, func(n ast.Node) bool {
		if _, inner := n.(*ast.FuncLit); inner {
			return false // it is looked at by itself
		}
		deferred, ok := n.(*ast.DeferStmt)
		if !ok {
			return true
		}
		if lit, ok := deferred.Call.Fun.(*ast.FuncLit); ok {
			for _, id := range errorTests(lit) {
				if !results[id.Name] {
					found = append(found, Finding{f.Path, t.Line(id.Pos()), fmt.Sprintf("a deferred function looks at %s, which is no named result: push what is to be undone on a stack, and commit it", id.Name)})
				}
			}
		}
		return true
	})
	return found
}

// errorTests are the error variables from outside that a function literal compares with nil.
func errorTests(lit *ast.FuncLit) []*ast.Ident {
	own := map[string]bool{}
	for _, field := range lit.Type.Params.List {
		for _, name := range field.Names {
			own[name.Name] = true
		}
	}
	var tests []*ast.Ident
	ast.Inspect(lit.Body, func(n ast.Node) bool {
		switch x := n.(type) {
		case *ast.AssignStmt:
			if x.Tok == token.DEFINE {
				for _, left := range x.Lhs {
					own[selector(left)] = true
				}
			}
		case *ast.ValueSpec:
			for _, name := range x.Names {
				own[name.Name] = true
			}
		case *ast.BinaryExpr:
			id, isName := x.X.(*ast.Ident)
			other, isNil := x.Y.(*ast.Ident)
			if isName && isNil && other.Name == "nil" && (x.Op == token.NEQ || x.Op == token.EQL) && strings.Contains(strings.ToLower(id.Name), "err") && !own[id.Name] {
				tests = append(tests, id)
			}
		}
		return true
	})
	return tests
}

// Names finds names that say nothing.
func Names(t *Tree) []Finding {
	room := regexp.MustCompile(`^(utils?|common|helpers?|managers?|misc|base|types|impl|lib)$`)
	file := regexp.MustCompile(`^(utils?|common|helpers?|managers?|misc)(_.*)?\.go$`)
	noun := regexp.MustCompile(`[a-z](Info|Manager|Helpers?|Utils?|Impl)$`)
	verb := regexp.MustCompile(`^Get[A-Z]`)
	var found []Finding
	for _, f := range t.GoFiles() {
		if room.MatchString(path.Base(f.Dir())) || room.MatchString(f.Go.Name.Name) || file.MatchString(path.Base(f.Path)) {
			found = append(found, Finding{f.Path, 0, "the name of this folder or file fits anything: name it for what it gives"})
		}
		for _, decl := range f.Go.Decls {
			switch d := decl.(type) {
			case *ast.FuncDecl:
				if verb.MatchString(d.Name.Name) {
					found = append(found, Finding{f.Path, t.Line(d.Pos()), fmt.Sprintf("%s: Go has no Get before the name of what is got", d.Name.Name)})
				}
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					s, ok := spec.(*ast.TypeSpec)
					if ok && noun.MatchString(s.Name.Name) && !within(f.Dir(), "adapter", "plugin") { // those speak others' words
						found = append(found, Finding{f.Path, t.Line(s.Pos()), fmt.Sprintf("type %s is named for what any type is", s.Name.Name)})
					}
				}
			}
		}
	}
	return found
}
