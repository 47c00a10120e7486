// SPDX-License-Identifier: Apache-2.0

package bridge

import (
	"context"
	"errors"
	"io/fs"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/kernel/link"
	"github.com/libnetwork/cnm/kernel/sysctl"
)

// bridgeOptions are those of every bridge that is ours: a spanning tree would keep a new port silent for half a minute, and snooping
// takes work for each port.
func bridgeOptions() link.BridgeOptions {
	return link.BridgeOptions{STP: link.Off, MulticastSnooping: link.Off}
}

// alteredOptions are the settings of a bridge of ours that are not as they were made.
func alteredOptions(have link.BridgeOptions) link.BridgeOptions {
	want := bridgeOptions()
	if have.STP == want.STP {
		want.STP = link.Keep
	}
	if have.MulticastSnooping == want.MulticastSnooping {
		want.MulticastSnooping = link.Keep
	}
	return want
}

// mtuOf is what the hub's MTU has to be, 0 where nothing is known: an adopted bridge's is its owner's.
func (d *Driver) mtuOf(p networkPlan, hub link.Link) int {
	if p.network.MTU != 0 || p.settings.adopt {
		return p.network.MTU
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if n := d.nets[p.network.ID]; n != nil && n.hub == hub.Index {
		return n.mtu
	}
	return 0
}

// renamedHub gives a hub that somebody renamed its name back: the MAC tells which one it is. The name of a link that is up can be
// changed since Linux 6.2.
func (d *Driver) renamedHub(ctx context.Context, p networkPlan) (link.Link, bool, error) {
	hub, found, err := d.findHub(ctx, p)
	if err != nil || !found {
		return link.Link{}, false, err
	}
	var b link.Batch
	b.SetLink(link.Change{Link: link.Numbered(hub.Index), Rename: p.hub})
	if err = d.conn.Do(&b); errors.Is(err, unix.EBUSY) {
		b = link.Batch{}
		b.SetLink(link.Change{Link: link.Numbered(hub.Index), Up: link.Off})
		b.SetLink(link.Change{Link: link.Numbered(hub.Index), Rename: p.hub})
		err = d.conn.Do(&b)
	}
	if err != nil {
		return link.Link{}, false, cnm.Errorf(kindOf(err), "bridge %s, renamed to %s: %w", p.hub, hub.Name, err)
	}
	return hub, true, nil
}

// findHub looks for the hub of a network by what does not go with its name: the index that it had, or at the first look after a
// start the MAC. A new network has none.
func (d *Driver) findHub(ctx context.Context, p networkPlan) (link.Link, bool, error) {
	d.mu.Lock()
	n := d.nets[p.network.ID]
	index := 0
	if n != nil {
		index = n.hub
	}
	d.mu.Unlock()
	if index != 0 {
		l, err := d.conn.Link(link.Numbered(index))
		return l, err == nil && l.Kind == "bridge", nil
	}
	if p.network.State == cnm.Creating {
		return link.Link{}, false, nil
	}
	bridges, err := d.conn.Links(ctx, link.LinkFilter{Kind: "bridge"})
	if err != nil {
		return link.Link{}, false, cnm.Errorf(cnm.Internal, "listing bridges: %w", err)
	}
	at := slices.IndexFunc(bridges, func(l link.Link) bool { return l.MAC == macLink(p.mac) })
	if at < 0 {
		return link.Link{}, false, nil
	}
	return bridges[at], true, nil
}

// hubSettings are the sysctls of a hub that is ours: no router may configure it, and it has IPv6 only if the network has.
func hubSettings(p networkPlan) []sysctl.Setting {
	if p.settings.adopt {
		return nil
	}
	off := "0"
	if !p.network.IPv6 {
		off = "1"
	}
	return append(routerSetting(p), sysctl.Setting{Key: "net/ipv6/conf/" + p.hub + "/disable_ipv6", Value: off})
}

func routerSetting(p networkPlan) []sysctl.Setting {
	if p.settings.adopt {
		return nil
	}
	return []sysctl.Setting{{Key: "net/ipv6/conf/" + p.hub + "/accept_ra", Value: "0"}}
}

// writeSettings writes the hub's settings that differ, and returns which. Of a kernel without IPv6 there is nothing to write.
func (d *Driver) writeSettings(p networkPlan) ([]cnm.Drift, error) {
	var drifts []cnm.Drift
	for _, s := range hubSettings(p) {
		v, err := d.host.host.read(s.Key)
		if errors.Is(err, fs.ErrNotExist) || err == nil && v == s.Value {
			continue
		}
		if err == nil {
			drifts = append(drifts, d.drift(p, "setting "+s.Key, "altered: "+v))
			err = d.host.host.write(s.Key, s.Value)
		}
		if err != nil {
			return nil, cnm.Errorf(cnm.Internal, "bridge %s: %w", p.hub, err)
		}
	}
	return drifts, nil
}

// ensureRoutes puts routes back that the kernel had made with the hub's addresses, and somebody deleted: the host reaches nobody
// without them, and nothing published is reached.
func (d *Driver) ensureRoutes(ctx context.Context, p networkPlan, hub int) ([]cnm.Drift, error) {
	want := connected(p, hub)
	if len(want) == 0 {
		return nil, nil
	}
	have, err := d.conn.Routes(ctx, link.TableMain)
	if err != nil {
		return nil, cnm.Errorf(cnm.Internal, "routes of %s: %w", p.hub, err)
	}
	there := map[netip.Prefix]bool{}
	for _, r := range have {
		if r.Link == hub {
			there[r.Dst] = true
		}
	}
	var drifts []cnm.Drift
	var b link.Batch
	for _, r := range want {
		if !there[r.Dst] {
			drifts = append(drifts, d.drift(p, "route "+r.Dst.String()+" of "+p.hub, "missing"))
			b.AddRoute(r)
		}
	}
	if b.Len() == 0 {
		return nil, nil
	}
	if err := d.conn.Do(&b); err != nil && !errors.Is(err, unix.EEXIST) {
		return nil, cnm.Errorf(kindOf(err), "bridge %s: %w", p.hub, err)
	}
	return drifts, nil
}

// The kernel's own marks on routes that come with an address: RTPROT_KERNEL, and the metric of IPv6.
const (
	kernelProtocol = 2
	kernelMetric6  = 256
)

// protocol marks the neighbours that are ours, as the routes and rules inside of sandboxes are marked.
const protocol = 67

// connected are the routes that the kernel makes with the hub's addresses.
func connected(p networkPlan, hub int) []link.Route {
	var all []link.Route
	for _, a := range hubAddresses(p) {
		if a.IsSingleIP() {
			continue
		}
		r := link.Route{Dst: a.Masked(), Link: hub, Protocol: kernelProtocol}
		if a.Addr().Is4() {
			r.Source = a.Addr()
		} else {
			r.Metric = kernelMetric6
		}
		all = append(all, r)
	}
	return all
}

// hubAddresses are the planned addresses of the hub.
func hubAddresses(p networkPlan) []netip.Prefix {
	if !p.linkLocal.IsValid() {
		return p.gateways
	}
	return append(slices.Clip(p.gateways), netip.PrefixFrom(p.linkLocal, 64))
}
