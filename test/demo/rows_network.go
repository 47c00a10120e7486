// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/libnetwork/cnm/kernel/link"
	"github.com/libnetwork/cnm/test/probe"
)

// networkRows are about what crosses inside of a network, and between two.
func networkRows() []row {
	apart := steps(makeNetwork("red"), makeNetwork("blue"), makeSandbox("a", "red"), makeSandbox("b", "red"), makeSandbox("c", "blue"))
	var rows []row
	for _, f := range families() {
		rows = append(rows, row{
			Name: "inside-" + f.String(), Shows: "sandboxes of one network reach each other: ping, TCP, UDP over " + f.String(),
			Breaks: "the network does not have " + f.String(),
			Setup:  apart, Broken: steps(makeNetwork("red", "--"+f.String()+"=false"), makeSandbox("a", "red"), makeSandbox("b", "red")),
			Check: func(ctx context.Context, w *world) error {
				return probe.Answered(ctx, bothWays(w.sandboxes["a"], "red", w.sandboxes["b"], "red", f)...)
			},
		})
	}
	for _, f := range families() {
		rows = append(rows, row{
			Name: "between-" + f.String(), Shows: "nothing crosses between two networks: ping, TCP, UDP over " + f.String(),
			Breaks: "the daemon is killed and its firewall flushed",
			Setup:  apart, Broken: steps(apart, cut),
			Check: func(ctx context.Context, w *world) error {
				if err := w.control(ctx, "a", "c"); err != nil {
					return err
				}
				return probe.Silent(ctx, bothWays(w.sandboxes["a"], "red", w.sandboxes["c"], "blue", f)...)
			},
		})
	}
	return rows
}

// control wants an answer from the host's side of every network that these sandboxes are on: silence afterwards is not for
// want of a link. Where a broken row has cut the firewall off, that answers too.
func (w *world) control(ctx context.Context, names ...string) error {
	var all []probe.Probe
	for _, name := range names {
		s := w.sandboxes[name]
		for _, ep := range s.Endpoints {
			for _, f := range families() {
				all = append(all, probe.Probe{From: s.place(), Proto: "icmp", To: w.networks[ep.Network].gateway(f)})
			}
		}
	}
	return probe.Answered(ctx, all...)
}

// bothWays asks each of two sandboxes from the other, at its address on a network.
func bothWays(a *sandbox, netA string, b *sandbox, netB string, f link.Family) []probe.Probe {
	return append(probe.Every(a.place(), b.address(netB, f), echoPort), probe.Every(b.place(), a.address(netA, f), echoPort)...)
}

// internalRows are about an internal network.
func internalRows() []row {
	others := steps(makeNetwork("red"), makeNetwork("blue"), makeSandbox("a", "red"), makeSandbox("c", "blue"))
	internal := steps(others, makeNetwork("inner", "--internal"), makeSandbox("e", "inner"), makeSandbox("f", "inner"), defaultRoutes)
	open := steps(others, makeNetwork("inner"), makeSandbox("e", "inner"), makeSandbox("f", "inner"))
	return []row{
		{
			Name: "internal-inside", Shows: "sandboxes of an internal network reach each other",
			Breaks: "the second sandbox is on another network",
			Setup:  internal, Broken: steps(others, makeNetwork("inner", "--internal"), makeSandbox("e", "inner"), makeSandbox("f", "blue")),
			Check: checkInternalInside,
		},
		{
			Name: "internal-outside", Shows: "an internal network reaches nobody else, and nobody else reaches it",
			Breaks: "the network is not internal",
			Setup:  internal, Broken: open, Check: checkInternalOutside,
		},
		{
			Name: "internal-published", Shows: "not even a port that another network publishes, at any address of the host",
			Breaks: "the network is not internal",
			Setup:  steps(internal, serving(publishWeb, publishEcho)), Broken: steps(open, serving(publishWeb, publishEcho)),
			Check: checkInternalPublished,
		},
	}
}

// defaultRoutes gives e the default routes that an internal network does not have, as its root could: what keeps it in
// must not be that it knows no way out.
func defaultRoutes(ctx context.Context, w *world) error {
	inner, err := w.network(ctx, "inner")
	if err != nil {
		return err
	}
	return w.sandboxes["e"].place().Inside(func() error {
		var b link.Batch
		for _, f := range families() {
			b.ReplaceRoute(link.Route{Dst: anywhere(f), Gateway: inner.gateway(f)})
		}
		return changeLinks(link.Here, &b)
	})
}

