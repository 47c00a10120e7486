// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"io"
	"net/netip"

	"github.com/spf13/cobra"

	"github.com/libnetwork/cnm/api/client"
	"github.com/libnetwork/cnm/api/wire"
)

func (a *app) endpointCommand() *cobra.Command {
	return noun("endpoint", "Attachments of sandboxes to networks, written NETWORK/NAME",
		a.endpointCreate(), a.endpointJoin(), a.endpointLeave(), a.endpointList(), a.endpointInspect(), a.endpointRemove(),
		a.pruneCommand("endpoint", "Delete endpoints that are in no sandbox and not kept", (*client.Client).PruneEndpoints))
}

func endpointID(e *wire.Endpoint) string   { return string(e.ID) }
func endpointName(e *wire.Endpoint) string { return e.Network + "/" + e.Name }

func addressText(e wire.Endpoint) string {
	return joined(e.Addresses, " ", func(p netip.Prefix) string { return p.String() })
}

func endpointTable(w io.Writer, all []wire.Endpoint) error {
	rows := make([][]string, 0, len(all))
	for i := range all {
		e := &all[i]
		ports := joined(e.Ports, " ", func(p wire.Port) string { return fmt.Sprintf("%s->%d/%s", hostSide(p), p.Port, p.Proto) })
		rows = append(rows, []string{short(e.ID), endpointName(e), e.Sandbox, e.Interface, addressText(*e), ports, string(e.State)})
	}
	return table(w, "ID NAME SANDBOX INTERFACE ADDRESSES PORTS STATE", rows)
}

// endpointFlags are the flags that say what an endpoint is to be.
type endpointFlags struct {
	wire.EndpointSettings
	opts, labels []string
}

func (f *endpointFlags) add(c *cobra.Command) {
	fl := c.Flags()
	fl.StringArrayVar(&f.Addresses, "ip", nil, "address, at most one a subnet; repeatable (default: chosen, one a family)")
	fl.StringVar(&f.MAC, "mac", "", "hardware address (default: chosen)")
	fl.StringArrayVar(&f.Aliases, "alias", nil, "further name on the network; repeatable")
	fl.StringArrayVar(&f.Publish, "publish", nil, publishHelp)
	fl.StringArrayVar(&f.opts, "opt", nil, "option of the driver, as KEY=VALUE; repeatable; see cnm driver inspect")
	fl.StringArrayVar(&f.labels, "label", nil, "label, as KEY=VALUE; repeatable")
}

const publishHelp = "publish a port on the host, as [[HOSTIP]:][HOSTPORT[-END]:]PORT[-END][/tcp|udp|sctp]; repeatable; without a host port one is chosen and reported"

func (f *endpointFlags) settings(c *cobra.Command) (s wire.EndpointSettings, err error) {
	s = f.EndpointSettings
	if s.Options, err = pairs(c, "opt", f.opts); err != nil {
		return s, err
	}
	s.Labels, err = pairs(c, "label", f.labels)
	return s, err
}

// joinFlags are the flags that say how an endpoint enters a sandbox.
type joinFlags struct {
	wire.JoinSettings
	sysctls []string
}

func (f *joinFlags) add(c *cobra.Command) {
	fl := c.Flags()
	fl.StringVar(&f.Interface, "interface", "", "its name in the sandbox (default: the first free of eth0, eth1, ...)")
	fl.IntVar(&f.GatewayPriority, "gateway-priority", 0, "of a sandbox's endpoints the one with the highest has the default route")
	fl.StringArrayVar(&f.sysctls, "sysctl", nil, "setting of the interface, as net.ipv4.conf.IFNAME.KEY=VALUE with IFNAME literally; repeatable")
}

func (f *joinFlags) settings(c *cobra.Command) (s wire.JoinSettings, err error) {
	s = f.JoinSettings
	s.Sysctls, err = pairs(c, "sysctl", f.sysctls)
	return s, err
}

func (a *app) endpointCreate() *cobra.Command {
	var f endpointFlags
	var keep bool
	out := output[wire.Endpoint]{id: endpointID, human: names(endpointName)}
	var c *cobra.Command
	c = out.flags(a.command("create NETWORK NAME [flags]", "Make an endpoint that is in no sandbox yet", exactly("NETWORK", "NAME"), a.ask(
		func(ctx context.Context, cl *client.Client, args []string) error {
			settings, err := f.settings(c)
			if err != nil {
				return err
			}
			ep, err := cl.CreateEndpoint(ctx, wire.EndpointCreate{Network: args[0], Name: args[1], Keep: keep, EndpointSettings: settings})
			if err != nil {
				return err
			}
			return out.one(a.out, ep)
		})))
	f.add(c)
	c.Flags().BoolVar(&keep, "keep", false, "keep it and its addresses when its sandbox is gone, and over a restart of the machine")
	return a.complete(c, false, networkNames)
}

func (a *app) endpointJoin() *cobra.Command {
	var f joinFlags
	out := output[wire.Endpoint]{id: endpointID, human: names(endpointName)}
	var c *cobra.Command
	c = out.flags(a.command("join NETWORK/NAME SANDBOX [flags]", "Tie an endpoint to a sandbox", exactly("NETWORK/NAME", "SANDBOX"), a.ask(
		func(ctx context.Context, cl *client.Client, args []string) error {
			settings, err := f.settings(c)
			if err != nil {
				return err
			}
			ep, err := cl.Join(ctx, wire.Join{Endpoint: args[0], Sandbox: args[1], JoinSettings: settings})
			if err != nil {
				return err
			}
			a.report(ep.Publish, []wire.Endpoint{ep})
			return out.one(a.out, ep)
		})))
	f.add(c)
	return a.complete(c, false, endpointNames, sandboxNames)
}

func (a *app) endpointLeave() *cobra.Command {
	c := a.command("leave NETWORK/NAME [flags]", "Untie an endpoint from its sandbox", exactly("NETWORK/NAME"), a.ask(
		func(ctx context.Context, cl *client.Client, args []string) error {
			return cl.Leave(ctx, wire.Leave{Endpoint: args[0]})
		}))
	return a.complete(c, false, endpointNames)
}

func (a *app) endpointList() *cobra.Command {
	var networks, sandboxes []string
	out := output[wire.Endpoint]{id: endpointID, human: endpointTable}
	c := listCommand(a, "endpoints", out, func(cl *client.Client, ctx context.Context, filters ...string) ([]wire.Endpoint, error) {
		for _, n := range networks {
			filters = append(filters, "network="+n)
		}
		for _, s := range sandboxes {
			filters = append(filters, "sandbox="+s)
		}
		return cl.Endpoints(ctx, filters...)
	})
	c.Flags().StringArrayVar(&networks, "network", nil, "only those on this network; short for --filter network=; repeatable")
	c.Flags().StringArrayVar(&sandboxes, "sandbox", nil, "only those in this sandbox; short for --filter sandbox=; repeatable")
	return c
}

func (a *app) endpointInspect() *cobra.Command {
	return inspectCommand(a, "endpoints", endpointNames, output[wire.Endpoint]{id: endpointID, human: describe[wire.Endpoint]}, (*client.Client).Endpoint)
}

func (a *app) endpointRemove() *cobra.Command {
	var force bool
	c := removeCommand(a, "endpoints", endpointNames, func(ctx context.Context, cl *client.Client, ref string) error {
		return cl.DeleteEndpoint(ctx, ref, force)
	})
	c.Flags().BoolVar(&force, "force", false, "let it leave its sandbox first")
	return c
}
