// SPDX-License-Identifier: Apache-2.0

package oci

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/api/wire"
)

// Prefix begins the annotations that are ours.
const Prefix = "org.libnetwork."

// The annotations that say what a container is to us at all.
const (
	networksKey = "networks"
	sandboxKey  = "sandbox"
	nameKey     = "name"
)

// Request is what a container's annotations ask for.
type Request struct {
	// Provide is the sandbox, without its process and labels. Its name and host name are empty where the annotations leave them open.
	wire.Provide
	// Made is the sandbox that was made before, which the container is started in; then there is nothing to do.
	Made string
}

// annotation is one row of the grammar.
type annotation struct {
	key string
	// container takes the value where the key stands alone, network where it is for one network, KEY.NETWORK. An annotation that
	// has only network may stand alone where there is one network.
	container func(r *Request, value string) error
	network   func(at *wire.ProvideAttach, value string) error
}

// grammar returns all annotations but those that say which networks or sandbox.
func grammar() []annotation {
	return []annotation{
		{
			key:       nameKey,
			container: func(r *Request, v string) error { r.Name = v; return nil },
			network:   func(at *wire.ProvideAttach, v string) error { at.Name = v; return nil },
		},
		{key: "hostname", container: func(r *Request, v string) error { r.Hostname = v; return nil }},
		{key: "dns", container: func(r *Request, v string) (err error) { r.DNS, err = list(v); return err }},
		{key: "dns-search", container: func(r *Request, v string) (err error) { r.DNSSearch, err = list(v); return err }},
		{key: "add-host", container: func(r *Request, v string) (err error) { r.AddHosts, err = hosts(v); return err }},
		{
			key:       "publish",
			container: func(r *Request, v string) error { return publish(r, v) },
			network:   func(at *wire.ProvideAttach, v string) error { return more(&at.Publish, v) },
		},
		{
			key:       "alias",
			container: func(r *Request, v string) error { return alias(r, v) },
			network:   func(at *wire.ProvideAttach, v string) error { return more(&at.Aliases, v) },
		},
		{key: "ip", network: func(at *wire.ProvideAttach, v string) (err error) { at.Addresses, err = list(v); return err }},
		{key: "mac", network: func(at *wire.ProvideAttach, v string) error { at.MAC = v; return nil }},
		{key: "interface", network: func(at *wire.ProvideAttach, v string) error { at.Interface = v; return nil }},
		{key: "gateway-priority", network: func(at *wire.ProvideAttach, v string) (err error) { at.GatewayPriority, err = number(v); return err }},
		{key: "opt", network: func(at *wire.ProvideAttach, v string) (err error) { at.Options, err = pairs(v); return err }},
		{key: "sysctl", network: func(at *wire.ProvideAttach, v string) (err error) { at.Sysctls, err = pairs(v); return err }},
	}
}

// Parse reads a container's annotations; nil where none is ours. One that is ours and unknown, or whose value cannot be
// understood, is an error of kind [cnm.Invalid] that names it.
func Parse(annotations map[string]string) (*Request, error) {
	ours := map[string]string{}
	for name, value := range annotations {
		if key, ok := strings.CutPrefix(name, Prefix); ok {
			ours[key] = value
		}
	}
	if len(ours) == 0 {
		return nil, nil
	}
	if made, ok := ours[sandboxKey]; ok {
		return inMade(made, ours)
	}
	r := &Request{}
	if err := r.attach(ours); err != nil {
		return nil, err
	}
	// In order, so that of several mistakes always the same one is told.
	for _, key := range slices.Sorted(maps.Keys(ours)) {
		if key == networksKey {
			continue
		}
		if err := r.apply(key, ours[key]); err != nil {
			return nil, invalid(key, err)
		}
	}
	_, _, _, err := r.Specs()
	return r, err
}

// inMade is a container in a sandbox that was made before: what it is to be was said when that was made.
func inMade(made string, ours map[string]string) (*Request, error) {
	if err := cnm.CheckName(sandboxKey, made); err != nil {
		return nil, invalid(sandboxKey, err)
	}
	delete(ours, sandboxKey)
	for _, key := range slices.Sorted(maps.Keys(ours)) {
		return nil, cnm.FieldErrorf(cnm.Invalid, Prefix+key, "annotation %s%s does not go with %s%s: the sandbox has been made", Prefix, key, Prefix, sandboxKey)
	}
	return &Request{Made: made}, nil
}

// attach reads which networks.
func (r *Request) attach(ours map[string]string) error {
	value, ok := ours[networksKey]
	if !ok {
		return cnm.FieldErrorf(cnm.Invalid, Prefix+networksKey, "annotation %s%s needs %s%s beside it: a list of networks, or none",
			Prefix, slices.Sorted(maps.Keys(ours))[0], Prefix, networksKey)
	}
	if value == "none" {
		return nil
	}
	networks, err := list(value)
	if err != nil {
		return invalid(networksKey, err)
	}
	for _, nw := range networks {
		if r.on(nw) != nil {
			return cnm.FieldErrorf(cnm.Invalid, Prefix+networksKey, "annotation %s%s has network %q twice", Prefix, networksKey, nw)
		}
		r.Attach = append(r.Attach, wire.ProvideAttach{Network: nw})
	}
	return nil
}

