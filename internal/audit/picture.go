// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/libnetwork/cnm/kernel/link"
)

// Picture is what there was at one moment.
type Picture struct {
	// Lines has one line for each thing, sorted. Numbers that only count what came before, such as indexes and handles, are
	// in none of them.
	Lines []string
	// Namespaces is how many other network namespaces were joined to the host's.
	Namespaces int
}

// Take makes a picture of the host: links, addresses, routes, routing rules, neighbours and forwarding entries that do
// not come and go by themselves, tables of nftables with their content, settings that networks need, what is mounted and
// stored under the run directory, and the sockets that wait on ports. It is no snapshot: what changes meanwhile may
// be half in it.
func Take(ctx context.Context, s Scope) (Picture, error) {
	var p Picture
	conn, err := link.Dial(link.Here)
	if err != nil {
		return p, fmt.Errorf("look at the host's links: %w", err)
	}
	defer conn.Close()
	h, err := readHost(ctx, conn)
	if err != nil {
		return p, fmt.Errorf("look at the host's links: %w", err)
	}
	p.Lines, p.Namespaces = h.lines(), len(h.namespaces)
	for _, look := range []func(context.Context, host, Scope) ([]string, error){firewallLines, settingLines, fileLines, socketLines} {
		lines, err := look(ctx, h, s)
		if err != nil {
			return p, fmt.Errorf("look at the host: %w", err)
		}
		p.Lines = append(p.Lines, lines...)
	}
	slices.Sort(p.Lines)
	return p, nil
}

// Diff tells what has changed since an earlier picture, one line a thing: "new: ..." and "lost: ...". It is empty when
// the two are equal.
func (p Picture) Diff(earlier Picture) []string {
	var lines []string
	for _, d := range []struct {
		word     string
		of, than []string
	}{{"new: ", p.Lines, earlier.Lines}, {"lost: ", earlier.Lines, p.Lines}} {
		rest := count(d.than)
		for _, line := range d.of {
			if rest[line]--; rest[line] < 0 {
				lines = append(lines, d.word+line)
			}
		}
	}
	return lines
}

// String is the lines.
func (p Picture) String() string { return strings.Join(p.Lines, "\n") }

// count tells how often each line is there.
func count(lines []string) map[string]int {
	n := make(map[string]int, len(lines))
	for _, line := range lines {
		n[line]++
	}
	return n
}
