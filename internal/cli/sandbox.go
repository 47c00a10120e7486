// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/api/client"
	"github.com/libnetwork/cnm/api/wire"
)

func (a *app) sandboxCommand() *cobra.Command {
	return noun("sandbox", "Isolated network stacks",
		a.sandboxCreate(), a.sandboxList(), a.sandboxInspect(), a.sandboxRemove(), a.sandboxExec(),
		a.pruneCommand("sandbox", "Delete sandboxes without endpoints", (*client.Client).PruneSandboxes))
}

func sandboxID(s *wire.Sandbox) string   { return string(s.ID) }
func sandboxName(s *wire.Sandbox) string { return s.Name }

func sandboxTable(w io.Writer, all []wire.Sandbox) error {
	rows := make([][]string, 0, len(all))
	for i := range all {
		s := &all[i]
		networks := joined(s.Endpoints, " ", func(e wire.Endpoint) string { return e.Network })
		addresses := joined(s.Endpoints, " ", addressText)
		rows = append(rows, []string{short(s.ID), s.Name, networks, addresses, s.Namespace, string(s.State)})
	}
	return table(w, "ID NAME NETWORKS ADDRESSES NAMESPACE STATE", rows)
}

func (a *app) sandboxCreate() *cobra.Command {
	var req wire.SandboxCreate
	var netns string
	var hosts, labels []string
	out := output[wire.Sandbox]{id: sandboxID, human: names(sandboxName)}
	var c *cobra.Command
	c = out.flags(a.command("create NAME [flags]", "Make a sandbox, or adopt one that a runtime made", exactly("NAME"), a.ask(
		func(ctx context.Context, cl *client.Client, args []string) (err error) {
			req.Name = args[0]
			if err := oneOf(c, "netns", "pid"); err != nil {
				return usage(c, err)
			}
			if err := adopted(c.Flags()); err != nil {
				return err
			}
			if req.Netns, req.Host = netns, netns == "host"; req.Host {
				req.Netns = ""
			}
			if req.AddHosts, err = hostLines(c, hosts); err != nil {
				return err
			}
			if req.Labels, err = pairs(c, "label", labels); err != nil {
				return err
			}
			sb, err := cl.CreateSandbox(ctx, req)
			if err != nil {
				return err
			}
			return out.one(a.out, sb)
		})))
	fl := c.Flags()
	fl.StringVar(&netns, "netns", "", "adopt the network namespace at this path; \"host\" is the host's own stack (default: make one)")
	fl.IntVar(&req.PID, "pid", 0, "adopt the network namespace of this process")
	fl.StringVar(&req.Hostname, "hostname", "", "the name its processes see as the host's (default NAME)")
	fl.StringArrayVar(&req.DNS, "dns", nil, "name server to ask for what is not ours; repeatable")
	fl.StringArrayVar(&req.DNSSearch, "dns-search", nil, "domain in which short names are looked up; repeatable")
	fl.StringArrayVar(&hosts, "add-host", nil, "line of its hosts file, as NAME:IP; repeatable")
	fl.StringArrayVar(&labels, "label", nil, "label, as KEY=VALUE; repeatable")
	return c
}

// adopted refuses a value that would quietly stand for a namespace of our own.
func adopted(given *pflag.FlagSet) error {
	if f := given.Lookup("pid"); f.Changed && f.Value.String() == "0" {
		return cnm.FieldErrorf(cnm.Invalid, "pid", "pid 0 is no process; give that of a running one")
	}
	return nil
}

// hostLines reads NAME:IP flags. An IPv6 address may be in brackets.
func hostLines(c *cobra.Command, texts []string) ([]wire.HostCreate, error) {
	var out []wire.HostCreate
	for _, text := range texts {
		name, address, ok := strings.Cut(text, ":")
		if !ok || name == "" {
			return nil, usagef(c, "--add-host %q is not NAME:IP", text)
		}
		if inner, ok := strings.CutPrefix(address, "["); ok && strings.HasSuffix(inner, "]") {
			address = strings.TrimSuffix(inner, "]")
		}
		out = append(out, wire.HostCreate{Name: name, Address: address})
	}
	return out, nil
}

func (a *app) sandboxList() *cobra.Command {
	return listCommand(a, "sandboxes", output[wire.Sandbox]{id: sandboxID, human: sandboxTable}, (*client.Client).Sandboxes)
}

func (a *app) sandboxInspect() *cobra.Command {
	return inspectCommand(a, "sandboxes", sandboxNames, output[wire.Sandbox]{id: sandboxID, human: describe[wire.Sandbox]}, (*client.Client).Sandbox)
}

func (a *app) sandboxRemove() *cobra.Command {
	return removeCommand(a, "sandboxes and the endpoints in them", sandboxNames, func(ctx context.Context, cl *client.Client, ref string) error {
		return cl.DeleteSandbox(ctx, ref)
	})
}
