// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	cnm "github.com/libnetwork/cnm"
)

// obstacle is a prefix that a subnet may not overlap.
type obstacle struct {
	prefix netip.Prefix
	last   netip.Addr
	what   string
}

// obstacles are the used prefixes in the order of their addresses, each before those inside it.
func obstacles(used []Used) []obstacle {
	all := make([]obstacle, 0, len(used))
	for _, u := range used {
		all = append(all, obstacle{prefix: u.Prefix, last: lastOf(u.Prefix), what: u.What})
	}
	slices.SortFunc(all, func(x, y obstacle) int {
		return cmp.Or(x.prefix.Addr().Compare(y.prefix.Addr()), cmp.Compare(x.prefix.Bits(), y.prefix.Bits()), strings.Compare(x.what, y.what))
	})
	return all
}

// firstFree is the first subnet of the size in base that overlaps no obstacle. Each step passes an obstacle, so it
// takes as many steps as there are obstacles in base, not subnets.
func firstFree(base DefaultPool, in []obstacle) (netip.Prefix, bool) {
	for at, i := base.Base.Addr(), 0; at.IsValid() && base.Base.Contains(at); {
		p := netip.PrefixFrom(at, base.Size)
		for i < len(in) && in[i].last.Less(at) {
			i++
		}
		if i == len(in) || !in[i].prefix.Overlaps(p) {
			return p, true
		}
		if in[i].prefix.Bits() <= base.Size {
			at = in[i].last.Next()
		} else {
			at = lastOf(p).Next()
		}
	}
	return netip.Prefix{}, false
}

// choose is the first free subnet of the default pools. size overrides their own, unless it is 0.
func choose(f cnm.Family, pools []DefaultPool, size int, used []Used) (netip.Prefix, error) {
	in := obstacles(used)
	var full []string
	for _, d := range pools {
		if size != 0 {
			d.Size = size
		}
		if d.Size < d.Base.Bits() {
			full = append(full, fmt.Sprintf("%s is longer than /%d", d.Base, d.Size))
			continue
		}
		if p, ok := firstFree(d, in); ok {
			return p, nil
		}
		at := slices.IndexFunc(in, func(o obstacle) bool { return o.prefix.Overlaps(d.Base) })
		full = append(full, fmt.Sprintf("%s by %s", d.Base, in[at].what))
	}
	const most = 4
	if more := len(full) - most; more > 0 {
		full = append(full[:most], fmt.Sprintf("and %d more", more))
	}
	return netip.Prefix{}, cnm.FieldErrorf(cnm.Exhausted, fieldSubnet, "every default %s pool is taken (%s); choose a subnet with --subnet",
		f, strings.Join(full, ", "))
}
