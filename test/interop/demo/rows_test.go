// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/libnetwork/cnm/test/table"
)

// TestTable checks that rows are complete, fit the columns, and are explained.
func TestTable(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	if err := table.Complete(allRows(), string(readme)); err != nil {
		t.Error(err)
	}
}

// TestUsage refuses a wrong command line with status 2 before anything is made.
func TestUsage(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"-row", "none-such"}, {"-break", "gone", "-row", "gone"}, {"extra"}, {"-docker", "older"}} {
		var out, errOut strings.Builder
		if status := demo(t.Context(), args, &out, &errOut); status != table.StatusUsage || errOut.Len() == 0 || out.Len() > 0 {
			t.Errorf("%v: status %d, %q, %q", args, status, out.String(), errOut.String())
		}
	}
	var out strings.Builder
	if status := demo(t.Context(), []string{"-list"}, &out, &out); status != 0 || !strings.Contains(out.String(), "three-kinds") {
		t.Errorf("-list: status %d, %s", status, out.String())
	}
}

// TestStand gives what fails the stand, stops there, and cleans up in the end, the last first.
func TestStand(t *testing.T) {
	t.Parallel()
	s := newStand(t.Context(), io.Discard)
	var order []string
	note := func(what string) func() { return func() { order = append(order, what) } }
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	err := s.try(ctx, func() {
		s.Cleanup(note("first"))
		s.Cleanup(note("second"))
		if s.Context() != ctx {
			t.Error("the context is not that of what is tried")
		}
		s.Errorf("one %d", 1)
		s.Fatal(errors.New("two"))
		t.Error("it went on after its end")
	})
	if err == nil || err.Error() != "one 1\ntwo" {
		t.Errorf("it says %v", err)
	}
	if err := s.try(ctx, func() {}); err != nil {
		t.Errorf("an old failure is told again: %v", err)
	}
	if s.Context() == ctx {
		t.Error("the context is still that of what was tried")
	}
	dir := s.TempDir()
	if err := s.end(); err != nil {
		t.Error(err)
	}
	if got := strings.Join(order, " "); got != "second first" {
		t.Errorf("at the end it did %q", got)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("%s is left: %v", dir, err)
	}
}
