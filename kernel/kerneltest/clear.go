// SPDX-License-Identifier: Apache-2.0

package kerneltest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"github.com/libnetwork/cnm/kernel/link"
)

// Clear declares what a test leaves in its room on purpose: the links and tables of nftables with these names, or without names
// every table, and every link that comes from now on. They are deleted when the test ends, after what was given to Cleanup later
// than this; whatever else is there then is told as a leak. Only inside of [Run] and [Bench].
func Clear(tb testing.TB, names ...string) {
	tb.Helper()
	before, err := linksHere()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if tb.Failed() {
			return // as the look for leaks
		}
		spared := func(name string, index int) bool {
			if len(names) > 0 {
				return !slices.Contains(names, name)
			}
			return slices.ContainsFunc(before, func(l link.Link) bool { return l.Index == index })
		}
		if err := errors.Join(clearTables(spared), clearLinks(spared)); err != nil {
			tb.Errorf("clear the test's room: %v", err)
		}
	})
}

func linksHere() ([]link.Link, error) {
	conn, err := link.Dial(link.Here)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return conn.Links(context.Background(), link.LinkFilter{})
}

// doomed is the group of links that are to be deleted: a group takes no longer than a link.
const doomed = 0x7fffffff

func clearLinks(spared func(name string, index int) bool) error {
	links, err := linksHere()
	if err != nil {
		return err
	}
	conn, err := link.Dial(link.Here)
	if err != nil {
		return err
	}
	defer conn.Close()
	do := func(fill func(b *link.Batch)) {
		var b link.Batch
		fill(&b)
		if e := conn.Do(&b); !errors.Is(e, unix.ENODEV) { // one whose other side has just gone is gone
			err = errors.Join(err, e)
		}
	}
	for _, l := range links {
		if !spared(l.Name, l.Index) {
			do(func(b *link.Batch) { b.SetLink(link.Change{Link: link.Numbered(l.Index), Group: doomed}) })
		}
	}
	do(func(b *link.Batch) { b.DeleteGroup(doomed) })
	return err
}

func listTables() ([]*nftables.Table, error) {
	conn, err := nftables.New()
	if err != nil {
		return nil, err
	}
	tables, err := conn.ListTables()
	if err != nil {
		return nil, fmt.Errorf("list tables of nftables: %w", err)
	}
	return tables, nil
}

func clearTables(spared func(name string, index int) bool) error {
	tables, err := listTables()
	if err != nil {
		return err
	}
	conn, err := nftables.New()
	if err != nil {
		return err
	}
	for _, t := range tables {
		if !spared(t.Name, 0) {
			conn.DelTable(t)
		}
	}
	return conn.Flush()
}