// on is the attachment to a network, nil if there is none.
func (r *Request) on(network string) *wire.ProvideAttach {
	i := slices.IndexFunc(r.Attach, func(at wire.ProvideAttach) bool { return cnm.FoldName(at.Network) == cnm.FoldName(network) })
	if i < 0 {
		return nil
	}
	return &r.Attach[i]
}

// apply reads one annotation.
func (r *Request) apply(key, value string) error {
	all := grammar()
	for _, a := range all {
		network, suffixed := strings.CutPrefix(key, a.key+".")
		switch {
		case key == a.key && a.container != nil:
			return a.container(r, value)
		case key == a.key:
			return r.applySole(a, value)
		case suffixed && a.network == nil:
			return cnm.Errorf(cnm.Invalid, "it is for the container, not for a network; write %s%s", Prefix, a.key)
		case suffixed:
			at := r.on(network)
			if at == nil {
				return cnm.Errorf(cnm.Invalid, "%s%s does not list network %q", Prefix, networksKey, network)
			}
			return a.network(at, value)
		}
	}
	known := []string{networksKey, sandboxKey}
	for _, a := range all {
		known = append(known, a.key)
	}
	slices.Sort(known)
	return cnm.Errorf(cnm.Invalid, "it is unknown; known are %s", strings.Join(known, ", "))
}

// applySole reads an annotation for one network that does not say for which.
func (r *Request) applySole(a annotation, value string) error {
	if len(r.Attach) != 1 {
		return cnm.Errorf(cnm.Invalid, "there are %d networks; write %s%s.NETWORK", len(r.Attach), Prefix, a.key)
	}
	return a.network(&r.Attach[0], value)
}

// publish is for the only network there is, or else for those that hold the default route.
func publish(r *Request, value string) error {
	if len(r.Attach) == 1 {
		return more(&r.Attach[0].Publish, value)
	}
	if len(r.Attach) == 0 {
		return cnm.Errorf(cnm.Invalid, "there is no network to publish on")
	}
	return more(&r.Publish, value)
}

// alias is for every network.
func alias(r *Request, value string) error {
	if len(r.Attach) == 0 {
		return cnm.Errorf(cnm.Invalid, "there is no network to have a name on")
	}
	for i := range r.Attach {
		if err := more(&r.Attach[i].Aliases, value); err != nil {
			return err
		}
	}
	return nil
}

// invalid names the annotation at fault.
func invalid(key string, err error) error {
	return cnm.FieldErrorf(cnm.Invalid, Prefix+key, "annotation %s%s: %w", Prefix, key, err)
}

// list reads values with commas between them.
func list(text string) ([]string, error) {
	var out []string
	for part := range strings.SplitSeq(text, ",") {
		part = strings.TrimSpace(part)
		if part == "" {
			return nil, cnm.Errorf(cnm.Invalid, "%q has an empty place; write values with one comma between them", text)
		}
		out = append(out, part)
	}
	return out, nil
}

// more adds the values of a list.
func more(to *[]string, text string) error {
	values, err := list(text)
	*to = append(*to, values...)
	return err
}

// pairs reads KEY=VALUE with commas between them.
func pairs(text string) (map[string]string, error) {
	values, err := list(text)
	if err != nil {
		return nil, err
	}
	out := make(map[string]string, len(values))
	for _, v := range values {
		key, value, ok := strings.Cut(v, "=")
		if _, twice := out[key]; !ok || key == "" || twice {
			return nil, cnm.Errorf(cnm.Invalid, "%q is not KEY=VALUE, or KEY is there twice", v)
		}
		out[key] = value
	}
	return out, nil
}

// hosts reads NAME:IP with commas between them. An IPv6 address may be in brackets.
func hosts(text string) ([]wire.HostCreate, error) {
	values, err := list(text)
	if err != nil {
		return nil, err
	}
	var out []wire.HostCreate
	for _, v := range values {
		name, address, ok := strings.Cut(v, ":")
		if !ok || name == "" {
			return nil, cnm.Errorf(cnm.Invalid, "%q is not NAME:IP", v)
		}
		if inner, ok := strings.CutPrefix(address, "["); ok {
			address = strings.TrimSuffix(inner, "]")
		}
		out = append(out, wire.HostCreate{Name: name, Address: address})
	}
	return out, nil
}

func number(text string) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0, cnm.Errorf(cnm.Invalid, "%q is not a number", text)
	}
	return n, nil
}
