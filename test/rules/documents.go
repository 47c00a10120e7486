// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"bytes"
	"fmt"
	"go/ast"
	"net/netip"
	"path"
	"regexp"
	"slices"
	"strings"
)

// Documents finds what the pages for readers of the code name and is nowhere: in `quotes` code, files, folders, commands, options,
// targets of make, chains and sets of the firewall; in drawings the rooms and the chains; and, in every page, links to files, and tests.
func Documents(t *Tree) []Finding {
	w := wordsOf(t)
	var found []Finding
	for _, f := range t.Files {
		if !strings.HasSuffix(f.Path, ".md") {
			continue
		}
		number, block := 0, "" // the block that the line is in, by what it begins with
		for line := range bytes.Lines(f.Text) {
			number++
			text := strings.TrimSpace(string(line))
			switch {
			case !strings.HasPrefix(text, "```"):
			case block == "":
				block = text
				continue
			default:
				block = ""
				continue
			}
			for _, name := range w.wrong(f.Path, block, text) {
				found = append(found, Finding{f.Path, number, fmt.Sprintf("there is no %s", name)})
			}
		}
	}
	return found
}

// wrong gives what a line of a page names and is nowhere.
func (w *words) wrong(page, block, line string) []string {
	explains := slices.Contains([]string{"docs/tour.md", "docs/packet-flow.md", "docs/architecture.md"}, page)
	switch {
	case block == "" && explains:
		return append(w.links(page, line), w.quoted(line)...)
	case block == "":
		return append(w.links(page, line), w.untested(page, line)...)
	case block == "```mermaid" && explains:
		return w.drawn(line)
	default:
		return nil
	}
}

// words is all that a page may name.
type words struct {
	declared map[string]bool            // code, files and folders
	literals map[string]bool            // the strings of the code: names of chains, sets, options, files
	commands map[string]map[string]bool // the options of each command
	targets  map[string]bool            // of make
	tests    map[string]bool            // by name, and by file and name
}

func wordsOf(t *Tree) *words {
	w := &words{declared: declared(t), literals: map[string]bool{}, commands: map[string]map[string]bool{}, targets: map[string]bool{}, tests: testsOf(t)}
	for _, f := range t.GoFiles() {
		if f.Test() || within(f.Dir(), "test") {
			continue
		}
		ast.Inspect(f.Go, func(n ast.Node) bool {
			switch x := n.(type) {
			case *ast.BasicLit:
				if v, ok := text(x); ok {
					w.literals[v] = true
				}
			case *ast.SelectorExpr:
				w.declared[x.Sel.Name] = true
			}
			return true
		})
	}
	for _, f := range t.Files {
		switch f.Path {
		case "docs/cli.md":
			w.reference(string(f.Text))
		case "Makefile":
			for _, m := range regexp.MustCompile(`(?m)^([a-z-]+):`).FindAllStringSubmatch(string(f.Text), -1) {
				w.targets[m[1]] = true
			}
		}
	}
	return w
}

// reference reads the commands and their options.
func (w *words) reference(page string) {
	head, option := regexp.MustCompile(`^### (cnm [a-z ]+)`), regexp.MustCompile("^\\| `(?:-[a-z], )?(--[a-z0-9-]+)")
	var options map[string]bool
	for line := range strings.Lines(page) {
		if m := head.FindStringSubmatch(line); m != nil {
			options = map[string]bool{"--socket": true, "--timeout": true}
			w.commands[strings.TrimSpace(m[1])] = options
		} else if m := option.FindStringSubmatch(line); m != nil && options != nil {
			options[m[1]] = true
		}
	}
}

// links gives the files that a line leads to and that are not there.
func (w *words) links(page, line string) []string {
	var wrong []string
	for _, m := range regexp.MustCompile(`\]\(([^)#:]+)(?:#[^)]*)?\)`).FindAllStringSubmatch(line, -1) {
		if to := path.Join(path.Dir(page), m[1]); to != "." && !w.declared[to] {
			wrong = append(wrong, to)
		}
	}
	return wrong
}

// quoted gives the names in a line's quotes that are nowhere.
func (w *words) quoted(line string) []string {
	var wrong []string
	for _, m := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(line, -1) {
		wrong = append(wrong, w.missing(m[1])...)
	}
	return wrong
}

// missing gives what a quoted text names and is nowhere.
func (w *words) missing(name string) []string {
	first, rest, phrase := strings.Cut(name, " ")
	switch {
	case first == "cnm" && phrase:
		return w.missingOf(name)
	case first == "make" && phrase:
		if !w.targets[rest] {
			return []string{name}
		}
	case phrase && (first == "inet" || first == "bridge"): // tables
		if !w.literals[rest] {
			return []string{name}
		}
	case phrase: // the words of other programs
	case strings.HasPrefix(name, "--"):
		for _, options := range w.commands {
			if options[name] {
				return nil
			}
		}
		return []string{name}
	case !w.known(name):
		return []string{name}
	}
	return nil
}

// missingOf gives what a command line names and is nowhere: the command, or options.
func (w *words) missingOf(line string) []string {
	fields := strings.Fields(line)
	command, options := "", map[string]bool(nil)
	for n := range fields {
		if o, ok := w.commands[strings.Join(fields[:n+1], " ")]; ok {
			command, options = strings.Join(fields[:n+1], " "), o
		}
	}
	if command == "" {
		return []string{"command " + line}
	}
	var wrong []string
	for _, word := range fields {
		if word == "--" {
			break // what follows is another program's
		}
		name, _, _ := strings.Cut(word, "=")
		if strings.HasPrefix(word, "--") && !options[name] {
			wrong = append(wrong, command+" "+name)
		}
	}
	return wrong
}

// known tells whether a single word is somewhere. In a file's name "…" stands for anything, and a first folder in capitals for one that is
// configured.
func (w *words) known(name string) bool {
	if _, err := netip.ParseAddr(name); err == nil {
		return true
	}
	if folder, file, ok := strings.Cut(name, "/"); ok && folder != "" && folder == strings.ToUpper(folder) {
		name = file
	}
	name = strings.TrimSuffix(strings.TrimSuffix(name, "()"), "/")
	if w.declared[name] || w.literals[name] {
		return true
	}
	begin, end, open := strings.Cut(name, "…")
	if !open {
		return false
	}
	for literal := range w.literals {
		if strings.HasPrefix(literal, begin) && strings.HasSuffix(literal, end) {
			return true
		}
	}
	return false
}

// drawn gives the rooms and chains in a line of a drawing that are nowhere. A label is a list of rooms, of which one after a comma is beside the first, or chains
// before a colon.
func (w *words) drawn(line string) []string {
	var wrong []string
	for _, m := range regexp.MustCompile(`\[(?:"([^"]*)"|([^"\]]*))\]`).FindAllStringSubmatch(line, -1) {
		label := m[1] + m[2]
		names, _, chains := strings.Cut(label, ":")
		if !chains && !strings.Contains(label, "/") {
			continue
		}
		dir := ""
		for name := range strings.SplitSeq(names, ", ") {
			if chains && strings.ContainsAny(name, " /") {
				continue // a layer with its meaning, no chain
			}
			if !chains && strings.Contains(name, "/") {
				dir = path.Dir(name)
			} else if !chains {
				name = path.Join(dir, name)
			}
			if !w.declared[name] && !(chains && w.literals[name]) {
				wrong = append(wrong, name)
			}
		}
	}
	return wrong
}
