// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/api/client"
	"github.com/libnetwork/cnm/api/wire"
)

func (a *app) networkCommand() *cobra.Command {
	return noun("network", "Sets of endpoints that reach each other and nobody else's",
		a.networkCreate(), a.networkList(), a.networkInspect(), a.networkRemove(),
		a.pruneCommand("network", "Delete networks without endpoints", (*client.Client).PruneNetworks))
}

func networkID(n *wire.Network) string   { return string(n.ID) }
func networkName(n *wire.Network) string { return n.Name }

func networkTable(w io.Writer, all []wire.Network) error {
	rows := make([][]string, 0, len(all))
	for i := range all {
		n := &all[i]
		endpoints := ""
		if n.Endpoints != nil {
			endpoints = strconv.Itoa(len(n.Endpoints))
		}
		subnets := joined(n.Subnets, " ", func(s wire.Subnet) string { return s.Prefix.String() })
		rows = append(rows, []string{short(n.ID), n.Name, n.Driver, subnets, endpoints, string(n.State)})
	}
	return table(w, "ID NAME DRIVER SUBNETS ENDPOINTS STATE", rows)
}

// networkFlags are the flags of network create as they are written.
type networkFlags struct {
	driver, ipamDriver         string
	subnets, gateways, ranges  []string
	reserve, ipamOpts          []string
	ipv4, ipv6                 bool
	internal, isolateEndpoints bool
	mtu                        int
	dns, opts, labels          []string
}

func (a *app) networkCreate() *cobra.Command {
	var f networkFlags
	out := output[wire.Network]{id: networkID, human: names(networkName)}
	var c *cobra.Command
	c = out.flags(a.command("create NAME [flags]", "Make a network", exactly("NAME"), a.ask(
		func(ctx context.Context, cl *client.Client, args []string) error {
			req, err := f.request(c, args[0])
			if err != nil {
				return err
			}
			nw, err := cl.CreateNetwork(ctx, req)
			if err != nil {
				return err
			}
			return out.one(a.out, nw)
		})))
	fl := c.Flags()
	fl.StringVar(&f.driver, "driver", "", "what makes it real (default bridge)")
	fl.StringArrayVar(&f.subnets, "subnet", nil, "prefix of its addresses, as 10.0.0.0/24; repeatable (default: chosen, one a family)")
	fl.StringArrayVar(&f.gateways, "gateway", nil, "the gateway's address in one of the subnets; repeatable")
	fl.StringArrayVar(&f.ranges, "ip-range", nil, "automatic addresses come from here, in one of the subnets; repeatable")
	fl.StringArrayVar(&f.reserve, "reserve", nil, "address that is never given out, as NAME=IP; repeatable")
	fl.StringVar(&f.ipamDriver, "ipam-driver", "", "what gives out the addresses (default pool)")
	fl.StringArrayVar(&f.ipamOpts, "ipam-opt", nil, "option of the address manager, as KEY=VALUE; repeatable")
	fl.BoolVar(&f.ipv4, "ipv4", true, "have IPv4")
	fl.BoolVar(&f.ipv6, "ipv6", true, "have IPv6")
	fl.BoolVar(&f.internal, "internal", false, "reach nothing but itself")
	fl.BoolVar(&f.isolateEndpoints, "isolate-endpoints", false, "endpoints reach each other through published ports only")
	fl.IntVar(&f.mtu, "mtu", 0, "largest packet in bytes (default: follow the host's default route)")
	fl.StringArrayVar(&f.dns, "dns", nil, "name server to ask for what is not ours; repeatable")
	fl.StringArrayVar(&f.opts, "opt", nil, "option of the driver, as KEY=VALUE; repeatable; see cnm driver inspect")
	fl.StringArrayVar(&f.labels, "label", nil, "label, as KEY=VALUE; repeatable")
	return c
}

// request reads the flags.
func (f *networkFlags) request(c *cobra.Command, name string) (wire.NetworkCreate, error) {
	req := wire.NetworkCreate{
		Name: name, Driver: f.driver, IPAMDriver: f.ipamDriver, Internal: f.internal,
		IsolateEndpoints: f.isolateEndpoints, MTU: f.mtu, DNS: f.dns,
	}
	if c.Flags().Changed("ipv4") {
		req.IPv4 = &f.ipv4
	}
	if c.Flags().Changed("ipv6") {
		req.IPv6 = &f.ipv6
	}
	if c.Flags().Changed("mtu") && f.mtu == 0 {
		return req, cnm.FieldErrorf(cnm.Invalid, "mtu", "mtu 0 is none; leave it out to follow the default route")
	}
	var err error
	if req.IPAMOptions, err = pairs(c, "ipam-opt", f.ipamOpts); err != nil {
		return req, err
	}
	if req.Options, err = pairs(c, "opt", f.opts); err != nil {
		return req, err
	}
	if req.Labels, err = pairs(c, "label", f.labels); err != nil {
		return req, err
	}
	reserved, err := pairsOf(c, "reserve", "NAME=IP", f.reserve)
	if err != nil {
		return req, err
	}
	req.Subnets, err = f.group(reserved)
	return req, err
}

// group puts gateways, ranges and reserved addresses to the subnets that contain them.
func (f *networkFlags) group(reserved map[string]string) ([]wire.SubnetCreate, error) {
	g := grouping{}
	for _, text := range f.subnets {
		p, err := wire.ParsePrefix("subnet", text)
		if err != nil {
			return nil, err
		}
		g.prefixes = append(g.prefixes, p)
		g.subnets = append(g.subnets, wire.SubnetCreate{Prefix: text})
	}
	for _, text := range f.gateways {
		if err := g.gateway(text); err != nil {
			return nil, err
		}
	}
	for _, text := range f.ranges {
		if err := g.ipRange(text); err != nil {
			return nil, err
		}
	}
	for name, text := range reserved {
		if err := g.reserve(name, text); err != nil {
			return nil, err
		}
	}
	return g.subnets, nil
}

func (a *app) networkList() *cobra.Command {
	return listCommand(a, "networks", output[wire.Network]{id: networkID, human: networkTable}, (*client.Client).Networks)
}

func (a *app) networkInspect() *cobra.Command {
	return inspectCommand(a, "networks", networkNames, output[wire.Network]{id: networkID, human: describe[wire.Network]}, (*client.Client).Network)
}

func (a *app) networkRemove() *cobra.Command {
	var force bool
	c := removeCommand(a, "networks", networkNames, func(ctx context.Context, cl *client.Client, ref string) error {
		return cl.DeleteNetwork(ctx, ref, force)
	})
	c.Flags().BoolVar(&force, "force", false, "delete its endpoints too")
	return c
}
