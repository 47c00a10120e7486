// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"bufio"
	"context"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"strings"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/ipam/pool"
	"github.com/libnetwork/cnm/kernel/link"
)

// hostRoutes tells what prefixes the host uses: its routes in all tables, and its resolvers.
func hostRoutes(ctx context.Context) ([]pool.Used, error) {
	conn, err := link.Dial(link.Here)
	if err != nil {
		return nil, cnm.Errorf(cnm.Internal, "reading the host's routes: %w", err)
	}
	defer conn.Close()
	links, err := conn.Links(ctx, link.LinkFilter{})
	if err != nil {
		return nil, cnm.Errorf(cnm.Internal, "reading the host's links: %w", err)
	}
	names := map[int]string{}
	for _, l := range links {
		names[l.Index] = l.Name
	}
	routes, err := conn.Routes(ctx, 0)
	if err != nil {
		return nil, cnm.Errorf(cnm.Internal, "reading the host's routes: %w", err)
	}
	var used []pool.Used
	for _, r := range routes {
		if a := r.Dst.Addr(); r.Table == link.TableLocal || a.IsLoopback() || a.IsLinkLocalUnicast() || a.IsMulticast() {
			continue
		}
		what := "route " + r.Dst.String()
		if name := names[r.Link]; name != "" {
			what += " dev " + name
		}
		u := pool.Used{Prefix: r.Dst, What: what}
		if !r.Gateway.IsValid() && !r.Multipath {
			u.Link = names[r.Link]
		}
		used = append(used, u)
	}
	resolvers, err := hostResolvers()
	for i := range resolvers {
		resolvers[i].Link = linkTo(resolvers[i].Prefix.Addr(), used)
	}
	return append(used, resolvers...), err
}

// linkTo is the link that leads to an address directly, by the longest of the routes; "" if it leads elsewhere.
func linkTo(a netip.Addr, routes []pool.Used) string {
	link, longest := "", -1
	for _, r := range routes {
		if r.Prefix.Contains(a) && r.Prefix.Bits() > longest {
			link, longest = r.Link, r.Prefix.Bits()
		}
	}
	return link
}

// hostResolvers are the name servers of the host, as single addresses.
func hostResolvers() ([]pool.Used, error) {
	var used []pool.Used
	for _, path := range []string{"/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"} {
		f, err := os.Open(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, cnm.Errorf(cnm.Internal, "reading the host's resolvers: %w", err)
		}
		lines := bufio.NewScanner(f)
		for lines.Scan() {
			fields := strings.Fields(lines.Text())
			if len(fields) < 2 || fields[0] != "nameserver" {
				continue
			}
			if a, err := netip.ParseAddr(fields[1]); err == nil && !a.IsLoopback() {
				a = a.WithZone("").Unmap()
				used = append(used, pool.Used{Prefix: netip.PrefixFrom(a, a.BitLen()), What: "resolver " + a.String()})
			}
		}
		err = errors.Join(lines.Err(), f.Close())
		if err != nil {
			return nil, cnm.Errorf(cnm.Internal, "reading %s: %w", path, err)
		}
	}
	return used, nil
}
