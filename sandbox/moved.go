// SPDX-License-Identifier: Apache-2.0

package sandbox

import (
	"context"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/kernel/link"
	"github.com/libnetwork/cnm/kernel/netns"
)

// A moved link is one that somebody else brings into the sandbox, names, addresses and raises. Ours is what makes the endpoint answer by its
// own network though another one holds the default route: its rules and its table. It is known by its MAC, as its name and number
// are the mover's, and nobody tells when it is ready: its announcements do.

// isMoved tells whether an attachment's link is moved into the sandbox by somebody else.
func isMoved(at *cnm.Attachment) bool {
	return !at.Join.Result.Link.InPlace && at.Endpoint.MAC.IsValid()
}

// planMoved is the plan of an attachment whose link was moved here, as far as that has come: for the addresses that the link has, once it is up.
func planMoved(at cnm.Attachment, seen picture) plan {
	i := slices.IndexFunc(seen.links, func(l link.Link) bool { return l.MAC == link.MAC(at.Endpoint.MAC) && l.Up() })
	if i < 0 {
		return plan{}
	}
	index := seen.links[i].Index
	b := planner{at: at, index: index, table: TableOf(index)}
	for _, p := range at.Endpoint.Addresses {
		if slices.ContainsFunc(seen.addresses, func(a link.Address) bool { return a.Link == index && a.Prefix.Addr() == p.Addr() }) {
			b.own = append(b.own, p)
		}
	}
	b.ownTable()
	b.link.Link, b.moved = link.Numbered(index), true
	return b.plan
}

// withMoved are the wanted with the plans of moved links as they are seen now.
func withMoved(all []wanted, seen picture) []wanted {
	out := slices.Clone(all)
	for i := range out {
		if isMoved(&out[i].at) {
			out[i].plan = planMoved(out[i].at, seen)
		}
	}
	return out
}

// settleMoved gives moved links what is ours of them. That it was not there is no drift: nobody could have said when to begin.
func (s *Stack) settleMoved(ctx context.Context, n *Namespace, all []wanted) error {
	var macs []link.MAC
	for i := range all {
		if isMoved(&all[i].at) {
			macs = append(macs, link.MAC(all[i].at.Endpoint.MAC))
		}
	}
	if macs == nil {
		return nil
	}
	s.awaitMoved(n.cookie, macs) // before the look: a link that comes after it is announced
	var moved []wanted
	added, err := converge(ctx, n.conn, func(seen picture) []repair {
		moved = slices.DeleteFunc(withMoved(all, seen), func(w wanted) bool { return !w.plan.moved })
		return compare(seen, moved)
	})
	for i := range moved {
		at := &moved[i].at
		if !slices.ContainsFunc(added, func(r repair) bool { return r.drift.Endpoint == at.Endpoint.ID }) {
			s.holders.found(at)
		} else if err == nil {
			err = s.introduce(n, at, moved[i].plan.link.Link.Index)
		}
	}
	return err
}

// unplugMoved takes back the rules of a moved link, whose routes end with it, and its name. The mover looks for it by that, and is
// spared to take it back to where it came from, which costs the kernel some 20 ms under its lock for links; it is deleted there anyway.
func (s *Stack) unplugMoved(ctx context.Context, n *Namespace, at *cnm.Attachment) error {
	rules, err := n.conn.Rules(ctx)
	if err != nil {
		return err
	}
	b := &link.Batch{}
	for _, r := range rules {
		if r.Protocol == Protocol && slices.ContainsFunc(at.Endpoint.Addresses, func(p netip.Prefix) bool { return p.Addr() == r.From.Addr() }) {
			b.DeleteRule(r)
		}
	}
	if index := s.movedIndex(n, at); index != 0 {
		for _, p := range at.Endpoint.Addresses {
			if p.Addr().Is4() {
				b.DeleteAddress(link.Address{Link: index, Prefix: p})
			}
		}
		b.SetLink(link.Change{Link: link.Numbered(index), Up: link.Off})
		b.SetLink(link.Change{Link: link.Numbered(index), Rename: deadName(*at)})
	}
	_, err = without(n.conn.Do(b), unix.ENOENT, unix.ENODEV, unix.EADDRNOTAVAIL)
	return err
}

// movedIndex is the index that a moved link has here, told by its host side; 0 if it is not here, or no more.
func (s *Stack) movedIndex(n *Namespace, at *cnm.Attachment) int {
	if at.Join.Result.Link.Host == "" {
		return 0
	}
	host, err := s.conn.Link(link.Named(at.Join.Result.Link.Host))
	if err != nil || host.LowerNamespace == link.OwnNamespace {
		return 0
	}
	inside, err := n.conn.Link(link.Numbered(host.Lower))
	if err != nil || inside.Kind != "veth" || inside.Lower != host.Index {
		return 0
	}
	return inside.Index
}

// awaitMoved has the watch tell of the links with these addresses when they come up.
func (s *Stack) awaitMoved(cookie netns.Cookie, macs []link.MAC) {
	w := s.current()
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if f := w.followed[cookie]; f != nil {
		f.moved = macs
	}
}
