// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/api/client"
)

// word is a first word of the command line and what builds its command.
type word struct {
	name  string
	build func() *cobra.Command
}

// words are all of them.
func (a *app) words() []word {
	all := []word{
		{"network", a.networkCommand},
		{"sandbox", a.sandboxCommand},
		{"endpoint", a.endpointCommand},
		{"attach", a.attachCommand},
		{"detach", a.detachCommand},
		{"publish", a.publishCommand},
		{"unpublish", a.unpublishCommand},
		{"port", a.portCommand},
		{"run", a.runCommand},
		{"driver", a.driverCommand},
		{"events", a.eventsCommand},
		{"version", a.versionCommand},
		{"completion", a.completionCommand},
	}
	if a.io.OCIHook != nil {
		all = append(all, word{"oci-hook", a.ociHookCommand})
	}
	if a.io.OCIBundle != nil {
		all = append(all, word{"oci", a.ociCommand})
	}
	if a.io.Install != nil {
		all = append(all, word{"install", a.installCommand}, word{"uninstall", a.uninstallCommand})
	}
	if a.io.Doctor != nil {
		all = append(all, word{"doctor", a.doctorCommand})
	}
	if a.io.Daemon != nil {
		all = append(all, word{"daemon", a.daemonCommand})
	}
	return all
}

// root is the tree of commands. Where the first argument is the word of one, the tree has that one alone: building all of them takes
// longer than what most do.
func (a *app) root(args ...string) *cobra.Command {
	root := &cobra.Command{
		Use:               "cnm",
		Short:             "Networks for containers, processes and microVMs",
		Args:              cobra.ArbitraryArgs,
		RunE:              needVerb,
		SilenceErrors:     true,
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
	}
	root.SetFlagErrorFunc(flagError)
	all := a.words()
	if len(args) > 0 {
		if i := slices.IndexFunc(all, func(w word) bool { return w.name == args[0] }); i >= 0 {
			all = all[i : i+1]
		}
	}
	for _, w := range all {
		root.AddCommand(w.build())
	}
	return root
}

// noun is a command that only has others below it.
func noun(use, short string, verbs ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, Args: cobra.ArbitraryArgs, RunE: needVerb}
	c.AddCommand(verbs...)
	return c
}

// needVerb is what a command says that does nothing by itself.
func needVerb(cmd *cobra.Command, args []string) error {
	var names []string
	for _, sub := range cmd.Commands() {
		if sub.IsAvailableCommand() {
			names = append(names, sub.Name())
		}
	}
	known := strings.Join(names, ", ")
	if len(args) == 0 {
		return usagef(cmd, "%s needs a command: %s", cmd.CommandPath(), known)
	}
	return usagef(cmd, "%s has no command %q; it has %s", cmd.CommandPath(), args[0], known)
}

// command is what all commands that ask the daemon have in common.
func (a *app) command(use, short string, args cobra.PositionalArgs, run func(*cobra.Command, []string) error) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, RunE: run, DisableFlagsInUseLine: true}
	c.Args = func(cmd *cobra.Command, given []string) error {
		if err := a.noneEmpty(cmd); err != nil {
			return err
		}
		if f := cmd.Flags().Lookup("timeout"); f.Changed && a.timeout <= 0 {
			return fmt.Errorf("--timeout %s is no time to wait", f.Value)
		}
		return args(cmd, given)
	}
	c.Flags().StringVar(&a.socket, "socket", "", "the daemon's socket (default $CNM_SOCKET, else "+client.DefaultSocket+")")
	c.Flags().DurationVar(&a.timeout, "timeout", 0, "give up after this long, as in 1.5s (default: never)")
	return c
}

// noneEmpty refuses a flag that is given and says nothing, as one whose value is of a variable that is not set: it would quietly
// mean the default.
func (a *app) noneEmpty(cmd *cobra.Command) (err error) {
	cmd.Flags().Visit(func(f *pflag.Flag) {
		if err == nil && f.Value.Type() == "string" && f.Value.String() == "" {
			a.began = true // the form is right, the value is not
			err = cnm.FieldErrorf(cnm.Invalid, f.Name, "%s is empty; give a value, or leave --%s out", f.Name, f.Name)
		}
	})
	return err
}

// flagError says in our words that a flag's value is not of its type.
func flagError(_ *cobra.Command, err error) error {
	bad, ok := errors.AsType[*pflag.InvalidValueError](err)
	if !ok {
		return err
	}
	want := map[string]string{"bool": "true or false", "int": "a number", "duration": "a time to wait; write it as 1.5s"}
	f := bad.GetFlag()
	return fmt.Errorf("--%s %q is not %s", f.Name, bad.GetValue(), cmp.Or(want[f.Value.Type()], f.Value.Type()))
}

// exactly wants the named arguments.
func exactly(names ...string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) == len(names) {
			return nil
		}
		return fmt.Errorf("%d arguments given, wanted %s", len(args), strings.Join(names, " "))
	}
}

// atLeast wants n arguments or more.
func atLeast(n int, what string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) >= n {
			return nil
		}
		return fmt.Errorf("%d arguments given, wanted %s", len(args), what)
	}
}

// none wants no arguments.
func none(_ *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return fmt.Errorf("argument %q is not wanted", args[0])
}

// completer asks the daemon for words that may follow.
type completer func(ctx context.Context, c *client.Client) ([]string, error)

// complete offers names on the command line, for the arguments in order; the last one repeats if more is set.
func (a *app) complete(cmd *cobra.Command, more bool, byPlace ...completer) *cobra.Command {
	cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		at := len(args)
		if at >= len(byPlace) {
			if !more {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			at = len(byPlace) - 1
		}
		c := client.New(a.socketPath(), patience)
		defer c.Close()
		words, err := byPlace[at](cmd.Context(), c)
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		return words, cobra.ShellCompDirectiveNoFileComp
	}
	return cmd
}

func networkNames(ctx context.Context, c *client.Client) ([]string, error) {
	all, err := c.Networks(ctx)
	var names []string
	for i := range all {
		names = append(names, all[i].Name)
	}
	return names, err
}

func sandboxNames(ctx context.Context, c *client.Client) ([]string, error) {
	all, err := c.Sandboxes(ctx)
	var names []string
	for i := range all {
		names = append(names, all[i].Name)
	}
	return names, err
}

func endpointNames(ctx context.Context, c *client.Client) ([]string, error) {
	all, err := c.Endpoints(ctx)
	var names []string
	for i := range all {
		names = append(names, all[i].Network+"/"+all[i].Name)
	}
	return names, err
}

func driverNames(ctx context.Context, c *client.Client) ([]string, error) {
	all, err := c.Drivers(ctx)
	var names []string
	for i := range all {
		names = append(names, all[i].Name)
	}
	return names, err
}
