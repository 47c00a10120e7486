// SPDX-License-Identifier: Apache-2.0

package oci

import (
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/api/wire"
)

// Setup says how a bundle is to join networks.
type Setup struct {
	// Hook is what the runtime executes: our program, and what follows "oci-hook STAGE" on its command line.
	Hook Command
	// Annotations are those of the container, by their keys without the prefix. None: the container joins nothing.
	Annotations map[string]string
	// Sandbox, if its name is not empty, is the sandbox to be started in, in place of annotations.
	Sandbox wire.Entry
	// Files mounts hosts, resolv.conf and hostname.
	Files bool
	// Poststop has the runtime call us at the container's end too, and wait. Without, the daemon sees the end by itself.
	Poststop bool
}

// Command is a program with its further arguments.
type Command struct {
	Path string
	Args []string
}

// hookWord is the command of ours that runtimes call; it is also how our hooks are known.
const hookWord = "oci-hook"

// hookTimeout is how long, in seconds, a runtime waits for a hook of ours.
const hookTimeout = 30

// hook is an entry of config.json.
type hook struct {
	Path    string   `json:"path"`
	Args    []string `json:"args"`
	Timeout int      `json:"timeout"`
}

// mount is an entry of config.json.
type mount struct {
	Destination string   `json:"destination"`
	Type        string   `json:"type"`
	Source      string   `json:"source"`
	Options     []string `json:"options"`
}

// Edit is the text of a config.json with what s says, and without what an earlier Edit put there; all else, also what nobody
// knows the meaning of, keeps its place and its text; white space is made regular where anything changes. The notes are for the person who asked.
func Edit(config []byte, s Setup) (edited []byte, notes []string, err error) {
	root, err := parseWhole(configName, config)
	if err != nil {
		return nil, nil, cnm.FieldErrorf(cnm.Invalid, "bundle", "%w", err)
	}
	e := &editor{root: root, emptied: map[string]bool{}}
	e.strip()
	switch {
	case s.Sandbox.Name != "":
		e.enter(&s)
	case len(s.Annotations) > 0:
		e.attach(&s)
	}
	e.tidy()
	if e.err != nil {
		return nil, nil, cnm.FieldErrorf(cnm.Invalid, "bundle", "%s: %w", configName, e.err)
	}
	edited, err = format(root, config)
	return edited, e.notes, err
}

// editor changes a configuration. After the first failure it does nothing more.
type editor struct {
	root    *object
	emptied map[string]bool // members by their keys, which are all different
	notes   []string
	err     error
}

// within changes an object below another.
func (e *editor) within(parent *object, key string, change func(o *object)) {
	if e.err != nil {
		return
	}
	o, err := parseObject(key, parent.get(key))
	if err != nil {
		e.err = err
		return
	}
	before := len(o.members)
	change(o)
	if e.err == nil && before+len(o.members) > 0 {
		e.emptied[key] = e.emptied[key] || len(o.members) == 0
		e.err = parent.set(key, o)
	}
}

// list changes an array below an object.
func (e *editor) list(parent *object, key string, change func(all []json.RawMessage) []json.RawMessage) {
	if e.err != nil {
		return
	}
	all, err := parseArray(key, parent.get(key))
	if err != nil {
		e.err = err
		return
	}
	before := len(all)
	all = change(all)
	if e.err == nil && before+len(all) > 0 {
		e.emptied[key] = e.emptied[key] || len(all) == 0
		e.err = parent.set(key, all)
	}
}

// tidy takes out what was emptied on the way and is empty still. Until then it keeps the place of what may come again.
func (e *editor) tidy() {
	e.within(e.root, "hooks", func(o *object) { e.dropEmptied(o, "createRuntime", "poststop") })
	e.dropEmptied(e.root, "annotations", "hooks", "mounts")
}

func (e *editor) dropEmptied(o *object, keys ...string) {
	for _, key := range keys {
		if text := string(o.get(key)); e.emptied[key] && (text == "{}" || text == "[]") {
			o.drop(key)
		}
	}
}

// item is an element as an object; one that is none is of no interest here, and is told by the runtime.
func item(text json.RawMessage) *object {
	o, err := parseObject("element", text)
	if err != nil {
		return &object{}
	}
	return o
}

// strip takes out what an earlier edit put in.
func (e *editor) strip() {
	made := false
	e.within(e.root, "annotations", func(o *object) {
		made = o.get(Prefix+sandboxKey) != nil
		o.members = slices.DeleteFunc(o.members, func(m member) bool { return strings.HasPrefix(m.key, Prefix) })
	})
	if made {
		e.network(false, func(o *object) { o.drop("path") })
	}
	e.within(e.root, "hooks", func(o *object) {
		for _, stage := range []string{"createRuntime", "poststop"} {
			e.list(o, stage, func(all []json.RawMessage) []json.RawMessage { return slices.DeleteFunc(all, isOurHook) })
		}
	})
	e.list(e.root, "mounts", func(all []json.RawMessage) []json.RawMessage { return slices.DeleteFunc(all, isOurMount) })
}

