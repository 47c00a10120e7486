// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/api/client"
	"github.com/libnetwork/cnm/api/wire"
)

func (a *app) attachCommand() *cobra.Command {
	var f endpointFlags
	var j joinFlags
	var name string
	out := output[wire.Endpoint]{id: endpointID, human: names(endpointName)}
	var c *cobra.Command
	c = out.flags(a.command("attach SANDBOX NETWORK [flags]", "Put a sandbox on a network", exactly("SANDBOX", "NETWORK"), a.ask(
		func(ctx context.Context, cl *client.Client, args []string) (err error) {
			req := wire.Attach{Sandbox: args[0], Network: args[1], Name: name}
			if req.EndpointSettings, err = f.settings(c); err != nil {
				return err
			}
			if req.JoinSettings, err = j.settings(c); err != nil {
				return err
			}
			ep, err := cl.Attach(ctx, req)
			if err != nil {
				return err
			}
			a.report(req.Publish, []wire.Endpoint{ep})
			return out.one(a.out, ep)
		})))
	c.Flags().StringVar(&name, "name", "", "the endpoint's name on the network (default: the sandbox's)")
	f.add(c)
	j.add(c)
	return a.complete(c, false, sandboxNames, networkNames)
}

func (a *app) detachCommand() *cobra.Command {
	c := a.command("detach SANDBOX NETWORK [flags]", "Take a sandbox off a network", exactly("SANDBOX", "NETWORK"), a.ask(
		func(ctx context.Context, cl *client.Client, args []string) error {
			return cl.Detach(ctx, wire.Detach{Sandbox: args[0], Network: args[1]})
		}))
	return a.complete(c, false, sandboxNames, networkNames)
}

// portLine is a published port and the endpoint it belongs to.
type portLine struct {
	Endpoint string `json:"endpoint"`
	wire.Port
}

// hostSide is HOSTIP:HOSTPORT.
func hostSide(p wire.Port) string { return netip.AddrPortFrom(p.HostIP, p.HostPort).String() }

func (l *portLine) String() string {
	return strconv.Itoa(int(l.Port.Port)) + "/" + l.Proto + " -> " + hostSide(l.Port)
}

func portLines(w io.Writer, lines []portLine) error {
	return names((*portLine).String)(w, lines)
}

func portsOf(eps []wire.Endpoint) []portLine {
	var lines []portLine
	for i := range eps {
		for _, p := range eps[i].Ports {
			lines = append(lines, portLine{endpointName(&eps[i]), p})
		}
	}
	return lines
}

// report tells the person who asked for any host port which one it is.
func (a *app) report(publish []string, eps []wire.Endpoint) {
	specs, err := wire.ParsePorts(publish)
	if err != nil {
		return // the daemon has taken them, and told
	}
	for _, line := range portsOf(eps) {
		chosen := func(s cnm.PortSpec) bool {
			return s.Port == line.Port.Port && (s.HostPort == 0 || s.HostPort != s.HostPortEnd)
		}
		if slices.ContainsFunc(specs, chosen) {
			fmt.Fprintln(a.io.Err, "cnm: published", line.String())
		}
	}
}

func (a *app) publishCommand() *cobra.Command {
	return a.changePorts("publish SANDBOX P... [flags]", "Publish ports of a running sandbox on the host", func(r *wire.Publish, ports []string) { r.Add = ports })
}

func (a *app) unpublishCommand() *cobra.Command {
	return a.changePorts("unpublish SANDBOX P... [flags]", "Withdraw published ports; what flows through them ends", func(r *wire.Publish, ports []string) { r.Remove = ports })
}

// changePorts prints the ports of the endpoints it changed as they are afterwards.
func (a *app) changePorts(use, help string, set func(*wire.Publish, []string)) *cobra.Command {
	var network string
	out := output[portLine]{human: portLines}
	c := out.flags(a.command(use, help, atLeast(2, "SANDBOX P..."), a.ask(
		func(ctx context.Context, cl *client.Client, args []string) error {
			req := wire.Publish{Sandbox: args[0], Network: network}
			set(&req, args[1:])
			eps, err := cl.Publish(ctx, req)
			if err != nil {
				return err
			}
			return out.list(a.out, portsOf(eps))
		})))
	c.Flags().StringVar(&network, "network", "", "on this network (default: per family the one with the default gateway)")
	return a.complete(c, false, sandboxNames)
}

func (a *app) portCommand() *cobra.Command {
	out := output[portLine]{human: portLines}
	c := out.flags(a.command("port SANDBOX [flags]", "List published ports", exactly("SANDBOX"), a.ask(
		func(ctx context.Context, cl *client.Client, args []string) error {
			sb, err := cl.Sandbox(ctx, args[0])
			if err != nil {
				return err
			}
			return out.list(a.out, portsOf(sb.Endpoints))
		})))
	return a.complete(c, false, sandboxNames)
}
