// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/kernel/link"
	"github.com/libnetwork/cnm/kernel/netns"
)

// sandboxes checks the inside of every sandbox.
func (c *checker) sandboxes(ctx context.Context) error {
	of := map[cnm.SandboxID][]cnm.Attachment{}
	for _, at := range c.attachments {
		of[at.Sandbox.ID] = append(of[at.Sandbox.ID], at)
	}
	for _, sb := range c.records.Sandboxes {
		if sb.Host || !sb.State.Settled() || sb.Awaited() {
			continue
		}
		ns, err := openSandbox(ctx, sb)
		if err != nil {
			c.say("sandbox %s: namespace %d at %s: %v", sb.Name, sb.Namespace.Cookie, sb.Namespace.Path, err)
			continue
		}
		err = c.sandbox(ctx, sb, ns, of[sb.ID])
		if err := errors.Join(err, ns.Close()); err != nil {
			return fmt.Errorf("sandbox %s: %w", sb.Name, err)
		}
	}
	return nil
}

// openSandbox opens a sandbox's namespace, the recorded one and no other. One that is not ours may live on without its path.
func openSandbox(ctx context.Context, sb cnm.Sandbox) (*netns.NS, error) {
	want := netns.Cookie(sb.Namespace.Cookie)
	ns, err := netns.Open(sb.Namespace.Path)
	if err == nil {
		if err = sameNamespace(ns, want); err == nil {
			return ns, nil
		}
	}
	if sb.Owned {
		return nil, err
	}
	processes, err2 := netns.Survivors(ctx, want)
	for _, pid := range processes[want] {
		if ns, err := netns.OfProcess(pid); err == nil {
			if sameNamespace(ns, want) == nil {
				return ns, nil
			}
		}
	}
	return nil, errors.Join(err, err2)
}

// sameNamespace closes ns unless it is the wanted one.
func sameNamespace(ns *netns.NS, want netns.Cookie) error {
	have, err := ns.Cookie()
	if err == nil && have != want {
		err = fmt.Errorf("has cookie %s: %w", have, netns.ErrStale)
	}
	if err != nil {
		return errors.Join(err, ns.Close())
	}
	return nil
}

// sandbox compares what is in a namespace with its attachments.
func (c *checker) sandbox(ctx context.Context, sb cnm.Sandbox, ns *netns.NS, ats []cnm.Attachment) error {
	conn, err := link.Dial(ns.Fd())
	if err != nil {
		return err
	}
	defer conn.Close()
	inside, err := readHost(ctx, conn)
	if err != nil {
		return err
	}
	want := newInsideWant()
	for _, at := range ats {
		if at.Join.Result.Link.InPlace {
			c.insideLink(at, inside)
			want.add(at)
		} else {
			want.allow(at, inside)
		}
	}
	c.oneDefault(sb, ats)
	c.compareInside(sb, inside, want)
	return nil
}

// insideLink checks an endpoint's interface, its addresses and its permanent neighbours.
func (c *checker) insideLink(at cnm.Attachment, inside host) {
	of := fmt.Sprintf("sandbox %s: interface %s of network %s", at.Sandbox.Name, at.Join.Interface, at.Network.Name)
	l, ok := inside.byName[at.Join.Interface]
	if !ok {
		c.say("%s is missing", of)
		return
	}
	c.want(l.Up() && l.Index == at.Join.Result.Link.Index, "%s is up %t, number %d, want up with number %d", of, l.Up(), l.Index, at.Join.Result.Link.Index)
	c.want(l.MAC == link.MAC(at.Endpoint.MAC), "%s has mac %s, want %s", of, l.MAC, at.Endpoint.MAC)
	c.want(l.MTU == at.Join.Result.MTU, "%s has mtu %d, want %d", of, l.MTU, at.Join.Result.MTU)
	want := map[netip.Prefix]bool{}
	for _, p := range addressesInside(at) {
		want[p] = true
		if p.Addr().Is6() {
			want[netip.PrefixFrom(linkLocal(at.Endpoint.MAC), 64)] = true
		}
	}
	c.compareAddresses(of, want, inside.addresses, l.Index)
	for _, n := range at.Join.Result.Neighbours {
		entry := link.Neighbour{Link: l.Index, Addr: n.Address, MAC: link.MAC(n.MAC), State: link.Permanent}
		c.want(slices.Contains(inside.neighbours, entry), "%s: neighbour %s is missing", of, n.Address)
	}
}

// addressesInside are the addresses an endpoint has in its sandbox: without IPv6 where the join switched that off.
func addressesInside(at cnm.Attachment) []netip.Prefix {
	off := at.Join.Sysctls["net.ipv6.conf.IFNAME.disable_ipv6"] == "1"
	return slices.DeleteFunc(slices.Clone(at.Endpoint.Addresses), func(p netip.Prefix) bool { return off && p.Addr().Is6() })
}

// insideWant is what is ours in a namespace, as text.
type insideWant struct {
	routes, rules, links map[string]bool
	may                  map[string]bool // routes and rules that may be missing
}

func newInsideWant() insideWant {
	return insideWant{routes: map[string]bool{}, rules: map[string]bool{}, links: map[string]bool{"lo": true}, may: map[string]bool{}}
}

