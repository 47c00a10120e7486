// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/libnetwork/cnm/kernel/link"
	"github.com/libnetwork/cnm/test/table"
)

// Every row and step shares one world.
type (
	row  = table.Row[*world]
	step = table.Step[*world]
)

// steps is [table.Steps].
func steps(all ...step) step { return table.Steps(all...) }

// does is a step that fails the world where it cannot be done.
func does(fn func(w *world)) step {
	return func(ctx context.Context, w *world) error { return w.try(ctx, func() { fn(w) }) }
}

// checks is a check that may also fail the world.
func checks(fn func(ctx context.Context, w *world) error) step {
	return func(ctx context.Context, w *world) (err error) {
		return errors.Join(w.try(ctx, func() { err = fn(ctx, w) }), err)
	}
}

func makes(network string) step { return does(func(w *world) { w.makeNetwork(network) }) }

// joins makes members, on networks that are there.
func joins(names ...string) step {
	return does(func(w *world) {
		for _, name := range names {
			w.join(name)
		}
	})
}

// without is sabotage: a network of one family less.
func without(f link.Family) step { return does(func(w *world) { w.lacking = f }) }

// publishing is sabotage: a member's port is published in another way.
func publishing(name, spec string) step { return does(func(w *world) { w.published[name] = spec }) }

// misplacing is sabotage: a member is put on another network.
func misplacing(name, network string) step {
	return does(func(w *world) { w.elsewhere[name] = network })
}

// allRows are in the order in which they are run.
func allRows() []row {
	return slices.Concat(networkRows(), reachRows(), portRows(), apartRows(), endRows())
}

// networkRows are about what Docker has made, and who is on it.
func networkRows() []row {
	three := joins(of(red)...)
	return []row{
		{
			Name: "one-network", Shows: "a network of docker network create is one of cnm's, of both families",
			Breaks: "it is made by cnm network create, and Docker does not know it",
			Setup:  makes(red), Broken: does(func(w *world) { w.cnm.Run(append(append([]string{"network", "create"}, w.subnets(red)...), red)...) }),
			Check: checks(checkNetwork),
		},
		{
			Name: "three-kinds", Shows: "a Docker container, a runc container and a process of cnm run are on it",
			Breaks: "the process is put on another network",
			Setup:  steps(makes(red), three), Broken: steps(makes(red), makes(blue), misplacing("process1", blue), three),
			Check: checks(checkMembers),
		},
	}
}

// reachRows are about the three on one network.
func reachRows() []row {
	three := steps(makes(red), joins(of(red)...))
	var rows []row
	for _, f := range families() {
		rows = append(rows, row{
			Name: "address-" + f.String(), Shows: "each of the three reaches the others by address: ping and TCP over " + f.String(),
			Breaks: "the network does not have " + f.String(),
			Setup:  three, Broken: steps(without(f), three),
			Check: checks(func(ctx context.Context, w *world) error { return checkAddresses(ctx, w, f) }),
		})
	}
	for _, f := range families() {
		rows = append(rows, row{
			Name: "name-" + f.String(), Shows: "and by the name that each was given: ping over " + f.String(),
			Breaks: "none is told the others' names",
			Setup:  three, Broken: steps(does(func(w *world) { w.nameless = true }), three),
			Check: checks(func(_ context.Context, w *world) error { return checkNames(w, f) }),
		})
	}
	return rows
}

// portRows are about the port that each of the three publishes.
func portRows() []row {
	three := joins(of(red)...)
	var rows []row
	words := map[string]string{"docker": "docker run", "runc": "cnm oci bundle, of a runc container,", "process": "cnm run"}
	for _, name := range of(red) {
		m := plan(name)
		spec := fmt.Sprintf("%d:%d", m.hostPort(), servedPort)
		rows = append(rows, row{
			Name: "host-" + m.kind, Shows: "a port published by " + words[m.kind] + " answers the host",
			Breaks: "it is published on the host's LAN address only",
			Setup:  steps(makes(red), three), Broken: steps(publishing(name, hostAddress(link.IPv4).String()+":"+spec), makes(red), joins(name)),
			Check: checks(func(_ context.Context, w *world) error { return checkHost(w, m) }),
		}, row{
			Name: "lan-" + m.kind, Shows: "and a neighbour on its LAN",
			Breaks: "it is published on the host's 127.0.0.1 only",
			Setup:  steps(makes(red), three), Broken: steps(publishing(name, loopback(link.IPv4).String()+":"+spec), makes(red), joins(name)),
			Check: checks(func(_ context.Context, w *world) error { return checkLAN(w, m) }),
		})
	}
	first := of(red)[0]
	return append(rows, row{
		Name: "lan-source", Shows: "whose own address each of the three sees, of both families",
		Breaks: "a relay on the host takes the place of what Docker's container publishes",
		Setup:  steps(makes(red), three),
		Broken: steps(publishing(first, ""), makes(red), three, does(func(w *world) { w.relayTo(w.members[first]) })),
		Check:  checks(checkSource),
	})
}

// apartRows are about a second network.
func apartRows() []row {
	six := steps(makes(red), makes(blue), joins(of(red)...), joins(of(blue)...))
	var rows []row
	for _, f := range families() {
		rows = append(rows, row{
			Name: "apart-" + f.String(), Shows: "three on a second network and these do not reach each other: ping, TCP, " + f.String(),
			Breaks: "cnm's daemon is killed and its firewall flushed",
			Setup:  six, Broken: steps(six, does((*world).cut)),
			Check: checks(func(ctx context.Context, w *world) error { return checkApart(ctx, w, f) }),
		})
	}
	return rows
}

// endRows are about ends: of daemons, and of everything.
func endRows() []row {
	three := steps(makes(red), joins(of(red)...))
	return []row{
		{
			Name: "killed", Shows: "kill -9 of dockerd and cnm's daemon under pings among them: none is lost",
			Breaks: "the process loses its link while the daemons are dead",
			Setup:  three, Broken: steps(three, does(func(w *world) { w.whileDead = unlink })),
			Check: checks(checkKilled),
		},
		{
			Name: "restarted", Shows: "after kill -9 and a restart of both, both know all of it, and ports answer",
			Breaks: "they are not started again",
			Setup:  three, Broken: steps(three, does(func(w *world) { w.stayDead = true })),
			Check: checks(checkRestarted),
		},
		{
			Name: "gone", Shows: "once all is removed nothing is left: links, routes, rules, settings, records",
			Breaks: "the runc container is not removed",
			Setup:  three, Broken: steps(three, does(func(w *world) { w.forget = "runc1" })),
			Check: checks(checkGone),
		},
	}
}
