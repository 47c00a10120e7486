// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"github.com/libnetwork/cnm/kernel/link"
	"github.com/libnetwork/cnm/kernel/nft"
	"github.com/libnetwork/cnm/test/probe"
)

// enough is how many messages show that a stream flows.
const enough = 25

// survivalRows are about what others do to cnm while traffic flows.
func survivalRows() []row {
	pair := steps(makeNetwork("red"), makeNetwork("blue"), makeSandbox("a", "red"), makeSandbox("b", "red"), makeSandbox("c", "blue"))
	web := steps(pair, serving(publishWeb, publishEcho))
	return []row{
		{
			Name: "flush", Shows: "nft flush ruleset, as another program sends it, changes nothing",
			Breaks: "the daemon is dead and nobody owns its tables",
			Setup:  web, Broken: steps(web, func(_ context.Context, w *world) error { return w.daemon.kill() }), Check: checkFlush,
		},
		{
			Name: "kill-ping", Shows: "kill -9 of the daemon and a restart under running pings: none is lost",
			Breaks: "a link is deleted while the daemon is dead",
			Setup:  pair, Broken: steps(pair, losesLink), Check: checkKillPing,
		},
		{
			Name: "kill-tcp", Shows: "and under TCP connections open by a published port: not a byte is lost",
			Breaks: "the port is published by a relay that dies with the daemon",
			Setup:  web, Broken: steps(pair, serving(publishWeb), relayEcho), Check: checkKillTCP,
		},
		{
			Name: "restart", Shows: "after kill -9 and a restart everything is as recorded, and more can be made",
			Breaks: "the daemon is not started again",
			Setup:  web, Broken: steps(web, func(_ context.Context, w *world) error { w.stayDead = true; return nil }), Check: checkRestart,
		},
	}
}

// bystander is a table of somebody else's, which shows that the flush is one.
func bystander() nft.Table {
	return nft.Table{TableID: nft.TableID{Family: nft.Inet, Name: "bystander"}}
}

// makeBystander makes the table.
func makeBystander(ctx context.Context, conn *nft.Conn) error {
	var tx nft.Tx
	tx.AddTable(bystander())
	return conn.Run(ctx, &tx)
}

// checkFlush compares what there is before and after, under traffic.
func checkFlush(ctx context.Context, w *world) error {
	conn, err := nft.Dial(nft.Config{})
	if err != nil {
		return err
	}
	defer conn.Close()
	before, err := rulesAndTables(ctx, conn)
	if err != nil {
		return err
	}
	flows, err := w.talks(ctx)
	if err != nil {
		return err
	}
	for _, do := range []func() error{
		func() error { return flow(ctx, flows) },
		func() error { return makeBystander(ctx, conn) },
		probe.FlushRuleset,
		func() error { return flow(ctx, flows) },
		func() error { return finish(ctx, flows) },
	} {
		if err := do(); err != nil {
			return err
		}
	}
	after, err := rulesAndTables(ctx, conn)
	if err != nil {
		return err
	}
	if d := after.differs(before); d != "" {
		return fmt.Errorf("after the flush:\n%s", d)
	}
	if err := w.control(ctx, "a", "c"); err != nil {
		return err
	}
	var across []probe.Probe
	for _, f := range families() {
		across = append(across, bothWays(w.sandboxes["a"], "red", w.sandboxes["c"], "blue", f)...)
	}
	return probe.Silent(ctx, across...)
}

// rulesAndTables is the firewall with the number of each table, which is another where one was deleted and made anew. Before
// Linux 6.9 that is how cnm keeps its tables, and the numbers are left out.
func rulesAndTables(ctx context.Context, conn *nft.Conn) (picture, error) {
	lines, err := firewallSeen(ctx)
	if err != nil {
		return nil, err
	}
	features, err := conn.Features(ctx)
	if err != nil {
		return nil, err
	}
	tables, err := conn.Tables(ctx)
	for _, t := range tables {
		if features.OwnerPersist {
			lines = append(lines, fmt.Sprintf("table %s %s has number %d", t.Family, t.Name, t.Handle))
		}
	}
	slices.Sort(lines)
	return lines, err
}

// flow waits until each stream has moved on.
func flow(ctx context.Context, flows []*probe.Stream) error {
	return probe.Each(flows, func(s *probe.Stream) error { return s.More(ctx, enough) })
}

// finish ends each stream, and wants none to have lost anything.
func finish(ctx context.Context, flows []*probe.Stream) error {
	return probe.Each(flows, func(s *probe.Stream) error { return s.Finish(ctx) })
}

