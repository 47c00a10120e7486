// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/libnetwork/cnm/kernel/link"
)

// networkRows are about what crosses inside of a network, and between two.
func networkRows() []row {
	apart := steps(makeNetwork("red"), makeNetwork("blue"), makeSandbox("a", "red"), makeSandbox("b", "red"), makeSandbox("c", "blue"))
	var rows []row
	for _, f := range families() {
		rows = append(rows, row{
			name: "inside-" + f.String(), shows: "sandboxes of one network reach each other: ping, TCP, UDP over " + f.String(),
			breaks: "the network does not have " + f.String(),
			setup:  apart, broken: steps(makeNetwork("red", "--"+f.String()+"=false"), makeSandbox("a", "red"), makeSandbox("b", "red")),
			check: func(ctx context.Context, w *world) error {
				return answered(ctx, bothWays(w.sandboxes["a"], "red", w.sandboxes["b"], "red", f)...)
			},
		})
	}
	for _, f := range families() {
		rows = append(rows, row{
			name: "between-" + f.String(), shows: "nothing crosses between two networks: ping, TCP, UDP over " + f.String(),
			breaks: "the daemon is killed and its firewall flushed",
			setup:  apart, broken: steps(apart, cut),
			check: func(ctx context.Context, w *world) error {
				if err := w.control(ctx, "a", "c"); err != nil {
					return err
				}
				return silent(ctx, bothWays(w.sandboxes["a"], "red", w.sandboxes["c"], "blue", f)...)
			},
		})
	}
	return rows
}

// control wants an answer from the host's side of every network that these sandboxes are on: silence afterwards is not for
// want of a link. Where a broken row has cut the firewall off, that answers too.
func (w *world) control(ctx context.Context, names ...string) error {
	var all []probe
	for _, name := range names {
		s := w.sandboxes[name]
		for _, ep := range s.Endpoints {
			for _, f := range families() {
				all = append(all, probe{from: s.place(), proto: "icmp", to: w.networks[ep.Network].gateway(f)})
			}
		}
	}
	return answered(ctx, all...)
}

// bothWays asks each of two sandboxes from the other, at its address on a network.
func bothWays(a *sandbox, netA string, b *sandbox, netB string, f link.Family) []probe {
	return append(probes(a.place(), b.address(netB, f)), probes(b.place(), a.address(netA, f))...)
}

// internalRows are about an internal network.
func internalRows() []row {
	others := steps(makeNetwork("red"), makeNetwork("blue"), makeSandbox("a", "red"), makeSandbox("c", "blue"))
	internal := steps(others, makeNetwork("inner", "--internal"), makeSandbox("e", "inner"), makeSandbox("f", "inner"), defaultRoutes)
	open := steps(others, makeNetwork("inner"), makeSandbox("e", "inner"), makeSandbox("f", "inner"))
	return []row{
		{
			name: "internal-inside", shows: "sandboxes of an internal network reach each other",
			breaks: "the second sandbox is on another network",
			setup:  internal, broken: steps(others, makeNetwork("inner", "--internal"), makeSandbox("e", "inner"), makeSandbox("f", "blue")),
			check: checkInternalInside,
		},
		{
			name: "internal-outside", shows: "an internal network reaches nobody else, and nobody else reaches it",
			breaks: "the network is not internal",
			setup:  internal, broken: open, check: checkInternalOutside,
		},
		{
			name: "internal-published", shows: "not even a port that another network publishes, at any address of the host",
			breaks: "the network is not internal",
			setup:  steps(internal, serving(publishWeb, publishEcho)), broken: steps(open, serving(publishWeb, publishEcho)),
			check: checkInternalPublished,
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
	return w.sandboxes["e"].place().inside(func() error {
		var b link.Batch
		for _, f := range families() {
			b.ReplaceRoute(link.Route{Dst: anywhere(f), Gateway: inner.gateway(f)})
		}
		return changeLinks(link.Here, &b)
	})
}

func checkInternalInside(ctx context.Context, w *world) error {
	var all []probe
	for _, f := range families() {
		// The address of f is asked for without its network, so that a sandbox elsewhere has one too.
		all = append(all, probes(w.sandboxes["e"].place(), w.sandboxes["f"].anyAddress(f))...)
	}
	return answered(ctx, all...)
}

func checkInternalOutside(ctx context.Context, w *world) error {
	if err := w.control(ctx, "a", "c", "e"); err != nil {
		return err
	}
	for _, p := range []place{w.host, w.neighbour} {
		s, err := p.echo(ctx, echoPort)
		if err != nil {
			return err
		}
		defer s.close()
	}
	e := w.sandboxes["e"]
	var all []probe
	for _, f := range families() {
		a, c := w.sandboxes["a"], w.sandboxes["c"]
		for _, to := range []netip.Addr{a.address("red", f), c.address("blue", f), neighbourAddress(f)} {
			all = append(all, probes(e.place(), to)...)
		}
		for _, to := range []netip.Addr{hostAddress(f), w.networks["inner"].gateway(f), w.networks["red"].gateway(f)} {
			all = append(all, probes(e.place(), to)[1:]...) // the host may answer pings
		}
		for _, from := range []place{a.place(), c.place(), w.neighbour} {
			all = append(all, probes(from, e.address("inner", f))...)
		}
	}
	return silent(ctx, all...)
}

func checkInternalPublished(ctx context.Context, w *world) error {
	if err := w.control(ctx, "e"); err != nil {
		return err
	}
	var all []probe
	for _, f := range families() {
		for _, to := range []netip.Addr{hostAddress(f), w.networks["red"].gateway(f), w.networks["blue"].gateway(f), w.networks["inner"].gateway(f)} {
			all = append(all, probe{from: w.sandboxes["e"].place(), proto: "tcp", to: to, port: hostWebPort})
		}
		if err := w.fetchWeb(ctx, w.neighbour, netip.AddrPortFrom(hostAddress(f), hostWebPort)); err != nil {
			return err
		}
	}
	return silent(ctx, all...)
}

// bothRows are about a sandbox on two networks.
func bothRows() []row {
	others := steps(makeNetwork("red"), makeNetwork("blue"), makeSandbox("a", "red"), makeSandbox("c", "blue"))
	both := steps(others, makeSandbox("d", "red", "blue"), publishBoth("red"), publishBoth("blue"))
	return []row{
		{
			name: "both-reach", shows: "a sandbox on two networks reaches and is reached on each, over both families",
			breaks: "it is on one of them only",
			setup:  both, broken: steps(others, makeSandbox("d", "red")), check: checkBothReach,
		},
		{
			name: "both-published", shows: "and answers the neighbour on a port published on either",
			breaks: "the port is published on one of them only",
			setup:  both, broken: steps(others, makeSandbox("d", "red", "blue"), publishBoth("red")), check: checkBothPublished,
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
	var all []probe
	d := w.sandboxes["d"]
	for _, f := range families() {
		all = append(all, bothWays(d, "red", w.sandboxes["a"], "red", f)...)
		all = append(all, bothWays(d, "blue", w.sandboxes["c"], "blue", f)...)
	}
	return answered(ctx, all...)
}

func checkBothPublished(ctx context.Context, w *world) error {
	for _, network := range []string{"red", "blue"} {
		for _, f := range families() {
			s, err := w.neighbour.talking(ctx, netip.AddrPortFrom(hostAddress(f), bothPort(network)))
			if err != nil {
				return err
			}
			err = s.more(ctx, 1)
			if ended := s.finish(ctx); err == nil {
				err = ended
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}
