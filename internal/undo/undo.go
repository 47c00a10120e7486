// SPDX-License-Identifier: Apache-2.0

// Package undo takes back what a failed operation had done, and takes apart what
// a finished one had built.
//
// A verb pushes one named step on a [Stack] after each thing it did, and commits
// at its very end. Whatever ends it earlier, an error, a cancelled context, a
// panic or a forgotten case, the deferred Rollback takes everything back:
//
//	func attach(ctx context.Context) (err error) {
//		var u undo.Stack
//		defer u.Rollback(ctx, &err)
//		if err := create(ctx); err != nil {
//			return err
//		}
//		u.Push("delete what was created", remove)
//		...
//		u.Commit()
//		return nil
//	}
//
// Whether it runs depends on Commit alone, never on the value of an error.
package undo

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"time"
)

// DefaultLimit bounds a whole rollback of a [Stack] that sets no other limit.
const DefaultLimit = 30 * time.Second

// Step is one thing to do, with a name for its error.
type Step struct {
	Name string // what Do does, such as "delete link v1234"
	Do   func(ctx context.Context) error
}

// Stack has the steps that take back what was done and is not committed. The
// zero Stack is empty and ready. It is for one goroutine.
type Stack struct {
	// Limit bounds a whole rollback; zero is [DefaultLimit].
	Limit time.Duration

	steps []Step
}

// Push adds a step that takes back what was just done. It is called after that
// succeeded, and before anything else is done.
func (s *Stack) Push(name string, do func(ctx context.Context) error) {
	s.steps = append(s.steps, Step{Name: name, Do: do})
}

// Commit keeps everything that was done so far: its steps are forgotten.
func (s *Stack) Commit() { s.steps = nil }

// Rollback runs the steps that are not committed, newest first, all of them
// whatever fails, and joins their failures to *err, which is otherwise left as
// it is. It is to be deferred, with the function's named result. The
// steps see ctx's values, but neither its end nor its deadline: only the Limit.
// A step that ignores its context can exceed it. After Rollback the stack is
// empty.
func (s *Stack) Rollback(ctx context.Context, err *error) {
	steps := s.steps
	s.steps = nil
	if len(steps) == 0 {
		return
	}
	limit := s.Limit
	if limit == 0 {
		limit = DefaultLimit
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	defer cancel()
	var failures []error
	for _, step := range slices.Backward(steps) {
		failures = append(failures, run(ctx, "undo: ", step))
	}
	if failed := errors.Join(failures...); failed != nil {
		*err = errors.Join(*err, failed)
	}
}

// Collect runs all steps in their order, whatever fails, and gives all failures
// joined. It is for taking things apart: ctx is the caller's own, and where it
// ends the steps that are left still run and see it ended.
func Collect(ctx context.Context, steps ...Step) error {
	var errs []error
	for _, step := range steps {
		errs = append(errs, run(ctx, "", step))
	}
	return errors.Join(errs...)
}

// run does one step. A panic becomes its error, so that the other steps run.
func run(ctx context.Context, prefix string, step Step) (err error) {
	name := prefix + step.Name
	defer func() {
		if value := recover(); value != nil {
			err = fmt.Errorf("%s: panic: %v\n%s", name, value, debug.Stack())
		}
	}()
	if err := step.Do(ctx); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}
