// SPDX-License-Identifier: Apache-2.0

package sandbox

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/kernel/link"
)

// picture is what a namespace holds.
type picture struct {
	links      []link.Link
	addresses  []link.Address
	routes     []link.Route
	rules      []link.Rule
	neighbours []link.Neighbour
}

// look takes a picture.
func look(ctx context.Context, c *link.Conn) (picture, error) {
	var p picture
	var errs [5]error
	p.links, errs[0] = c.Links(ctx, link.LinkFilter{})
	p.addresses, errs[1] = c.Addresses(ctx, 0)
	p.routes, errs[2] = c.Routes(ctx, 0)
	p.rules, errs[3] = c.Rules(ctx)
	p.neighbours, errs[4] = c.Neighbours(ctx, 0)
	return p, errors.Join(errs[:]...)
}

// wanted is one attachment and its plan.
type wanted struct {
	at   cnm.Attachment
	plan plan
}

// repair is one thing that differs and the messages that put it right; none where
// it is not for us to do.
type repair struct {
	drift cnm.Drift
	batch link.Batch
}

// compare finds what differs between a picture and what is wanted in it, in the
// order in which it can be put right. Only what the given attachments concern is
// looked at.
func compare(seen picture, all []wanted) []repair {
	c := comparison{seen: seen}
	for _, w := range all {
		if !w.plan.none() {
			c.attachment(w)
		}
	}
	c.loopback(all)
	return c.repairs
}

// loopback compares the loopback link, which the first plug brings up.
func (c *comparison) loopback(all []wanted) {
	ours := slices.IndexFunc(all, func(w wanted) bool { return !w.plan.none() && !w.plan.moved })
	down := slices.ContainsFunc(c.seen.links, func(l link.Link) bool { return l.Index == loopbackIndex && !l.Up() })
	if ours >= 0 && down {
		c.note(all[ours], "link lo", "altered: [down]").SetLink(link.Change{Link: link.Numbered(loopbackIndex), Up: link.On})
	}
}

// loopbackIndex is the index of lo in every namespace.
const loopbackIndex = 1

// comparison collects repairs.
type comparison struct {
	seen    picture
	repairs []repair
}

// note adds a repair about an attachment.
func (c *comparison) note(w wanted, object, what string) *link.Batch {
	c.repairs = append(c.repairs, repair{drift: cnm.Drift{
		Object: object, What: what,
		Network: w.at.Network.ID, Endpoint: w.at.Endpoint.ID, Sandbox: w.at.Sandbox.ID,
	}})
	return &c.repairs[len(c.repairs)-1].batch
}

func (c *comparison) attachment(w wanted) {
	at := slices.IndexFunc(c.seen.links, func(l link.Link) bool { return l.Index == w.plan.link.Link.Index })
	if at < 0 {
		c.note(w, "link "+w.plan.link.Rename, "missing") // its driver makes it anew
		return
	}
	c.stale(w)
	if !w.plan.moved {
		c.link(w, c.seen.links[at])
		c.addresses(w)
		c.neighbours(w)
	}
	c.routes(w)
	c.rules(w)
}

// link compares the link's own settings.
func (c *comparison) link(w wanted, l link.Link) {
	want := w.plan.link
	change := link.Change{Link: want.Link}
	var what []string
	if l.Name != want.Rename {
		what = append(what, "name "+l.Name)
		change.Rename = want.Rename
	}
	if want.MTU != 0 && l.MTU != want.MTU {
		what = append(what, fmt.Sprintf("MTU %d", l.MTU))
		change.MTU = want.MTU
	}
	if !want.MAC.IsZero() && l.MAC != want.MAC {
		what = append(what, "MAC "+l.MAC.String())
		change.MAC = want.MAC
	}
	for _, conf := range want.IPv4 {
		if v, ok := l.IPv4.Value(conf.Key); ok && v != conf.Value {
			what = append(what, fmt.Sprintf("%s %d", conf.Key, v))
			change.IPv4 = append(change.IPv4, conf)
		}
	}
	if want.AddrGenMode != link.AddrGenKeep && l.AddrGenMode != link.AddrGenKeep && l.AddrGenMode != want.AddrGenMode {
		what = append(what, "address mode "+l.AddrGenMode.String())
		change.AddrGenMode = want.AddrGenMode
	}
	if !l.Up() {
		what = append(what, "down")
		change.Up = link.On
	}
	if len(what) > 0 {
		c.note(w, "link "+want.Rename, fmt.Sprintf("altered: %v", what)).SetLink(change)
	}
}

