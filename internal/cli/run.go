// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/spf13/cobra"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/api/client"
	"github.com/libnetwork/cnm/api/wire"
)

// cleanTime bounds how long the sandbox of a command that ended, or never began, may take to go.
const cleanTime = 30 * time.Second

// runFlags are the flags of cnm run.
type runFlags struct {
	sandbox  wire.SandboxCreate
	networks []string
	endpoint wire.EndpointSettings
	hosts    []string
	detach   bool
	remove   bool
	process  processFlags
}

func (a *app) runCommand() *cobra.Command {
	var f runFlags
	c := markForeign(a.command("run [flags] -- CMD [ARG...]", "Run a command in a sandbox of its own; ends with its status, or 125, 126, 127", atLeast(1, "-- CMD"), nil))
	c.RunE = func(cmd *cobra.Command, args []string) error {
		a.began = true
		if err := f.check(cmd); err != nil {
			return err
		}
		if slices.Equal(f.networks, []string{"host"}) {
			p := a.process(&f.process, args)
			p.Hostname, p.Detach = f.sandbox.Hostname, f.detach
			return a.launch(cmd.Context(), p)
		}
		return a.run(cmd, &f, args)
	}
	f.add(c)
	return c
}

func (f *runFlags) add(c *cobra.Command) {
	fl := c.Flags()
	fl.StringVar(&f.sandbox.Name, "name", "", "the sandbox's name (default run- and eight digits)")
	fl.StringArrayVar(&f.networks, "network", nil, "network to be on, none, or host for our own stack and no sandbox; repeatable, the first has the default route (default: the network default, made if it is not there)")
	fl.StringArrayVar(&f.endpoint.Publish, "publish", nil, publishHelp)
	fl.StringArrayVar(&f.endpoint.Addresses, "ip", nil, "address on the network whose subnet holds it; repeatable")
	fl.StringVar(&f.endpoint.MAC, "mac", "", "hardware address, with one network")
	fl.StringArrayVar(&f.endpoint.Aliases, "alias", nil, "further name on every network; repeatable")
	fl.StringVar(&f.sandbox.Hostname, "hostname", "", "the name the command sees as the host's (default the sandbox's)")
	fl.StringArrayVar(&f.sandbox.DNS, "dns", nil, "name server to ask for what is not ours; repeatable")
	fl.StringArrayVar(&f.hosts, "add-host", nil, "line of the hosts file, as NAME:IP; repeatable")
	f.process.add(c)
	fl.BoolVar(&f.detach, "detach", false, "print the sandbox's name and leave the command running, without a terminal")
	fl.BoolVar(&f.remove, "rm", true, "delete the sandbox when the command has ended")
}

// check refuses what does not go together, and reads what is written in one flag.
func (f *runFlags) check(c *cobra.Command) (err error) {
	if f.sandbox.AddHosts, err = hostLines(c, f.hosts); err != nil {
		return err
	}
	if err := f.process.check(c); err != nil {
		return err
	}
	special := slices.ContainsFunc(f.networks, func(n string) bool { return n == "none" || n == "host" })
	if special && len(f.networks) > 1 {
		return usagef(c, "--network none and host go with no other network")
	}
	if special {
		for _, flag := range []string{"publish", "ip", "mac", "alias"} {
			if c.Flags().Changed(flag) {
				return usagef(c, "--%s needs a network; --network is %s", flag, f.networks[0])
			}
		}
	}
	if special && f.networks[0] == "host" {
		for _, flag := range []string{"name", "dns", "add-host", "rm"} {
			if c.Flags().Changed(flag) {
				return usagef(c, "--%s needs a sandbox; with --network host there is none", flag)
			}
		}
	}
	if f.endpoint.MAC != "" && len(f.networks) > 1 {
		return usagef(c, "--mac goes with one --network")
	}
	if f.sandbox.Name == "" {
		f.sandbox.Name = "run-" + randomHex()
	}
	return nil
}

func randomHex() string {
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails since Go 1.24
	return hex.EncodeToString(b[:])
}

// run makes the sandbox, starts the command in it, and deletes the sandbox when that is called for.
func (a *app) run(cmd *cobra.Command, f *runFlags, command []string) error {
	ctx := cmd.Context()
	cl := a.client()
	defer cl.Close()
	stop := a.waiting(cmd, command)
	entry, m, err := a.prepare(ctx, cl, f)
	stop()
	if err != nil {
		return err
	}
	p := a.process(&f.process, command)
	p.into(&entry)
	p.Detach = f.detach
	if f.detach && f.remove {
		p.After = []string{"sandbox", "rm", "--socket", a.socketPath(), string(entry.ID)}
	}
	err = a.launch(ctx, p)
	switch {
	case err != nil: // the command never began
		return errors.Join(err, m.undo(ctx, cl))
	case f.detach:
		_, err = fmt.Fprintln(a.out, entry.Name)
	case f.remove:
		err = m.clean(ctx, cl)
	}
	return err
}

// made is what was made for a command.
type made struct {
	sandbox string
	network string // the network default, if it was not there
}

