// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/libnetwork/cnm"
)

func testEmpty(t *testing.T, subject Subject) {
	s := subject.Open(t)
	expect(t, s, cnm.Records{})
	b := load(t, s).Boot
	if !b.Fresh || b.Group == 0 || b.Group > 1<<31-1 {
		t.Errorf("a new store says %+v; it is fresh, and its group is from 1 to 2^31-1", b)
	}
	put(t, s, cnm.Records{Boot: cnm.Boot{Group: 7}})
	drop(t, s, cnm.Keys{})
	expect(t, s, cnm.Records{})
	if again := load(t, s).Boot; again != b {
		t.Errorf("boot became %+v from %+v", again, b)
	}
	if other := load(t, subject.Open(t)).Boot; other.Group == b.Group {
		t.Errorf("two stores drew the same group %d", b.Group)
	}
}

func testRoundTrip(t *testing.T, subject Subject) {
	s := subject.Open(t)
	want := merge(Sample(1, false), Sample(2, true), sparse(3))
	put(t, s, want)
	expect(t, s, want)
}

// sparse is records with nothing but what they are named by.
func sparse(n int) cnm.Records {
	return cnm.Records{
		Networks:  []cnm.Network{{ID: cnm.NetworkID(sampleID(n, 1))}},
		Endpoints: []cnm.Endpoint{{ID: cnm.EndpointID(sampleID(n, 2))}},
		Sandboxes: []cnm.Sandbox{{ID: cnm.SandboxID(sampleID(n, 3))}},
		Joins:     []cnm.Join{{Endpoint: cnm.EndpointID(sampleID(n, 2))}},
	}
}

func testReplace(t *testing.T, subject Subject) {
	for _, keep := range []bool{false, true} {
		s := subject.Open(t)
		r := Sample(1, keep)
		put(t, s, merge(r, sparse(2)))
		changed := Sample(1, keep)
		changed.Networks[0].Labels = map[string]string{"new": "label"}
		changed.Endpoints[0].State = cnm.Leaving
		changed.Sandboxes[0].Name = "renamed"
		changed.Joins[0].Result = cnm.JoinResult{}
		put(t, s, changed)
		expect(t, s, merge(changed, sparse(2)))
		put(t, s, cnm.Records{Endpoints: r.Endpoints})
		changed.Endpoints = r.Endpoints
		expect(t, s, merge(changed, sparse(2)))
	}
}

// testTwice puts and drops a record twice in one call: the last one stays.
func testTwice(t *testing.T, subject Subject) {
	s := subject.Open(t)
	first, last := Sample(1, true), Sample(1, true)
	last.Networks[0].Name = "last"
	last.Endpoints[0].Name = "last"
	last.Sandboxes[0].Name = "last"
	last.Joins[0].Interface = "last"
	put(t, s, merge(first, last))
	expect(t, s, last)
	k := keysOf(merge(first, last))
	drop(t, s, k)
	expect(t, s, cnm.Records{})
}

func testDrop(t *testing.T, subject Subject) {
	s := subject.Open(t)
	all := merge(Sample(1, true), Sample(2, false), Sample(3, true))
	put(t, s, all)
	drop(t, s, keysOf(Sample(9, true)))
	drop(t, s, keysOf(Sample(9, false)))
	expect(t, s, all)
	drop(t, s, keysOf(merge(Sample(2, false), Sample(9, false))))
	expect(t, s, merge(Sample(1, true), Sample(3, true)))
	drop(t, s, cnm.Keys{Endpoints: []cnm.EndpointID{Sample(3, true).Endpoints[0].ID}})
	left := Sample(3, true)
	left.Endpoints = nil
	expect(t, s, merge(Sample(1, true), left))
	drop(t, s, keysOf(all))
	expect(t, s, cnm.Records{})
	put(t, s, all)
	expect(t, s, all)
}

// testRefused checks that one bad record keeps all others out.
func testRefused(t *testing.T, subject Subject) {
	s := subject.Open(t)
	before := Sample(1, false)
	put(t, s, before)
	for what, bad := range map[string]cnm.Records{
		"network":  {Networks: []cnm.Network{{Name: "n"}}},
		"endpoint": {Endpoints: []cnm.Endpoint{{Name: "n"}}},
		"kept":     {Endpoints: []cnm.Endpoint{{Name: "n", Keep: true}}},
		"sandbox":  {Sandboxes: []cnm.Sandbox{{Name: "n"}}},
		"join":     {Joins: []cnm.Join{{Interface: "n"}}},
	} {
		refused(t, what+" without identifier", s.Put(t.Context(), merge(Sample(2, false), Sample(3, true), bad)), cnm.Invalid)
		expect(t, s, before)
	}
}

