// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/libnetwork/cnm/api/client"
	"github.com/libnetwork/cnm/api/wire"
)

func (a *app) driverCommand() *cobra.Command {
	name := func(d *wire.Driver) string { return d.Name }
	c := noun("driver", "What makes networks real",
		listCommand(a, "drivers", output[wire.Driver]{id: name, human: driverTable}, (*client.Client).Drivers),
		inspectCommand(a, "drivers with their options", driverNames, output[wire.Driver]{id: name, human: describe[wire.Driver]}, (*client.Client).Driver))
	return c
}

func driverTable(w io.Writer, all []wire.Driver) error {
	rows := make([][]string, 0, len(all))
	for i := range all {
		d := &all[i]
		rows = append(rows, []string{d.Name, strconv.FormatBool(d.Addresses), strconv.FormatBool(d.Publishes), strconv.FormatBool(d.HostStack)})
	}
	return table(w, "NAME ADDRESSES PUBLISHES HOST-STACK", rows)
}

func eventLine(e *wire.Event) string {
	var line strings.Builder
	fmt.Fprintf(&line, "%s %s %s", e.Time.UTC().Format(time.RFC3339Nano), e.Object, e.Action)
	if e.Name != "" {
		line.WriteString(" " + e.Name)
	}
	for _, id := range []struct{ key, value string }{
		{"network", string(e.NetworkID)}, {"endpoint", string(e.EndpointID)}, {"sandbox", string(e.SandboxID)},
	} {
		if id.value != "" {
			line.WriteString(" " + id.key + "=" + short(id.value))
		}
	}
	for _, key := range slices.Sorted(maps.Keys(e.Detail)) {
		fmt.Fprintf(&line, " %s=%q", key, e.Detail[key])
	}
	return line.String()
}

func (a *app) eventsCommand() *cobra.Command {
	out := output[wire.Event]{human: names(eventLine)}
	c := out.flags(a.command("events [flags]", "Print what changes, as it happens, until interrupted or --timeout", none, nil))
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		a.began = true
		cl := a.client()
		defer cl.Close()
		return a.follow(cmd.Context(), cl, &out)
	}
	return c
}

// follow prints each event at once; as JSON one object a line.
func (a *app) follow(ctx context.Context, cl *client.Client, out *output[wire.Event]) error {
	events, err := cl.Events(ctx)
	if err != nil {
		return err
	}
	for e, err := range events {
		if err != nil {
			return err
		}
		if out.json {
			err = writeLine(a.out, e)
		} else {
			err = out.plain(a.out, []wire.Event{e})
		}
		if err == nil {
			err = a.out.Flush()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// versions is what cnm version prints.
type versions struct {
	Client string `json:"client"`
	Daemon string `json:"daemon"` // "" where none answers
}

func (a *app) versionCommand() *cobra.Command {
	out := output[versions]{human: describe[versions]}
	return out.flags(a.command("version [flags]", "Print the versions of this program and of the daemon", none, a.ask(
		func(ctx context.Context, cl *client.Client, _ []string) error {
			v := versions{Client: a.io.Version}
			var err error
			if v.Daemon, err = cl.Version(ctx); err != nil {
				fmt.Fprintln(a.io.Err, "cnm:", err)
			}
			return out.one(a.out, v)
		})))
}

func (a *app) completionCommand() *cobra.Command {
	shells := []string{"bash", "zsh", "fish", "powershell"}
	return &cobra.Command{
		Use: "completion SHELL", Short: "Print a completion script for bash, zsh, fish or powershell",
		Args: exactly("SHELL"), ValidArgs: shells, DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			switch args[0] {
			case "bash":
				return cmd.Root().GenBashCompletionV2(a.out, true)
			case "zsh":
				return cmd.Root().GenZshCompletion(a.out)
			case "fish":
				return cmd.Root().GenFishCompletion(a.out, true)
			case "powershell":
				return cmd.Root().GenPowerShellCompletionWithDesc(a.out)
			default:
				return usagef(cmd, "there is no script for %q; there are %v", args[0], shells)
			}
		},
	}
}
