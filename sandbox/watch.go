// SPDX-License-Identifier: Apache-2.0

package sandbox

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"slices"
	"sync"
	"time"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/kernel/link"
	"github.com/libnetwork/cnm/kernel/netns"
)

// coalesce is how long changes of one namespace are gathered before they become
// one hint. Our own changes are announced like anybody's: it is long enough for
// a whole plug, and short against the second within which drift is repaired.
const coalesce = 50 * time.Millisecond

// gatherFor is how long the announcements of a change are gathered before they are read: an attach makes about forty, and
// would be held up by each.
const gatherFor = 5 * time.Millisecond

// watch is one running Watch. It holds nothing that keeps a namespace alive: of
// each it knows the id that the host's namespace has for it, the path, and for one
// that was adopted from a process a descriptor of that process.
type watch struct {
	stack *Stack
	ctx   context.Context //nolint:containedctx // the watch's own life, which follow must not outlast
	paths *netns.PathWatch
	ended chan netns.Cookie // a process that a sandbox was adopted from has ended

	// mu guards the maps, and is held while the kernel is asked for an id and told to
	// watch a path, so that two calls do not follow one namespace twice.
	mu sync.Mutex
	// ids are the namespaces that have an id, oldest first: an id is used again, and
	// its new owner may be followed before the old one's end is read.
	ids      map[int][]netns.Cookie
	followed map[netns.Cookie]*followed
	byPath   map[string]netns.Cookie
}

// followed is one namespace.
type followed struct {
	path       string             // watched; "" if none
	stop       context.CancelFunc // ends the watch of its process
	wanted     map[int]shape      // links as they were left or found, by index
	seen       map[int]shape      // and as they were last announced
	moved      []link.MAC         // of links that others move here; they are heard of when they come up
	identified bool               // its id in the host's namespace is in ids
}

// Watch implements [cnm.Watcher]. It tells of namespaces that died, of those whose
// path or process is gone, and of addresses, routes, rules and links that were
// removed or altered inside. Neighbours are not watched: they change with every
// conversation. All sandboxes that this Stack has created, opened or checked are
// followed. One that starts where sandboxes are known begins with a hint at everything. One Watch runs at a time; a second is
// refused as Busy.
func (s *Stack) Watch(ctx context.Context, hint func(cnm.Hint)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w, events, err := s.startWatch(ctx)
	if err != nil {
		return err
	}
	defer s.stopWatch(w)
	if err := w.followKnown(hint); err != nil && ctx.Err() == nil {
		return err
	}
	if w.follows() {
		hint(cnm.Hint{}) // what changed in them before somebody listened was not heard
	}
	return w.run(events, hint)
}

// startWatch opens what a watch needs and makes it the stack's.
func (s *Stack) startWatch(ctx context.Context) (*watch, *link.Watcher, error) {
	w := &watch{stack: s, ctx: ctx, ended: make(chan netns.Cookie)}
	fail := func(err error) (*watch, *link.Watcher, error) {
		return nil, nil, cnm.Errorf(kindOf(err), "watch sandboxes: %w", err)
	}
	var err error
	if w.paths, err = netns.WatchPaths(ctx); err != nil {
		return fail(err)
	}
	w.clear()
	events, err := link.Watch(ctx, link.WatchOptions{
		Topics:        link.Links | link.Addresses | link.Routes | link.Rules | link.Namespaces,
		Removals:      link.Addresses | link.Routes | link.Rules,
		Own:           Protocol,
		AllNamespaces: true,
		Gather:        gatherFor,
	})
	if err != nil {
		return fail(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.watch != nil {
		return fail(cnm.Errorf(cnm.Busy, "they are watched already"))
	}
	s.watch = w
	return w, events, nil
}

func (s *Stack) stopWatch(w *watch) {
	s.mu.Lock()
	s.watch = nil
	s.mu.Unlock()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, f := range w.followed {
		f.stop()
	}
}

// clear forgets all that is followed.
func (w *watch) clear() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, f := range w.followed {
		f.stop()
		w.paths.Remove(f.path)
	}
	w.ids = make(map[int][]netns.Cookie)
	w.followed = make(map[netns.Cookie]*followed)
	w.byPath = make(map[string]netns.Cookie)
}

// followKnown follows every sandbox that was seen before: opening it does. It hints
// at those whose end was missed.
func (w *watch) followKnown(hint func(cnm.Hint)) error {
	w.stack.mu.Lock()
	known := maps.Clone(w.stack.known)
	w.stack.mu.Unlock()
	for cookie, sb := range known {
		n, err := w.stack.open(w.ctx, sb)
		switch {
		case err == nil:
			w.stack.announce(sb, cookie, n.FD(), cnm.Link{})
			err = n.Close()
		case errors.Is(err, cnm.NotFound):
			w.stack.forget(cookie)
			hint(cnm.Hint{Gone: true, Cookie: uint64(cookie)})
			err = nil
		}
		if err != nil {
			return err
		}
	}
	return w.ctx.Err()
}

// follows tells whether any namespace is followed.
func (w *watch) follows() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.followed) > 0
}

