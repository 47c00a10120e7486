// SPDX-License-Identifier: Apache-2.0

package server

import (
	"path"
	"slices"
	"strings"

	cnm "github.com/libnetwork/cnm"
)

// filter is what a list is asked for: values of one key are alternatives, keys must all match.
type filter map[string][]string

// prefixMin is the fewest digits of an ID that may stand for it.
const prefixMin = 4

// parseFilter reads KEY=VALUE texts.
func parseFilter(texts []string) (filter, error) {
	known := []string{"driver", "id", "label", "name", "network", "sandbox", "state"}
	f := filter{}
	for _, text := range texts {
		key, value, ok := strings.Cut(text, "=")
		if !ok || value == "" || !slices.Contains(known, key) {
			return nil, cnm.FieldErrorf(cnm.Invalid, "filter", "filter %q is not KEY=VALUE with a key of %s", text, strings.Join(known, ", "))
		}
		if _, err := path.Match(value, ""); err != nil && key != "label" {
			return nil, cnm.FieldErrorf(cnm.Invalid, "filter", "filter %q: %w", text, err)
		}
		f[key] = append(f[key], value)
	}
	return f, nil
}

// public refuses the keys that would tell a reader what it may not see.
func (f filter) public() error {
	for _, key := range []string{"label", "sandbox"} {
		if f[key] != nil {
			return cnm.FieldErrorf(cnm.NotPermitted, "filter", "filter %s needs root or membership of the group cnm", key)
		}
	}
	return nil
}

// only refuses keys that have no meaning for a noun.
func (f filter) only(noun string, keys ...string) error {
	for key := range f {
		if !slices.Contains(keys, key) {
			return cnm.FieldErrorf(cnm.Invalid, "filter", "filter %s says nothing of a %s; use %s", key, noun, strings.Join(keys, ", "))
		}
	}
	return nil
}

// subject is what filters look at.
type subject struct {
	id        string
	names     []string
	labels    map[string]string
	state     string
	drivers   []string
	networks  []named
	sandboxes []named
}

type named struct{ id, name string }

func (f filter) match(s subject) bool {
	for key, values := range f {
		if !slices.ContainsFunc(values, func(v string) bool { return s.has(key, v) }) {
			return false
		}
	}
	return true
}

func (s *subject) has(key, value string) bool {
	switch key {
	case "id":
		return strings.HasPrefix(s.id, value)
	case "label":
		k, want, exact := strings.Cut(value, "=")
		have, ok := s.labels[k]
		return ok && (!exact || have == want)
	case "state":
		return s.state == value
	case "driver":
		return slices.ContainsFunc(s.drivers, func(n string) bool { return like(value, n) })
	case "network":
		return slices.ContainsFunc(s.networks, func(n named) bool { return n.is(value) })
	case "sandbox":
		return slices.ContainsFunc(s.sandboxes, func(n named) bool { return n.is(value) })
	default:
		return slices.ContainsFunc(s.names, func(n string) bool { return like(value, n) })
	}
}

func (n named) is(value string) bool {
	return like(value, n.name) || len(value) >= prefixMin && strings.HasPrefix(n.id, value)
}

// like compares a name with a shell pattern, without regard to case. The pattern was checked when it was read.
func like(pattern, name string) bool {
	ok, err := path.Match(cnm.FoldName(pattern), cnm.FoldName(name))
	return err == nil && ok
}