func checkInternalInside(ctx context.Context, w *world) error {
	var all []probe.Probe
	for _, f := range families() {
		// The address of f is asked for without its network, so that a sandbox elsewhere has one too.
		all = append(all, probe.Every(w.sandboxes["e"].place(), w.sandboxes["f"].anyAddress(f), echoPort)...)
	}
	return probe.Answered(ctx, all...)
}

func checkInternalOutside(ctx context.Context, w *world) error {
	if err := w.control(ctx, "a", "c", "e"); err != nil {
		return err
	}
	for _, p := range []probe.Place{w.host, w.neighbour} {
		s, err := p.Echo(ctx, echoPort)
		if err != nil {
			return err
		}
		defer s.Close()
	}
	e := w.sandboxes["e"]
	var all []probe.Probe
	for _, f := range families() {
		a, c := w.sandboxes["a"], w.sandboxes["c"]
		for _, to := range []netip.Addr{a.address("red", f), c.address("blue", f), neighbourAddress(f)} {
			all = append(all, probe.Every(e.place(), to, echoPort)...)
		}
		for _, to := range []netip.Addr{hostAddress(f), w.networks["inner"].gateway(f), w.networks["red"].gateway(f)} {
			all = append(all, probe.Every(e.place(), to, echoPort)[1:]...) // the host may answer pings
		}
		for _, from := range []probe.Place{a.place(), c.place(), w.neighbour} {
			all = append(all, probe.Every(from, e.address("inner", f), echoPort)...)
		}
	}
	return probe.Silent(ctx, all...)
}

func checkInternalPublished(ctx context.Context, w *world) error {
	if err := w.control(ctx, "e"); err != nil {
		return err
	}
	var all []probe.Probe
	for _, f := range families() {
		for _, to := range []netip.Addr{hostAddress(f), w.networks["red"].gateway(f), w.networks["blue"].gateway(f), w.networks["inner"].gateway(f)} {
			all = append(all, probe.Probe{From: w.sandboxes["e"].place(), Proto: "tcp", To: to, Port: hostWebPort})
		}
		if err := w.fetchWeb(ctx, w.neighbour, netip.AddrPortFrom(hostAddress(f), hostWebPort)); err != nil {
			return err
		}
	}
	return probe.Silent(ctx, all...)
}

// bothRows are about a sandbox on two networks.
func bothRows() []row {
	others := steps(makeNetwork("red"), makeNetwork("blue"), makeSandbox("a", "red"), makeSandbox("c", "blue"))
	both := steps(others, makeSandbox("d", "red", "blue"), publishBoth("red"), publishBoth("blue"))
	return []row{
		{
			Name: "both-reach", Shows: "a sandbox on two networks reaches and is reached on each, over both families",
			Breaks: "it is on one of them only",
			Setup:  both, Broken: steps(others, makeSandbox("d", "red")), Check: checkBothReach,
		},
		{
			Name: "both-published", Shows: "and answers the neighbour on a port published on either",
			Breaks: "the port is published on one of them only",
			Setup:  both, Broken: steps(others, makeSandbox("d", "red", "blue"), publishBoth("red")), Check: checkBothPublished,
		},
	}
}

// bothPort is the host's port on which d's echo port of a network is published.
func bothPort(network string) uint16 {
	if network == "red" {
		return 8701
	}
	return 8702
}

// publishBoth publishes it.
func publishBoth(network string) func(context.Context, *world) error {
	return func(ctx context.Context, w *world) error {
		return w.publish(ctx, "d", fmt.Sprintf("%d:%d", bothPort(network), echoPort), network)
	}
}

func checkBothReach(ctx context.Context, w *world) error {
	var all []probe.Probe
	d := w.sandboxes["d"]
	for _, f := range families() {
		all = append(all, bothWays(d, "red", w.sandboxes["a"], "red", f)...)
		all = append(all, bothWays(d, "blue", w.sandboxes["c"], "blue", f)...)
	}
	return probe.Answered(ctx, all...)
}

func checkBothPublished(ctx context.Context, w *world) error {
	for _, network := range []string{"red", "blue"} {
		for _, f := range families() {
			s, err := w.neighbour.Talking(ctx, netip.AddrPortFrom(hostAddress(f), bothPort(network)))
			if err != nil {
				return err
			}
			err = s.More(ctx, 1)
			if ended := s.Finish(ctx); err == nil {
				err = ended
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}
