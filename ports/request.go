// SPDX-License-Identifier: Apache-2.0

package ports

import (
	"net/netip"
	"slices"

	"github.com/libnetwork/cnm"
)

// Targets are an endpoint's own addresses; invalid where it has none of the
// family.
type Targets struct {
	V4, V6 netip.Addr
}

// has tells whether there is an address of a's family.
func (t Targets) has(a netip.Addr) bool {
	if a.Is4() {
		return t.V4.IsValid()
	}
	return t.V6.IsValid()
}

// Request asks for an endpoint's host ports.
type Request struct {
	// Owner is whose they will be; calls for one owner must not overlap.
	Owner string
	// Name is the owner's as people know it, for errors: "held by endpoint NAME".
	Name string
	// Specs is all that the owner wants.
	Specs []cnm.PortSpec
	// Addresses are the host's addresses of a specification that names none: of
	// those, the ones whose family the endpoint has.
	Addresses []netip.Addr
	// Targets is where the ports lead.
	Targets Targets
	// Held is what the owner holds already: a specification that one of them meets
	// keeps it.
	Held []cnm.Port
}

// want is one checked specification.
type want struct {
	proto  cnm.Protocol
	lo, hi uint16       // the numbers to choose from; 0 and 0: any
	port   uint16       // the endpoint's
	addrs  []netip.Addr // at least one
}

// explicit tells whether the number is given.
func (w *want) explicit() bool { return w.lo != 0 && w.lo == w.hi }

// ports is the result for a number.
func (w *want) ports(number uint16) []cnm.Port {
	list := make([]cnm.Port, len(w.addrs))
	for i, a := range w.addrs {
		list[i] = cnm.Port{Proto: w.proto, HostIP: a, HostPort: number, Port: w.port}
	}
	return list
}

// plan checks a request and gives one want for each specification, in order.
func plan(req *Request) ([]want, error) {
	wants := make([]want, len(req.Specs))
	for i, spec := range req.Specs {
		w, err := check(spec, req)
		if err != nil {
			return nil, err
		}
		wants[i] = w
	}
	explicit := make(map[key][]int) // indexes of wants
	for i := range wants {
		w := &wants[i]
		if !w.explicit() {
			continue
		}
		at := key{w.proto, w.lo}
		for _, k := range explicit[at] {
			if a, twice := clash(w.addrs, wants[k].addrs); twice {
				return nil, cnm.FieldErrorf(cnm.Invalid, "publish", "port %s is asked for twice, by %q and %q; leave one out",
					label(w.proto, a, w.lo), req.Specs[k], req.Specs[i])
			}
		}
		explicit[at] = append(explicit[at], i)
	}
	return wants, nil
}

// check makes a want of one specification.
func check(spec cnm.PortSpec, req *Request) (want, error) {
	invalid := func(format string, args ...any) (want, error) {
		return want{}, cnm.FieldErrorf(cnm.Invalid, "publish", "publish %q: "+format, append([]any{spec}, args...)...)
	}
	w := want{proto: spec.Proto, lo: spec.HostPort, hi: max(spec.HostPort, spec.HostPortEnd), port: spec.Port}
	switch {
	case spec.Proto != cnm.TCP && spec.Proto != cnm.UDP && spec.Proto != cnm.SCTP:
		return invalid("protocol %v has no ports; use tcp, udp or sctp", spec.Proto)
	case spec.Port == 0:
		return invalid("the endpoint's port is 0; give one from 1 to 65535")
	case spec.HostPortEnd != 0 && (spec.HostPort == 0 || spec.HostPortEnd < spec.HostPort):
		return invalid("host ports %d to %d are no range; begin it with its lowest number", spec.HostPort, spec.HostPortEnd)
	}
	if spec.HostIP.IsValid() {
		if why := unfit(spec.HostIP, req.Targets); why != "" {
			return invalid("%s", why)
		}
		w.addrs = []netip.Addr{spec.HostIP}
		return w, nil
	}
	for _, a := range req.Addresses {
		if req.Targets.has(a) && !slices.Contains(w.addrs, a) {
			w.addrs = append(w.addrs, a)
		}
	}
	if len(w.addrs) == 0 {
		return invalid("the endpoint has no address of a family that it could be published on; name a host address of the other family")
	}
	return w, nil
}

// unfit says why a host address cannot be published on; "" if it can.
func unfit(a netip.Addr, to Targets) string {
	switch {
	case a.Is4In6() || a.Zone() != "":
		return "the host address is no plain IPv4 or IPv6 address"
	case a.IsMulticast() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return "the host address is not one host's; use a unicast address"
	case a.Is6() && a.IsLinkLocalUnicast():
		return "a link-local address means something else on each link; use another address of the host"
	case !to.V4.IsValid() && !to.V6.IsValid():
		return "the endpoint has no address"
	case !to.has(a) && a.Is4():
		return "the endpoint has no IPv4 address; publish it on an IPv6 address of the host"
	case !to.has(a) && !a.IsLoopback():
		return "the endpoint has no IPv6 address; publish it on an IPv4 address of the host"
	}
	return ""
}

// clash tells which of the addresses a has a port in common with one of b.
func clash(a, b []netip.Addr) (netip.Addr, bool) {
	for _, x := range a {
		for _, y := range b {
			if overlap(x, y) {
				return x, true
			}
		}
	}
	return netip.Addr{}, false
}

// order gives the indexes of wants in the order in which they are served: what
// leaves no choice first, then ranges, then what leaves every choice.
func order(wants []want) []int {
	rank := func(w *want) int {
		switch {
		case w.explicit():
			return 0
		case w.lo != 0:
			return 1
		default:
			return 2
		}
	}
	list := make([]int, len(wants))
	for i := range list {
		list[i] = i
	}
	slices.SortStableFunc(list, func(i, k int) int { return rank(&wants[i]) - rank(&wants[k]) })
	return list
}

// covers tells whether a socket bound to a has the ports of b: the same, or all
// of the family.
func covers(a, b netip.Addr) bool {
	return a == b || a.IsUnspecified() && a.Is4() == b.Is4()
}

// overlap tells whether two addresses have a port in common.
func overlap(a, b netip.Addr) bool { return covers(a, b) || covers(b, a) }

// groups splits addresses into those that one socket can hold: all of IPv4 with
// all of IPv6, each other address alone.
func groups(addrs []netip.Addr) [][]netip.Addr {
	all4, all6 := netip.IPv4Unspecified(), netip.IPv6Unspecified()
	dual := slices.Contains(addrs, all4) && slices.Contains(addrs, all6)
	var list [][]netip.Addr
	if dual {
		list = append(list, []netip.Addr{all4, all6})
	}
	for _, a := range addrs {
		if !dual || a != all4 && a != all6 {
			list = append(list, []netip.Addr{a})
		}
	}
	return list
}
