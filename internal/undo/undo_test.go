// SPDX-License-Identifier: Apache-2.0

package undo_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/libnetwork/cnm/internal/undo"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// errVerb is why the verb under test ends early.
var errVerb = errors.New("own error")

// log records the order in which steps run.
type log []string

// step gives a step that records its name and ends with err.
func (l *log) step(name string, err error) (string, func(context.Context) error) {
	return name, func(context.Context) error {
		*l = append(*l, name)
		return err
	}
}

// expect checks which steps ran.
func (l *log) expect(t *testing.T, want ...string) {
	t.Helper()
	if !slices.Equal(*l, want) {
		t.Errorf("steps %v ran, want %v", *l, want)
	}
}

func TestRollback(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		commit bool
		result error
		want   []string
	}{
		{"error", false, errVerb, []string{"c", "b", "a"}},
		{"no error and no commit", false, nil, []string{"c", "b", "a"}},
		{"commit", true, nil, nil},
		{"error after commit", true, errVerb, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var l log
			verb := func() (err error) {
				var u undo.Stack
				defer u.Rollback(t.Context(), &err)
				for _, name := range []string{"a", "b", "c"} {
					u.Push(l.step(name, nil))
				}
				if test.commit {
					u.Commit()
				}
				return test.result
			}
			if err := verb(); err != test.result { //nolint:errorlint // nothing is to be joined
				t.Errorf("got %v, want the very %v", err, test.result)
			}
			l.expect(t, test.want...)
		})
	}
}

func TestRollbackAfterCommitHasWhatFollowed(t *testing.T) {
	t.Parallel()
	var l log
	var u undo.Stack
	u.Push(l.step("kept", nil))
	u.Commit()
	u.Push(l.step("later", nil))
	var err error
	u.Rollback(t.Context(), &err)
	u.Rollback(t.Context(), &err)
	l.expect(t, "later")
}

func TestRollbackJoinsFailures(t *testing.T) {
	t.Parallel()
	var l log
	errFirst, errSecond := errors.New("first"), errors.New("second")
	verb := func() (err error) {
		var u undo.Stack
		defer u.Rollback(t.Context(), &err)
		u.Push(l.step("a", errFirst))
		u.Push(l.step("b", nil))
		u.Push("c", func(context.Context) error { panic("own panic") })
		u.Push(l.step("d", errSecond))
		return errVerb
	}
	err := verb()
	l.expect(t, "d", "b", "a")
	for _, want := range []error{errVerb, errFirst, errSecond} {
		if !errors.Is(err, want) {
			t.Errorf("%v does not have %v", err, want)
		}
	}
	at := -1
	for _, part := range []string{"own error", "undo: d: second", "undo: c: panic: own panic", "undo_test.go", "undo: a: first"} {
		next := strings.Index(err.Error(), part)
		if next <= at {
			t.Errorf("%q is missing or out of order in %q", part, err)
		}
		at = next
	}
}

func TestRollbackRunsOnPanic(t *testing.T) {
	t.Parallel()
	var l log
	defer func() {
		if value := recover(); value != "own panic" {
			t.Errorf("recovered %v, want the verb's panic", value)
		}
		l.expect(t, "b", "a")
	}()
	_ = func() (err error) {
		var u undo.Stack
		defer u.Rollback(t.Context(), &err)
		u.Push(l.step("a", nil))
		u.Push(l.step("b", errVerb))
		panic("own panic")
	}()
}

// key is for a value in a context.
type key struct{}

func TestRollbackOutlivesItsContext(t *testing.T) {
	t.Parallel()
	for _, limit := range []time.Duration{0, time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.WithValue(t.Context(), key{}, "value"), time.Second)
			cancel()
			want := limit
			if want == 0 {
				want = undo.DefaultLimit
			}
			u := undo.Stack{Limit: limit}
			u.Push("second", func(ctx context.Context) error { return ctx.Err() })
			u.Push("first", func(ctx context.Context) error {
				deadline, ok := ctx.Deadline()
				if ctx.Err() != nil || !ok || time.Until(deadline) != want || ctx.Value(key{}) != "value" {
					t.Errorf("context ends in %v (%v) with %v, want %v", time.Until(deadline), ctx.Err(), ctx.Value(key{}), want)
				}
				<-ctx.Done()
				return ctx.Err()
			})
			begin := time.Now()
			var err error
			u.Rollback(ctx, &err)
			if took := time.Since(begin); took != want || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("took %v and gave %v, want an end after %v", took, err, want)
			}
		})
	}
}

func TestCollect(t *testing.T) {
	t.Parallel()
	var l log
	step := func(name string, err error) undo.Step {
		name, do := l.step(name, err)
		return undo.Step{Name: name, Do: do}
	}
	if err := undo.Collect(t.Context()); err != nil {
		t.Errorf("nothing to do gave %v", err)
	}
	if err := undo.Collect(t.Context(), step("a", nil)); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	ended := undo.Step{Name: "ended", Do: func(ctx context.Context) error { return ctx.Err() }}
	err := undo.Collect(ctx, step("b", errVerb), ended, step("c", nil))
	l.expect(t, "a", "b", "c")
	if !errors.Is(err, errVerb) || !errors.Is(err, context.Canceled) || err.Error() != "b: own error\nended: context canceled" {
		t.Errorf("got %q, want both failures", err)
	}
}