// follow begins to follow a namespace by its path or process. Changes inside are heard of once it has an id, see
// [Stack.announce]. What cannot be followed is logged: the sandbox works, its drift is repaired later.
func (w *watch) follow(sb cnm.Sandbox, cookie netns.Cookie) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.followed[cookie] != nil || w.ctx.Err() != nil {
		return
	}
	ctx, stop := context.WithCancel(w.ctx)
	f := &followed{stop: stop, wanted: make(map[int]shape), seen: make(map[int]shape)}
	w.followed[cookie] = f
	var err error
	if sb.PID != 0 {
		err = w.followProcess(ctx, sb.PID, cookie)
	} else if err = w.paths.Add(sb.Namespace.Path); err == nil {
		f.path = sb.Namespace.Path
		w.byPath[f.path] = cookie
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, netns.ErrProcessGone) && !errors.Is(err, errors.ErrUnsupported) {
		w.stack.cfg.Log.Warn("sandbox's path is not watched", "sandbox", sb.Name, "error", err)
	}
}

// wantsID tells whether a namespace is followed and its id is not known yet.
func (w *watch) wantsID(cookie netns.Cookie) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	f := w.followed[cookie]
	return f != nil && !f.identified
}

// identified notes which id a namespace has.
func (w *watch) identified(cookie netns.Cookie, id int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f := w.followed[cookie]
	if f == nil {
		return
	}
	f.identified = true
	if all := w.ids[id]; len(all) == 0 || all[len(all)-1] != cookie {
		w.ids[id] = append(all, cookie)
	}
}

// announce makes a namespace known in the host's stack: by its id there the changes inside are heard of. Where an endpoint has a
// host side, that is settled, and its link tells the id.
// Neither is needed for the records to be true, so that what is refused is logged.
func (s *Stack) announce(sb cnm.Sandbox, cookie netns.Cookie, fd int, l cnm.Link) {
	w := s.current()
	id, known := 0, false
	if l.Host != "" {
		id, known = s.settleHost(l)
	}
	if w == nil || !w.wantsID(cookie) {
		return
	}
	if !known {
		var err error
		if id, err = s.askID(fd); err != nil {
			s.cfg.Log.Warn("sandbox is not watched", "sandbox", sb.Name, "error", err)
			return
		}
	}
	w.identified(cookie, id)
}

// settleHost asks for an endpoint's host side and takes a route off it that nothing uses, in one send. It returns the id of the namespace
// where the other side is.
//
// Asking has the kernel bring the carrier up to date (rtnl_getlink, Linux 6.8): otherwise that happens a little later in a worker, and
// until then a bridge keeps the port closed. With the carrier comes a route for multicast by that link (addrconf_add_mroute, Linux 2.6
// to 6.18), though it is a bridge's port and never routes; each new one of those is put behind all others, and each carrier has the kernel
// walk through all of them, under the lock that every attach waits for. With three thousand that was more than the rest of an attach.
func (s *Stack) settleHost(l cnm.Link) (id int, known bool) {
	var b link.Batch
	var now link.Link
	b.ReadLink(link.Named(l.Host), &now)
	if l.Bridge != "" {
		b.DeleteRoute(link.Route{Dst: multicast(), Link: l.Index, Table: localTable})
	}
	// A link that is gone went out of service by another's hand, which is not for us to tell; without IPv6 there is no route.
	_ = s.conn.Do(&b)
	return now.LowerNamespace, now.Index != 0 && now.LowerNamespace != link.OwnNamespace
}

// askID is the id of a namespace that has one already, or the one the kernel gives it.
func (s *Stack) askID(fd int) (int, error) {
	b := &link.Batch{}
	b.AssignNamespaceID(fd, link.AnyNamespaceID)
	if _, err := without(s.conn.Do(b), fs.ErrExist); err != nil {
		return 0, err
	}
	id, ok, err := s.conn.NamespaceID(fd)
	if err == nil && !ok {
		err = errors.New("the namespace has no id")
	}
	return id, err
}