// talks opens connections from the neighbour to the web server's echo port.
func (w *world) talks(ctx context.Context) ([]*probe.Stream, error) {
	var flows []*probe.Stream
	for _, f := range families() {
		s, err := w.neighbour.Talking(ctx, netip.AddrPortFrom(hostAddress(f), hostEchoPort))
		if err != nil {
			return nil, err
		}
		flows = append(flows, s)
	}
	return flows, nil
}

// pings start inside of a network, and from it to the neighbour.
func (w *world) pings(ctx context.Context) ([]*probe.Stream, error) {
	var flows []*probe.Stream
	a, b := w.sandboxes["a"], w.sandboxes["b"]
	for _, f := range families() {
		for _, to := range []netip.Addr{b.address("red", f), neighbourAddress(f)} {
			s, err := a.place().Pinging(ctx, to)
			if err != nil {
				return nil, err
			}
			flows = append(flows, s)
		}
	}
	return flows, nil
}

func checkKillPing(ctx context.Context, w *world) error {
	flows, err := w.pings(ctx)
	if err != nil {
		return err
	}
	return w.killUnder(ctx, flows)
}

func checkKillTCP(ctx context.Context, w *world) error {
	flows, err := w.talks(ctx)
	if err != nil {
		return err
	}
	return w.killUnder(ctx, flows)
}

// killUnder kills the daemon and starts it again while streams flow: before, between and after. Streams that broke end with
// the row.
func (w *world) killUnder(ctx context.Context, flows []*probe.Stream) error {
	for _, do := range []func() error{
		func() error { return flow(ctx, flows) },
		w.daemon.kill,
		w.sabotaged,
		func() error { return flow(ctx, flows) },
		func() error { return w.startDaemon(ctx) },
		func() error { return flow(ctx, flows) },
		func() error { return finish(ctx, flows) },
	} {
		if err := do(); err != nil {
			return err
		}
	}
	return nil
}

// sabotaged does what a broken row does while the daemon is dead.
func (w *world) sabotaged() error {
	if w.whileDead == nil {
		return nil
	}
	return w.whileDead()
}

// losesLink has b lose its link while the daemon is dead.
func losesLink(_ context.Context, w *world) error {
	b := w.sandboxes["b"]
	w.whileDead = func() error {
		return b.place().Inside(func() error {
			var batch link.Batch
			for _, ep := range b.Endpoints {
				batch.DeleteLink(link.Named(ep.Interface))
			}
			return changeLinks(link.Here, &batch)
		})
	}
	return nil
}

// relayEcho publishes the echo port by a relay, which the daemon takes along.
func relayEcho(ctx context.Context, w *world) error {
	w.whileDead = func() error { w.relay.Close(); return nil }
	return w.relayTo(ctx, hostEchoPort, echoPort)
}

// recorded is what cnm says there is.
func (w *world) recorded(ctx context.Context) (string, error) {
	var all []byte
	for _, noun := range []string{"network", "sandbox", "endpoint"} {
		out, err := w.run(ctx, noun, "ls", "--json")
		if err != nil {
			return "", err
		}
		all = append(all, out...)
	}
	return string(all), nil
}

// checkRestart compares what is recorded, and what is on the host.
func checkRestart(ctx context.Context, w *world) error {
	recorded, err := w.recorded(ctx)
	if err != nil {
		return err
	}
	seen, err := w.look(ctx)
	if err != nil {
		return err
	}
	if err := w.daemon.kill(); err != nil {
		return err
	}
	if !w.stayDead {
		if err := w.startDaemon(ctx); err != nil {
			return err
		}
	}
	again, err := w.recorded(ctx)
	if err != nil {
		return err
	}
	if again != recorded {
		return fmt.Errorf("cnm's lists were\n%s\nand are\n%s", recorded, again)
	}
	now, err := w.look(ctx)
	if err != nil {
		return err
	}
	if d := now.differs(seen); d != "" {
		return fmt.Errorf("after the restart:\n%s", d)
	}
	return w.goesOn(ctx)
}

// goesOn makes a new sandbox and asks it and the old server.
func (w *world) goesOn(ctx context.Context) error {
	late, err := w.sandbox(ctx, "late", "red")
	if err != nil {
		return err
	}
	var all []probe.Probe
	for _, f := range families() {
		all = append(all, bothWays(late, "red", w.sandboxes["a"], "red", f)...)
	}
	if err := probe.Answered(ctx, all...); err != nil {
		return err
	}
	return fetches(neighbour, hostAddresses)(ctx, w)
}
