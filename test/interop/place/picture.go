// SPDX-License-Identifier: Apache-2.0

package place

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/libnetwork/cnm/kernel/link"
	"github.com/libnetwork/cnm/kernel/nft"
)

// Picture is all that programs may change of a network namespace and of the
// machine around it, one thing a line, sorted.
type Picture []string

// Look takes a picture of the calling thread's network namespace and of this
// process's mounts.
func Look(ctx context.Context) (Picture, error) { return look(ctx, "self") }

// Look takes a picture of the host's own stack and of the place's mounts.
func (p *Place) Look(ctx context.Context) (seen Picture, err error) {
	err = p.Host.Do(func() (err error) {
		seen, err = look(ctx, strconv.Itoa(p.first))
		return err
	})
	return seen, err
}

// look takes a picture of the calling thread's network namespace and of a
// process's mounts.
func look(ctx context.Context, process string) (Picture, error) {
	mountsSeen := func(context.Context) ([]string, error) { return mountsSeen(process) }
	var p Picture
	for _, look := range []func(context.Context) ([]string, error){linksSeen, firewallSeen, settingsSeen, mountsSeen} {
		lines, err := look(ctx)
		if err != nil {
			return nil, fmt.Errorf("take a picture: %w", err)
		}
		p = append(p, lines...)
	}
	slices.Sort(p)
	return p, nil
}

// Since tells what is new and what is lost since an earlier picture, one thing a
// line; "" if nothing.
func (p Picture) Since(before Picture) string {
	var b strings.Builder
	for _, d := range []struct {
		word     string
		of, than Picture
	}{{"new", p, before}, {"lost", before, p}} {
		for _, line := range d.of {
			if _, found := slices.BinarySearch(d.than, line); !found {
				fmt.Fprintf(&b, "%s: %s\n", d.word, line)
			}
		}
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// linksSeen are links, addresses, routes and routing rules.
func linksSeen(ctx context.Context) ([]string, error) {
	conn, err := link.Dial(link.Here)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	var lines []string
	links, err := conn.Links(ctx, link.LinkFilter{})
	for _, l := range links {
		lines = append(lines, fmt.Sprintf("link %d %s %v", l.Index, l.Name, l.Flags))
	}
	addresses, err2 := conn.Addresses(ctx, 0)
	for _, a := range addresses {
		lines = append(lines, fmt.Sprintf("address %s on link %d", a.Prefix, a.Link))
	}
	routes, err3 := conn.Routes(ctx, 0)
	for _, r := range routes {
		lines = append(lines, fmt.Sprintf("route to %s by %s, link %d, table %d", r.Dst, r.Gateway, r.Link, r.Table))
	}
	rules, err4 := conn.Rules(ctx)
	for _, r := range rules {
		lines = append(lines, fmt.Sprintf("routing rule %d from %s to table %d", r.Priority, r.From, r.Table))
	}
	return lines, errors.Join(err, err2, err3, err4)
}

// firewallSeen are all nftables tables with their content, those of iptables
// among them.
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
		name := fmt.Sprintf("table %s %s", t.Family, t.Name)
		lines = append(lines, name)
		for _, c := range s.Chains {
			lines = append(lines, fmt.Sprintf("%s chain %s", name, c.Name))
			for i, r := range c.Rules {
				lines = append(lines, fmt.Sprintf("%s chain %s rule %d: %s", name, c.Name, i, strings.Join(r.Exprs, " ")))
			}
		}
		for _, set := range s.Sets {
			lines = append(lines, fmt.Sprintf("%s set %s: %v", name, set.Name, set.Elements))
		}
	}
	return lines, nil
}

// settingsSeen are the settings of the network, but for the kernel's own count.
func settingsSeen(context.Context) ([]string, error) {
	var lines []string
	err := filepath.WalkDir("/proc/sys/net", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || e.Name() == "nf_conntrack_count" {
			return err
		}
		b, err := os.ReadFile(name)
		if err == nil { // some can only be written, some have no value yet
			lines = append(lines, fmt.Sprintf("setting %s = %s", name, strings.TrimSpace(string(b))))
		}
		return nil
	})
	return lines, err
}

// mountsSeen are a process's mounts.
func mountsSeen(process string) ([]string, error) {
	b, err := os.ReadFile(filepath.Join("/proc", process, "mountinfo"))
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

// Groups are the control groups that a place of that name has outside. None is
// left when it has ended.
func Groups(name string) ([]string, error) {
	var found []string
	err := filepath.WalkDir("/sys/fs/cgroup", func(path string, e fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist): // another place ended meanwhile
			return nil
		case err != nil || !e.IsDir():
			return err
		case e.Name() == name:
			found = append(found, path)
			return fs.SkipDir
		}
		return nil
	})
	return found, err
}
