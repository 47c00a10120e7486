// SPDX-License-Identifier: Apache-2.0

// Package bridge makes networks of Linux bridges and veth pairs: the native networking of one host.
//
// A network is a star: a hub, the bridge that has the gateway addresses, and, beyond its first endpoints, shards joined to it
// by a veth trunk, since the kernel's work for each new port grows with the ports of a bridge. Every decision is a plain
// value computed from records (plan.go); applying it is a firewall transaction and one message to the kernel.
package bridge

import (
	"context"
	"errors"
	"log/slog"
	"sync"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/firewall"
	"github.com/libnetwork/cnm/kernel/link"
	"github.com/libnetwork/cnm/ports"
)

// Firewall is what the driver needs of the firewall room.
type Firewall interface {
	Set(ctx context.Context, owner firewall.Owner, r firewall.Rules) error
	Drop(ctx context.Context, owner firewall.Owner) error
}

// PortHolder is what the driver needs of the ports room.
type PortHolder interface {
	Hold(ctx context.Context, req ports.Request) ([]cnm.Port, error)
	Release(owner string, held []cnm.Port)
	ReleaseAll(owner string)
	Restore(owner, name string, list []cnm.Port, targets ports.Targets) []ports.Stolen
}

// Config is what a driver is made of; all fields are needed.
type Config struct {
	Log      *slog.Logger
	Firewall Firewall
	Ports    PortHolder
	// Group is a link group that is ours alone on this host and boot: links in it are dead and wait to be reaped.
	Group uint32
	// Published is told of each port after its rules are in force: flows of its number that reached the host itself before
	// would go on to do so.
	Published func(cnm.Port)
	// Opened are links whose forwarding an earlier run of this boot switched on.
	Opened []firewall.Opened
}

// Driver is the bridge driver. It satisfies [cnm.Driver] and all its optional interfaces. It is safe for concurrent use.
type Driver struct {
	log    *slog.Logger
	fw     Firewall
	ports  PortHolder
	told   func(cnm.Port)
	conn   *link.Conn // in the host's namespace
	reaper *reaper
	host   *hostForwarding

	mu   sync.Mutex // guards all below and what they point to; never held across the kernel
	nets map[cnm.NetworkID]*network
	live live // links in service, for telling our own changes from others'
	// claimed are hubs by name, with their networks; absent are those that are to be adopted and are not there.
	claimed map[string]cnm.Network
	absent  map[string]bool
}

var (
	_ cnm.Driver     = (*Driver)(nil)
	_ cnm.Describer  = (*Driver)(nil)
	_ cnm.Decoder    = (*Driver)(nil)
	_ cnm.Publisher  = (*Driver)(nil)
	_ cnm.Declarer   = (*Driver)(nil)
	_ cnm.Reconciler = (*Driver)(nil)
	_ cnm.Watcher    = (*Driver)(nil)
)

// New makes the driver in the calling thread's network namespace, which is its host. Close ends it.
func New(cfg Config) (*Driver, error) {
	conn, err := link.Dial(link.Here)
	if err != nil {
		return nil, cnm.Errorf(cnm.Internal, "opening a netlink socket: %w", err)
	}
	d := &Driver{log: cfg.Log, fw: cfg.Firewall, ports: cfg.Ports, told: cfg.Published, conn: conn, nets: map[cnm.NetworkID]*network{}, live: newLive(), claimed: map[string]cnm.Network{}, absent: map[string]bool{}}
	if d.host, err = newHostForwarding(cfg.Firewall, d.hubs, cfg.Opened); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	if d.reaper, err = newReaper(cfg.Group); err != nil {
		return nil, errors.Join(err, d.host.close(), conn.Close())
	}
	return d, nil
}

// Close stops the reaper and releases the sockets. It changes nothing in the kernel.
func (d *Driver) Close() error {
	d.reaper.close()
	return errors.Join(d.host.close(), d.conn.Close())
}

// Describe tells what the driver can do.
func (d *Driver) Describe(context.Context) cnm.Description {
	return cnm.Description{Addresses: true, Publishes: true, Options: optionTable()}
}

// Decode checks the options of a network, or of an endpoint on it.
func (d *Driver) Decode(nw cnm.Network, ep *cnm.Endpoint) error {
	s, err := decodeNetwork(nw)
	if err != nil {
		return err
	}
	if ep == nil {
		return checkNetwork(nw, s)
	}
	if _, err := decodeEndpoint(s.protection, *ep); err != nil {
		return err
	}
	return checkPublish(nw, s, ep.Publish)
}

// checkNetwork checks what options and the other fields say together.
func checkNetwork(nw cnm.Network, s settings) error {
	if s.adopt && len(nw.Options) > 0 {
		for _, sub := range nw.Subnets {
			if sub.Prefix.Bits() == 0 {
				return cnm.FieldErrorf(cnm.Invalid, "subnet", "network %q adopts bridge %s, so its subnets are that bridge's: give one for each family with --subnet, or switch the family off", nw.Name, s.bridge)
			}
		}
	}
	return nil
}

// checkPublish refuses to publish from an internal network to more than loopback.
func checkPublish(nw cnm.Network, s settings, specs []cnm.PortSpec) error {
	for _, p := range specs {
		if nw.Internal && p.HostIP.IsValid() && !p.HostIP.IsLoopback() {
			return cnm.FieldErrorf(cnm.Invalid, "publish", "publish %s: network %q is internal and publishes to loopback only; use 127.0.0.1 or [::1]", p, nw.Name)
		}
		if s.routed && (p.HostPort != 0 && p.HostPort != p.Port || p.HostIP.IsValid()) {
			return cnm.FieldErrorf(cnm.Invalid, "publish", "publish %s: network %q is routed, so ports open on the endpoints' own addresses; write just %d/%s", p, nw.Name, p.Port, p.Proto)
		}
	}
	return nil
}

// CreateNetwork makes the network's hub, its rules first.
func (d *Driver) CreateNetwork(ctx context.Context, nw cnm.Network) error {
	if _, err := d.ensureNetwork(ctx, nw); err != nil {
		return err
	}
	_, err := d.host.open(ctx)
	return err
}

// DeleteNetwork removes the network's bridges, then its rules.
func (d *Driver) DeleteNetwork(ctx context.Context, nw cnm.Network) error {
	p, err := planNetwork(nw)
	if err != nil {
		return err
	}
	return d.removeNetwork(ctx, p)
}

// CreateEndpoint decides the MAC: one that follows from the endpoint's ID, so that asking again gives the same.
func (d *Driver) CreateEndpoint(_ context.Context, _ cnm.Network, ep cnm.Endpoint) (cnm.EndpointPatch, error) {
	if ep.MAC.IsValid() {
		return cnm.EndpointPatch{}, nil
	}
	return cnm.EndpointPatch{MAC: macOf("endpoint", string(ep.ID))}, nil
}

// DeleteEndpoint has nothing to forget: an endpoint in no sandbox is a record only.
func (d *Driver) DeleteEndpoint(context.Context, cnm.Network, cnm.Endpoint) error { return nil }
