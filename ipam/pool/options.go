// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"

	cnm "github.com/libnetwork/cnm"
)

// options are a network's options for this address manager.
type options struct{ size4, size6 int }

// size is the length of a chosen subnet; 0: the default pool's.
func (o options) size(f cnm.Family) int {
	if f == cnm.IPv4 {
		return o.size4
	}
	return o.size6
}

func sizeKey(f cnm.Family) string { return strings.ToLower(f.String()) + "-size" }

// option is one row of the table that both decodes and describes.
type option struct {
	cnm.Option
	decode func(o *options, value string) error
}

func table() []option {
	size := func(f cnm.Family, most int, into func(*options) *int) option {
		key := sizeKey(f)
		return option{
			cnm.Option{Key: key, On: "network", Type: "prefix length", Default: "the default pool's", Meaning: "length of the " + f.String() + " subnet that is chosen where none is given"},
			func(o *options, value string) error {
				n, err := strconv.ParseUint(value, 10, 8)
				if err != nil || n == 0 || int(n) > most {
					return cnm.FieldErrorf(cnm.Invalid, fieldOptions, "option %s: %.80q is not a number from 1 to %d", key, value, most)
				}
				*into(o) = int(n)
				return nil
			},
		}
	}
	return []option{
		size(cnm.IPv4, 32, func(o *options) *int { return &o.size4 }),
		size(cnm.IPv6, 128, func(o *options) *int { return &o.size6 }),
	}
}

func decode(in map[string]string) (options, error) {
	var o options
	if len(in) == 0 {
		return o, nil
	}
	rows := table()
	for _, key := range slices.Sorted(maps.Keys(in)) {
		at := slices.IndexFunc(rows, func(r option) bool { return r.Key == key })
		if at < 0 {
			var known []string
			for _, r := range rows {
				known = append(known, r.Key)
			}
			return o, cnm.FieldErrorf(cnm.Invalid, fieldOptions, "option %.80q is unknown to the address manager pool; it knows %s", key, strings.Join(known, ", "))
		}
		if err := rows[at].decode(&o, in[key]); err != nil {
			return o, err
		}
	}
	return o, nil
}

// Decode checks a network's options for this address manager; endpoints have none. It implements [cnm.Decoder].
func (a *Allocator) Decode(nw cnm.Network, ep *cnm.Endpoint) error {
	if ep != nil {
		return nil
	}
	_, err := decode(nw.IPAMOptions)
	return err
}

// Describe lists the options. It implements [cnm.Describer].
func (a *Allocator) Describe(context.Context) cnm.Description {
	d := cnm.Description{Addresses: true}
	for _, r := range table() {
		d.Options = append(d.Options, r.Option)
	}
	return d
}
