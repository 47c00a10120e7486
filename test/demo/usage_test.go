// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
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
	for _, args := range [][]string{
		{"-row", "none-such"}, {"-break", "none-such"}, {"-break", "flush", "-row", "gone"}, {"extra"}, {"-wrong"}, {"-cnm", "/none/such"},
	} {
		var out, errOut strings.Builder
		if status := outerMain(args, &out, &errOut); status != table.StatusUsage || errOut.Len() == 0 || out.Len() > 0 {
			t.Errorf("%v: status %d, %q, %q", args, status, out.String(), errOut.String())
		}
	}
	var out strings.Builder
	if status := outerMain([]string{"-list"}, &out, &out); status != 0 || !strings.Contains(out.String(), "kill-tcp") {
		t.Errorf("-list: status %d, %s", status, out.String())
	}
}

// TestTranscript waits for lines that come in pieces, and for an end.
func TestTranscript(t *testing.T) {
	t.Parallel()
	tr := newTranscript()
	is := func(want string) func(string) bool { return func(line string) bool { return line == want } }
	found := make(chan error, 1)
	go func() {
		_, err := tr.await(t.Context(), 0, is("second"))
		found <- err
	}()
	for _, piece := range []string{"fir", "st\nsec", "ond\nthi"} {
		if n, err := tr.Write([]byte(piece)); n != len(piece) || err != nil {
			t.Fatal(n, err)
		}
	}
	if err := <-found; err != nil {
		t.Error(err)
	}
	if tr.tail(5) != "first\nsecond\n" || tr.tail(1) != "second\n" {
		t.Errorf("lines %q, the last %q", tr.tail(5), tr.tail(1))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := tr.await(ctx, 2, is("first")); !errors.Is(err, context.Canceled) {
		t.Errorf("an old line was taken: %v", err)
	}
	tr.end()
	if _, err := tr.await(t.Context(), 0, is("third")); err == nil || !strings.Contains(err.Error(), "ended") {
		t.Errorf("after the end: %v", err)
	}
}
