// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"slices"
)

// table is all rows, in the order in which they are run.
func table() []row {
	return slices.Concat(programRows(), networkRows(), internalRows(), bothRows(), portRows(), livePortRows(), survivalRows(), endRows())
}

// steps runs functions in order, up to the first that fails.
func steps(fns ...func(context.Context, *world) error) func(context.Context, *world) error {
	return func(ctx context.Context, w *world) error {
		for _, fn := range fns {
			if err := fn(ctx, w); err != nil {
				return err
			}
		}
		return nil
	}
}

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
