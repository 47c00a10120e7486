// SPDX-License-Identifier: Apache-2.0

package bridge

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/firewall"
	"github.com/libnetwork/cnm/kernel/link"
)

// hostOwner owns what the firewall has to know of the host itself.
const hostOwner firewall.Owner = "host"

// hostForwarding switches forwarding on where networks need it, link by link, so that the host does not become a router:
// on the hubs and on the links to the outside. What it switched on is closed for transit by the firewall first, and
// switched off with the last network. What the host forwards by itself, globally or on a link, is left as it is.
type hostForwarding struct {
	links func(context.Context) ([]link.Link, error)
	close func() error
	fw    Firewall
	host  hostSettings
	hubs  func() map[string]hubNeeds

	mu     sync.Mutex               // guards all below, and makes one change at a time of the host's settings
	opened map[string]cnm.FamilySet // links to the outside whose forwarding we switched on
	closed map[string]cnm.FamilySet // what the firewall closes for transit
	all6   bool                     // we switched IPv6 on for all links, where the kernel has no switch for one
	kept   []string                 // links that were told to go on listening to routers then
	untold []cnm.Drift              // for the next call of open
}

// hubNeeds is what a network needs of its hub.
type hubNeeds struct {
	families cnm.FamilySet
	adopted  bool
}

// hostSettings are the host's sysctls; a link that is gone, or has none of the family, is [fs.ErrNotExist].
type hostSettings interface {
	read(key string) (string, error)
	write(key, value string) error
	links6() ([]string, error) // that have settings of IPv6
}

// newHostForwarding takes over what an earlier run of this boot closed for transit, and so had opened.
func newHostForwarding(fw Firewall, hubs func() map[string]hubNeeds, closed []firewall.Opened) (*hostForwarding, error) {
	conn, err := link.Dial(link.Here) // listing links keeps others on one socket waiting
	if err != nil {
		return nil, err
	}
	h := &hostForwarding{
		links: func(ctx context.Context) ([]link.Link, error) { return conn.Links(ctx, link.LinkFilter{}) },
		close: conn.Close, fw: fw, host: procSettings{}, hubs: hubs,
	}
	h.takeOver(closed)
	return h, nil
}

func (h *hostForwarding) takeOver(closed []firewall.Opened) {
	h.opened, h.closed = map[string]cnm.FamilySet{}, map[string]cnm.FamilySet{}
	for _, c := range closed {
		h.opened[c.Link], h.closed[c.Link] = c.Families, c.Families
		h.all6 = h.all6 || c.Families.IPv6
	}
	h.all6 = h.all6 && !h.single6() && h.is(global6, "1")
}

// open brings the host's forwarding to what the hubs there are need; none: to what it was. Links are closed for transit before
// they are opened, and the reverse. It returns what others had switched off meanwhile.
func (h *hostForwarding) open(ctx context.Context) ([]cnm.Drift, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	hubs := h.hubs() // those of now: of two calls the last has the last word
	need := cnm.FamilySet{}
	for _, n := range hubs {
		need.IPv4, need.IPv6 = need.IPv4 || n.families.IPv4, need.IPv6 || n.families.IPv6
	}
	want, err := h.plan(ctx, hubs, need)
	if err != nil {
		return nil, err
	}
	both := maps.Clone(h.closed)
	for name, fs := range want {
		both[name] = cnm.FamilySet{IPv4: both[name].IPv4 || fs.IPv4, IPv6: both[name].IPv6 || fs.IPv6}
	}
	if err := h.tell(ctx, both); err != nil {
		return nil, err
	}
	drifts, err := h.settle(hubs, want, need)
	drifts, h.untold = append(h.untold, drifts...), nil
	if err != nil {
		return drifts, err
	}
	return drifts, h.tell(ctx, want)
}

// keep has the next call of open return these drifts, which this caller cannot tell anybody.
func (h *hostForwarding) keep(drifts []cnm.Drift) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.untold = append(h.untold, drifts...)
}

