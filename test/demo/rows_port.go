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
)

// portRows are about a server that `cnm run` started, and who gets to it.
func portRows() []row {
	web := steps(makeNetwork("red"), serving(publishWeb, publishEcho))
	published := func(as ...string) func(context.Context, *world) error {
		return steps(makeNetwork("red"), serving(as...))
	}
	return []row{
		{
			name: "run-127.0.0.1", shows: "a server started by cnm run answers the host on 127.0.0.1",
			breaks: "its port is published on the LAN's address only",
			setup:  web, broken: published(hostAddress(link.IPv4).String() + ":" + publishWeb),
			check: fetches(host, func() []netip.Addr { return []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1})} }),
		},
		{
			name: "run-::1", shows: "and on ::1",
			breaks: "its port is published on 127.0.0.1 only",
			setup:  web, broken: published("127.0.0.1:" + publishWeb),
			check: fetches(host, func() []netip.Addr { return []netip.Addr{netip.IPv6Loopback()} }),
		},
		{
			name: "run-host-address", shows: "and on the host's own addresses on its LAN, of both families",
			breaks: "its port is published on 127.0.0.1 and ::1 only",
			setup:  web, broken: published("127.0.0.1:"+publishWeb, "[::1]:"+publishWeb), check: fetches(host, hostAddresses),
		},
		{
			name: "neighbour", shows: "and answers the neighbour, over both families",
			breaks: "its port is published on 127.0.0.1 and ::1 only",
			setup:  web, broken: published("127.0.0.1:"+publishWeb, "[::1]:"+publishWeb), check: fetches(neighbour, hostAddresses),
		},
		{
			name: "neighbour-source", shows: "whose own addresses are in the server's log",
			breaks: "a relay on the host takes the place of cnm's publishing",
			setup:  web, broken: relayed, check: checkSource,
		},
		{
			name: "unpublished", shows: "a port that is not published is refused to the neighbour",
			breaks: "it is published",
			setup:  web, broken: published(publishWeb, "81:81"), check: checkUnpublished,
		},
		{
			name: "direct-route", shows: "a neighbour who routes to the network's subnets reaches no sandbox there",
			breaks: "the daemon is killed and its firewall flushed",
			setup:  web, broken: steps(web, cut), check: checkDirectRoute,
		},
	}
}

func host(w *world) place      { return w.host }
func neighbour(w *world) place { return w.neighbour }

func hostAddresses() []netip.Addr {
	return []netip.Addr{hostAddress(link.IPv4), hostAddress(link.IPv6)}
}

// fetches is a check that the web server's page is to be had at all of some addresses of the host.
func fetches(from func(*world) place, at func() []netip.Addr) func(context.Context, *world) error {
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
	w.relay, err = startRelay(context.WithoutCancel(ctx), w.host, at, netip.AddrPortFrom(w.web.box.address("red", link.IPv4), to))
	return err
}

// checkSource wants the neighbour's addresses in the server's log.
func checkSource(ctx context.Context, w *world) error {
	for _, f := range families() {
		path := "/who-is-" + f.String() // asked for by no other row
		if _, err := w.neighbour.fetch(ctx, netip.AddrPortFrom(hostAddress(f), hostWebPort), path); err != nil {
			return err
		}
		logged, cancel := context.WithTimeout(ctx, answerTime)
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
	var all []probe
	for _, a := range hostAddresses() {
		for _, port := range []uint16{hiddenPort, webPort, echoPort} {
			all = append(all, probe{from: w.neighbour, proto: "tcp", to: a, port: port})
		}
	}
	return silent(ctx, all...)
}

// checkDirectRoute sends to the server's own addresses by way of the host.
func checkDirectRoute(ctx context.Context, w *world) (err error) {
	var all []probe
	for _, s := range w.networks["red"].Subnets {
		if err := w.routeNeighbour(s.Prefix, true); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, w.routeNeighbour(s.Prefix, false)) }()
		to := w.web.box.address("red", familyOf(s.Prefix.Addr()))
		all = append(all, probe{from: w.neighbour, proto: "icmp", to: to})
		for _, port := range []uint16{webPort, hiddenPort, echoPort} {
			all = append(all, probe{from: w.neighbour, proto: "tcp", to: to, port: port})
		}
	}
	return silent(ctx, all...)
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
			name: "publish", shows: "a port of the running server is published, and answers the neighbour",
			breaks: "it is not published",
			setup:  web, broken: steps(web, idle),
			check: checkPublish,
		},
		{
			name: "unpublish", shows: "it is unpublished: new connections are refused, and an open one ends at once",
			breaks: "it is not unpublished",
			setup:  steps(web, publish), broken: steps(web, publish, idle),
			check: checkUnpublish,
		},
	}
}

func idle(_ context.Context, w *world) error {
	w.idle = true
	return nil
}

// checkPublish wants the port to answer only when it is published.
func checkPublish(ctx context.Context, w *world) error {
	if err := silent(ctx, w.live()...); err != nil {
		return err
	}
	if !w.idle {
		if err := w.publish(ctx, "web", liveSpec(), "red"); err != nil {
			return err
		}
	}
	if err := answered(ctx, w.live()...); err != nil {
		return err
	}
	return fetches(neighbour, hostAddresses)(ctx, w)
}

// live asks the live port.
func (w *world) live() []probe {
	var all []probe
	for _, a := range hostAddresses() {
		all = append(all, probe{from: w.neighbour, proto: "tcp", to: a, port: livePort})
	}
	return all
}

// checkUnpublish wants connections through the port to end, and the server to live.
func checkUnpublish(ctx context.Context, w *world) error {
	var open []*stream
	for _, a := range hostAddresses() {
		s, err := w.neighbour.talking(ctx, netip.AddrPortFrom(a, livePort))
		if err != nil {
			return err
		}
		open = append(open, s)
		if err := s.more(ctx, 5); err != nil {
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
	if err := silent(ctx, w.live()...); err != nil {
		return err
	}
	return fetches(neighbour, hostAddresses)(ctx, w)
}

// stalled wants streams to be dead. What was on its way when they died may still come.
func stalled(ctx context.Context, open []*stream) error {
	had := make([]int, len(open))
	for i, s := range open {
		had[i] = s.count()
	}
	quiet, cancel := context.WithTimeout(ctx, silenceTime)
	defer cancel()
	<-quiet.Done()
	for i, s := range open {
		if n := s.count() - had[i]; n >= enough {
			return fmt.Errorf("%s: %d messages more came back", s.name, n)
		}
	}
	return ctx.Err()
}
