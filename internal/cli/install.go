// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"

	"github.com/spf13/cobra"
)

// Installer writes and removes the files by which other programs find us.
type Installer struct {
	// Docker writes them below root, for a plugin of this name and our program at this path, "" being the running one.
	Docker func(root, plugin, program string) ([]FileChange, error)
	// RemoveDocker removes them.
	RemoveDocker func(root string) ([]FileChange, error)
}

// FileChange is what became of a file: wrote, kept or removed.
type FileChange struct{ Path, Done string }

func (a *app) installCommand() *cobra.Command {
	var root, plugin, program string
	c := &cobra.Command{
		Use: "docker [flags]", Short: "Write a service that starts before Docker, and what makes Docker find it",
		Args: none, DisableFlagsInUseLine: true,
		RunE: func(*cobra.Command, []string) error {
			a.began = true
			changes, err := a.io.Install.Docker(root, plugin, program)
			a.changed(changes)
			if err != nil {
				return err
			}
			fmt.Fprintf(a.io.Err, "Start it with:\n  systemctl daemon-reload\n  systemctl enable --now cnm.socket cnm.service\nThen:\n  cnm doctor --docker-plugin %s\n  docker network create --driver %s NETWORK\n", plugin, plugin)
			return nil
		},
	}
	rootFlag(c, &root)
	c.Flags().StringVar(&plugin, "plugin", "cnm", "the name that Docker has for us, as in: docker network create --driver cnm")
	c.Flags().StringVar(&program, "program", "", "path of this program as the service has it (default: the running one)")
	return noun("install", "Write the files by which other programs find us", c)
}

func (a *app) uninstallCommand() *cobra.Command {
	var root string
	c := &cobra.Command{
		Use: "docker [flags]", Short: "Remove what cnm install docker wrote",
		Args: none, DisableFlagsInUseLine: true,
		RunE: func(*cobra.Command, []string) error {
			a.began = true
			changes, err := a.io.Install.RemoveDocker(root)
			a.changed(changes)
			switch {
			case err != nil:
				return err
			case len(changes) == 0:
				fmt.Fprintln(a.io.Err, "Nothing is installed.")
			default:
				fmt.Fprint(a.io.Err, "Stop it with:\n  systemctl disable --now cnm.socket cnm.service\n  systemctl daemon-reload\nIts networks stay until: cnm network rm --force NETWORK\n")
			}
			return nil
		},
	}
	rootFlag(c, &root)
	return noun("uninstall", "Remove the files by which other programs find us", c)
}

func rootFlag(c *cobra.Command, root *string) {
	c.Flags().StringVar(root, "root", "/", "directory above all paths, for packages and trials")
}

// changed prints what became of files.
func (a *app) changed(changes []FileChange) {
	for _, f := range changes {
		fmt.Fprintln(a.out, f.Done, f.Path)
	}
}