// addresses compares addresses, and the routes that came with them.
func (c *comparison) addresses(w wanted) {
	for _, a := range w.plan.addresses {
		have := slices.IndexFunc(c.seen.addresses, func(s link.Address) bool {
			return s.Link == a.Link && s.Prefix.Addr() == a.Prefix.Addr()
		})
		object := "address " + a.Prefix.String()
		switch {
		case have < 0:
			c.note(w, object, "missing").AddAddress(a)
		case c.seen.addresses[have].Prefix != a.Prefix || c.seen.addresses[have].DADFailed || c.seen.addresses[have].Tentative:
			b := c.note(w, object, fmt.Sprintf("altered: %v", c.seen.addresses[have].Prefix))
			b.DeleteAddress(c.seen.addresses[have])
			b.AddAddress(a)
		}
	}
	for _, r := range w.plan.connected {
		if !slices.ContainsFunc(c.seen.routes, func(s link.Route) bool {
			return tableOf(s) == link.TableMain && s.Dst == r.Dst && s.Link == r.Link
		}) {
			c.note(w, "route "+r.Dst.String(), "missing").AddRoute(r)
		}
	}
}

func (c *comparison) neighbours(w wanted) {
	for _, n := range w.plan.neighbours {
		have := slices.IndexFunc(c.seen.neighbours, func(s link.Neighbour) bool {
			return s.Link == n.Link && s.Addr == n.Addr && !s.Proxy
		})
		object := "neighbour " + n.Addr.String()
		switch {
		case have < 0:
			c.note(w, object, "missing").ReplaceNeighbour(n)
		case c.seen.neighbours[have].MAC != n.MAC || c.seen.neighbours[have].State != n.State:
			what := fmt.Sprintf("altered: %v %v", c.seen.neighbours[have].MAC, c.seen.neighbours[have].State)
			c.note(w, object, what).ReplaceNeighbour(n)
		}
	}
}

// routes compares our routes. One in the main table that another endpoint of the
// sandbox has too is right if either has it.
func (c *comparison) routes(w wanted) {
	for _, r := range w.plan.routes {
		same := func(s link.Route) bool { return tableOf(s) == tableOf(r) && s.Dst == r.Dst && s.Metric == r.Metric }
		have := slices.IndexFunc(c.seen.routes, func(s link.Route) bool { return same(s) && equalRoute(s, r) })
		other := slices.IndexFunc(c.seen.routes, same)
		object := routeName(r)
		switch {
		case have >= 0:
		case other < 0:
			addRoute(c.note(w, object, "missing"), r)
		case tableOf(r) == link.TableMain && r.Dst.Bits() > 0 && c.seen.routes[other].Link != r.Link:
		default:
			s := c.seen.routes[other]
			c.note(w, object, fmt.Sprintf("altered: via %v on link %d", s.Gateway, s.Link)).ReplaceRoute(r)
		}
	}
}

func (c *comparison) rules(w wanted) {
	for _, r := range w.plan.rules {
		if !slices.ContainsFunc(c.seen.rules, func(s link.Rule) bool { return equalRule(s, r) }) {
			c.note(w, ruleName(r), "missing").AddRule(r)
		}
	}
}

// stale finds what an earlier plan of this attachment wanted and this one does not:
// rules into its table with their addresses, routes in its table, and routes of ours
// over its link.
func (c *comparison) stale(w wanted) {
	index, table := w.plan.link.Link.Index, TableOf(w.plan.link.Link.Index)
	for _, s := range c.seen.rules {
		if s.Protocol != Protocol || s.Table != table || slices.ContainsFunc(w.plan.rules, func(r link.Rule) bool { return equalRule(s, r) }) {
			continue
		}
		b := c.note(w, ruleName(s), "foreign")
		b.DeleteRule(s)
		for _, a := range c.seen.addresses {
			if a.Link == index && a.Prefix.Addr() == s.From.Addr() && !wantsAddress(w.plan, a) {
				b.DeleteAddress(a)
			}
		}
	}
	for _, s := range c.seen.routes {
		ours := tableOf(s) == table || tableOf(s) == link.TableMain && s.Protocol == Protocol && s.Link == index
		if ours && !s.Multipath && !slices.ContainsFunc(w.plan.routes, func(r link.Route) bool {
			return tableOf(s) == tableOf(r) && s.Dst == r.Dst && s.Metric == r.Metric
		}) {
			c.note(w, routeName(s), "foreign").DeleteRoute(s)
		}
	}
}

