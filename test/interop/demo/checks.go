// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/libnetwork/cnm/kernel/link"
	"github.com/libnetwork/cnm/test/probe"
)

// checkNetwork wants the network with both, and its subnets.
func checkNetwork(_ context.Context, w *world) error {
	if got := w.docker.Run("network", "ls", "--filter", "driver=cnm", "--format", "{{.Name}}"); got != red {
		return fmt.Errorf("of our networks docker has %q, want %s", got, red)
	}
	var all []struct {
		Name    string
		Subnets []struct{ Prefix netip.Prefix }
	}
	w.cnm.Read(&all, "network", "ls")
	var seen []string
	for _, n := range all {
		for _, s := range n.Subnets {
			seen = append(seen, n.Name+" "+s.Prefix.String())
		}
	}
	if want := []string{red + " " + subnet(red, link.IPv4).String(), red + " " + subnet(red, link.IPv6).String()}; !slices.Equal(seen, want) {
		return fmt.Errorf("our networks are %q, want %q", seen, want)
	}
	return nil
}

// checkMembers wants the three, and nobody else, on the network.
func checkMembers(_ context.Context, w *world) error {
	seen := strings.Split(w.cnm.Run("endpoint", "ls", "--filter", "network="+red, "--format", "{{.sandbox}} {{.state}}"), "\n")
	var want []string
	for _, name := range of(red) {
		want = append(want, name+" joined")
	}
	slices.Sort(seen)
	slices.Sort(want)
	if !slices.Equal(seen, want) {
		return fmt.Errorf("the endpoints are of %q, want %q", seen, want)
	}
	return nil
}

// asks are a ping and a connection from one member to another.
func asks(from, to *member, f link.Family) []probe.Probe {
	return probe.Every(from.at, to.address(f), servedPort)[:2]
}

// checkAddresses has each of the three ask the two others.
func checkAddresses(ctx context.Context, w *world, f link.Family) error {
	var all []probe.Probe
	for from, to := range w.pairs(red, red) {
		all = append(all, asks(from, to, f)...)
	}
	return probe.Answered(ctx, all...)
}

// pairs are each member of one network with each other one of the same or
// another.
func (w *world) pairs(from, to string) func(yield func(from, to *member) bool) {
	return func(yield func(from, to *member) bool) {
		for _, a := range of(from) {
			for _, b := range of(to) {
				if a != b && !yield(w.members[a], w.members[b]) {
					return
				}
			}
		}
	}
}

// checkNames has each of the three ping the two others by their names. It ends at
// the first that does not: a name that nobody knows is asked for some time.
func checkNames(w *world, f link.Family) error {
	flag := map[link.Family]string{link.IPv4: "-4", link.IPv6: "-6"}[f]
	for from, to := range w.pairs(red, red) {
		r := from.exec("ping", flag, "-c", "1", "-W", "10", to.name)
		if want := to.address(f).String(); r.Status != 0 || !strings.Contains(r.Out, want) {
			return fmt.Errorf("%s pings %s, which is %s: status %d: %s", from.name, to.name, want, r.Status, strings.TrimSpace(r.Out+r.Err))
		}
	}
	return nil
}