// followProcess hints when the process ends.
func (w *watch) followProcess(ctx context.Context, pid int, cookie netns.Cookie) error {
	gone, err := netns.WatchProcess(ctx, pid)
	if err != nil {
		return err
	}
	go func() {
		select {
		case <-gone:
		case <-ctx.Done():
			return
		}
		select {
		case w.ended <- cookie:
		case <-ctx.Done():
		}
	}()
	return nil
}

// unfollow ends what follow began.
func (w *watch) unfollow(cookie netns.Cookie) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f := w.followed[cookie]
	if f == nil {
		return
	}
	f.stop()
	w.paths.Remove(f.path)
	delete(w.byPath, f.path)
	delete(w.followed, cookie)
}

// died takes a namespace id back and returns the cookie of the one that had it,
// and whether it was still followed.
func (w *watch) died(id int) (netns.Cookie, bool) {
	cookie, wanted := w.takeID(id)
	if cookie != 0 {
		w.stack.forget(cookie)
	}
	return cookie, wanted
}

func (w *watch) takeID(id int) (netns.Cookie, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := w.ids[id]
	if len(all) == 0 {
		return 0, false
	}
	if w.ids[id] = all[1:]; len(all) == 1 {
		delete(w.ids, id)
	}
	return all[0], w.followed[all[0]] != nil
}

// shape is what of a link is watched.
type shape struct {
	up  bool
	mtu int
	mac link.MAC
}

// is tells whether s is as wanted; the zero MTU and MAC want nothing.
func (s shape) is(want shape) bool {
	return s.up == want.up && (want.mtu == 0 || s.mtu == want.mtu) && (want.mac.IsZero() || s.mac == want.mac)
}

func shapeOf(l link.Link) shape { return shape{up: l.Up(), mtu: l.MTU, mac: l.MAC} }

// announced notes the state of a link. Whether it is as it should be can be told only a little later, see [watch.differs]: our own
// announcements are read when the plug that made them has ended, the birth of a link that is up by now among them.
func (w *watch) announced(e *link.LinkEvent) (netns.Cookie, meaning) {
	if e.Namespace == link.OwnNamespace {
		return 0, nothing
	}
	cookie, ok := w.of(e.Namespace)
	w.mu.Lock()
	defer w.mu.Unlock()
	f := w.followed[cookie]
	if !ok || f == nil {
		return 0, nothing
	}
	f.seen[e.Link.Index] = shapeOf(e.Link)
	if e.Gone {
		f.seen[e.Link.Index] = shape{}
	}
	if !e.Gone && e.Link.Up() && slices.Contains(f.moved, e.Link.MAC) {
		return cookie, touched
	}
	return cookie, announced
}

// differs tells whether a link of the namespace is not as it was left or found.
func (w *watch) differs(cookie netns.Cookie) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	f := w.followed[cookie]
	if f == nil {
		return false
	}
	for index, want := range f.wanted {
		if now, ok := f.seen[index]; ok && !now.is(want) {
			return true
		}
	}
	return false
}

// left notes how a link was left by a plug.
func (w *watch) left(cookie netns.Cookie, l link.Link) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f := w.followed[cookie]
	if f == nil {
		return
	}
	f.wanted[l.Index] = shapeOf(l)
}

// found notes the links that a look at the whole namespace found up.
func (w *watch) found(cookie netns.Cookie, links []link.Link) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f := w.followed[cookie]
	if f == nil {
		return
	}
	clear(f.wanted)
	for _, l := range links {
		if l.Up() {
			f.wanted[l.Index] = shapeOf(l)
		}
	}
	maps.DeleteFunc(f.seen, func(index int, _ shape) bool { _, wanted := f.wanted[index]; return !wanted })
}

// of is the namespace that has the id now.
func (w *watch) of(id int) (netns.Cookie, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := w.ids[id]
	if len(all) == 0 {
		return 0, false
	}
	cookie := all[len(all)-1]
	return cookie, w.followed[cookie] != nil
}

// at is the namespace whose path is gone. The path is not watched any more.
func (w *watch) at(path string) (netns.Cookie, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	cookie, ok := w.byPath[path]
	delete(w.byPath, path)
	return cookie, ok
}