// plan decides for each link to the outside which families are to be open by us. Those are closed for transit.
func (h *hostForwarding) plan(ctx context.Context, hubs map[string]hubNeeds, need cnm.FamilySet) (map[string]cnm.FamilySet, error) {
	want := map[string]cnm.FamilySet{}
	if !need.Any() {
		return want, nil
	}
	links, err := h.links(ctx)
	if err != nil {
		return nil, cnm.Errorf(cnm.Internal, "listing links: %w", err)
	}
	for _, l := range links {
		if !outside(l, hubs) {
			continue
		}
		byUs, err := h.decide(l.Name, need)
		if err != nil {
			return nil, err
		}
		if byUs.Any() {
			want[l.Name] = byUs
		}
	}
	return want, nil
}

// outside tells whether packets may come by a link that are not of our networks. An adopted bridge is such a link, for it
// has ports that are not endpoints.
func outside(l link.Link, hubs map[string]hubNeeds) bool {
	n, hub := hubs[l.Name]
	return (!hub || n.adopted) && l.Master == 0 && l.Flags&unix.IFF_LOOPBACK == 0 && l.Flags&unix.IFF_UP != 0 && !ours(l.Name)
}

// decide tells in which families a link to the outside is to be open by us: those that are needed and not open anyway.
func (h *hostForwarding) decide(name string, need cnm.FamilySet) (byUs cnm.FamilySet, err error) {
	for _, k := range switches() {
		if h.is(k.global, "1") && !(k.family == cnm.IPv6 && h.all6) {
			continue
		}
		if k.family == cnm.IPv6 && !h.single6() {
			if need.IPv6 {
				byUs = with(byUs, cnm.IPv6)
			}
			continue
		}
		v, err := h.host.read(k.of(name))
		switch {
		case errors.Is(err, fs.ErrNotExist): // it has gone, or has none of the family
		case err != nil:
			return byUs, err
		case need.Has(k.family) && (v != "1" || h.opened[name].Has(k.family)):
			byUs = with(byUs, k.family)
		}
	}
	return byUs, nil
}

// tell has the firewall close exactly these links for transit.
func (h *hostForwarding) tell(ctx context.Context, closed map[string]cnm.FamilySet) error {
	if maps.Equal(closed, h.closed) {
		return nil
	}
	if err := h.fw.Set(ctx, hostOwner, closing(closed)); err != nil {
		return err
	}
	h.closed = closed
	return nil
}

// closing are the rules that close links for transit.
func closing(closed map[string]cnm.FamilySet) firewall.Rules {
	var r firewall.Rules
	for _, name := range slices.Sorted(maps.Keys(closed)) {
		r.Opened = append(r.Opened, firewall.Opened{Link: name, Families: closed[name]})
	}
	return r
}

// declare states the rules of what an earlier run of this boot opened.
func (h *hostForwarding) declare(ctx context.Context) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.fw.Set(ctx, hostOwner, closing(h.closed))
}

// settle opens what is wanted and closes what is not any more.
func (h *hostForwarding) settle(hubs map[string]hubNeeds, want map[string]cnm.FamilySet, need cnm.FamilySet) ([]cnm.Drift, error) {
	s := settling{h: h}
	s.all6(need)
	for name, n := range hubs {
		if !n.adopted {
			s.open(name, n.families)
		}
	}
	for name, families := range want {
		s.open(name, families)
	}
	for name := range h.opened {
		if _, hub := hubs[name]; !hub || hubs[name].adopted {
			s.close(name, want[name])
		}
	}
	return s.drifts, errors.Join(s.errs...)
}

// differs tells whether something that we opened is closed again, or the host forwards by itself now what we closed for transit.
func (h *hostForwarding) differs() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	for name, families := range h.opened {
		for _, k := range h.switches() {
			if families.Has(k.family) && h.is(k.of(name), "0") && !h.is(k.global, "1") {
				return true
			}
		}
	}
	if h.all6 && h.is(global6, "0") {
		return true
	}
	for _, fs := range h.closed {
		if fs.IPv4 && h.is(global4, "1") || fs.IPv6 && !h.all6 && h.is(global6, "1") {
			return true
		}
	}
	return false
}

// is tells whether a setting exists and has the value.
func (h *hostForwarding) is(key, value string) bool {
	v, err := h.host.read(key)
	return err == nil && v == value
}