// leftovers finds our rules, and routes in our tables, of no attachment at all:
// what an Unplug left that did not come to its end.
func leftovers(seen picture, sb cnm.Sandbox, all []wanted) []repair {
	c := comparison{seen: seen}
	w := wanted{at: cnm.Attachment{Sandbox: sb}}
	known := func(table uint32) bool {
		return slices.ContainsFunc(all, func(w wanted) bool { return TableOf(w.plan.link.Link.Index) == table })
	}
	for _, s := range seen.rules {
		if s.Protocol == Protocol && s.Table&tableBit != 0 && !known(s.Table) {
			c.note(w, ruleName(s), "foreign").DeleteRule(s)
		}
	}
	for _, s := range seen.routes {
		if s.Protocol == Protocol && s.Table&tableBit != 0 && !known(s.Table) {
			c.note(w, routeName(s), "foreign").DeleteRoute(s)
		}
	}
	return c.repairs
}

func wantsAddress(p plan, a link.Address) bool {
	return slices.ContainsFunc(p.addresses, func(w link.Address) bool { return w.Prefix == a.Prefix })
}

func tableOf(r link.Route) uint32 {
	if r.Table == 0 {
		return link.TableMain
	}
	return r.Table
}

// equalRoute tells whether the kernel's route s does what r wants; the two are of
// one table, destination and metric.
func equalRoute(s, r link.Route) bool {
	return s.Gateway == r.Gateway && s.Link == r.Link && (!r.Source.IsValid() || s.Source == r.Source) && (s.Type == 0 || s.Type == link.Unicast) && !s.Multipath
}

func equalRule(s, r link.Rule) bool {
	return s.From == r.From && s.Table == r.Table && s.Priority == r.Priority && !s.To.IsValid() && s.IIF == "" && s.OIF == "" &&
		s.Mask == 0 && s.Action <= link.ToTable
}

func routeName(r link.Route) string {
	if t := tableOf(r); t != link.TableMain {
		return fmt.Sprintf("route %v in table %d", r.Dst, t)
	}
	return "route " + r.Dst.String()
}

func ruleName(r link.Rule) string { return fmt.Sprintf("rule from %v to table %d", r.From, r.Table) }

// rounds bounds how often a namespace is looked at again after repairs. One repair
// may undo what was right (an address takes others of its subnet and the routes
// that prefer it along), so that a second round is needed.
const rounds = 3

// converge looks at a namespace and applies what find makes of it, until nothing is
// left to do. It returns what differed at first, each marked with whether it is
// right in the end, and what was refused last if something is not.
func converge(ctx context.Context, conn *link.Conn, find func(picture) []repair) ([]repair, error) {
	var first []repair
	var refused error
	for round := 0; ; round++ {
		seen, err := look(ctx, conn)
		if err != nil {
			return first, err
		}
		left := find(seen)
		if round == 0 {
			first = left
		}
		for i := range first {
			object := first[i].drift.Object
			first[i].drift.Repaired = !slices.ContainsFunc(left, func(r repair) bool { return r.drift.Object == object })
		}
		if len(left) == 0 {
			return first, nil
		}
		if round == rounds || !slices.ContainsFunc(left, func(r repair) bool { return r.batch.Len() > 0 }) {
			return first, refused
		}
		refused = apply(conn, left)
	}
}

// apply sends all repairs as one batch. The error is what was refused, and each
// refusal is also told by the drift it belongs to.
func apply(conn *link.Conn, repairs []repair) error {
	all := &link.Batch{}
	var owner []int // the repair that a message belongs to
	for i := range repairs {
		all.Append(&repairs[i].batch)
		for range repairs[i].batch.Len() {
			owner = append(owner, i)
		}
	}
	// A repair may bring back, or take away, what another is about.
	_, rest := without(conn.Do(all), unix.EEXIST, unix.ESRCH, unix.ENOENT, unix.EADDRNOTAVAIL)
	for _, e := range link.Refusals(rest) {
		if refused, ok := errors.AsType[*link.Error](e); ok {
			repairs[owner[refused.Position]].drift.What += "; " + refused.Error()
		}
	}
	return rest
}
