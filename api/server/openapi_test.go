// SPDX-License-Identifier: Apache-2.0

package server

import (
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/libnetwork/cnm/api/wire"
)

// yamlKeys reads the block mappings of our own description: for every path of keys, joined by " > ", the keys below it or, with a
// leading "=", its value. Lists are skipped.
func yamlKeys(t *testing.T, file string) map[string][]string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	below := map[string][]string{}
	var stack []string
	var depths []int
	for line := range strings.Lines(string(data)) {
		text := strings.TrimSpace(line)
		if text == "" || text[0] == '#' || strings.HasPrefix(text, "- ") {
			continue
		}
		depth := len(line) - len(strings.TrimLeft(line, " "))
		for len(depths) > 0 && depths[len(depths)-1] >= depth {
			depths, stack = depths[:len(depths)-1], stack[:len(stack)-1]
		}
		key, value, ok := strings.Cut(text, ":")
		if strings.HasPrefix(text, `"`) || strings.HasPrefix(text, "/") {
			key, ok = strings.CutSuffix(text, ":")
			value = ""
		}
		if !ok {
			continue
		}
		parent := strings.Join(stack, " > ")
		below[parent] = append(below[parent], key)
		depths, stack = append(depths, depth), append(stack, key)
		if value = strings.TrimSpace(value); value != "" {
			at := strings.Join(stack, " > ")
			below[at] = append(below[at], "="+value)
		}
	}
	return below
}

// TestDescription holds api/openapi.yaml equal to the routes and their roles.
func TestDescription(t *testing.T) {
	t.Parallel()
	doc := yamlKeys(t, "../openapi.yaml")
	var described, served []string
	for _, path := range doc["paths"] {
		for _, method := range doc["paths > "+path] {
			role := doc["paths > "+path+" > "+method+" > x-role"]
			described = append(described, strings.ToUpper(method)+" "+path+" "+strings.Join(role, ""))
			if !slices.Contains(doc["paths > "+path+" > "+method], "responses") {
				t.Errorf("%s %s has no responses", method, path)
			}
		}
	}
	for _, rt := range routes() {
		served = append(served, rt.pattern+" ="+rt.role.String())
		path, method := strings.Fields(rt.pattern)[1], strings.ToLower(strings.Fields(rt.pattern)[0])
		if has := slices.Contains(doc["paths > "+path+" > "+method], "requestBody"); has != rt.body {
			t.Errorf("%s: described with a body: %v", rt.pattern, has)
		}
	}
	slices.Sort(described)
	slices.Sort(served)
	if !slices.Equal(described, served) {
		t.Errorf("described:\n%s\nserved:\n%s", strings.Join(described, "\n"), strings.Join(served, "\n"))
	}
}

// TestSchemas holds the described fields equal to those of the types.
func TestSchemas(t *testing.T) {
	t.Parallel()
	doc := yamlKeys(t, "../openapi.yaml")
	types := []any{
		wire.Network{},
		wire.Subnet{},
		wire.NetworkCreate{},
		wire.SubnetCreate{},
		wire.Prune{},
		wire.Pruned{},
		wire.Sandbox{},
		wire.Host{},
		wire.SandboxCreate{},
		wire.Provide{},
		wire.ProvideAttach{},
		wire.Provided{},
		wire.Entry{},
		wire.NameFiles{},
		wire.Endpoint{},
		wire.Port{},
		wire.EndpointCreate{},
		wire.Join{},
		wire.Leave{},
		wire.Attach{},
		wire.Detach{},
		wire.Publish{},
		wire.Driver{},
		wire.Option{},
		wire.Event{},
		wire.Error{},
	}
	var known []string
	for _, v := range types {
		typ := reflect.TypeOf(v)
		known = append(known, typ.Name())
		var fields []string
		for _, f := range reflect.VisibleFields(typ) {
			if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" {
				fields = append(fields, name)
			}
		}
		described := slices.Clone(doc["components > schemas > "+typ.Name()+" > properties"])
		slices.Sort(fields)
		slices.Sort(described)
		if !slices.Equal(fields, described) {
			t.Errorf("%s has\n%v, described are\n%v", typ.Name(), fields, described)
		}
	}
	described := slices.Clone(doc["components > schemas"])
	slices.Sort(known)
	slices.Sort(described)
	if !slices.Equal(known, described) {
		t.Errorf("types %v, described %v", known, described)
	}
}