// clean deletes the sandbox, also when the command line was interrupted. One that is gone by now is no failure.
func (m made) clean(ctx context.Context, cl *client.Client) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanTime)
	defer cancel()
	err := cl.DeleteSandbox(ctx, m.sandbox)
	if errors.Is(err, cnm.NotFound) {
		return nil
	}
	return err
}

// undo deletes all that was made, for a command that never began. The network stays where another uses it by now.
func (m made) undo(ctx context.Context, cl *client.Client) error {
	err := m.clean(ctx, cl)
	if m.network == "" {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanTime)
	defer cancel()
	gone := cl.DeleteNetwork(ctx, m.network, false)
	if errors.Is(gone, cnm.NotFound) || errors.Is(gone, cnm.Busy) {
		gone = nil
	}
	return errors.Join(err, gone)
}

// prepare makes the sandbox and attaches it. What was made is deleted again if any of it fails.
func (a *app) prepare(ctx context.Context, cl *client.Client, f *runFlags) (entry wire.Entry, m made, err error) {
	sb, err := cl.CreateSandbox(ctx, f.sandbox)
	if err != nil {
		return entry, m, err
	}
	m.sandbox = string(sb.ID)
	eps, err := f.attach(ctx, cl, &m)
	if err == nil {
		a.report(f.endpoint.Publish, eps)
		entry, err = cl.Enter(ctx, m.sandbox)
	}
	if err != nil {
		return entry, m, errors.Join(err, m.undo(ctx, cl))
	}
	return entry, m, nil
}

// attach puts the sandbox on its networks, in order.
func (f *runFlags) attach(ctx context.Context, cl *client.Client, m *made) ([]wire.Endpoint, error) {
	switch {
	case len(f.networks) == 0:
		ep, err := f.attachDefault(ctx, cl, m)
		return []wire.Endpoint{ep}, err
	case f.networks[0] == "none":
		return nil, nil
	case len(f.networks) == 1:
		ep, err := cl.Attach(ctx, wire.Attach{Sandbox: m.sandbox, Network: f.networks[0], EndpointSettings: f.endpoint})
		return []wire.Endpoint{ep}, err
	default:
		return f.attachSeveral(ctx, cl, m.sandbox)
	}
}

// attachDefault joins the network default, and makes it where it is not there. Another may make it at the same time, and delete
// it again where its command did not begin.
func (f *runFlags) attachDefault(ctx context.Context, cl *client.Client, m *made) (wire.Endpoint, error) {
	const name = "default"
	for {
		ep, err := cl.Attach(ctx, wire.Attach{Sandbox: m.sandbox, Network: name, EndpointSettings: f.endpoint})
		if !isAbout(err, cnm.NotFound, "network") {
			return ep, err
		}
		nw, err := cl.CreateNetwork(ctx, wire.NetworkCreate{Name: name})
		if err == nil {
			m.network = string(nw.ID)
		} else if !isAbout(err, cnm.Exists, "name") {
			return ep, err
		}
	}
}

// isAbout tells whether an error is of a kind and about a field.
func isAbout(err error, kind cnm.Kind, field string) bool {
	e, ok := errors.AsType[*cnm.Error](err)
	return ok && e.Kind == kind && e.Field == field
}

// attachSeveral gives each network the addresses that are its own, and publishes at the end, where the default gateway is known.
func (f *runFlags) attachSeveral(ctx context.Context, cl *client.Client, sandbox string) ([]wire.Endpoint, error) {
	addresses, err := f.share(ctx, cl)
	if err != nil {
		return nil, err
	}
	var eps []wire.Endpoint
	for i, network := range f.networks {
		settings := wire.EndpointSettings{Addresses: addresses[i], Aliases: f.endpoint.Aliases}
		ep, err := cl.Attach(ctx, wire.Attach{Sandbox: sandbox, Network: network, EndpointSettings: settings})
		if err != nil {
			return nil, err
		}
		eps = append(eps, ep)
	}
	if len(f.endpoint.Publish) == 0 {
		return eps, nil
	}
	return cl.Publish(ctx, wire.Publish{Sandbox: sandbox, Add: f.endpoint.Publish})
}

// share finds the network of each address: for each of the networks, its addresses. The daemon is asked only if there are addresses.
func (f *runFlags) share(ctx context.Context, cl *client.Client) ([][]string, error) {
	out := make([][]string, len(f.networks))
	if len(f.endpoint.Addresses) == 0 {
		return out, nil
	}
	networks, err := gather(f.networks, func(ref string) (wire.Network, error) { return cl.Network(ctx, ref) })
	if err != nil {
		return nil, err
	}
	for _, text := range f.endpoint.Addresses {
		address, err := wire.ParseAddr("ip", text)
		if err != nil {
			return nil, err
		}
		i := slices.IndexFunc(networks, func(n wire.Network) bool { return holds(&n, address) })
		if i < 0 {
			return nil, cnm.FieldErrorf(cnm.Invalid, "ip", "ip %s is in no subnet of the networks %v", address, f.networks)
		}
		out[i] = append(out[i], text)
	}
	return out, nil
}

func holds(n *wire.Network, address netip.Addr) bool {
	return slices.ContainsFunc(n.Subnets, func(s wire.Subnet) bool { return s.Prefix.Contains(address) })
}
