// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"slices"

	"github.com/libnetwork/cnm/test/table"
)

// allRows are in the order in which they are run.
func allRows() []row {
	return slices.Concat(programRows(), networkRows(), internalRows(), bothRows(), portRows(), livePortRows(), survivalRows(), endRows())
}

// Every row and step of the demo shares one world.
type (
	row  = table.Row[*world]
	step = table.Step[*world]
)

// steps is [table.Steps].
func steps(all ...step) step { return table.Steps(all...) }

// cut is [world.cut] as a step.
func cut(ctx context.Context, w *world) error { return w.cut(ctx) }

// makeNetwork is a step that makes a network.
func makeNetwork(name string, flags ...string) func(context.Context, *world) error {
	return func(ctx context.Context, w *world) error {
		_, err := w.network(ctx, name, flags...)
		return err
	}
}

// makeSandbox is a step that makes a sandbox on networks that are there.
func makeSandbox(name string, networks ...string) func(context.Context, *world) error {
	return func(ctx context.Context, w *world) error {
		_, err := w.sandbox(ctx, name, networks...)
		return err
	}
}

// serving is a step that runs the web server, publishing the given ports.
func serving(publish ...string) func(context.Context, *world) error {
	return func(ctx context.Context, w *world) error { return w.runWeb(ctx, publish...) }
}
