// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/libnetwork/cnm/api/client"
	"github.com/libnetwork/cnm/api/wire"
)

// The verbs below are the same for every noun.

// listCommand is NOUN ls.
func listCommand[T any](a *app, what string, out output[T], get func(*client.Client, context.Context, ...string) ([]T, error)) *cobra.Command {
	var filters []string
	c := out.flags(a.command("ls [flags]", "List "+what, none, a.ask(
		func(ctx context.Context, cl *client.Client, _ []string) error {
			items, err := get(cl, ctx, filters...)
			if err != nil {
				return err
			}
			return out.list(a.out, items)
		})))
	filterFlag(c, &filters)
	return c
}

func filterFlag(c *cobra.Command, filters *[]string) {
	c.Flags().StringArrayVar(filters, "filter", nil, "only those with KEY=VALUE, KEY being name, id, label, driver, state, network or sandbox; "+
		"repeatable: values of one key are alternatives, keys must all match; names may be patterns as web*")
}

// inspectCommand is NOUN inspect.
func inspectCommand[T any](a *app, what string, words completer, out output[T], get func(*client.Client, context.Context, string) (T, error)) *cobra.Command {
	c := out.flags(a.command("inspect NAME... [flags]", "Show "+what, atLeast(1, "NAME..."), a.ask(
		func(ctx context.Context, cl *client.Client, args []string) error {
			items, err := gather(args, func(ref string) (T, error) { return get(cl, ctx, ref) })
			return errors.Join(out.list(a.out, items), err)
		})))
	return a.complete(c, true, words)
}

// removeCommand is NOUN rm. It prints the names of what is gone.
func removeCommand(a *app, what string, words completer, remove func(context.Context, *client.Client, string) error) *cobra.Command {
	c := a.command("rm NAME... [flags]", "Delete "+what, atLeast(1, "NAME..."), a.ask(
		func(ctx context.Context, cl *client.Client, args []string) error {
			return each(args, func(ref string) error {
				if err := remove(ctx, cl, ref); err != nil {
					return err
				}
				_, err := fmt.Fprintln(a.out, ref)
				return err
			})
		}))
	return a.complete(c, true, words)
}

// pruneCommand is NOUN prune. It prints the names of what is gone.
func (a *app) pruneCommand(what, help string, prune func(*client.Client, context.Context, wire.Prune) (wire.Pruned, error)) *cobra.Command {
	var req wire.Prune
	var force bool
	c := a.command("prune [flags]", help, none, nil)
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		a.began = true
		if !force && !req.DryRun && !a.agreed("delete every "+what+" that is not used?") {
			return errors.New("nothing was deleted")
		}
		return a.ask(func(ctx context.Context, cl *client.Client, _ []string) error {
			done, err := prune(cl, ctx, req)
			if err != nil {
				return err
			}
			failed := each(done.Deleted, func(name string) error { _, err := fmt.Fprintln(a.out, name); return err })
			for i := range done.Errors {
				failed = errors.Join(failed, done.Errors[i].Restore())
			}
			return failed
		})(cmd, nil)
	}
	filterFlag(c, &req.Filters)
	c.Flags().BoolVar(&req.DryRun, "dry-run", false, "only print what would go")
	c.Flags().BoolVar(&force, "force", false, "do not ask, which is done on a terminal only")
	return c
}

// agreed asks a person. Where there is none the command itself is the answer.
func (a *app) agreed(question string) bool {
	if !a.io.InTerminal {
		return true
	}
	fmt.Fprintf(a.io.Err, "cnm: %s [y/N] ", question)
	line, err := bufio.NewReader(a.io.In).ReadString('\n')
	answer := strings.ToLower(strings.TrimSpace(line))
	return (err == nil || answer != "") && (answer == "y" || answer == "yes")
}

// pairs reads KEY=VALUE flags.
func pairs(c *cobra.Command, flag string, texts []string) (map[string]string, error) {
	return pairsOf(c, flag, "KEY=VALUE", texts)
}

// pairsOf reads flags of a form that has two parts.
func pairsOf(c *cobra.Command, flag, form string, texts []string) (map[string]string, error) {
	if len(texts) == 0 {
		return nil, nil
	}
	out := make(map[string]string, len(texts))
	for _, text := range texts {
		key, value, ok := strings.Cut(text, "=")
		if !ok || key == "" {
			return nil, usagef(c, "--%s %q is not %s", flag, text, form)
		}
		if _, twice := out[key]; twice {
			return nil, usagef(c, "--%s %s is given twice", flag, key)
		}
		out[key] = value
	}
	return out, nil
}
