// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

const (
	referenceFile = "../../docs/cli.md"
	referenceMark = "<!-- What follows is written by: go test ./internal/cli -run TestReference -update -->\n"
)

// TestReference holds the reference of the commands equal to their tree.
func TestReference(t *testing.T) {
	t.Parallel()
	have, err := os.ReadFile(referenceFile)
	if err != nil {
		t.Fatal(err)
	}
	text, _, ok := strings.Cut(string(have), referenceMark)
	if !ok {
		t.Fatalf("%s has no line %q", referenceFile, referenceMark)
	}
	want := text + referenceMark + reference(tree())
	if *update {
		if err := os.WriteFile(referenceFile, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if want != string(have) {
		t.Errorf("%s is not what the commands say; run: go test ./internal/cli -run TestReference -update", referenceFile)
	}
}

// tree is all commands.
func tree() *cobra.Command {
	a := &app{io: IO{
		Daemon:  func(context.Context, DaemonConfig, *slog.Logger) error { return nil },
		OCIHook: ociHook, OCIBundle: func(Bundle) ([]string, error) { return nil, nil },
		Install: &Installer{}, Doctor: func(context.Context, Places) []Finding { return nil },
	}}
	return a.root()
}

func walk(c *cobra.Command, visit func(*cobra.Command)) {
	visit(c)
	for _, sub := range c.Commands() {
		walk(sub, visit)
	}
}

func reference(root *cobra.Command) string {
	var b bytes.Buffer
	walk(root, func(c *cobra.Command) {
		if c.HasSubCommands() || c.Hidden {
			return
		}
		fmt.Fprintf(&b, "\n### %s\n\n%s.\n\n```\n%s\n```\n", c.CommandPath(), c.Short, c.UseLine())
		table := false
		c.Flags().VisitAll(func(f *pflag.Flag) {
			if f.Name == "socket" && f.DefValue == "" && c.Name() != "daemon" || f.Name == "timeout" {
				return // every command has them
			}
			if !table {
				b.WriteString("\n| option | meaning |\n|---|---|\n")
				table = true
			}
			fmt.Fprintf(&b, "| `%s` | %s |\n", optionText(f), strings.ReplaceAll(f.Usage, "|", `\|`)+defaultText(f))
		})
	})
	return b.String()
}

// optionText is an option as it is written.
func optionText(f *pflag.Flag) string {
	text := "--" + f.Name
	if f.Shorthand != "" {
		text = "-" + f.Shorthand + ", " + text
	}
	if f.Value.Type() == "bool" {
		return text
	}
	return text + " " + strings.ToUpper(strings.NewReplacer("stringArray", "text", "string", "text", "int", "number", "duration", "time").Replace(f.Value.Type()))
}

func defaultText(f *pflag.Flag) string {
	if f.DefValue == "" || f.DefValue == "[]" || f.DefValue == "0" || f.DefValue == "false" {
		return ""
	}
	return " (default " + f.DefValue + ")"
}

// TestEveryCommandIsWhole: help for people, a way to the daemon, and no flag whose value nobody reads.
func TestEveryCommandIsWhole(t *testing.T) {
	t.Parallel()
	offline := map[string]bool{"cnm daemon": true, "cnm completion": true, "cnm install docker": true, "cnm uninstall docker": true}
	walk(tree(), func(c *cobra.Command) {
		path := c.CommandPath()
		if c.Short == "" || strings.HasSuffix(c.Short, ".") {
			t.Errorf("%s: help %q", path, c.Short)
		}
		if c.RunE == nil {
			t.Errorf("%s does nothing", path)
		}
		if c.HasSubCommands() || offline[path] {
			return
		}
		for _, flag := range []string{"socket", "timeout"} {
			if c.Flags().Lookup(flag) == nil {
				t.Errorf("%s has no --%s", path, flag)
			}
		}
		for _, verb := range []string{"ls", "inspect", "create", "join", "attach", "port", "events", "version"} {
			if c.Name() == verb && c.Flags().Lookup("json") == nil && path != "cnm oci-hook create" { // a runtime reads nothing
				t.Errorf("%s has no --json", path)
			}
		}
		if c.Name() == "ls" && (c.Flags().Lookup("filter") == nil || c.Flags().ShorthandLookup("q") == nil || c.Flags().Lookup("format") == nil) {
			t.Errorf("%s lacks --filter, -q or --format", path)
		}
	})
}

// TestContractFlags holds the flags that the contract of the command line names.
func TestContractFlags(t *testing.T) {
	t.Parallel()
	root := tree()
	for path, flags := range map[string]string{
		"daemon":          "state run socket config check-config log-format log-level docker-plugin docker-plugin-dir docker-host",
		"network create":  "driver subnet gateway ip-range reserve ipam-driver ipam-opt ipv4 ipv6 internal isolate-endpoints mtu dns opt label json",
		"network rm":      "force",
		"network prune":   "filter dry-run force",
		"sandbox create":  "netns pid hostname dns dns-search add-host label json",
		"endpoint create": "ip mac alias publish opt keep json",
		"endpoint join":   "interface json",
		"endpoint ls":     "network sandbox filter json format quiet",
		"attach":          "name ip mac alias publish interface gateway-priority opt sysctl label json",
		"install docker":  "root plugin program",
		"doctor":          "json docker-plugin docker-plugin-dir",
		"publish":         "network",
		"unpublish":       "network",
		"oci bundle":      "network publish",
		"oci-hook create": "socket timeout",
		"oci-hook delete": "socket timeout",
		"run":             "name network publish ip mac alias hostname dns add-host env user workdir detach rm",
	} {
		c, _, err := root.Find(strings.Fields(path))
		if err != nil {
			t.Fatal(err)
		}
		for flag := range strings.FieldsSeq(flags) {
			if c.Flags().Lookup(flag) == nil {
				t.Errorf("cnm %s has no --%s", path, flag)
			}
		}
	}
}
