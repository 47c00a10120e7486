// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/libnetwork/cnm/kernel/link"
	"github.com/libnetwork/cnm/test/probe"
)

// portRows are about a server that `cnm run` started, and who gets to it.
func portRows() []row {
	web := steps(makeNetwork("red"), serving(publishWeb, publishEcho))
	published := func(as ...string) func(context.Context, *world) error {
		return steps(makeNetwork("red"), serving(as...))
	}
	return []row{
		{
			Name: "run-127.0.0.1", Shows: "a server started by cnm run answers the host on 127.0.0.1",
			Breaks: "its port is published on the LAN's address only",
			Setup:  web, Broken: published(hostAddress(link.IPv4).String() + ":" + publishWeb),
			Check: fetches(host, func() []netip.Addr { return []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1})} }),
		},
		{
			Name: "run-::1", Shows: "and on ::1",
			Breaks: "its port is published on 127.0.0.1 only",
			Setup:  web, Broken: published("127.0.0.1:" + publishWeb),
			Check: fetches(host, func() []netip.Addr { return []netip.Addr{netip.IPv6Loopback()} }),
		},
		{
			Name: "run-host-address", Shows: "and on the host's own addresses on its LAN, of both families",
			Breaks: "its port is published on 127.0.0.1 and ::1 only",
			Setup:  web, Broken: published("127.0.0.1:"+publishWeb, "[::1]:"+publishWeb), Check: fetches(host, hostAddresses),
		},
		{
			Name: "neighbour", Shows: "and answers the neighbour, over both families",
			Breaks: "its port is published on 127.0.0.1 and ::1 only",
			Setup:  web, Broken: published("127.0.0.1:"+publishWeb, "[::1]:"+publishWeb), Check: fetches(neighbour, hostAddresses),
		},
		{
			Name: "neighbour-source", Shows: "whose own addresses are in the server's log",
			Breaks: "a relay on the host takes the place of cnm's publishing",
			Setup:  web, Broken: relayed, Check: checkSource,
		},
		{
			Name: "unpublished", Shows: "a port that is not published is refused to the neighbour",
			Breaks: "it is published",
			Setup:  web, Broken: published(publishWeb, "81:81"), Check: checkUnpublished,
		},
		{
			Name: "direct-route", Shows: "a neighbour who routes to the network's subnets reaches no sandbox there",
			Breaks: "the daemon is killed and its firewall flushed",
			Setup:  web, Broken: steps(web, cut), Check: checkDirectRoute,
		},
	}
}

func host(w *world) probe.Place      { return w.host }
func neighbour(w *world) probe.Place { return w.neighbour }

func hostAddresses() []netip.Addr {
	return []netip.Addr{hostAddress(link.IPv4), hostAddress(link.IPv6)}
}

// fetches is a check that the web server's page is to be had at all of some addresses of the host.
func fetches(from func(*world) probe.Place, at func() []netip.Addr) func(context.Context, *world) error {
	return func(ctx context.Context, w *world) error {
		var errs []error
		for _, a := range at() {
			errs = append(errs, w.fetchWeb(ctx, from(w), netip.AddrPortFrom(a, hostWebPort)))
		}
		return errors.Join(errs...)
	}
}

// relayed has a relay publish the server's port.
func relayed(ctx context.Context, w *world) error {
	if err := steps(makeNetwork("red"), serving())(ctx, w); err != nil {
		return err
	}
	return w.relayTo(ctx, hostWebPort, webPort)
}

// relayTo starts the relay.
func (w *world) relayTo(ctx context.Context, at, to uint16) (err error) {
	// The relay outlives the row's setup.
	w.relay, err = probe.StartRelay(context.WithoutCancel(ctx), w.host, at, netip.AddrPortFrom(w.web.box.address("red", link.IPv4), to))
	return err
}

// checkSource wants the neighbour's addresses in the server's log.
func checkSource(ctx context.Context, w *world) error {
	for _, f := range families() {
		path := "/who-is-" + f.String() // asked for by no other row
		if _, err := w.neighbour.Fetch(ctx, netip.AddrPortFrom(hostAddress(f), hostWebPort), path); err != nil {
			return err
		}
		logged, cancel := context.WithTimeout(ctx, probe.AnswerTime)
		line, err := w.web.process.out.await(logged, 0, func(line string) bool { return strings.Contains(line, path) })
		cancel()
		if err != nil {
			return err
		}
		if want := requestLine(path, neighbourAddress(f)); line != want {
			return fmt.Errorf("the server's log says %q, wanted %q", line, want)
		}
	}
	return nil
}

