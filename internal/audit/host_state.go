// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/libnetwork/cnm/kernel/nft"
	"github.com/libnetwork/cnm/kernel/sysctl"
)

// readFirewall reads every table of nftables.
func readFirewall(ctx context.Context) ([]*nft.Snapshot, error) {
	conn, err := nft.Dial(nft.Config{})
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	tables, err := conn.Tables(ctx)
	if err != nil {
		return nil, err
	}
	var all []*nft.Snapshot
	for _, t := range tables {
		s, err := conn.Snapshot(ctx, t.TableID)
		if err != nil {
			return nil, fmt.Errorf("table %s: %w", t.TableID, err)
		}
		all = append(all, s)
	}
	return all, nil
}

// firewallLines are the tables with all that is in them.
func firewallLines(ctx context.Context, _ host, _ Scope) ([]string, error) {
	all, err := readFirewall(ctx)
	if err != nil {
		return nil, err
	}
	var lines []string
	for _, s := range all {
		name := "table " + s.Table.TableID.String()
		// Whether a table has an owner is a matter of who lives, not of what is there.
		lines = append(lines, fmt.Sprintf("%s flags %q comment %q", name, s.Table.Flags&^nft.Owner, s.Table.Comment))
		for _, c := range s.Chains {
			chain := name + " chain " + c.Name
			lines = append(lines, fmt.Sprintf("%s hook %s priority %d policy %s", chain, c.Hook, c.Priority, c.Policy))
			for i, r := range c.Rules {
				lines = append(lines, fmt.Sprintf("%s rule %d: %s", chain, i, strings.Join(r.Exprs, " ")))
			}
		}
		for _, set := range s.Sets {
			lines = append(lines, fmt.Sprintf("%s set %s", name, set.Name))
			for _, e := range set.Elements {
				lines = append(lines, fmt.Sprintf("%s set %s element %s", name, set.Name, e))
			}
		}
	}
	return lines, nil
}

// settingLines are the settings that networks have a reason to touch, or that others touch at our cost.
func settingLines(_ context.Context, h host, _ Scope) ([]string, error) {
	keys := []string{
		"ipv4/ip_forward", "ipv4/ip_unprivileged_port_start", "ipv4/ip_local_port_range",
		"bridge/bridge-nf-call-iptables", "bridge/bridge-nf-call-ip6tables", "bridge/bridge-nf-call-arptables",
	}
	names := []string{"all", "default"}
	for _, l := range h.links {
		names = append(names, l.Name)
	}
	for _, name := range names {
		for _, k := range []string{"forwarding", "route_localnet", "rp_filter", "proxy_arp", "accept_local", "arp_ignore", "arp_announce", "send_redirects", "accept_redirects"} {
			keys = append(keys, "ipv4/conf/"+name+"/"+k)
		}
		for _, k := range []string{"forwarding", "force_forwarding", "accept_ra", "disable_ipv6", "proxy_ndp", "accept_redirects"} {
			keys = append(keys, "ipv6/conf/"+name+"/"+k)
		}
	}
	var lines []string
	for _, k := range keys {
		v, err := sysctl.Read("net/" + k)
		if errors.Is(err, fs.ErrNotExist) {
			continue // the kernel has no such setting
		}
		if err != nil {
			return nil, err
		}
		lines = append(lines, "setting "+k+" is "+v)
	}
	return lines, nil
}

// fileLines are what is stored and mounted under the run directory.
func fileLines(_ context.Context, _ host, s Scope) ([]string, error) {
	if s.RunDir == "" {
		return nil, nil
	}
	points, err := mounts()
	if err != nil {
		return nil, err
	}
	var lines []string
	for _, m := range points {
		if within(s.RunDir, m.at) {
			lines = append(lines, "mount of "+m.kind+" at "+m.at)
		}
	}
	err = filepath.WalkDir(s.RunDir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				return nil // it went meanwhile, or there is no directory yet
			}
			return err
		}
		lines = append(lines, fmt.Sprintf("file %s %s", e.Type(), path))
		return nil
	})
	return lines, err
}

// within tells whether a path is a directory or below it.
func within(dir, path string) bool { return path == dir || strings.HasPrefix(path, dir+"/") }

// mount is one mount of this process's mount namespace.
type mount struct{ at, kind string }

// mounts reads all mounts.
func mounts() ([]mount, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var all []mount
	rows := bufio.NewScanner(f)
	for rows.Scan() {
		head, tail, found := strings.Cut(rows.Text(), " - ")
		before, after := strings.Fields(head), strings.Fields(tail)
		if !found || len(before) < 5 || len(after) < 1 {
			return nil, fmt.Errorf("line %q of mountinfo is not as proc_pid_mountinfo(5) says", rows.Text())
		}
		all = append(all, mount{at: before[4], kind: after[0]})
	}
	return all, rows.Err()
}