// checkHost fetches a member's page at every address of the host.
func checkHost(w *world, m *member) error {
	var errs []error
	for _, f := range families() {
		for _, a := range []netip.Addr{loopback(f), hostAddress(f)} {
			_, err := w.fetchFrom(w.host(), m, a)
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// checkLAN fetches it from the neighbour.
func checkLAN(w *world, m *member) error {
	var errs []error
	for _, f := range families() {
		_, err := w.fetchFrom(w.neighbour(), m, hostAddress(f))
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// fetchFrom fetches a member's page at an address of the host's, and gives who
// the member says has asked.
func (w *world) fetchFrom(from probe.Place, m *member, host netip.Addr) (asked netip.Addr, err error) {
	p, err := w.fetch(from, netip.AddrPortFrom(host, m.hostPort()))
	if err == nil && p.by != m.name {
		err = fmt.Errorf("%s fetches the page of %s from %s: it is that of %q", from.Name, m.name, host, p.by)
	}
	return p.from, err
}

// checkSource wants the neighbour's own address in every page.
func checkSource(_ context.Context, w *world) error {
	for _, name := range of(red) {
		for _, f := range families() {
			asked, err := w.fetchFrom(w.neighbour(), w.members[name], hostAddress(f))
			if err != nil {
				return err
			}
			if asked != neighbourAddress(f) {
				return fmt.Errorf("%s was asked by %s, want %s", name, asked, neighbourAddress(f))
			}
		}
	}
	return nil
}

// checkApart wants silence between the networks, from members that do reach
// their gateways.
func checkApart(ctx context.Context, w *world, f link.Family) error {
	var near, across []probe.Probe
	for _, name := range slices.Concat(of(red), of(blue)) {
		m := w.members[name]
		near = append(near, probe.Probe{From: m.at, Proto: "icmp", To: subnet(m.network, f).Addr().Next()})
	}
	for _, networks := range [][2]string{{red, blue}, {blue, red}} {
		for from, to := range w.pairs(networks[0], networks[1]) {
			across = append(across, asks(from, to, f)...)
		}
	}
	if err := probe.Answered(ctx, near...); err != nil {
		return err
	}
	return probe.Silent(ctx, across...)
}

// enough is how many pings show that they go to and fro.
const enough = 25

// checkKilled streams pings while the daemons end and begin.
func checkKilled(ctx context.Context, w *world) error {
	var streams []*probe.Stream
	for from, to := range w.pairs(red, red) {
		for _, f := range families() {
			s, err := from.at.Pinging(ctx, to.address(f))
			if err != nil {
				return err
			}
			streams = append(streams, s)
		}
	}
	flow := func() error {
		return probe.Each(streams, func(s *probe.Stream) error { return s.More(ctx, enough) })
	}
	if err := flow(); err != nil {
		return err
	}
	w.kill()
	if w.whileDead != nil {
		w.whileDead(w)
	}
	if err := flow(); err != nil {
		return err
	}
	w.revive()
	if err := flow(); err != nil {
		return err
	}
	return probe.Each(streams, func(s *probe.Stream) error { return s.Finish(ctx) })
}

// unlink deletes the process's link.
func unlink(w *world) {
	err := w.members["process1"].at.Inside(func() error {
		conn, err := link.Dial(link.Here)
		if err != nil {
			return err
		}
		defer conn.Close()
		var b link.Batch
		b.DeleteLink(link.Named("eth0"))
		return conn.Do(&b)
	})
	if err != nil {
		w.Fatal(err)
	}
}

// checkRestarted wants both daemons to know what they did before.
func checkRestarted(_ context.Context, w *world) error {
	known := func() string {
		return w.docker.Run("ps", "--no-trunc", "--format", "{{.ID}} {{.Names}} {{.Networks}}") + "\n" +
			w.cnm.Run("network", "ls", "--json") + w.cnm.Run("sandbox", "ls", "--json") + w.cnm.Run("endpoint", "ls", "--json")
	}
	before := known()
	w.kill()
	if !w.stayDead {
		w.revive()
	}
	if after := known(); after != before {
		return fmt.Errorf("what is known was\n%s\nand is\n%s", before, after)
	}
	var errs []error
	for _, name := range of(red) {
		m := w.members[name]
		errs = append(errs, checkHost(w, m), checkLAN(w, m))
	}
	return errors.Join(append(errs, checkNames(w, link.IPv4), checkNames(w, link.IPv6))...)
}

// goneTime is how long links that were deleted may take to go.
const goneTime = 5 * time.Second

// checkGone removes everything and compares the host with what it was when the
// daemons had just been started.
func checkGone(ctx context.Context, w *world) error {
	for _, name := range slices.Sorted(maps.Keys(w.members)) {
		if name != w.forget {
			w.members[name].remove()
		}
	}
	w.docker.Run(append([]string{"network", "rm"}, slices.Sorted(maps.Keys(w.networks))...)...)
	for _, noun := range []string{"network", "sandbox", "endpoint"} {
		if got := w.cnm.Run(noun, "ls", "--quiet"); got != "" {
			return fmt.Errorf("cnm %s ls has still %s", noun, got)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, goneTime)
	defer cancel()
	again := time.NewTicker(servePause)
	defer again.Stop()
	for {
		left := w.look().Since(w.before)
		if left == "" {
			return nil
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return fmt.Errorf("after %v the host has\n%s", goneTime, left)
		}
	}
}
