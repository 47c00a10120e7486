// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"net/netip"
	"slices"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/api/wire"
)

// grouping collects what belongs to each subnet.
type grouping struct {
	prefixes []netip.Prefix
	subnets  []wire.SubnetCreate
}

// of finds the subnet that contains an address.
func (g *grouping) of(field string, a netip.Addr) (*wire.SubnetCreate, error) {
	i := slices.IndexFunc(g.prefixes, func(p netip.Prefix) bool { return p.Contains(a) })
	if i < 0 {
		return nil, cnm.FieldErrorf(cnm.Invalid, field, "%s %s is in none of the subnets; give the --subnet it belongs to", field, a)
	}
	return &g.subnets[i], nil
}

func (g *grouping) gateway(text string) error {
	a, err := wire.ParseAddr("gateway", text)
	if err != nil {
		return err
	}
	s, err := g.of("gateway", a)
	if err != nil {
		return err
	}
	if s.Gateway != "" {
		return cnm.FieldErrorf(cnm.Invalid, "gateway", "gateway %s: subnet %s has the gateway %s already", text, s.Prefix, s.Gateway)
	}
	s.Gateway = text
	return nil
}

func (g *grouping) ipRange(text string) error {
	p, err := wire.ParsePrefix("ip-range", text)
	if err != nil {
		return err
	}
	s, err := g.of("ip-range", p.Addr())
	if err != nil {
		return err
	}
	if s.Range != "" {
		return cnm.FieldErrorf(cnm.Invalid, "ip-range", "ip-range %s: subnet %s has the range %s already", text, s.Prefix, s.Range)
	}
	s.Range = text
	return nil
}

func (g *grouping) reserve(name, text string) error {
	a, err := wire.ParseAddr("reserve", text)
	if err != nil {
		return err
	}
	s, err := g.of("reserve", a)
	if err != nil {
		return err
	}
	if s.Reserved == nil {
		s.Reserved = map[string]string{}
	}
	s.Reserved[name] = text
	return nil
}
