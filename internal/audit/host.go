// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/libnetwork/cnm/kernel/link"
)

// host is what rtnetlink says of a namespace.
type host struct {
	links      []link.Link
	byIndex    map[int]link.Link
	byName     map[string]link.Link
	addresses  []link.Address
	routes     []link.Route
	rules      []link.Rule
	neighbours []link.Neighbour
	fdb        []link.FDBEntry
	namespaces []int
}

// readHost reads it all.
func readHost(ctx context.Context, conn *link.Conn) (host, error) {
	h := host{byIndex: map[int]link.Link{}, byName: map[string]link.Link{}}
	var errs [7]error
	h.links, errs[0] = conn.Links(ctx, link.LinkFilter{})
	h.addresses, errs[1] = conn.Addresses(ctx, 0)
	h.routes, errs[2] = conn.Routes(ctx, 0)
	h.rules, errs[3] = conn.Rules(ctx)
	h.neighbours, errs[4] = conn.Neighbours(ctx, 0)
	h.fdb, errs[5] = conn.FDB(ctx, 0)
	h.namespaces, errs[6] = conn.NamespaceIDs(ctx)
	for _, l := range h.links {
		h.byIndex[l.Index], h.byName[l.Name] = l, l
	}
	return h, errors.Join(errs[:]...)
}

// name is a link's name, or what to say where it has gone.
func (h host) name(index int) string {
	if index == 0 {
		return "none"
	}
	if l, ok := h.byIndex[index]; ok {
		return l.Name
	}
	return fmt.Sprintf("number %d", index)
}

// lines are what is to be in a picture.
func (h host) lines() []string {
	lines := []string{fmt.Sprintf("namespaces joined to this one: %d", len(h.namespaces))}
	for _, l := range h.links {
		lines = append(lines, h.linkLine(l))
	}
	for _, a := range h.addresses {
		lines = append(lines, fmt.Sprintf("address %s on %s", a.Prefix, h.name(a.Link)))
	}
	for _, r := range h.routes {
		if r.Protocol == kernelProtocol && r.Dst.Addr().Is6() {
			continue // the kernel makes them of links and addresses, in its own time
		}
		lines = append(lines, fmt.Sprintf("route %v %s via %s on %s table %d metric %d protocol %d source %s", r.Type, r.Dst, text(r.Gateway), h.name(r.Link), r.Table, r.Metric, r.Protocol, text(r.Source)))
	}
	for _, r := range h.rules {
		lines = append(lines, fmt.Sprintf("routing rule %v %d from %v to %v in %q out %q mark %d/%d: %v %d protocol %d", r.Family, r.Priority, r.From, r.To, r.IIF, r.OIF, r.Mark, r.Mask, r.Action, r.Table, r.Protocol))
	}
	for _, n := range h.neighbours {
		if n.Proxy || n.State&link.Permanent != 0 {
			lines = append(lines, fmt.Sprintf("neighbour %s is %s on %s, proxy %t", n.Addr, n.MAC, h.name(n.Link), n.Proxy))
		}
	}
	for _, e := range h.fdb {
		if e.Bridge != 0 && e.State&(link.NoARP|link.Permanent) != 0 {
			lines = append(lines, fmt.Sprintf("forwarding entry %s %s on %s of %s", e.MAC, e.State, h.name(e.Link), h.name(e.Bridge)))
		}
	}
	return lines
}

// kernelProtocol is RTPROT_KERNEL of rtnetlink(7).
const kernelProtocol = 2

func (h host) linkLine(l link.Link) string {
	var flags []string
	for _, f := range []struct {
		bit  uint32
		word string
	}{{unix.IFF_UP, "up"}, {unix.IFF_PROMISC, "promiscuous"}, {unix.IFF_ALLMULTI, "all multicast"}, {unix.IFF_NOARP, "no ARP"}} {
		if l.Flags&f.bit != 0 {
			flags = append(flags, f.word)
		}
	}
	return fmt.Sprintf("link %s kind %q alias %q mac %s mtu %d group %d in %s port %+v: %s", l.Name, l.Kind, l.Alias, l.MAC, l.MTU, l.Group, h.name(l.Master), l.Port, strings.Join(flags, ", "))
}

// text is the text of an address, or none.
func text(a interface {
	IsValid() bool
	String() string
},
) string {
	if !a.IsValid() {
		return "none"
	}
	return a.String()
}