func isOurHook(text json.RawMessage) bool {
	var h hook
	return json.Unmarshal(text, &h) == nil && len(h.Args) > 1 && h.Args[1] == hookWord
}

// isOurMount tells whether a mount is of a file in the bundle that hooks fill, or of a sandbox's own.
func isOurMount(text json.RawMessage) bool {
	var m mount
	if json.Unmarshal(text, &m) != nil {
		return false
	}
	ofSandbox := regexp.MustCompile(`/sandboxes/[0-9a-f]{32}/`)
	return slices.ContainsFunc(nameFiles(), func(f nameFile) bool {
		return m.Destination == "/etc/"+f.name && (m.Source == filepath.Join(filesDir, f.name) || ofSandbox.MatchString(m.Source))
	})
}

// network changes the container's network namespace. Where there is none it is put there, if it is needed.
func (e *editor) network(needed bool, change func(o *object)) {
	e.within(e.root, "linux", func(linux *object) {
		e.list(linux, "namespaces", func(all []json.RawMessage) []json.RawMessage {
			i := slices.IndexFunc(all, func(text json.RawMessage) bool { return item(text).text("type") == "network" })
			if i < 0 && !needed {
				return all
			}
			if i < 0 {
				all = append(all, json.RawMessage(`{"type":"network"}`))
				i = len(all) - 1
			}
			ns := item(all[i])
			change(ns)
			if e.err == nil {
				all[i], e.err = encode(ns)
			}
			return all
		})
	})
}

// attach has the container join networks by hooks.
func (e *editor) attach(s *Setup) {
	e.network(true, func(o *object) {
		if path := o.text("path"); path != "" && e.err == nil {
			e.err = fmt.Errorf("the container is started in the network namespace %s of somebody else's; take \"path\" out of linux.namespaces, or join that namespace with: cnm sandbox create NAME --netns %s", path, path)
		}
	})
	e.annotate(s.Annotations)
	e.within(e.root, "hooks", func(o *object) {
		add := func(moment, stage string) {
			e.add(o, moment, hook{Path: s.Hook.Path, Args: append([]string{"cnm", hookWord, stage}, s.Hook.Args...), Timeout: hookTimeout})
		}
		add("createRuntime", StageCreate)
		if s.Poststop {
			add("poststop", StageDelete)
		}
	})
	if s.Files {
		e.mount(func(f nameFile) string { return filepath.Join(filesDir, f.name) })
	}
}

// enter has the container started in a sandbox that is there.
func (e *editor) enter(s *Setup) {
	if s.Sandbox.Host && e.err == nil {
		e.err = fmt.Errorf("sandbox %q is the host's own stack; for that take the network out of linux.namespaces", s.Sandbox.Name)
	}
	e.network(true, func(o *object) {
		if path := o.text("path"); path != "" && path != s.Sandbox.Namespace && e.err == nil {
			e.err = fmt.Errorf("the container is started in the network namespace %s already; take \"path\" out of linux.namespaces", path)
		}
		if e.err == nil {
			e.err = o.set("path", s.Sandbox.Namespace)
		}
	})
	e.annotate(map[string]string{sandboxKey: s.Sandbox.Name})
	if s.Files {
		e.mount(func(f nameFile) string { return f.from(s.Sandbox.Files) })
	}
}

// annotate adds annotations, in order.
func (e *editor) annotate(annotations map[string]string) {
	e.within(e.root, "annotations", func(o *object) {
		for _, key := range slices.Sorted(maps.Keys(annotations)) {
			if e.err == nil {
				e.err = o.set(Prefix+key, annotations[key])
			}
		}
	})
}

// mount mounts the name files where nothing else is mounted.
func (e *editor) mount(source func(nameFile) string) {
	for _, f := range nameFiles() {
		to := "/etc/" + f.name
		taken := false
		e.list(e.root, "mounts", func(all []json.RawMessage) []json.RawMessage {
			taken = slices.ContainsFunc(all, func(text json.RawMessage) bool { return filepath.Clean(item(text).text("destination")) == to })
			return all
		})
		if taken {
			e.notes = append(e.notes, to+" has a mount already, which stays")
			continue
		}
		e.add(e.root, "mounts", mount{Destination: to, Type: "bind", Source: source(f), Options: []string{"bind", "rprivate"}})
	}
}

// add appends to an array below an object.
func (e *editor) add(parent *object, key string, value any) {
	e.list(parent, key, func(all []json.RawMessage) []json.RawMessage {
		text, err := encode(value)
		e.err = err
		return append(all, text)
	})
}
