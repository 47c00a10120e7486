// SPDX-License-Identifier: Apache-2.0

package bridge

import (
	"net/netip"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/firewall"
)

// networkPlan is what a network needs on the host: a plain value that depends on the records alone.
type networkPlan struct {
	network  cnm.Network
	settings settings
	hub      string
	mac      cnm.MAC
	// gateways are the addresses of the hub, each with the length of its subnet; none on an adopted bridge.
	gateways []netip.Prefix
	// linkLocal is the hub's fe80:: address where the network has IPv6; invalid otherwise.
	linkLocal netip.Addr
	rules     firewall.Rules
}

func planNetwork(nw cnm.Network) (networkPlan, error) {
	s, err := decodeNetwork(nw)
	if err != nil {
		return networkPlan{}, err
	}
	p := networkPlan{network: nw, settings: s, hub: hubName(nw, s), mac: macOf("hub", string(nw.ID))}
	if !s.adopt {
		for _, sub := range nw.Subnets {
			if sub.Gateway.IsValid() {
				p.gateways = append(p.gateways, netip.PrefixFrom(sub.Gateway, sub.Prefix.Bits()))
			}
		}
		if nw.IPv6 {
			p.linkLocal = linkLocal(p.mac)
		}
	}
	p.rules = firewall.Rules{Bridges: []firewall.Bridge{bridgeRules(nw, s, p.hub)}}
	return p, nil
}

func bridgeRules(nw cnm.Network, s settings, hub string) firewall.Bridge {
	b := firewall.Bridge{
		Link: hub, Internal: nw.Internal, Adopted: s.adopt,
		Source4: s.snat4, Source6: s.snat6,
		Trusted: s.trusted, HostAccess: s.hostAccess && !nw.Internal, Loopback: true,
	}
	on := cnm.FamilySet{IPv4: nw.IPv4, IPv6: nw.IPv6}
	if s.routed {
		b.Routed = on
	} else if s.masquerade && !nw.Internal {
		b.Masquerade = on
	}
	for _, sub := range nw.Subnets {
		b.Subnets = append(b.Subnets, sub.Prefix)
	}
	return b
}

func networkOwner(id cnm.NetworkID) firewall.Owner { return firewall.Owner("network/" + string(id)) }

func endpointOwner(id cnm.EndpointID) firewall.Owner { return firewall.Owner("endpoint/" + string(id)) }

// shardOwner owns the trunk of a network's shard.
func shardOwner(id cnm.NetworkID, shard string) firewall.Owner {
	return firewall.Owner("shard/" + string(id) + "/" + shard)
}

// endpointPlan is what an endpoint in a sandbox needs on the host side and in between.
type endpointPlan struct {
	at        cnm.Attachment
	host      string // host-side link
	index     int    // of both sides
	name      string // in the sandbox
	linkLocal netip.Addr
	rules     firewall.Rules
}

// planEndpoint depends on the records and on the ports that are bound.
func planEndpoint(np networkPlan, at cnm.Attachment, ports []cnm.Port) (endpointPlan, error) {
	guard, err := decodeEndpoint(np.settings.protection, at.Endpoint)
	if err != nil {
		return endpointPlan{}, err
	}
	p := endpointPlan{at: at, host: portName(at.Join.Number), index: linkIndex(at.Join.Number), name: at.Join.Interface}
	port := firewall.BridgePort{
		Link: p.host, Bridge: np.hub, MAC: at.Endpoint.MAC, Isolated: at.Network.IsolateEndpoints, Adopted: np.settings.adopt,
		AnySource: !guard.spoofCheck, AllowRA: guard.allowRA, AllowDHCPServer: guard.allowDHCP,
	}
	for _, a := range at.Endpoint.Addresses {
		port.Addresses = append(port.Addresses, a.Addr())
	}
	if at.Endpoint.Address(cnm.IPv6).IsValid() {
		p.linkLocal = linkLocal(at.Endpoint.MAC)
		port.Addresses = append(port.Addresses, p.linkLocal)
	}
	p.rules = firewall.Rules{Ports: []firewall.BridgePort{port}, Published: published(np, at, ports)}
	return p, nil
}

// published are the rules of bound ports. On a routed network a port is opened on the endpoint's own address.
func published(np networkPlan, at cnm.Attachment, ports []cnm.Port) []firewall.Published {
	var all []firewall.Published
	for _, p := range ports {
		to := at.Endpoint.Address(cnm.FamilyOf(p.HostIP))
		if !to.IsValid() {
			continue // the splice carries it from the host's other family
		}
		rule := firewall.Published{Proto: p.Proto, Host: netip.AddrPortFrom(p.HostIP, p.HostPort), To: netip.AddrPortFrom(to, p.Port)}
		if np.settings.routed {
			rule.Host = netip.AddrPort{}
		}
		all = append(all, rule)
	}
	return all
}

// result is what the sandbox has to be told. gateways says which gateways are on the hub, whose MAC is then known.
func (p endpointPlan) result(np networkPlan, mtu int, ports []cnm.Port) cnm.JoinResult {
	r := cnm.JoinResult{
		Link: cnm.Link{Name: p.name, Index: p.index, InPlace: true, Host: p.host},
		MTU:  mtu, Ports: ports, Routers: np.settings.adopt,
	}
	if p.at.Network.Internal {
		return r
	}
	for _, f := range cnm.Families() {
		a := p.at.Endpoint.Address(f)
		if !a.IsValid() {
			continue
		}
		s, ok := p.at.Network.SubnetOf(a)
		if !ok || !s.Gateway.IsValid() {
			continue
		}
		r.Gateways = append(r.Gateways, s.Gateway)
		if !np.settings.adopt {
			r.Neighbours = append(r.Neighbours, cnm.Neighbour{Address: s.Gateway, MAC: np.mac})
		}
	}
	return r
}
