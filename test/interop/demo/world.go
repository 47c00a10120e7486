// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"net/netip"
	"syscall"

	"github.com/libnetwork/cnm/kernel/link"
	"github.com/libnetwork/cnm/test/interop/engine"
	"github.com/libnetwork/cnm/test/interop/place"
	"github.com/libnetwork/cnm/test/probe"
)

// world is what the rows share: the place with both daemons, and what is made in
// it when a row first needs it, so that any row can be run alone.
type world struct {
	*stand

	generation engine.Generation
	place      *place.Place
	cnm        *engine.CNM
	docker     *engine.Docker
	events     *place.Process // prints what changes: the object, the action and its name
	before     place.Picture  // of the host, with the daemons and nothing else
	networks   map[string]bool
	members    map[string]*member

	// Sabotage of what steps and checks do themselves.
	lacking   link.Family       // the networks do not have it; 0 is none
	nameless  bool              // nobody is told the others' names
	published map[string]string // by member: how its port is published; "" is not at all
	elsewhere map[string]string // by member: the network that it is on in place of its own
	whileDead func(*world)      // is called while the daemons are dead; nil is nothing
	stayDead  bool              // the daemons are not started again
	forget    string            // the member that is not removed
}

func newWorld(s *stand, g engine.Generation) *world {
	return &world{
		stand: s, generation: g, networks: map[string]bool{}, members: map[string]*member{},
		published: map[string]string{}, elsewhere: map[string]string{},
	}
}

// start makes the place and starts the daemons.
func (w *world) start() {
	w.place = engine.NewPlace(w)
	o := engine.DockerOptions{Flags: []string{"--live-restore"}}
	socket := engine.NewDocker(w, w.place, w.generation, o).Socket
	w.cnm = engine.StartCNM(w, w.place, "--docker-plugin", "cnm", "--docker-host", "unix://"+socket)
	w.follow()
	w.docker = engine.StartDocker(w, w.place, w.generation, o)
	w.before = w.look()
}

// follow prints the daemon's events.
func (w *world) follow() {
	w.events = w.cnm.Begin("cnm events", "events", "--format", "{{.object}} {{.action}} {{.name}}")
}

// look takes a picture of the host.
func (w *world) look() place.Picture {
	seen, err := w.place.Look(w.Context())
	if err != nil {
		w.Fatal(err)
	}
	return seen
}

// host and neighbour are where probes from outside of the networks begin.
func (w *world) host() probe.Place { return probe.Place{Name: "the host", Inside: w.place.Host.Do} }

func (w *world) neighbour() probe.Place {
	return probe.Place{Name: "the neighbour", Inside: w.place.Neighbour.Do}
}

func families() []link.Family { return []link.Family{link.IPv4, link.IPv6} }

// hostAddress is the host's on its LAN.
func hostAddress(f link.Family) netip.Addr {
	if f == link.IPv4 {
		return netip.MustParseAddr(place.Host4)
	}
	return netip.MustParseAddr(place.Host6)
}

func neighbourAddress(f link.Family) netip.Addr {
	if f == link.IPv4 {
		return netip.MustParseAddr(place.Neighbour4)
	}
	return netip.MustParseAddr(place.Neighbour6)
}

func loopback(f link.Family) netip.Addr {
	if f == link.IPv4 {
		return netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	return netip.IPv6Loopback()
}

// The two networks.
const (
	red  = "red"
	blue = "blue"
)

// subnet is a network's: 10.80.N.0/24 and fd80:N::/64. Of its addresses the
// first is the gateway's.
func subnet(network string, f link.Family) netip.Prefix {
	n := map[string]byte{red: 1, blue: 2}[network]
	if f == link.IPv4 {
		return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 80, n, 0}), 24)
	}
	return netip.PrefixFrom(netip.AddrFrom16([16]byte{0: 0xfd, 1: 0x80, 3: n}), 64)
}

// has tells whether the networks have a family.
func (w *world) has(f link.Family) bool { return w.lacking != f }

// makeNetwork has Docker make a network of ours, if it is not there yet, and
// waits until we have heard its name.
func (w *world) makeNetwork(name string) {
	if w.networks[name] {
		return
	}
	args := []string{"network", "create", "--driver", "cnm", "--ipam-driver", "cnm"}
	if w.has(link.IPv6) {
		args = append(args, "--ipv6")
	}
	if !w.has(link.IPv4) {
		args = append(args, "--ipv4=false")
	}
	w.docker.Run(append(append(args, w.subnets(name)...), name)...)
	w.events.Await("network rename " + name)
	w.networks[name] = true
}

// subnets are flags, the same ones of docker and cnm.
func (w *world) subnets(name string) (flags []string) {
	for _, f := range families() {
		if p := subnet(name, f); w.has(f) {
			flags = append(flags, "--subnet", p.String(), "--gateway", p.Addr().Next().String())
		}
	}
	return flags
}

// kill ends both daemons at once.
func (w *world) kill() {
	w.docker.Kill()
	w.cnm.Kill()
	w.events.End(syscall.SIGKILL)
}

// revive starts them again.
func (w *world) revive() {
	w.cnm.Start()
	w.follow()
	w.docker.Start()
}

// cut is the sabotage of rows whose mechanism is the firewall: our daemon is
// killed, so that nobody owns its tables any more, and they are flushed. All
// else stays, forwarding too.
func (w *world) cut() {
	w.cnm.Kill()
	if err := w.place.Host.Do(probe.FlushRuleset); err != nil {
		w.Fatal(err)
	}
}

// relayTo has a relay on the host lead from a member's host port to it.
func (w *world) relayTo(m *member) {
	at := netip.AddrPortFrom(m.address(link.IPv4), servedPort)
	relay, err := probe.StartRelay(context.WithoutCancel(w.Context()), w.host(), m.hostPort(), at)
	if err != nil {
		w.Fatal(fmt.Errorf("start a relay: %w", err))
	}
	w.Cleanup(relay.Close)
}
