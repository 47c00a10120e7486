// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/libnetwork/cnm/api/client"
	"github.com/libnetwork/cnm/api/wire"
)

// Bundle says what the container of an OCI bundle is to join.
type Bundle struct {
	Dir         string
	HookArgs    []string          // of the hooks, after their stage
	Annotations map[string]string // by their keys without our prefix
	Sandbox     wire.Entry        // in place of annotations: the sandbox it is started in
	Files       bool              // mount hosts, resolv.conf and hostname
	Poststop    bool              // be called at the container's end too
}

// hookWord is what runtimes execute.
const hookWord = "oci-hook"

func (a *app) ociHookCommand() *cobra.Command {
	stage := func(name, help string) *cobra.Command {
		return a.command(name+" [flags]", help, none, func(cmd *cobra.Command, _ []string) error {
			a.began = true
			return a.ociHook(cmd.Context(), name)
		})
	}
	return noun(hookWord, "What OCI runtimes execute, with the container's state on standard input",
		stage("create", "Join the container to the networks of its annotations; for createRuntime"),
		stage("delete", "Delete the container's sandbox; for poststop"))
}

func (a *app) ociHook(ctx context.Context, stage string) error {
	c := client.NewBrief(a.socketPath(), a.timeout)
	defer c.Close()
	return a.io.OCIHook(ctx, stage, a.io.In, c)
}

// Hook runs a hook as cnm oci bundle writes it into a bundle, and tells whether args are one: if so the caller ends with the status. Each
// start of a container waits for it, so that it does without what [Run] needs; what is written otherwise is for that.
func Hook(ctx context.Context, cio IO, args []string) (status int, done bool) {
	if cio.OCIHook == nil || len(args) < 2 || args[0] != hookWord || args[1] != "create" && args[1] != "delete" {
		return 0, false
	}
	a := newApp(cio)
	switch {
	case len(args) == 2:
	case len(args) == 4 && args[2] == "--socket":
		a.socket = args[3]
	default:
		return 0, false
	}
	return a.end(ctx, &cobra.Command{}, a.ociHook(ctx, args[1])), true
}

func (a *app) ociCommand() *cobra.Command {
	return noun("oci", "Containers of OCI runtimes", a.ociBundle())
}

// bundleFlags are the flags of cnm oci bundle.
type bundleFlags struct {
	lists   map[string]*[]string // by the annotation's key: what may be said of each network
	plain   map[string]*[]string // of the container alone
	name    string
	host    string
	set     []string
	sandbox string
	remove  bool
	files   bool
	stop    bool
}

func (f *bundleFlags) add(c *cobra.Command) {
	fl := c.Flags()
	f.lists, f.plain = map[string]*[]string{}, map[string]*[]string{}
	list := func(to map[string]*[]string, flag, key, help string) {
		to[key] = new([]string)
		fl.StringArrayVar(to[key], flag, nil, help)
	}
	list(f.plain, "network", "networks", "network to be on, or none; repeatable, the first has the default route")
	list(f.lists, "publish", "publish", "publish a port on the host, as [NETWORK=][[HOSTIP]:][HOSTPORT[-END]:]PORT[-END][/tcp|udp|sctp]; repeatable (default: on the network with the default route)")
	list(f.lists, "ip", "ip", "address, as [NETWORK=]IP; repeatable")
	list(f.lists, "mac", "mac", "hardware address, as [NETWORK=]MAC; repeatable")
	list(f.lists, "alias", "alias", "further name, as [NETWORK=]NAME; repeatable (default: on every network)")
	list(f.lists, "interface", "interface", "the interface's name in the container, as [NETWORK=]NAME; repeatable (default: the first free of eth0, eth1, ...)")
	list(f.plain, "dns", "dns", "name server to ask for what is not ours; repeatable")
	list(f.plain, "dns-search", "dns-search", "domain in which short names are looked up; repeatable")
	list(f.plain, "add-host", "add-host", "line of the hosts file, as NAME:IP; repeatable")
	fl.StringVar(&f.name, "name", "", "the sandbox's name (default: the container's id)")
	fl.StringVar(&f.host, "hostname", "", "the container's name in its hosts file (default: the hostname of config.json)")
	fl.StringArrayVar(&f.set, "set", nil, "further annotation, as KEY=VALUE without the prefix org.libnetwork.; repeatable")
	fl.BoolVar(&f.files, "files", true, "mount /etc/hosts, /etc/resolv.conf and /etc/hostname")
	fl.BoolVar(&f.stop, "poststop", false, "have the runtime call us at the container's end too, and wait: what it had is free when the runtime's command ends, and not a few milliseconds later")
	fl.StringVar(&f.sandbox, "sandbox", "", "start the container in this sandbox, which is there already, without hooks")
	fl.BoolVar(&f.remove, "remove", false, "take out what an earlier run has put in")
	c.MarkFlagsMutuallyExclusive("network", "sandbox", "remove")
	c.MarkFlagsMutuallyExclusive("poststop", "sandbox", "remove")
	c.MarkFlagsOneRequired("network", "sandbox", "remove")
}

// annotations are the flags in the words of the container's annotations.
func (f *bundleFlags) annotations(c *cobra.Command) (map[string]string, error) {
	out := map[string]string{}
	for key, values := range f.plain {
		join(out, key, *values)
	}
	for key, values := range f.lists {
		for _, v := range *values {
			to := key
			if network, rest, ok := strings.Cut(v, "="); ok {
				to, v = key+"."+network, rest
			}
			join(out, to, []string{v})
		}
	}
	for key, value := range map[string]string{"name": f.name, "hostname": f.host} {
		if value != "" {
			out[key] = value
		}
	}
	more, err := pairs(c, "set", f.set)
	if err != nil {
		return nil, err
	}
	for key, value := range more {
		if _, twice := out[key]; twice {
			return nil, usagef(c, "--set %s is given by an option of its own too", key)
		}
		out[key] = value
	}
	return out, nil
}

// join adds values to a list with commas between them.
func join(to map[string]string, key string, values []string) {
	if len(values) == 0 {
		return
	}
	all := strings.Join(values, ",")
	if before, ok := to[key]; ok {
		all = before + "," + all
	}
	to[key] = all
}

func (a *app) ociBundle() *cobra.Command {
	var f bundleFlags
	c := a.command("bundle DIR [flags]", "Have the container of a bundle join networks, by hooks in its config.json", exactly("DIR"), nil)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		a.began = true
		b, err := a.bundle(cmd, &f, args[0])
		if err != nil {
			return err
		}
		notes, err := a.io.OCIBundle(b)
		for _, note := range notes {
			fmt.Fprintln(a.io.Err, "cnm:", note)
		}
		return err
	}
	f.add(c)
	return c
}

// bundle is what the flags come to. Only for a sandbox that is there the daemon is asked.
func (a *app) bundle(cmd *cobra.Command, f *bundleFlags, dir string) (b Bundle, err error) {
	b = Bundle{Dir: dir, Files: f.files, Poststop: f.stop}
	if b.Annotations, err = f.annotations(cmd); err != nil {
		return b, err
	}
	if len(*f.plain["networks"]) == 0 && len(b.Annotations) > 0 {
		return b, usage(cmd, errors.New("what is said of the container needs --network; with --sandbox and --remove there is nothing to be said"))
	}
	if socket := a.socketPath(); socket != client.DefaultSocket {
		if socket, err = filepath.Abs(socket); err != nil {
			return b, err
		}
		b.HookArgs = []string{"--socket", socket}
	}
	if f.sandbox == "" {
		return b, nil
	}
	b.Sandbox, err = a.entry(cmd, f.sandbox)
	return b, err
}
