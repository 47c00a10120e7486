// SPDX-License-Identifier: Apache-2.0

package bridge

import (
	"errors"
	"io/fs"
	"os"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/kernel/sysctl"
)

const (
	global4 = "net/ipv4/conf/all/forwarding"
	global6 = "net/ipv6/conf/all/forwarding"
)

func key4(name string) string { return "net/ipv4/conf/" + name + "/forwarding" }

// key6 is there since Linux 6.17. What comes in by a link is forwarded by this switch or by the global one.
func key6(name string) string { return "net/ipv6/conf/" + name + "/force_forwarding" }

// familySwitch is how forwarding of one family is switched on.
type familySwitch struct {
	family cnm.Family
	global string
	of     func(link string) string
}

func switches() []familySwitch {
	return []familySwitch{{cnm.IPv4, global4, key4}, {cnm.IPv6, global6, key6}}
}

// single6 tells whether the kernel can switch IPv6 on for one link.
func (h *hostForwarding) single6() bool {
	_, err := h.host.read(key6("all"))
	return err == nil
}

// switches are those of the families that have one for each link.
func (h *hostForwarding) switches() []familySwitch {
	if h.single6() {
		return switches()
	}
	return switches()[:1]
}

// with is s with one family more, less is s with one less.
func with(s cnm.FamilySet, f cnm.Family) cnm.FamilySet {
	return cnm.FamilySet{IPv4: s.IPv4 || f == cnm.IPv4, IPv6: s.IPv6 || f == cnm.IPv6}
}

func less(s cnm.FamilySet, f cnm.Family) cnm.FamilySet {
	return cnm.FamilySet{IPv4: s.IPv4 && f != cnm.IPv4, IPv6: s.IPv6 && f != cnm.IPv6}
}

// settling is one change of the host's settings under way. It goes on after a failure. h.mu is held.
type settling struct {
	h      *hostForwarding
	drifts []cnm.Drift
	errs   []error
}

// open switches a link on, unless the host forwards everywhere, and notes it.
func (s *settling) open(name string, families cnm.FamilySet) {
	for _, k := range s.h.switches() {
		if !families.Has(k.family) || s.h.is(k.global, "1") {
			continue
		}
		key := k.of(name)
		v, err := s.h.host.read(key)
		if err == nil && v != "1" {
			if s.h.opened[name].Has(k.family) {
				s.drifts = append(s.drifts, cnm.Drift{Object: "setting " + key, What: "altered: " + v, Repaired: true})
			}
			err = s.h.host.write(key, "1")
		}
		if s.note(err) {
			s.h.opened[name] = with(s.h.opened[name], k.family)
		}
	}
}

// close switches a link off again but for the families that are wanted, and forgets it. One of which the host forwards everything
// now is not ours any more.
func (s *settling) close(name string, wanted cnm.FamilySet) {
	for _, k := range switches() {
		if !s.h.opened[name].Has(k.family) || wanted.Has(k.family) {
			continue
		}
		var err error
		if key := k.of(name); s.h.is(key, "1") && !s.h.is(k.global, "1") {
			err = s.h.host.write(key, "0")
		}
		if s.note(err) {
			s.h.opened[name] = less(s.h.opened[name], k.family)
		}
	}
	if !s.h.opened[name].Any() {
		delete(s.h.opened, name)
	}
}

// note keeps an error and tells whether there was none. A link that has gone meanwhile, or has none of the family, is none.
func (s *settling) note(err error) bool {
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return err == nil
	}
	s.errs = append(s.errs, err)
	return false
}

// all6 switches IPv6 on for all links where the kernel knows no other way, and off again. A host that forwards no longer
// listens to routers: links that did are told to go on first.
func (s *settling) all6(need cnm.FamilySet) {
	h := s.h
	switch {
	case h.single6():
	case need.IPv6 && h.is(global6, "0"):
		if h.all6 {
			s.drifts = append(s.drifts, cnm.Drift{Object: "setting " + global6, What: "altered: 0", Repaired: true})
		}
		if err := h.keepRouters(); err != nil {
			s.errs = append(s.errs, err)
			return
		}
		if s.note(h.host.write(global6, "1")) {
			h.all6 = true
		}
	case !need.IPv6 && h.all6:
		if !s.note(h.host.write(global6, "0")) {
			return
		}
		for _, key := range h.kept {
			if h.is(key, "2") {
				s.note(h.host.write(key, "1"))
			}
		}
		h.all6, h.kept = false, nil
	}
}

// keepRouters has links that learn from routers (accept_ra 1) do so although the host forwards (2).
func (h *hostForwarding) keepRouters() error {
	links, err := h.host.links6()
	if err != nil {
		return err
	}
	for _, name := range links {
		key := "net/ipv6/conf/" + name + "/accept_ra"
		if !h.is(key, "1") {
			continue
		}
		if err := h.host.write(key, "2"); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		h.kept = append(h.kept, key)
	}
	return nil
}

// procSettings are the kernel's.
type procSettings struct{}

func (procSettings) read(key string) (string, error) {
	v, err := sysctl.Read(key)
	if err != nil {
		return "", cnm.Errorf(cnm.Internal, "reading %s: %w", key, err)
	}
	return v, nil
}

func (procSettings) write(key, value string) error {
	if err := sysctl.Write(key, value); err != nil {
		return cnm.Errorf(cnm.Internal, "%w", err)
	}
	return nil
}

func (procSettings) links6() ([]string, error) {
	dir, err := os.ReadDir("/proc/sys/net/ipv6/conf")
	if err != nil {
		return nil, cnm.Errorf(cnm.Internal, "listing links of IPv6: %w", err)
	}
	names := make([]string, len(dir))
	for i, e := range dir {
		names[i] = e.Name()
	}
	return names, nil
}