// testLifetime checks that an endpoint stays in the lifetime it was recorded in.
func testLifetime(t *testing.T, subject Subject) {
	for _, keep := range []bool{false, true} {
		s := subject.Open(t)
		r, other := Sample(1, keep), Sample(1, !keep)
		refused(t, "an endpoint in both lifetimes", s.Put(t.Context(), merge(r, other)), cnm.Invalid)
		expect(t, s, cnm.Records{})
		put(t, s, r)
		refused(t, "a change of lifetime", s.Put(t.Context(), merge(Sample(2, keep), other)), cnm.Invalid)
		expect(t, s, r)
		drop(t, s, keysOf(r))
		put(t, s, other)
		expect(t, s, other)
	}
}

func testCancelled(t *testing.T, subject Subject) {
	s := subject.Open(t)
	r := Sample(1, true)
	put(t, s, r)
	cause := errors.New("the caller left")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	_, err := s.Load(ctx)
	for what, err := range map[string]error{
		"load":     err,
		"put":      s.Put(ctx, Sample(2, false)),
		"put kept": s.Put(ctx, Sample(2, true)),
		"drop":     s.Drop(ctx, keysOf(r)),
	} {
		refused(t, what+" after the end of its context", err, cnm.Unavailable)
		if !errors.Is(err, cause) {
			t.Errorf("%s: %v does not wrap why", what, err)
		}
	}
	expect(t, s, r)
}

func testClosed(t *testing.T, subject Subject) {
	s := subject.Open(t)
	put(t, s, Sample(1, true))
	for range 2 {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	}
	_, err := s.Load(t.Context())
	refused(t, "load of a closed store", err, cnm.Unavailable)
	for _, keep := range []bool{false, true} {
		refused(t, "put to a closed store", s.Put(t.Context(), Sample(2, keep)), cnm.Unavailable)
		refused(t, "drop from a closed store", s.Drop(t.Context(), keysOf(Sample(1, keep))), cnm.Unavailable)
	}
}

// testConcurrent has many callers, each with records of its own.
func testConcurrent(t *testing.T, subject Subject) {
	s := subject.Open(t)
	const callers, rounds = 8, 6
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() {
			for i := range rounds {
				r := Sample(c*rounds+i, i%3 == 0)
				if err := s.Put(t.Context(), r); err != nil {
					t.Errorf("put: %v", err)
				}
				if i%2 == 1 {
					if err := s.Drop(t.Context(), keysOf(r)); err != nil {
						t.Errorf("drop: %v", err)
					}
				}
				if _, err := s.Load(t.Context()); err != nil {
					t.Errorf("load: %v", err)
				}
			}
		})
	}
	wg.Wait()
	var want []cnm.Records
	for n := range callers * rounds {
		if i := n % rounds; i%2 == 0 {
			want = append(want, Sample(n, i%3 == 0))
		}
	}
	expect(t, s, merge(want...))
}

// testConcurrentSame has many callers that put and drop the same records: at the end they are there wholly or not at
// all, and can be dropped.
func testConcurrentSame(t *testing.T, subject Subject) {
	s := subject.Open(t)
	var wg sync.WaitGroup
	for c := range 8 {
		wg.Go(func() {
			for i := range 10 {
				r := Sample(1, c%2 == 0)
				var err error
				if (c+i)%3 == 0 {
					err = s.Drop(t.Context(), keysOf(r))
				} else {
					err = s.Put(t.Context(), r)
				}
				if err != nil && !errors.Is(err, cnm.Invalid) {
					t.Errorf("put or drop: %v", err)
				}
			}
		})
	}
	wg.Wait()
	if n := len(load(t, s).Endpoints); n > 1 {
		t.Errorf("one endpoint is recorded %d times", n)
	}
	drop(t, s, keysOf(Sample(1, true)))
	expect(t, s, cnm.Records{})
}
