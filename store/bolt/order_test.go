// SPDX-License-Identifier: Apache-2.0

package bolt

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/store/storetest"
)

// fault is how a commit fails.
type fault int

const (
	none  fault = iota
	early       // nothing reached the file
	late        // everything reached the file, and an error was returned all the same
)

var errDisk = errors.New("the disk is on fire")

// rig puts commits that fail as told into a store and notes their order. faults are used up one a commit; then there are none.
type rig struct {
	order  []lifetime
	faults map[lifetime][]fault
}

func (r *rig) install(s *Store) {
	for _, f := range []*file{s.durable, s.boot} {
		f.commit = func(tx *bbolt.Tx) error {
			r.order = append(r.order, f.holds)
			next := none
			if left := r.faults[f.holds]; len(left) > 0 {
				next, r.faults[f.holds] = left[0], left[1:]
			}
			switch next {
			case early:
				return errors.Join(errDisk, tx.Rollback())
			case late:
				return errors.Join(errDisk, tx.Commit())
			default:
				return tx.Commit()
			}
		}
	}
}

// TestOrder checks which file is written first.
func TestOrder(t *testing.T) {
	t.Parallel()
	s, r := mustOpen(t, config(t)), &rig{}
	r.install(s)
	step := func(what string, err error, want ...lifetime) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if !slices.Equal(r.order, want) {
			t.Errorf("%s wrote %v and should write %v", what, r.order, want)
		}
		r.order = nil
	}
	kept, other := storetest.Sample(1, true), storetest.Sample(2, false)
	step("put of both", s.Put(t.Context(), kept), durable, boot)
	step("put of boot", s.Put(t.Context(), cnm.Records{Endpoints: other.Endpoints, Joins: other.Joins}), boot)
	step("put of durable", s.Put(t.Context(), cnm.Records{Networks: other.Networks}), durable)
	step("put of nothing", s.Put(t.Context(), cnm.Records{}))
	step("drop of an unkept endpoint", s.Drop(t.Context(), cnm.Keys{Endpoints: []cnm.EndpointID{other.Endpoints[0].ID}}), boot)
	step("drop of it again", s.Drop(t.Context(), cnm.Keys{Endpoints: []cnm.EndpointID{other.Endpoints[0].ID}}))
	step("drop of what is not there", s.Drop(t.Context(), cnm.Keys{Networks: []cnm.NetworkID{"x"}, Sandboxes: []cnm.SandboxID{"y"}}))
	step("drop of both", s.Drop(t.Context(), cnm.Keys{
		Endpoints: []cnm.EndpointID{kept.Endpoints[0].ID}, Joins: []cnm.EndpointID{kept.Joins[0].Endpoint},
	}), boot, durable)
}

