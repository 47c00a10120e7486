// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/libnetwork/cnm/kernel/link"
	"github.com/libnetwork/cnm/kernel/netns"
	"github.com/libnetwork/cnm/test/probe"
)

// world is what the rows share: the stage, the daemon, and what was made with it. Everything is made when a row first needs
// it, so that any row can be run alone.
type world struct {
	*stage
	self, cnm string // programs
	home      string // the daemon's directories are here
	daemon    *process
	before    picture // the host with the daemon and nothing else; taken once
	networks  map[string]*network
	sandboxes map[string]*sandbox
	web       *web
	published map[string]bool // ports published beside those that things were made with
	relay     *probe.Relay

	// Sabotage of what checks do themselves.
	whileDead func() error // called between the daemon's death and its return; nil: nothing
	stayDead  bool         // the daemon does not return
	idle      bool         // ports are neither published nor unpublished
	forget    bool         // a network is not removed
}

// newWorld makes the daemon's directory.
func newWorld(st *stage, cnm, home string) (*world, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	w := &world{stage: st, self: self, cnm: cnm, home: home, networks: map[string]*network{}, sandboxes: map[string]*sandbox{}, published: map[string]bool{}}
	if err := os.MkdirAll(home, 0o755); err != nil {
		return nil, err
	}
	return w, os.WriteFile(w.path("daemon.json"), []byte("{}\n"), 0o600)
}

func (w *world) path(name string) string { return filepath.Join(w.home, name) }

// close ends the programs that still run.
func (w *world) close() {
	w.closeServers()
	if w.web != nil {
		_ = w.web.process.kill() // whatever it is, it dies with this process
	}
	if w.daemon != nil {
		_ = w.daemon.kill()
	}
}

// closeServers closes our own sockets in sandboxes, which would keep their namespaces.
func (w *world) closeServers() {
	for _, s := range w.sandboxes {
		if s.echo != nil {
			s.echo.Close()
		}
	}
	if w.relay != nil {
		w.relay.Close()
	}
}

// network is a network as it was made.
type network struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Subnets []struct {
		Prefix  netip.Prefix `json:"prefix"`
		Gateway netip.Addr   `json:"gateway"`
	} `json:"subnets"`
}

// gateway is the host's address in the network; invalid if it has none.
func (n *network) gateway(f link.Family) netip.Addr {
	for _, s := range n.Subnets {
		if probe.FamilyOf(s.Prefix.Addr()) == f {
			return s.Gateway
		}
	}
	return netip.Addr{}
}

// network makes a network that is not there yet.
func (w *world) network(ctx context.Context, name string, flags ...string) (*network, error) {
	if n := w.networks[name]; n != nil {
		return n, nil
	}
	if err := w.start(ctx); err != nil {
		return nil, err
	}
	n := &network{}
	if err := w.read(ctx, n, append([]string{"network", "create", name, "--json"}, flags...)...); err != nil {
		return nil, err
	}
	w.networks[name] = n
	return n, nil
}

// endpoint is a sandbox's place on a network.
type endpoint struct {
	Network   string         `json:"network"`
	Interface string         `json:"interface"`
	Addresses []netip.Prefix `json:"addresses"`
}

// sandbox is a sandbox as cnm shows it, and what we run in it.
type sandbox struct {
	Name      string     `json:"name"`
	Namespace string     `json:"namespace"`
	Endpoints []endpoint `json:"endpoints"`

	echo *probe.EchoServer
}

// place is where probes from the sandbox begin. Nothing of it keeps the namespace.
func (s *sandbox) place() probe.Place {
	return probe.Place{Name: s.Name, Inside: func(fn func() error) error {
		ns, err := netns.Open(s.Namespace)
		if err != nil {
			return err
		}
		defer ns.Close()
		return ns.Do(fn)
	}}
}

