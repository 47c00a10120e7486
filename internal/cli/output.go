// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"text/template"

	"github.com/spf13/cobra"
)

// output is how a command shows objects of one type.
type output[T any] struct {
	json   bool
	quiet  bool
	format string
	tmpl   *template.Template

	id    func(*T) string                    // what -q prints
	human func(w io.Writer, items []T) error // what is printed for a person
}

// flags adds the flags that choose, and checks them before the command runs.
func (o *output[T]) flags(c *cobra.Command) *cobra.Command {
	c.Flags().BoolVar(&o.json, "json", false, "print JSON")
	c.Flags().StringVar(&o.format, "format", "", "print each object by this template, with the keys of the JSON: {{.name}}")
	if o.id != nil {
		c.Flags().BoolVarP(&o.quiet, "quiet", "q", false, "print IDs only")
	}
	c.PreRunE = func(*cobra.Command, []string) (err error) {
		if err := oneOf(c, "json", "format", "quiet"); err != nil {
			return err
		}
		if o.format != "" {
			o.tmpl, err = parseTemplate[T](o.format)
		}
		return err
	}
	return c
}

// oneOf refuses flags of which each leaves no room for another.
func oneOf(c *cobra.Command, flags ...string) error {
	var given []string
	for _, name := range flags {
		if f := c.Flags().Lookup(name); f != nil && f.Changed {
			given = append(given, "--"+name)
		}
	}
	if len(given) > 1 {
		return fmt.Errorf("%s do not go together; give one of them", strings.Join(given, " and "))
	}
	return nil
}

// list prints several; as JSON an array.
func (o *output[T]) list(w io.Writer, items []T) error {
	if o.json {
		if items == nil {
			items = []T{}
		}
		return writeJSON(w, items)
	}
	return o.plain(w, items)
}

// one prints a single one; as JSON the object.
func (o *output[T]) one(w io.Writer, item T) error {
	if o.json {
		return writeJSON(w, item)
	}
	return o.plain(w, []T{item})
}

func (o *output[T]) plain(w io.Writer, items []T) error {
	switch {
	case o.tmpl != nil:
		for i := range items {
			if err := execute(w, o.tmpl, items[i]); err != nil {
				return err
			}
		}
		return nil
	case o.quiet:
		for i := range items {
			if _, err := fmt.Fprintln(w, o.id(&items[i])); err != nil {
				return err
			}
		}
		return nil
	default:
		return o.human(w, items)
	}
}

func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// writeLine prints JSON on one line.
func writeLine(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// table prints aligned columns under a head.
func table(w io.Writer, head string, rows [][]string) error {
	tw := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintln(tw, strings.ReplaceAll(head, " ", "\t"))
	for _, row := range rows {
		for i := range row {
			if row[i] == "" {
				row[i] = "-"
			}
		}
		fmt.Fprintln(tw, strings.Join(row, "\t"))
	}
	return tw.Flush()
}

// names is a human form that prints one line each.
func names[T any](name func(*T) string) func(io.Writer, []T) error {
	return func(w io.Writer, items []T) error {
		for i := range items {
			if _, err := fmt.Fprintln(w, name(&items[i])); err != nil {
				return err
			}
		}
		return nil
	}
}

// each calls do for every argument, goes on after a failure, and joins what went wrong.
func each(args []string, do func(arg string) error) error {
	var failed []error
	for _, arg := range args {
		failed = append(failed, do(arg))
	}
	return errors.Join(failed...)
}

// gather gets an object for every argument: those that were got, and what went wrong with the others.
func gather[T any](args []string, get func(arg string) (T, error)) ([]T, error) {
	got := make([]T, 0, len(args))
	err := each(args, func(arg string) error {
		item, err := get(arg)
		if err == nil {
			got = append(got, item)
		}
		return err
	})
	return got, err
}

// short is an ID as tables show it; it is long enough to be used.
func short[S ~string](id S) string {
	const digits = 12
	return string(id[:min(len(id), digits)])
}

// joined is a list in one line.
func joined[T any](items []T, sep string, text func(T) string) string {
	parts := make([]string, 0, len(items))
	for _, item := range items {
		parts = append(parts, text(item))
	}
	return strings.Join(parts, sep)
}
