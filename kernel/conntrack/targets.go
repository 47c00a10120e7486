// SPDX-License-Identifier: Apache-2.0

package conntrack

import (
	"maps"
	"net/netip"
)

// hostPort is a port of the host. An unspecified address stands for all of the
// host's addresses of that family.
type hostPort struct {
	proto uint8
	at    netip.AddrPort
}

// targets is what one sweep looks for.
type targets struct {
	addrs map[netip.Addr]struct{} // freed: every entry that names one
	freed map[hostPort]struct{}   // freed: every flow to it
	fresh map[hostPort]struct{}   // newly translated: flows to it that are not translated
}

// empty tells whether there is nothing to look for.
func (t *targets) empty() bool { return len(t.addrs)+len(t.freed)+len(t.fresh) == 0 }

// add notes a freed address or, with a port, a freed host port.
func (t *targets) add(proto uint8, at netip.AddrPort) {
	at = netip.AddrPortFrom(at.Addr().Unmap().WithZone(""), at.Port())
	if at.Port() == 0 {
		t.addrs = put(t.addrs, at.Addr())
		return
	}
	t.freed = put(t.freed, hostPort{proto, at})
}

// addFresh notes a newly translated host port.
func (t *targets) addFresh(proto uint8, at netip.AddrPort) {
	at = netip.AddrPortFrom(at.Addr().Unmap().WithZone(""), at.Port())
	t.fresh = put(t.fresh, hostPort{proto, at})
}

// merge adds what another has, which must not be used afterwards.
func (t *targets) merge(o targets) {
	t.addrs = union(t.addrs, o.addrs)
	t.freed = union(t.freed, o.freed)
	t.fresh = union(t.fresh, o.fresh)
}

// wide tells whether a port on all of the host's addresses is among the
// targets, so that the addresses must be known.
func (t *targets) wide() bool {
	for _, ports := range []map[hostPort]struct{}{t.freed, t.fresh} {
		for p := range ports {
			if p.at.Addr().IsUnspecified() {
				return true
			}
		}
	}
	return false
}

// match tells whether an entry is to be deleted. local has the host's own
// addresses: without them a flow through the host, to a port of that number
// somewhere else, would be taken for one to the host.
func (t *targets) match(e *Entry, local map[netip.Addr]struct{}) bool {
	if len(t.addrs) > 0 {
		// What is not translated to an address of ours has no other tuple with one.
		for _, a := range [...]netip.AddrPort{e.Orig.Src, e.Orig.Dst, e.Reply.Src} {
			if _, ok := t.addrs[a.Addr()]; ok {
				return true
			}
		}
	}
	return names(t.freed, &e.Orig, local) ||
		e.Status&DstNAT == 0 && names(t.fresh, &e.Orig, local)
}

// cover gives filters of which every entry that matches passes at least one.
func (t *targets) cover() []Filter {
	var fs []Filter
	all6 := false // one listing of IPv6 for all its addresses: see [Filter]
	for a := range t.addrs {
		if a.Is6() {
			all6 = true
			continue
		}
		fs = append(fs, Filter{Src: a}, Filter{Dst: a}, Filter{Reply: true, Src: a})
	}
	if all6 {
		fs = append(fs, Filter{Dst: netip.IPv6Unspecified()})
	}
	for _, ports := range []map[hostPort]struct{}{t.freed, t.fresh} {
		for p := range ports {
			if !all6 || !p.at.Addr().Is6() {
				fs = append(fs, Filter{Proto: p.proto, Dst: p.at.Addr(), DstPort: p.at.Port()})
			}
		}
	}
	return fs
}

// names tells whether a tuple's destination is one of the ports.
func names(ports map[hostPort]struct{}, to *Tuple, local map[netip.Addr]struct{}) bool {
	if len(ports) == 0 {
		return false
	}
	if _, ok := ports[hostPort{to.Proto, to.Dst}]; ok {
		return true
	}
	all := netip.IPv6Unspecified()
	if to.Dst.Addr().Is4() {
		all = netip.IPv4Unspecified()
	}
	if _, ok := ports[hostPort{to.Proto, netip.AddrPortFrom(all, to.Dst.Port())}]; !ok {
		return false
	}
	_, ok := local[to.Dst.Addr()]
	return ok || to.Dst.Addr().IsLoopback()
}

func put[K comparable](set map[K]struct{}, k K) map[K]struct{} {
	if set == nil {
		set = make(map[K]struct{})
	}
	set[k] = struct{}{}
	return set
}

func union[K comparable](a, b map[K]struct{}) map[K]struct{} {
	if len(a) == 0 {
		return b
	}
	maps.Copy(a, b)
	return a
}
