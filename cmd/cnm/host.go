// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"

	"github.com/libnetwork/cnm/internal/cli"
	"github.com/libnetwork/cnm/internal/doctor"
	"github.com/libnetwork/cnm/internal/install"
)

// installer writes and removes files of other programs.
func installer() *cli.Installer {
	told := func(changes []install.Change, err error) ([]cli.FileChange, error) {
		var out []cli.FileChange
		for _, c := range changes {
			out = append(out, cli.FileChange(c))
		}
		return out, err
	}
	return &cli.Installer{
		Docker: func(root, plugin, program string) ([]cli.FileChange, error) {
			if program == "" {
				var err error
				if program, err = os.Executable(); err != nil {
					return nil, fmt.Errorf("our own path: %w; name it with --program", err)
				}
			}
			return told(install.Docker(install.Config{Root: root, Plugin: plugin, Program: program}))
		},
		RemoveDocker: func(root string) ([]cli.FileChange, error) { return told(install.RemoveDocker(root)) },
	}
}

// examine looks at this host.
func examine(ctx context.Context, where cli.Places) []cli.Finding {
	var found []cli.Finding
	for _, c := range doctor.Examine(ctx, doctor.Config(where)) {
		found = append(found, cli.Finding{Name: c.Name, Status: string(c.Status), Text: c.Text, Fix: c.Fix})
	}
	return found
}
