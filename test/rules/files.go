// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"bytes"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
)

// The limits of size, in lines.
const (
	fileMost = 500
	rootMost = 1500
)

// header begins every Go file.
const header = "// SPDX-License-Identifier: Apache-2.0\n\n"

// Licence finds Go files without the licence header.
func Licence(t *Tree) []Finding {
	var found []Finding
	for _, f := range t.GoFiles() {
		if !bytes.HasPrefix(f.Text, []byte(header)) {
			found = append(found, Finding{f.Path, 1, fmt.Sprintf("the file does not begin with %q", header)})
		}
	}
	return found
}

// banned is text that is nowhere in the repository. The patterns are written so that they do not match themselves.
func banned() map[string]*regexp.Regexp {
	return map[string]*regexp.Regexp{
		"a path of somebody's machine":          regexp.MustCompile(`(^|[^\w./-])/(work|tmp/team)(/|\b)`),
		"unfinished work: finish it or drop it": regexp.MustCompile(`(?:^|[^.\w])(TO` + `DO|FIX` + `ME|XX` + `X|HA` + `CK)\b`),
	}
}

// Strings finds text that has no place in the repository.
func Strings(t *Tree) []Finding {
	var found []Finding
	patterns := banned()
	for _, f := range t.Files {
		if path.Base(f.Path) == "go.sum" {
			continue
		}
		number := 0
		for line := range bytes.Lines(f.Text) {
			number++
			for _, what := range slices.Sorted(maps.Keys(patterns)) {
				if m := patterns[what].Find(line); m != nil {
					found = append(found, Finding{f.Path, number, fmt.Sprintf("%q is %s", bytes.TrimSpace(m), what)})
				}
			}
		}
	}
	return found
}

// Stray finds files that somebody left behind: a name that begins with a dot hides a file from whoever lists the folder, and is for
// the settings of tools alone.
func Stray(t *Tree) []Finding {
	var found []Finding
	for _, f := range t.Files {
		name := path.Base(f.Path)
		if strings.HasPrefix(name, ".") && !slices.Contains([]string{".gitignore", ".golangci.yml"}, name) {
			found = append(found, Finding{f.Path, 0, "a hidden file that no tool of ours reads; delete it"})
		}
	}
	return found
}

// Size finds files and a root package that are too long.
func Size(t *Tree) []Finding {
	var found []Finding
	root := 0
	for _, f := range t.GoFiles() {
		n := bytes.Count(f.Text, []byte("\n"))
		if n > fileMost {
			found = append(found, Finding{f.Path, 0, fmt.Sprintf("%d lines; %d are the most", n, fileMost)})
		}
		if f.Dir() == "." && !f.Test() {
			root += n
		}
	}
	if root > rootMost {
		found = append(found, Finding{".", 0, fmt.Sprintf("the root package has %d lines; %d are the most", root, rootMost)})
	}
	return found
}

// PackageComment finds packages that are introduced in no file or in several.
func PackageComment(t *Tree) []Finding {
	var found []Finding
	packages := t.Packages()
	for _, dir := range slices.Sorted(maps.Keys(packages)) {
		var where []string
		for _, f := range packages[dir] {
			if f.Go.Doc == nil {
				continue
			}
			where = append(where, f.Path)
			if name := f.Go.Name.Name; name != "main" && !strings.HasPrefix(f.Go.Doc.Text(), "Package "+name+" ") {
				found = append(found, Finding{f.Path, t.Line(f.Go.Doc.Pos()), fmt.Sprintf("the comment does not begin with \"Package %s\"", name)})
			}
		}
		if len(where) != 1 {
			found = append(found, Finding{dir, 0, fmt.Sprintf("package comments in %d files (%s); one file has it", len(where), strings.Join(where, ", "))})
		}
	}
	return found
}

// Readme finds rooms without a README.md that says what they are.
func Readme(t *Tree) []Finding {
	rooms := map[string]bool{".": true}
	for dir := range t.Packages() {
		if _, ok := layerOf(dir); !ok || within(dir, "internal", "cmd", "test", "bench", "tools", "examples") {
			continue
		}
		for d := dir; d != "."; d = path.Dir(d) { // the folder of rooms is one too
			rooms[d] = true
		}
	}
	texts := map[string][]byte{}
	for _, f := range t.Files {
		if path.Base(f.Path) == "README.md" {
			texts[f.Dir()] = f.Text
		}
	}
	var found []Finding
	for _, room := range slices.Sorted(maps.Keys(rooms)) {
		text, ok := texts[room]
		switch {
		case !ok:
			found = append(found, Finding{room, 0, "the room has no README.md"})
		case !bytes.HasPrefix(text, []byte("# ")) || len(bytes.Fields(text)) < 10:
			found = append(found, Finding{path.Join(room, "README.md"), 1, "it does not begin with a title and say what the room is for"})
		}
	}
	return found
}

// Modules finds go.mod files that are not built by others as they are by us.
func Modules(t *Tree) []Finding {
	var found []Finding
	for _, f := range t.Files {
		if path.Base(f.Path) != "go.mod" {
			continue
		}
		number := 0
		for line := range bytes.Lines(f.Text) {
			number++
			if words := bytes.Fields(line); len(words) > 0 && slices.Contains([]string{"replace", "exclude"}, string(words[0])) {
				found = append(found, Finding{f.Path, number, fmt.Sprintf("a %q is ignored where the module is imported", words[0])})
			}
		}
	}
	return found
}
