// SPDX-License-Identifier: Apache-2.0

package cnm_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	cnm "github.com/libnetwork/cnm"
)

func TestCheckName(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"a", "A9", "web-1.prod_x", strings.Repeat("a", 63)} {
		if err := cnm.CheckName("name", s); err != nil {
			t.Errorf("%q: %v", s, err)
		}
	}
	for _, s := range []string{"", "-a", ".a", "_a", "a b", "a/b", "a\x00b", "ä", "a\n", strings.Repeat("a", 64), "../a"} {
		err := cnm.CheckName("name", s)
		var e *cnm.Error
		if !errors.Is(err, cnm.Invalid) || !errors.As(err, &e) || e.Field != "name" {
			t.Errorf("%q: %v, want an invalid name", s, err)
		}
	}
}

func TestKindsAreComplete(t *testing.T) {
	t.Parallel()
	names := map[string]bool{}
	for i, c := range cnm.Kinds() {
		if int(c.Kind) != i {
			t.Errorf("row %d is of kind %d", i, c.Kind)
		}
		if c.Name == "" || names[c.Name] || c.HTTP < 400 || c.Exit < 1 {
			t.Errorf("row %+v is not usable", c)
		}
		names[c.Name] = true
		if cnm.KindNamed(c.Name) != c.Kind || c.Kind.Code() != c {
			t.Errorf("kind %s does not come back from its name", c.Name)
		}
	}
	if next := cnm.Kind(len(cnm.Kinds())); next.Code().Kind != cnm.Internal {
		t.Errorf("kind %d is in no row and is not internal", next)
	}
}

func TestErrorKeepsKindFieldAndText(t *testing.T) {
	t.Parallel()
	cause := errors.New("cause")
	err := cnm.During("attach", fmt.Errorf("around: %w", cnm.FieldErrorf(cnm.Busy, "network", "network %q is in use: %w", "web", cause)))
	var e *cnm.Error
	if !errors.As(err, &e) || e.Op != "attach" || e.Kind != cnm.Busy || e.Field != "network" {
		t.Fatalf("got %#v", e)
	}
	if got, want := err.Error(), `attach: around: network "web" is in use: cause`; got != want {
		t.Errorf("text %q, want %q", got, want)
	}
	if !errors.Is(err, cause) || !errors.Is(err, cnm.Busy) || errors.Is(err, cnm.NotFound) {
		t.Error("cause or kind is lost")
	}
	if again := cnm.During("detach", err); again != err { //nolint:errorlint // the very same value
		t.Errorf("a second operation was added: %v", again)
	}
	if cnm.During("attach", nil) != nil {
		t.Error("no error became one")
	}
}

func TestKindOf(t *testing.T) {
	t.Parallel()
	tests := map[cnm.Kind]error{
		cnm.Internal:    errors.New("x"),
		cnm.Unavailable: fmt.Errorf("x: %w", context.DeadlineExceeded),
		cnm.Exhausted:   errors.Join(cnm.Errorf(cnm.Exhausted, "x"), cnm.Errorf(cnm.Busy, "y")),
	}
	for want, err := range tests {
		if got := cnm.KindOf(err); got != want {
			t.Errorf("%v is %s, want %s", err, got, want)
		}
	}
}

func TestMAC(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"02:42:ac:11:00:02", "02-42-AC-11-00-02"} {
		m, err := cnm.ParseMAC(s)
		if err != nil || m.String() != "02:42:ac:11:00:02" {
			t.Errorf("%s reads as %s, %v", s, m, err)
		}
	}
	for _, s := range []string{"", "02:42:ac:11:00", "02:42:ac:11:00:02:03", "0242ac110002", "02:42:ac:11:0:02x", "01:00:5e:00:00:01", "00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff", "0g:42:ac:11:00:02"} {
		if m, err := cnm.ParseMAC(s); !errors.Is(err, cnm.Invalid) {
			t.Errorf("%q reads as %s, %v", s, m, err)
		}
	}
}

func TestMovesLeadToKnownStates(t *testing.T) {
	t.Parallel()
	for from, tos := range cnm.Moves() {
		for _, to := range tos {
			if _, ok := cnm.Moves()[to]; !ok {
				t.Errorf("%q leads to %q, which is not in the table", from, to)
			}
			if !cnm.CanMove(from, to) {
				t.Errorf("%q to %q is in the table but not allowed", from, to)
			}
		}
	}
	if cnm.CanMove(cnm.Deleting, cnm.Ready) || cnm.CanMove(cnm.Joined, cnm.Joining) {
		t.Error("a move that is not in the table is allowed")
	}
	for _, s := range []cnm.State{cnm.Creating, cnm.Joining, cnm.Updating, cnm.Leaving, cnm.Deleting} {
		if s.Settled() {
			t.Errorf("%s counts as settled", s)
		}
	}
}
