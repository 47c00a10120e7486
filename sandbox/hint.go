// SPDX-License-Identifier: Apache-2.0

package sandbox

import (
	"time"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/kernel/link"
	"github.com/libnetwork/cnm/kernel/netns"
)

// run turns events into hints until the context ends or the socket fails.
func (w *watch) run(events *link.Watcher, hint func(cnm.Hint)) error {
	altered := make(map[netns.Cookie]bool) // false: links were announced, and may be as they should be
	timer := time.NewTimer(coalesce)
	timer.Stop()
	defer timer.Stop()
	paths := w.paths.Gone()
	gone := func(cookie netns.Cookie) {
		delete(altered, cookie)
		hint(cnm.Hint{Gone: true, Cookie: uint64(cookie)})
	}
	for {
		select {
		case e, ok := <-events.Events():
			if !ok {
				return watchEnd(events.Err())
			}
			switch cookie, what := w.read(e); what {
			case dead:
				gone(cookie)
			case touched, announced:
				if len(altered) == 0 {
					timer.Reset(coalesce)
				}
				altered[cookie] = altered[cookie] || what == touched
			case lost:
				hint(cnm.Hint{})
				w.clear()
				if err := w.followKnown(hint); err != nil && w.ctx.Err() == nil {
					return err
				}
			case nothing:
			}
		case <-timer.C:
			w.suspect(altered, hint)
		case path, ok := <-paths:
			if !ok {
				paths = nil // the context has ended; the events end with it
			} else if cookie, ok := w.at(path); ok {
				w.stack.keeper.dropPin(path)
				gone(cookie)
			}
		case cookie := <-w.ended:
			gone(cookie)
		}
	}
}

// suspect hints at the namespaces in which something was altered, and empties the map.
func (w *watch) suspect(altered map[netns.Cookie]bool, hint func(cnm.Hint)) {
	for cookie, sure := range altered {
		if sure || w.differs(cookie) {
			hint(cnm.Hint{Cookie: uint64(cookie)})
		}
	}
	clear(altered)
}

// watchEnd is what Watch returns: nil where its context ended.
func watchEnd(err error) error {
	if err == nil {
		return nil
	}
	return cnm.Errorf(kindOf(err), "watch sandboxes: %w", err)
}

// meaning is what an event means for a sandbox.
type meaning int

const (
	nothing   meaning = iota
	touched           // something inside may be as it should not be
	announced         // a link was announced
	dead              // the namespace is no more
	lost              // events were lost
)

// read tells what an event means, and for which namespace.
func (w *watch) read(e link.Event) (netns.Cookie, meaning) {
	id, bad := link.OwnNamespace, false
	switch e := e.(type) {
	case link.Overrun:
		return 0, lost
	case *link.NamespaceEvent:
		if e.Namespace == link.OwnNamespace && e.Gone {
			if cookie, ok := w.died(e.ID); ok {
				return cookie, dead
			}
		}
		return 0, nothing
	case *link.LinkEvent:
		return w.announced(e)
	case *link.AddressEvent:
		id, bad = e.Namespace, e.Gone
	case *link.RouteEvent:
		id, bad = e.Namespace, e.Gone || displaces(e.Route)
	case *link.RuleEvent:
		id, bad = e.Namespace, e.Gone
	}
	if !bad || id == link.OwnNamespace {
		return 0, nothing
	}
	if cookie, ok := w.of(id); ok {
		return cookie, touched
	}
	return 0, nothing
}

// displaces tells whether a route that was added may have taken the place of one of
// ours: the kernel announces a replacement as an addition.
func displaces(r link.Route) bool {
	return r.Protocol != Protocol && (r.Dst.Bits() == 0 || r.Table&tableBit != 0)
}
