// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"reflect"
	"testing"

	"github.com/libnetwork/cnm"
)

// Subject is a kind of store. Its functions end the test on an error.
type Subject struct {
	// Open makes a new, empty store, closed at the end of the test.
	Open func(t testing.TB) cnm.Store
	// Reopen closes s and opens what it left, in the same boot. Nil: the store does not outlive its process.
	Reopen func(t testing.TB, s cnm.Store) cnm.Store
	// Reboot closes s and opens what it left after another start of the machine. Nil with Reopen.
	Reboot func(t testing.TB, s cnm.Store) cnm.Store
}

// Run runs the suite.
func Run(t *testing.T, subject Subject) {
	t.Helper()
	tests := []struct {
		name string
		fn   func(*testing.T, Subject)
	}{
		{"Empty", testEmpty},
		{"RoundTrip", testRoundTrip},
		{"Replace", testReplace},
		{"Twice", testTwice},
		{"Drop", testDrop},
		{"Refused", testRefused},
		{"Lifetime", testLifetime},
		{"Cancelled", testCancelled},
		{"Closed", testClosed},
		{"Concurrent", testConcurrent},
		{"ConcurrentSame", testConcurrentSame},
		{"Model", testModel},
		{"Reopen", testReopen},
		{"Reboot", testReboot},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.fn(t, subject)
		})
	}
}

// put puts r.
func put(t testing.TB, s cnm.Store, r cnm.Records) {
	t.Helper()
	if err := s.Put(t.Context(), r); err != nil {
		t.Fatalf("put: %v", err)
	}
}

// drop drops k.
func drop(t testing.TB, s cnm.Store, k cnm.Keys) {
	t.Helper()
	if err := s.Drop(t.Context(), k); err != nil {
		t.Fatalf("drop: %v", err)
	}
}

// load loads everything.
func load(t testing.TB, s cnm.Store) cnm.Records {
	t.Helper()
	r, err := s.Load(t.Context())
	if err != nil {
		t.Fatalf("load: %v", err)
	}
	return r
}

// expect compares what the store holds with want, whose Boot is not looked at.
func expect(t testing.TB, s cnm.Store, want cnm.Records) {
	t.Helper()
	got := load(t, s)
	got.Boot, want.Boot = cnm.Boot{}, cnm.Boot{}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("the store holds\n%+v\nand should hold\n%+v", got, want)
	}
}

// refused checks that err is of the kind.
func refused(t testing.TB, what string, err error, kind cnm.Kind) {
	t.Helper()
	if err == nil {
		t.Fatalf("%s was taken; it should be refused as %v", what, kind)
	}
	if got := cnm.KindOf(err); got != kind {
		t.Fatalf("%s was refused as %v (%v); it should be as %v", what, got, err, kind)
	}
}
