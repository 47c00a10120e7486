// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/libnetwork/cnm/kernel/kerneltest"
	"github.com/libnetwork/cnm/kernel/link"
	"github.com/libnetwork/cnm/kernel/netns"
	"github.com/libnetwork/cnm/kernel/nft"
)

// made is an attached endpoint with all that differs between two.
type made struct {
	hub   *hub
	names []string // of all hubs
	spot  *spot
}

// words replaces what differs by a word for it.
func (m *made) words() *strings.Replacer {
	s := m.spot
	pairs := []string{
		s.link, "LINK", mac(s.mac), "MAC", mac(s.hub.mac), "HUBMAC",
		s.addresses[0].String(), "V4", s.addresses[1].String(), "V6", s.addresses[2].String(), "FE80",
		strconv.FormatUint(uint64(floorTableBit|s.index), 10), "TABLE", strconv.FormatUint(uint64(s.index), 10), "INDEX",
	}
	for _, key := range []string{"Link:", "Master:", "Bridge:"} {
		pairs = append(pairs, key+strconv.FormatUint(uint64(s.hub.index), 10)+" ", key+"HUB ")
	}
	for i, name := range m.names {
		pairs = append(pairs, name, "HUB"+strconv.Itoa(i))
	}
	return strings.NewReplacer(pairs...)
}

func mac(m [6]byte) string { return link.MAC(m).String() }

// outside tells everything that the endpoint has in the host that conn is in.
func (m *made) outside(t *testing.T, conn *link.Conn, rules *nft.Conn) []string {
	t.Helper()
	ctx := t.Context()
	l, err := conn.Link(link.Named(m.spot.link))
	if err != nil {
		t.Fatal(err)
	}
	l.MAC, l.LowerNamespace = link.MAC{}, 0 // both are drawn by the kernel
	all := []string{fmt.Sprintf("link %+v", l)}
	fdb := must(conn.FDB(ctx, int(m.hub.index)))(t)
	for _, e := range fdb {
		if e.MAC == m.spot.mac {
			all = append(all, fmt.Sprintf("fdb %+v", e))
		}
	}
	for _, n := range must(conn.Neighbours(ctx, int(m.hub.index)))(t) {
		all = append(all, fmt.Sprintf("neighbour %+v", n))
	}
	return m.plain(append(all, elements(ctx, t, rules)...))
}

// elements are those of all sets of both tables, and their rules.
func elements(ctx context.Context, t *testing.T, rules *nft.Conn) []string {
	t.Helper()
	var all []string
	for _, family := range []nft.Family{nft.Inet, nft.Bridge} {
		s := must(rules.Snapshot(ctx, nft.TableID{Family: family, Name: "cnm"}))(t)
		all = append(all, fmt.Sprintf("%v has %d rules", family, s.RuleCount()))
		for _, set := range s.Sets {
			for _, e := range set.Elements {
				all = append(all, fmt.Sprintf("%v %s { %v }", family, set.Name, e))
			}
		}
	}
	return all
}

// inside tells everything that is in the endpoint's namespace, its settings included.
func (m *made) inside(t *testing.T) []string {
	t.Helper()
	ctx := t.Context()
	ns := must(netns.Open(m.spot.pin))(t)
	defer ns.Close()
	conn := must(link.Dial(ns.Fd()))(t)
	defer conn.Close()
	var all []string
	for _, l := range must(conn.Links(ctx, link.LinkFilter{}))(t) {
		l.LowerNamespace = 0
		all = append(all, fmt.Sprintf("link %+v", l))
	}
	for _, a := range must(conn.Addresses(ctx, 0))(t) {
		all = append(all, fmt.Sprintf("address %+v", a))
	}
	for _, r := range must(conn.Routes(ctx, 0))(t) {
		all = append(all, fmt.Sprintf("route %+v", r))
	}
	for _, r := range must(conn.Rules(ctx))(t) {
		all = append(all, fmt.Sprintf("rule %+v", r))
	}
	for _, n := range must(conn.Neighbours(ctx, 0))(t) {
		all = append(all, fmt.Sprintf("neighbour %+v", n))
	}
	kerneltest.InNS(t, ns, func() { all = append(all, settings(t)...) })
	return m.plain(all)
}

// settings are all parameters of the calling thread's namespace that can be read and do not count something.
func settings(t *testing.T) []string {
	t.Helper()
	var all []string
	const root = "/proc/sys/net"
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || strings.HasSuffix(path, "_count") {
			return nil //nolint:nilerr // what cannot be read is not compared
		}
		value, err := os.ReadFile(path)
		if err == nil {
			all = append(all, strings.TrimPrefix(path, root)+" = "+strings.TrimSpace(string(value)))
		}
		return nil
	})
	if err != nil || len(all) < 100 {
		t.Fatalf("read %d settings: %v", len(all), err)
	}
	return all
}

// plain sorts lines in which what differs between two endpoints is replaced.
func (m *made) plain(all []string) []string {
	words := m.words()
	for i := range all {
		all[i] = words.Replace(all[i])
	}
	slices.Sort(all)
	return all
}

// must ends the test where a call failed.
func must[T any](v T, err error) func(t *testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}
