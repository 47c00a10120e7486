// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"strings"
	"text/template"
	"text/template/parse"
)

// parseTemplate reads a --format for objects of type T. Fields are the keys of the JSON; {{.Name}} and {{.HostPort}}, as Docker
// spells them, are taken for name and host_port.
func parseTemplate[T any](text string) (*template.Template, error) {
	t, err := template.New("format").Option("missingkey=error").Funcs(template.FuncMap{
		"json": func(v any) (string, error) { b, err := json.Marshal(v); return string(b), err },
		"join": func(list []any, sep string) string {
			return joined(list, sep, func(v any) string { return fmt.Sprint(v) })
		},
		"lower": strings.ToLower,
		"upper": strings.ToUpper,
	}).Parse(text)
	if err != nil {
		return nil, fmt.Errorf("--format: %w", err)
	}
	keys := map[string]string{}
	keysOf(reflect.TypeFor[T](), keys)
	for _, each := range t.Templates() {
		if each.Tree != nil {
			respell(each.Root, keys)
		}
	}
	if field := unknownField(t, reflect.TypeFor[T]()); field != "" {
		return nil, fmt.Errorf("--format: there is no field %q; --json shows the keys", field)
	}
	return t, nil
}

// unknownField is a field of the outermost actions that no object of a type has, so that it is refused before anything is
// done. What is inside of a range or a with shows when it is executed.
func unknownField(t *template.Template, of reflect.Type) string {
	if t.Tree == nil {
		return ""
	}
	known := map[string]bool{}
	for _, f := range reflect.VisibleFields(of) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		known[name] = true
	}
	for _, n := range t.Root.Nodes {
		action, ok := n.(*parse.ActionNode)
		if !ok {
			continue
		}
		for _, cmd := range action.Pipe.Cmds {
			for _, arg := range cmd.Args {
				if f, ok := arg.(*parse.FieldNode); ok && !known[f.Ident[0]] {
					return f.Ident[0]
				}
			}
		}
	}
	return ""
}

// execute prints one object by a template. A field that is not there is an error of usage.
func execute(w io.Writer, t *template.Template, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	var fields any
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	if err := dec.Decode(&fields); err != nil {
		return err
	}
	var line bytes.Buffer
	if err := t.Execute(&line, fields); err != nil {
		return &usageError{fmt.Errorf("--format: %w; --json shows the keys", err)}
	}
	_, err = fmt.Fprintln(w, line.String())
	return err
}

// keysOf collects the JSON keys of a type and of the types below, by the form in which spellings are compared.
func keysOf(t reflect.Type, keys map[string]string) {
	switch t.Kind() {
	case reflect.Slice, reflect.Map, reflect.Pointer:
		keysOf(t.Elem(), keys)
	case reflect.Struct:
		for _, f := range reflect.VisibleFields(t) {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if name != "" {
				keys[plain(name)] = name
				keysOf(f.Type, keys)
			}
		}
	}
}

func plain(name string) string { return strings.ToLower(strings.ReplaceAll(name, "_", "")) }

// respell walks a template and writes the fields as the JSON has them.
func respell(n parse.Node, keys map[string]string) {
	fix := func(idents []string) {
		for i, id := range idents {
			if key, ok := keys[plain(id)]; ok {
				idents[i] = key
			}
		}
	}
	branch := func(b *parse.BranchNode) {
		respell(b.Pipe, keys)
		respell(b.List, keys)
		if b.ElseList != nil {
			respell(b.ElseList, keys)
		}
	}
	switch n := n.(type) {
	case *parse.ListNode:
		for _, sub := range n.Nodes {
			respell(sub, keys)
		}
	case *parse.ActionNode:
		respell(n.Pipe, keys)
	case *parse.PipeNode:
		for _, c := range n.Cmds {
			respell(c, keys)
		}
	case *parse.CommandNode:
		for _, arg := range n.Args {
			respell(arg, keys)
		}
	case *parse.FieldNode:
		fix(n.Ident)
	case *parse.VariableNode:
		fix(n.Ident[1:])
	case *parse.ChainNode:
		respell(n.Node, keys)
		fix(n.Field)
	case *parse.IfNode:
		branch(&n.BranchNode)
	case *parse.RangeNode:
		branch(&n.BranchNode)
	case *parse.WithNode:
		branch(&n.BranchNode)
	case *parse.TemplateNode:
		if n.Pipe != nil {
			respell(n.Pipe, keys)
		}
	}
}
