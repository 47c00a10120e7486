// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	cnm "github.com/libnetwork/cnm"
)

// Places are where cnm doctor looks.
type Places struct{ Socket, PluginSocket, SpecFile, DockerSocket string }

// Finding is what it found of one thing.
type Finding struct {
	Name   string `json:"name"`
	Status string `json:"status"` // ok, note or fail
	Text   string `json:"text"`
	Fix    string `json:"fix"` // what to do; "" where nothing is
}

func (a *app) doctorCommand() *cobra.Command {
	var plugin, dir, docker string
	out := output[Finding]{human: findingTable}
	c := out.flags(a.command("doctor [flags]", "Look whether this host is fit for our networks, and say what to do; status 1 if it is not", none, nil))
	c.Flags().StringVar(&plugin, "docker-plugin", "cnm", "the name that Docker has for us")
	c.Flags().StringVar(&dir, "docker-plugin-dir", "/run/docker/plugins", "directory in which Docker looks for plugins")
	c.Flags().StringVar(&docker, "docker-socket", "/run/docker.sock", "Docker's own socket")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		a.began = true
		if err := cnm.CheckName("docker-plugin", plugin); err != nil {
			return err
		}
		defer a.waiting(cmd, args)()
		ctx, cancel := a.bound(cmd.Context())
		defer cancel()
		found := a.io.Doctor(ctx, Places{
			Socket: a.socketPath(), DockerSocket: docker,
			PluginSocket: filepath.Join(dir, plugin+".sock"), SpecFile: filepath.Join("/etc/docker/plugins", plugin+".spec"),
		})
		for i := range found {
			if found[i].Status == "fail" {
				a.status = cnm.Internal.Code().Exit
			}
		}
		return out.list(a.out, found)
	}
	return c
}

// findingTable shows what to do below what was found.
func findingTable(w io.Writer, all []Finding) error {
	rows := make([][]string, 0, len(all))
	for i := range all {
		f := &all[i]
		rows = append(rows, []string{f.Name, f.Status, f.Text})
	}
	if err := table(w, "CHECK STATUS FOUND", rows); err != nil {
		return err
	}
	for i := range all {
		if f := &all[i]; f.Fix != "" {
			if _, err := fmt.Fprintf(w, "\n%s: %s\n  %s\n", f.Name, f.Text, strings.ReplaceAll(f.Fix, "; ", "\n  ")); err != nil {
				return err
			}
		}
	}
	return nil
}
