// SPDX-License-Identifier: Apache-2.0

package bridge

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/firewall"
	"github.com/libnetwork/cnm/kernel/link"
	"github.com/libnetwork/cnm/kernel/sysctl"
)

// hostOwner owns what the firewall has to know of the host itself.
const hostOwner firewall.Owner = "host"

// hostForwarding switches forwarding on where networks need it, link by link, so that the host does not become a router:
// on the hubs and on the links to the outside. What it switched on is closed for transit by the firewall, and
// switched off with the last network. A host that forwards globally is left as it is.
type hostForwarding struct {
	conn *link.Conn
	fw   Firewall

	mu     sync.Mutex      // guards opened, and makes one change at a time of the host's settings
	opened map[string]bool // links to the outside whose forwarding we switched on
}

func newHostForwarding(conn *link.Conn, fw Firewall, opened []string) *hostForwarding {
	h := &hostForwarding{conn: conn, fw: fw, opened: map[string]bool{}}
	for _, name := range opened {
		h.opened[name] = true
	}
	return h
}

const (
	global4 = "net/ipv4/conf/all/forwarding"
	global6 = "net/ipv6/conf/all/forwarding"
)

func key4(name string) string { return "net/ipv4/conf/" + name + "/forwarding" }
func key6(name string) string { return "net/ipv6/conf/" + name + "/force_forwarding" }

// open brings the host's forwarding to what the given hubs need; none: to what it was.
func (h *hostForwarding) open(ctx context.Context, hubs map[string]cnm.FamilySet) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	need := cnm.FamilySet{}
	for hub, fs := range hubs {
		need.IPv4, need.IPv6 = need.IPv4 || fs.IPv4, need.IPv6 || fs.IPv6
		if err := openLink(hub, fs); err != nil {
			return err
		}
	}
	want := map[string]bool{}
	if need.Any() {
		outside, err := h.outside(ctx, hubs)
		if err != nil {
			return err
		}
		for _, name := range outside {
			ours, err := h.openOutside(name, need)
			if err != nil {
				return err
			}
			if ours {
				want[name] = true
			}
		}
	}
	return h.settle(ctx, want)
}

// declare states the rules of what an earlier run of this boot opened.
func (h *hostForwarding) declare(ctx context.Context) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.fw.Set(ctx, hostOwner, firewall.Rules{Opened: slices.Sorted(maps.Keys(h.opened))})
}

// settle closes what is no longer wanted and tells the firewall.
func (h *hostForwarding) settle(ctx context.Context, want map[string]bool) error {
	var errs []error
	for name := range h.opened {
		if !want[name] {
			errs = append(errs, closeLink(name))
		}
	}
	if !maps.Equal(want, h.opened) {
		errs = append(errs, h.fw.Set(ctx, hostOwner, firewall.Rules{Opened: slices.Sorted(maps.Keys(want))}))
	}
	h.opened = want
	return errors.Join(errs...)
}

// outside are the host's links by which packets may come that are not of our networks.
func (h *hostForwarding) outside(ctx context.Context, hubs map[string]cnm.FamilySet) ([]string, error) {
	links, err := h.conn.Links(ctx, link.LinkFilter{})
	if err != nil {
		return nil, cnm.Errorf(cnm.Internal, "listing links: %w", err)
	}
	var names []string
	for _, l := range links {
		_, hub := hubs[l.Name]
		if !hub && l.Master == 0 && l.Flags&unix.IFF_LOOPBACK == 0 && l.Flags&unix.IFF_UP != 0 && !ours(l.Name) {
			names = append(names, l.Name)
		}
	}
	return names, nil
}

func ours(name string) bool {
	for _, prefix := range []string{hubPrefix, portPrefix, shardPrefix, trunkPrefix} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// openLink switches forwarding on for a hub.
func openLink(name string, fs cnm.FamilySet) error {
	if fs.IPv4 {
		if err := ensure(key4(name), "1"); err != nil {
			return err
		}
	}
	if fs.IPv6 {
		return open6(name)
	}
	return nil
}

// openOutside switches forwarding on for a link to the outside, and tells whether it is open by us alone.
func (h *hostForwarding) openOutside(name string, need cnm.FamilySet) (bool, error) {
	byUs := h.opened[name]
	if need.IPv4 {
		changed, err := openOne(global4, key4(name))
		if err != nil {
			return false, err
		}
		byUs = byUs || changed
	}
	if need.IPv6 {
		changed, err := openOne(global6, key6(name))
		if errors.Is(err, fs.ErrNotExist) {
			return byUs, open6(name)
		}
		if err != nil {
			return false, err
		}
		byUs = byUs || changed
	}
	if on, err := globally(need); on || err != nil {
		return false, err
	}
	return byUs, nil
}

// globally tells whether the host forwards everywhere, in all families that are needed.
func globally(need cnm.FamilySet) (bool, error) {
	on := true
	for _, g := range []struct {
		needed bool
		key    string
	}{{need.IPv4, global4}, {need.IPv6, global6}} {
		v, err := read(g.key)
		if err != nil {
			return false, err
		}
		on = on && (!g.needed || v == "1")
	}
	return on, nil
}

// openOne switches one link on unless the host forwards everywhere.
func openOne(global, one string) (changed bool, err error) {
	if v, err := read(global); err != nil || v == "1" {
		return false, err
	}
	v, err := read(one)
	if err != nil || v == "1" {
		return false, err
	}
	return true, write(one, "1")
}

// open6 is IPv6 on one link. Before Linux 6.17 there is only the switch for all links; with it a host no longer
// listens to routers, so links that did are first told to go on.
func open6(name string) error {
	if v, err := read(global6); err != nil || v == "1" {
		return err
	}
	err := ensure(key6(name), "1")
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := keepRouters(); err != nil {
		return err
	}
	return write(global6, "1")
}

// keepRouters has links that learn from routers (accept_ra 1) do so although the host forwards (2).
func keepRouters() error {
	dir, err := os.ReadDir("/proc/sys/net/ipv6/conf")
	if err != nil {
		return cnm.Errorf(cnm.Internal, "listing links of IPv6: %w", err)
	}
	for _, e := range dir {
		key := "net/ipv6/conf/" + e.Name() + "/accept_ra"
		if v, err := read(key); err == nil && v == "1" {
			if err := write(key, "2"); err != nil {
				return err
			}
		}
	}
	return nil
}

// differs tells whether a link that we opened is closed again, or the host forwards everywhere now.
func (h *hostForwarding) differs() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	for name := range h.opened {
		if differs(key4(name), "1") && differs(key6(name), "1") {
			return true
		}
	}
	return len(h.opened) > 0 && differs(global4, "0") && differs(global6, "0")
}

// closeLink switches a link to the outside off again; one that is gone needs nothing.
func closeLink(name string) error {
	var errs []error
	for _, k := range []string{key4(name), key6(name)} {
		if err := ensure(k, "0"); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// ensure writes a setting that is not so already.
func ensure(key, value string) error {
	v, err := read(key)
	if err != nil || v == value {
		return err
	}
	return write(key, value)
}

func read(key string) (string, error) {
	v, err := sysctl.Read(key)
	if err != nil {
		return "", cnm.Errorf(cnm.Internal, "reading %s: %w", key, err)
	}
	return v, nil
}

func write(key, value string) error {
	if err := sysctl.Write(key, value); err != nil {
		return cnm.Errorf(cnm.Internal, "%w", err)
	}
	return nil
}