// allow adds an attachment whose link another moves into the namespace: what is ours comes some time after it.
func (w insideWant) allow(at cnm.Attachment, inside host) {
	for _, l := range inside.links {
		if l.MAC != link.MAC(at.Endpoint.MAC) {
			continue
		}
		at.Join.Interface, at.Join.Result.Link.Index = l.Name, l.Index
		its := newInsideWant()
		its.add(at)
		maps.Copy(w.may, its.routes)
		maps.Copy(w.may, its.rules)
	}
}

func routeText(dst netip.Prefix, via netip.Addr, on string, table uint32) string {
	return fmt.Sprintf("route to %s via %s on %s table %d", dst, text(via), on, table)
}

func ruleText(from netip.Prefix, table uint32) string {
	return fmt.Sprintf("rule from %s to table %d", from, table)
}

// add adds an attachment.
func (w insideWant) add(at cnm.Attachment) {
	name, table := at.Join.Interface, ownTable|uint32(at.Join.Result.Link.Index)
	w.links[name] = true
	has := cnm.FamilySet{}
	for _, p := range addressesInside(at) {
		a := p.Addr()
		has.IPv4, has.IPv6 = has.IPv4 || a.Is4(), has.IPv6 || a.Is6()
		w.rules[ruleText(netip.PrefixFrom(a, a.BitLen()), table)] = true
		if !p.IsSingleIP() {
			w.routes[routeText(p.Masked(), netip.Addr{}, name, table)] = true
		}
	}
	for _, r := range at.Join.Result.Routes {
		w.routes[routeText(r.Prefix.Masked(), r.Via, name, table)] = true
		if r.Prefix.Bits() > 0 {
			w.routes[routeText(r.Prefix.Masked(), r.Via, name, link.TableMain)] = true
		}
	}
	for _, gw := range at.Join.Result.Gateways {
		f := cnm.FamilyOf(gw)
		if !has.Has(f) {
			continue
		}
		w.routes[routeText(anywhere(f), gw, name, table)] = true
		if at.Join.Default.Has(f) {
			w.routes[routeText(anywhere(f), gw, name, link.TableMain)] = true
		}
	}
}

func anywhere(f cnm.Family) netip.Prefix {
	if f == cnm.IPv4 {
		return netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	}
	return netip.PrefixFrom(netip.IPv6Unspecified(), 0)
}

// oneDefault checks that of the endpoints that have a gateway exactly one holds the default route, in each family.
func (c *checker) oneDefault(sb cnm.Sandbox, ats []cnm.Attachment) {
	for _, f := range cnm.Families() {
		able, holds := 0, 0
		for _, at := range ats {
			if !sb.Unrouted && at.Join.Result.Gateway(f).IsValid() {
				able++
			}
			if at.Join.Default.Has(f) {
				holds++
			}
		}
		c.want(holds == min(able, 1), "sandbox %s: %d of %d endpoints with a gateway hold the %s default route", sb.Name, holds, able, f)
	}
}

// compareInside compares what carries our mark in a namespace, and the links of one that is ours alone.
func (c *checker) compareInside(sb cnm.Sandbox, inside host, want insideWant) {
	for _, r := range inside.routes {
		if r.Protocol != ownProtocol {
			continue
		}
		t := routeText(r.Dst, r.Gateway, inside.name(r.Link), r.Table)
		c.want(want.routes[t] || want.may[t], "sandbox %s: %s is foreign", sb.Name, t)
		delete(want.routes, t)
	}
	for _, r := range inside.rules {
		if r.Protocol != ownProtocol {
			continue
		}
		t := ruleText(r.From, r.Table)
		c.want((want.rules[t] || want.may[t]) && r.Priority == rulePriority, "sandbox %s: %s with priority %d is foreign", sb.Name, t, r.Priority)
		delete(want.rules, t)
	}
	for _, missing := range []map[string]bool{want.routes, want.rules} {
		for t := range missing {
			c.say("sandbox %s: %s is missing", sb.Name, t)
		}
	}
	for _, l := range inside.links {
		dead := len(l.Name) > len(deadPrefix) && l.Name[:len(deadPrefix)] == deadPrefix && !l.Up()
		if sb.Owned && !want.links[l.Name] && !dead {
			c.say("sandbox %s: link %s is foreign", sb.Name, l.Name)
		}
	}
}

// pins checks the pinned namespaces: one for each sandbox that is ours, and no others.
func (c *checker) pins() error {
	if c.scope.RunDir == "" {
		return nil
	}
	dir := filepath.Join(c.scope.RunDir, "netns")
	points, err := mounts()
	if err != nil {
		return err
	}
	known := map[string]bool{}
	for _, sb := range c.records.Sandboxes {
		if !sb.Owned {
			continue
		}
		pin := sb.Namespace.Path
		known[pin] = true
		if sb.State.Settled() {
			n := 0
			for _, m := range points {
				if m.at == pin && m.kind == "nsfs" {
					n++
				}
			}
			c.want(n == 1 && filepath.Dir(pin) == dir, "sandbox %s: %d namespaces are pinned at %s, want 1 in %s", sb.Name, n, pin, dir)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		if path := filepath.Join(dir, e.Name()); !known[path] {
			c.say("pin %s is foreign", path)
		}
	}
	return nil
}
