// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"context"
	"fmt"
	"time"
)

// Config says where to look.
type Config struct {
	Socket       string // the daemon's
	PluginSocket string // at which Docker finds us
	SpecFile     string // that tells Docker of it
	DockerSocket string // Docker's own
}

// Status is what a check came to.
type Status string

// What a check comes to.
const (
	OK   Status = "ok"
	Note Status = "note" // worth knowing, and no failure
	Fail Status = "fail"
)

// Check is what was found of one thing, and what to do about it.
type Check struct {
	Name   string
	Status Status
	Text   string
	Fix    string // "" where nothing is to be done
}

// answerTime is how long one check may take.
const answerTime = 5 * time.Second

// Examine looks at everything, in the order in which things depend on one another.
func Examine(ctx context.Context, cfg Config) []Check {
	d := &examination{cfg: cfg}
	for _, look := range []func(context.Context){d.kernel, d.features, d.settings, d.daemon, d.leftovers, d.plugin, d.docker, d.firewall} {
		bound, cancel := context.WithTimeout(ctx, answerTime)
		look(bound)
		cancel()
	}
	return d.found
}

// examination collects what is found.
type examination struct {
	cfg   Config
	alive bool // the daemon answers
	found []Check
}

func (d *examination) ok(name, format string, args ...any) {
	d.found = append(d.found, Check{name, OK, fmt.Sprintf(format, args...), ""})
}

func (d *examination) note(name, fix, format string, args ...any) {
	d.found = append(d.found, Check{name, Note, fmt.Sprintf(format, args...), fix})
}

func (d *examination) fail(name, fix, format string, args ...any) {
	d.found = append(d.found, Check{name, Fail, fmt.Sprintf(format, args...), fix})
}
