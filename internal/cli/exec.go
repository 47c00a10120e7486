// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/libnetwork/cnm/api/wire"
)

// ownStatus marks a command that ends with the status of the command it runs; what is our own failure is then 125.
const ownStatus = "cnm-own-status"

func markForeign(c *cobra.Command) *cobra.Command {
	c.Annotations = map[string]string{ownStatus: ""}
	c.Flags().SetInterspersed(false) // what follows the first argument is not for us
	return c
}

func foreign(c *cobra.Command) bool { _, ok := c.Annotations[ownStatus]; return ok }

// processFlags are the flags that say how a command runs.
type processFlags struct {
	env  []string
	user string
	dir  string
}

func (f *processFlags) add(c *cobra.Command) {
	c.Flags().StringArrayVar(&f.env, "env", nil, "variable of its environment, as KEY=VALUE, or KEY to take ours; repeatable; the rest is ours too")
	c.Flags().StringVar(&f.user, "user", "", "run as USER or UID, with :GROUP or :GID if wanted")
	c.Flags().StringVar(&f.dir, "workdir", "", "run in this directory")
}

// check refuses variables without a name.
func (f *processFlags) check(c *cobra.Command) error {
	for _, text := range f.env {
		if text == "" || text[0] == '=' {
			return usagef(c, "--env %q is not KEY=VALUE or KEY", text)
		}
	}
	return nil
}

// process is a command with our input and output.
func (a *app) process(f *processFlags, command []string) Process {
	p := Process{
		Command: command, User: f.user, Dir: f.dir, Env: a.environ(f.env),
		Stdin: a.io.In, Stdout: a.io.Out, Stderr: a.io.Err,
	}
	p.Note = func(text string) { fmt.Fprintln(a.io.Err, "cnm:", text) }
	return p
}

// into puts the command into a sandbox. Its host name is the sandbox's unless another was wanted; the host keeps its own.
func (p *Process) into(e *wire.Entry) {
	p.Sandbox, p.Namespace, p.Cookie, p.Hostname = e.Name, e.Namespace, e.NamespaceCookie, e.Hostname
	if !e.Host {
		p.Hostname = cmp.Or(e.Hostname, e.Name)
	}
	p.Hosts, p.ResolvConf, p.HostnameFile = e.Files.Hosts, e.Files.ResolvConf, e.Files.Hostname
}

// environ is our environment with what was asked for. A key without a value that we do not have is left out.
func (a *app) environ(asked []string) []string {
	over := map[string]bool{}
	var added []string
	for _, kv := range asked {
		key, _, whole := strings.Cut(kv, "=")
		over[key] = true
		if value, ok := a.env[key]; !whole && ok {
			kv, whole = key+"="+value, true
		}
		if whole {
			added = append(added, kv)
		}
	}
	var env []string
	for _, kv := range a.io.Environ {
		if key, _, _ := strings.Cut(kv, "="); !over[key] {
			env = append(env, kv)
		}
	}
	return append(env, added...)
}

// launch starts a process and keeps its status.
func (a *app) launch(ctx context.Context, p Process) (err error) {
	if err := a.out.Flush(); err != nil {
		return err
	}
	a.status, err = a.io.Launch(ctx, p)
	if err != nil {
		a.status = cmp.Or(a.status, statusOurs)
	}
	return err
}

func (a *app) sandboxExec() *cobra.Command {
	var f processFlags
	c := markForeign(a.command("exec [flags] NAME -- CMD [ARG...]", "Run a command in a sandbox; ends with its status, or 125, 126, 127", atLeast(2, "NAME -- CMD"), nil))
	c.RunE = func(cmd *cobra.Command, args []string) error {
		a.began = true
		command := args[1:]
		if command[0] == "--" {
			command = command[1:]
		}
		if len(command) == 0 {
			return usagef(cmd, "no command is given after --")
		}
		if err := f.check(cmd); err != nil {
			return err
		}
		entry, err := a.entry(cmd, args[0])
		if err != nil {
			return err
		}
		p := a.process(&f, command)
		p.into(&entry)
		return a.launch(cmd.Context(), p)
	}
	f.add(c)
	return a.complete(c, false, sandboxNames)
}

func (a *app) entry(cmd *cobra.Command, ref string) (wire.Entry, error) {
	cl := a.client()
	defer cl.Close()
	defer a.waiting(cmd, []string{ref})()
	return cl.Enter(cmd.Context(), ref)
}