// TestFaults fails each commit of a call in each way: the call returns the error and has changed nothing, in memory, in the
// files, and for the next process.
func TestFaults(t *testing.T) {
	t.Parallel()
	tests := map[string]map[lifetime][]fault{
		"durable early": {durable: {early}},
		"durable late":  {durable: {late}},
		"boot early":    {boot: {early}},
		"boot late":     {boot: {late}},
	}
	for name, faults := range tests {
		for verb, do := range map[string]func(*testing.T, *Store) error{
			"put": func(t *testing.T, s *Store) error {
				changed := storetest.Sample(1, true)
				changed.Networks[0].Name, changed.Joins[0].Interface = "new", "new"
				changed.Endpoints = append(changed.Endpoints, storetest.Sample(7, false).Endpoints...)
				changed.Endpoints = append(changed.Endpoints, storetest.Sample(8, true).Endpoints...)
				return s.Put(t.Context(), changed)
			},
			"drop": func(t *testing.T, s *Store) error {
				id := storetest.Sample(1, true).Endpoints[0].ID
				return s.Drop(t.Context(), cnm.Keys{Endpoints: []cnm.EndpointID{id}, Joins: []cnm.EndpointID{id}})
			},
		} {
			t.Run(name+" "+verb, func(t *testing.T) {
				t.Parallel()
				c := config(t)
				s := mustOpen(t, c)
				mustPut(t, s, storetest.Sample(1, true))
				mustPut(t, s, storetest.Sample(2, false))
				before := mustLoad(t, s)
				(&rig{faults: cloneFaults(faults)}).install(s)
				if err := do(t, s); !errors.Is(err, errDisk) || cnm.KindOf(err) != cnm.Internal {
					t.Fatalf("it returns %v", err)
				}
				if after := mustLoad(t, s); !reflect.DeepEqual(after, before) {
					t.Errorf("it changed\n%+v\ninto\n%+v", before, after)
				}
				mustPut(t, s, storetest.Sample(3, false))
				if err := s.Drop(t.Context(), cnm.Keys{
					Networks:  []cnm.NetworkID{storetest.Sample(3, false).Networks[0].ID},
					Endpoints: []cnm.EndpointID{storetest.Sample(3, false).Endpoints[0].ID},
					Sandboxes: []cnm.SandboxID{storetest.Sample(3, false).Sandboxes[0].ID},
					Joins:     []cnm.EndpointID{storetest.Sample(3, false).Endpoints[0].ID},
				}); err != nil {
					t.Errorf("afterwards: %v", err)
				}
				mustClose(t, s)
				before.Boot.Fresh = false
				if after := mustLoad(t, mustOpen(t, c)); !reflect.DeepEqual(after, before) {
					t.Errorf("the next process finds\n%+v\nand not\n%+v", after, before)
				}
			})
		}
	}
}

func cloneFaults(faults map[lifetime][]fault) map[lifetime][]fault {
	c := map[lifetime][]fault{}
	for l, list := range faults {
		c[l] = slices.Clone(list)
	}
	return c
}

// TestRetired lets the way back fail too: nobody knows what the file holds then, so it takes no more changes and says so.
func TestRetired(t *testing.T) {
	t.Parallel()
	for name, faults := range map[string]map[lifetime][]fault{
		"late, then stuck":         {durable: {late, early}},
		"boot early, then stuck":   {durable: {none, early}, boot: {early}},
		"boot late, all stuck":     {durable: {none, early}, boot: {late, early}},
		"durable late, late again": {durable: {late, late}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := config(t)
			s := mustOpen(t, c)
			(&rig{faults: cloneFaults(faults)}).install(s)
			if err := s.Put(t.Context(), storetest.Sample(1, true)); !errors.Is(err, errDisk) {
				t.Fatalf("put returns %v", err)
			}
			err := s.Put(t.Context(), storetest.Sample(2, true))
			checkRefusal(t, "the next put", err, c.path(t, durable), cnm.Internal)
			if !strings.Contains(err.Error(), "restart the daemon") {
				t.Errorf("%v does not say what to do", err)
			}
			mustClose(t, s)
			mustLoad(t, mustOpen(t, c))
		})
	}
}

// TestPanic lets bbolt panic in the middle of a transaction.
func TestPanic(t *testing.T) {
	t.Parallel()
	c := config(t)
	s := mustOpen(t, c)
	mustPut(t, s, storetest.Sample(1, false))
	s.boot.commit = func(*bbolt.Tx) error { panic("page 3 is not what it was") }
	err := s.Put(t.Context(), storetest.Sample(2, false))
	checkRefusal(t, "a panic", err, c.path(t, boot), cnm.Internal)
	if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "page 3 is not what it was") {
		t.Errorf("put returns %v", err)
	}
	checkRefusal(t, "the next put", s.Put(t.Context(), storetest.Sample(3, false)), c.path(t, boot), cnm.Internal)
	mustClose(t, s)
	if got := mustLoad(t, mustOpen(t, c)); len(got.Sandboxes) != 1 || len(got.Networks) != 1 {
		t.Errorf("the next process finds %+v", got)
	}
}
