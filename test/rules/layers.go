// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
)

// A layer's number grows upwards. Tests may import what is below their room, whatever the room itself may.
const (
	model = iota
	kernel
	shared
	parts
	orchestration
	surface
	programs
)

// Layer is one row of the table of who may import whom.
type Layer struct {
	Number  int
	Rooms   []string // the folders it speaks of, with all below them; "." is the root package alone
	May     []string // folders of this module that they may import, with all below them, beside their own
	Outside []string // modules that they may import; nil is all but the kernel's libraries
	Why     string
}

// none is an empty list of modules, which is not the same as no list.
func none() []string { return []string{} }

// libraries speak to the kernel; only the kernel's rooms may use them.
func libraries() []string {
	return []string{
		"github.com/mdlayher/netlink", "github.com/mdlayher/socket", "golang.org/x/net/bpf", "github.com/vishvananda/netlink", "github.com/vishvananda/netns",
		"github.com/google/nftables", "github.com/ti-mo/conntrack", "github.com/ti-mo/netfilter", "github.com/cilium/ebpf",
	}
}

// Layout returns the table. A room is governed by the first row that names it.
func Layout() []Layer {
	lower := []string{".", "firewall", "ports", "kernel", "plugin"}
	return []Layer{
		{model, []string{"."}, nil, none(), "the model is what everybody reads first: it stands alone, on the standard library"},
		{kernel, []string{"kernel"}, []string{"kernel"}, append(libraries(), "golang.org/x/sys"), "the kernel's rooms speak of links, tables and prefixes; a noun of the model here means that a decision slipped down"},
		{kernel, []string{"plugin"}, []string{"plugin"}, []string{"golang.org/x/sys"}, "the wire protocol of plugins is the same for whoever speaks it"},
		{kernel, []string{"internal/undo"}, nil, none(), "undoing knows nothing of what is undone"},
		{shared, []string{"firewall", "ports"}, []string{".", "kernel"}, []string{"golang.org/x/sys"}, "firewall and ports are shared by all drivers, and know none of them"},
		{shared, []string{"internal/audit", "internal/launch"}, []string{".", "kernel"}, []string{"golang.org/x/sys"}, "what checks or starts things has no part in making networks"},
		{parts, []string{"driver", "ipam", "store", "sandbox", "dns"}, lower, nil, "parts meet only in the controller: one that imports another, or the controller, cannot be replaced"},
		{orchestration, []string{"controller"}, []string{".", "internal/undo"}, none(), "the controller is given its parts: naming one would decide for everybody which it is"},
		{surface, []string{"api/wire"}, []string{"."}, none(), "what goes over the wire is plain values"},
		{surface, []string{"api", "adapter"}, []string{".", "api/wire", "plugin"}, nil, "a surface translates; the same one serves the controller and a client of the daemon"},
		{programs, []string{"internal/cli"}, []string{".", "api/client", "api/wire", "internal/launch"}, nil, "the command line does nothing that another client of the API could not do"},
		{programs, []string{"cmd", "internal", "test", "bench", "examples"}, []string{".", "api", "adapter", "bench", "cmd", "controller", "dns", "driver", "firewall", "internal", "ipam", "kernel", "plugin", "ports", "sandbox", "store", "test"}, nil, "programs put things together; nobody imports them"},
	}
}

// layerOf is the row for a folder.
func layerOf(dir string) (Layer, bool) {
	for _, l := range Layout() {
		for _, room := range l.Rooms {
			if dir == room || room != "." && within(dir, room) {
				return l, true
			}
		}
	}
	return Layer{}, false
}

// Layers finds imports that do not point down.
func Layers(t *Tree) []Finding {
	var found []Finding
	for _, f := range t.GoFiles() {
		if within(f.Dir(), "tools") {
			continue // a module of its own
		}
		layer, ok := layerOf(f.Dir())
		if !ok {
			found = append(found, Finding{f.Path, 0, "this folder is in no layer: say in test/rules/layers.go what it may import, and why"})
			continue
		}
		for _, spec := range f.Go.Imports {
			name, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				continue // the parser has let it pass, so it is quoted
			}
			if !layer.allows(f, name) {
				found = append(found, Finding{f.Path, t.Line(spec.Pos()), fmt.Sprintf("%s may not import %s: %s", f.Dir(), name, layer.Why)})
			}
		}
	}
	return found
}

// allows tells whether the file may have the import.
func (l Layer) allows(f *File, name string) bool {
	if name == Module || strings.HasPrefix(name, Module+"/") {
		return l.allowsOwn(f, path.Clean("./"+strings.TrimPrefix(name, Module)))
	}
	if first, _, _ := strings.Cut(name, "/"); !strings.Contains(first, ".") {
		return true // the standard library
	}
	if l.Outside == nil {
		return f.Test() || l.Number == programs || !within(name, libraries()...)
	}
	return f.Test() || within(name, l.Outside...) || isSuite(f.Dir()) && within(name, "pgregory.net/rapid", "go.uber.org/goleak")
}

// allowsOwn tells whether the file may import the folder of this module.
func (l Layer) allowsOwn(f *File, dir string) bool {
	room := f.Dir()
	if f.Path == "example_test.go" && f.Go.Name.Name == "cnm_test" {
		return true // it shows how a program puts the parts together, as a package of its own
	}
	if dir == room || room != "." && within(dir, room) || within(room, dir) && dir != "." && f.Test() {
		return true
	}
	if slices.Contains(l.May, ".") && dir == "." {
		return true
	}
	if dir != "." && within(dir, l.May...) {
		return !isSuite(dir) || f.Test() || isSuite(room) || l.Number == programs
	}
	if !f.Test() && !isSuite(room) {
		return false
	}
	below, ok := layerOf(dir)
	if l.Number == kernel { // not even its tests speak of the model
		return ok && below.Number == kernel
	}
	// A suite is for all of its layer; a client is tested against the server and the reverse.
	return ok && (below.Number < l.Number || below.Number == l.Number && (isSuite(dir) || l.Number == surface))
}

// reserved says who may import what is not for everybody.
type reserved struct {
	imports []string
	rooms   []string
	tests   bool // tests and suites may too
	why     string
}

// reservations returns the table.
func reservations() []reserved {
	return []reserved{
		{[]string{"os/exec"}, []string{"kernel/netns", "internal/launch", "internal/daemon", "test", "bench"}, true, "no other program has a part in making networks"},
		{[]string{"testing"}, []string{"test", "bench"}, true, "a program does not carry its tests"},
		{[]string{"unsafe"}, []string{"kernel", "api/server", "bench"}, false, "only what the kernel wants as memory needs it"},
		{[]string{"C"}, nil, false, "the program is one static file"},
		{[]string{"log"}, nil, false, "a *slog.Logger is injected, and libraries return their errors"},
		{[]string{"math/rand"}, nil, false, "math/rand/v2 needs no seed"},
		{[]string{"io/ioutil"}, nil, false, "os and io have it all"},
	}
}

// Reserved finds imports of packages that are reserved for some rooms.
func Reserved(t *Tree) []Finding {
	var found []Finding
	for _, f := range t.GoFiles() {
		for _, spec := range f.Go.Imports {
			name := strings.Trim(spec.Path.Value, `"`)
			for _, r := range reservations() {
				if !slices.Contains(r.imports, name) || within(f.Dir(), r.rooms...) || r.tests && (f.Test() || isSuite(f.Dir())) {
					continue
				}
				found = append(found, Finding{f.Path, t.Line(spec.Pos()), fmt.Sprintf("%s may not import %s: %s", f.Dir(), name, r.why)})
			}
		}
	}
	return found
}