// checkUnpublished wants a published port to answer and the others not.
func checkUnpublished(ctx context.Context, w *world) error {
	if err := fetches(neighbour, hostAddresses)(ctx, w); err != nil {
		return err
	}
	var all []probe.Probe
	for _, a := range hostAddresses() {
		for _, port := range []uint16{hiddenPort, webPort, echoPort} {
			all = append(all, probe.Probe{From: w.neighbour, Proto: "tcp", To: a, Port: port})
		}
	}
	return probe.Silent(ctx, all...)
}

// checkDirectRoute sends to the server's own addresses by way of the host.
func checkDirectRoute(ctx context.Context, w *world) (err error) {
	var all []probe.Probe
	for _, s := range w.networks["red"].Subnets {
		if err := w.routeNeighbour(s.Prefix, true); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, w.routeNeighbour(s.Prefix, false)) }()
		to := w.web.box.address("red", probe.FamilyOf(s.Prefix.Addr()))
		all = append(all, probe.Probe{From: w.neighbour, Proto: "icmp", To: to})
		for _, port := range []uint16{webPort, hiddenPort, echoPort} {
			all = append(all, probe.Probe{From: w.neighbour, Proto: "tcp", To: to, Port: port})
		}
	}
	return probe.Silent(ctx, all...)
}

// livePort is published and unpublished while the server runs.
const livePort = 8707

func liveSpec() string { return strconv.Itoa(livePort) + ":" + strconv.Itoa(echoPort) }

// livePortRows are about ports that come and go under a running server.
func livePortRows() []row {
	web := steps(makeNetwork("red"), serving(publishWeb, publishEcho))
	publish := func(ctx context.Context, w *world) error { return w.publish(ctx, "web", liveSpec(), "red") }
	return []row{
		{
			Name: "publish", Shows: "a port of the running server is published, and answers the neighbour",
			Breaks: "it is not published",
			Setup:  web, Broken: steps(web, idle),
			Check: checkPublish,
		},
		{
			Name: "unpublish", Shows: "it is unpublished: new connections are refused, and an open one ends at once",
			Breaks: "it is not unpublished",
			Setup:  steps(web, publish), Broken: steps(web, publish, idle),
			Check: checkUnpublish,
		},
	}
}

func idle(_ context.Context, w *world) error {
	w.idle = true
	return nil
}

// checkPublish wants the port to answer only when it is published.
func checkPublish(ctx context.Context, w *world) error {
	if err := probe.Silent(ctx, w.live()...); err != nil {
		return err
	}
	if !w.idle {
		if err := w.publish(ctx, "web", liveSpec(), "red"); err != nil {
			return err
		}
	}
	if err := probe.Answered(ctx, w.live()...); err != nil {
		return err
	}
	return fetches(neighbour, hostAddresses)(ctx, w)
}

// live asks the live port.
func (w *world) live() []probe.Probe {
	var all []probe.Probe
	for _, a := range hostAddresses() {
		all = append(all, probe.Probe{From: w.neighbour, Proto: "tcp", To: a, Port: livePort})
	}
	return all
}

// checkUnpublish wants connections through the port to end, and the server to live.
func checkUnpublish(ctx context.Context, w *world) error {
	var open []*probe.Stream
	for _, a := range hostAddresses() {
		s, err := w.neighbour.Talking(ctx, netip.AddrPortFrom(a, livePort))
		if err != nil {
			return err
		}
		open = append(open, s)
		if err := s.More(ctx, 5); err != nil {
			return err
		}
	}
	if !w.idle {
		if err := w.unpublish(ctx, "web", liveSpec(), "red"); err != nil {
			return err
		}
	}
	if err := stalled(ctx, open); err != nil {
		return err
	}
	if err := probe.Silent(ctx, w.live()...); err != nil {
		return err
	}
	return fetches(neighbour, hostAddresses)(ctx, w)
}

// stalled wants streams to be dead. What was on its way when they died may still come.
func stalled(ctx context.Context, open []*probe.Stream) error {
	had := make([]int, len(open))
	for i, s := range open {
		had[i] = s.Count()
	}
	quiet, cancel := context.WithTimeout(ctx, probe.SilenceTime)
	defer cancel()
	<-quiet.Done()
	for i, s := range open {
		if n := s.Count() - had[i]; n >= enough {
			return fmt.Errorf("%s: %d messages more came back", s.Name, n)
		}
	}
	return ctx.Err()
}