// address is the sandbox's on a network; invalid if it has none.
func (s *sandbox) address(network string, f link.Family) netip.Addr {
	for _, ep := range s.Endpoints {
		for _, p := range ep.Addresses {
			if ep.Network == network && probe.FamilyOf(p.Addr()) == f {
				return p.Addr()
			}
		}
	}
	return netip.Addr{}
}

// anyAddress is the sandbox's on whatever network it is.
func (s *sandbox) anyAddress(f link.Family) netip.Addr {
	for _, ep := range s.Endpoints {
		if a := s.address(ep.Network, f); a.IsValid() {
			return a
		}
	}
	return netip.Addr{}
}

// sandbox makes a sandbox that is not there yet, with an echo server in it, and puts it on networks that are there.
func (w *world) sandbox(ctx context.Context, name string, networks ...string) (*sandbox, error) {
	if s := w.sandboxes[name]; s != nil {
		return s, nil
	}
	if _, err := w.run(ctx, "sandbox", "create", name); err != nil {
		return nil, err
	}
	for _, n := range networks {
		if _, err := w.run(ctx, "attach", name, n); err != nil {
			return nil, err
		}
	}
	s, err := w.inspect(ctx, name)
	if err != nil {
		return nil, err
	}
	w.sandboxes[name] = s
	s.echo, err = s.place().Echo(ctx, echoPort)
	return s, err
}

// inspect reads a sandbox.
func (w *world) inspect(ctx context.Context, name string) (*sandbox, error) {
	var all []*sandbox
	if err := w.read(ctx, &all, "sandbox", "inspect", name, "--json"); err != nil {
		return nil, err
	}
	if len(all) != 1 {
		return nil, fmt.Errorf("sandbox inspect %s shows %d sandboxes", name, len(all))
	}
	return all[0], nil
}

// publish publishes a port of a sandbox that is not published yet.
func (w *world) publish(ctx context.Context, name, port, network string) error {
	if w.published[port] {
		return nil
	}
	if _, err := w.run(ctx, "publish", name, port, "--network", network); err != nil {
		return err
	}
	w.published[port] = true
	return nil
}

// unpublish takes it back.
func (w *world) unpublish(ctx context.Context, name, port, network string) error {
	_, err := w.run(ctx, "unpublish", name, port, "--network", network)
	delete(w.published, port)
	return err
}

// web is the server that `cnm run` started.
type web struct {
	process *process
	box     *sandbox
	page    string // which tells its process
}

// Ports of the host on which the server's are published.
const (
	hostWebPort  = 8080
	hostEchoPort = 8007
)

// The usual ways to publish them. The server's hidden port is published by none.
const (
	publishWeb  = "8080:80"
	publishEcho = "8007:7"
)

// runWeb starts the server with `cnm run` on the network red, which is there, if it does not run yet.
func (w *world) runWeb(ctx context.Context, publish ...string) error {
	if w.web != nil {
		return nil
	}
	args := []string{"run", "--name", "web", "--network", "red"}
	for _, p := range publish {
		args = append(args, "--publish", p)
	}
	p, err := begin(w.env(), w.cnm, append(args, "--", w.self, asServer)...)
	if err != nil {
		return err
	}
	ready, err := p.out.await(ctx, 0, func(line string) bool { return strings.HasPrefix(line, readyText) })
	if err != nil {
		return errors.Join(fmt.Errorf("cnm run: %w", err), p.kill())
	}
	box, err := w.inspect(ctx, "web")
	if err != nil {
		return errors.Join(err, p.kill())
	}
	w.web = &web{process: p, box: box, page: pageText + strings.TrimPrefix(ready, readyText)}
	return nil
}

// fetchWeb gets the server's page from one of its published addresses, and checks that it is that server's.
func (w *world) fetchWeb(ctx context.Context, from probe.Place, at netip.AddrPort) error {
	page, err := from.Fetch(ctx, at, "/")
	if err == nil && page != w.web.page {
		err = fmt.Errorf("%s fetches from %s: got %q, wanted %q", from.Name, at, page, w.web.page)
	}
	return err
}
