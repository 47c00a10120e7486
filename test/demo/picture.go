// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/libnetwork/cnm/kernel/link"
	"github.com/libnetwork/cnm/kernel/nft"
	"github.com/libnetwork/cnm/kernel/sysctl"
)

// picture is what there is on the host, one thing a line, sorted.
type picture []string

// takePicture looks at the host: everything that a network or a sandbox could leave behind.
func takePicture(ctx context.Context, namespaces string) (picture, error) {
	var p picture
	for _, look := range []func(context.Context) ([]string, error){
		linksSeen, firewallSeen, forwardingSeen, socketsSeen, mountsSeen,
		func(context.Context) ([]string, error) { return filesSeen("namespace", namespaces) },
	} {
		lines, err := look(ctx)
		if err != nil {
			return nil, fmt.Errorf("look at the host: %w", err)
		}
		p = append(p, lines...)
	}
	slices.Sort(p)
	return p, nil
}

// differs tells what was added and what was lost since another picture, one thing a line; "" if nothing.
func (p picture) differs(before picture) string {
	var b strings.Builder
	for _, d := range []struct {
		word     string
		of, than picture
	}{{"new", p, before}, {"lost", before, p}} {
		for _, line := range d.of {
			if _, found := slices.BinarySearch(d.than, line); !found {
				fmt.Fprintf(&b, "%s: %s\n", d.word, line)
			}
		}
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// linksSeen are links, addresses, routes and routing rules. What the kernel adds by itself to a link, some time after it was
// raised, and takes along with it is left out: link-local addresses and multicast routes.
func linksSeen(ctx context.Context) ([]string, error) {
	conn, err := link.Dial(link.Here)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	var lines []string
	links, err := conn.Links(ctx, link.LinkFilter{})
	for _, l := range links {
		lines = append(lines, fmt.Sprintf("link %s (%d)", l.Name, l.Index))
	}
	addresses, err2 := conn.Addresses(ctx, 0)
	for _, a := range addresses {
		if a.Prefix.Addr().IsLinkLocalUnicast() {
			continue
		}
		lines = append(lines, fmt.Sprintf("address %s on link %d", a.Prefix, a.Link))
	}
	routes, err3 := conn.Routes(ctx, 0)
	for _, r := range routes {
		if r.Dst.Addr().IsLinkLocalUnicast() || r.Dst.Addr().IsMulticast() {
			continue
		}
		lines = append(lines, fmt.Sprintf("route to %s by %s, link %d, table %d", r.Dst, r.Gateway, r.Link, r.Table))
	}
	rules, err4 := conn.Rules(ctx)
	for _, r := range rules {
		lines = append(lines, fmt.Sprintf("routing rule %d from %s to table %d", r.Priority, r.From, r.Table))
	}
	return lines, errors.Join(err, err2, err3, err4)
}

// firewallSeen are all nftables tables with their content. Handles are not in it, so that what is deleted and made anew
// as it was is the same.
func firewallSeen(ctx context.Context) ([]string, error) {
	conn, err := nft.Dial(nft.Config{})
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	tables, err := conn.Tables(ctx)
	if err != nil {
		return nil, err
	}
	var lines []string
	for _, t := range tables {
		s, err := conn.Snapshot(ctx, t.TableID)
		if err != nil {
			return nil, err
		}
		lines = append(lines, tableSeen(s)...)
	}
	return lines, nil
}

func tableSeen(s *nft.Snapshot) []string {
	name := fmt.Sprintf("table %s %s", s.Table.Family, s.Table.Name)
	lines := []string{name}
	for _, c := range s.Chains {
		lines = append(lines, fmt.Sprintf("%s chain %s", name, c.Name))
		for i, r := range c.Rules {
			lines = append(lines, fmt.Sprintf("%s chain %s rule %d: %s", name, c.Name, i, strings.Join(r.Exprs, " ")))
		}
	}
	for _, set := range s.Sets {
		lines = append(lines, fmt.Sprintf("%s set %s", name, set.Name))
		for _, e := range set.Elements {
			lines = append(lines, fmt.Sprintf("%s set %s: %s", name, set.Name, e))
		}
	}
	return lines
}

// forwardingSeen is which links forward.
func forwardingSeen(context.Context) ([]string, error) {
	var lines []string
	for _, key := range []string{"ipv4/conf/*/forwarding", "ipv4/conf/*/route_localnet", "ipv6/conf/*/forwarding", "ipv6/conf/*/force_forwarding"} {
		paths, err := filepath.Glob("/proc/sys/net/" + key)
		if err != nil {
			return nil, err
		}
		for _, path := range paths {
			name := strings.TrimPrefix(path, "/proc/sys/")
			value, err := sysctl.Read(name)
			if errors.Is(err, fs.ErrNotExist) {
				continue // its link went meanwhile
			}
			if err != nil {
				return nil, err
			}
			lines = append(lines, fmt.Sprintf("setting %s = %s", name, value))
		}
	}
	return lines, nil
}

// socketsSeen are the ports that somebody listens on, of TCP and UDP.
func socketsSeen(context.Context) ([]string, error) {
	var lines []string
	for proto, wanted := range map[string]string{"tcp": "0A", "tcp6": "0A", "udp": "07", "udp6": "07"} {
		f, err := os.Open("/proc/thread-self/net/" + proto)
		if err != nil {
			return nil, err
		}
		rows := bufio.NewScanner(f)
		for rows.Scan() {
			fields := strings.Fields(rows.Text())
			if len(fields) < 4 || fields[3] != wanted {
				continue
			}
			_, port, _ := strings.Cut(fields[1], ":")
			n, err := hex.DecodeString(port)
			if err == nil && len(n) == 2 {
				lines = append(lines, fmt.Sprintf("socket of %s port %d", proto, int(n[0])<<8|int(n[1])))
			}
		}
		if err := errors.Join(rows.Err(), f.Close()); err != nil {
			return nil, err
		}
	}
	return lines, nil
}

// mountsSeen are the places where something is mounted.
func mountsSeen(context.Context) ([]string, error) {
	b, err := os.ReadFile("/proc/thread-self/mountinfo")
	if err != nil {
		return nil, err
	}
	var lines []string
	for line := range strings.Lines(string(b)) {
		if fields := strings.Fields(line); len(fields) > 4 {
			lines = append(lines, "mount "+fields[4])
		}
	}
	return lines, nil
}

// filesSeen are the names in a directory; none if it is not there.
func filesSeen(what, dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var lines []string
	for _, e := range entries {
		lines = append(lines, what+" "+e.Name())
	}
	return lines, err
}
