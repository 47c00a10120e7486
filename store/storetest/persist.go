// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"testing"

	"github.com/libnetwork/cnm"
)

// persistent ends the test where the store does not outlive its process.
func persistent(t *testing.T, subject Subject) bool {
	t.Helper()
	if subject.Reopen == nil || subject.Reboot == nil {
		t.Log("this store does not outlive its process, so there is nothing to check")
		return false
	}
	return true
}

func testReopen(t *testing.T, subject Subject) {
	if !persistent(t, subject) {
		return
	}
	s := subject.Open(t)
	group := load(t, s).Boot.Group
	want := merge(Sample(1, false), Sample(2, true), sparse(3))
	put(t, s, merge(want, Sample(4, false), Sample(5, true)))
	drop(t, s, keysOf(merge(Sample(4, false), Sample(5, true))))
	for range 2 {
		s = subject.Reopen(t, s)
		expect(t, s, want)
		if b := load(t, s).Boot; b.Fresh || b.Group != group {
			t.Errorf("reopened in the same boot it says %+v; it is not fresh, and its group is %d", b, group)
		}
	}
	drop(t, s, keysOf(want))
	expect(t, subject.Reopen(t, s), cnm.Records{})
}

func testReboot(t *testing.T, subject Subject) {
	if !persistent(t, subject) {
		return
	}
	s := subject.Open(t)
	group := load(t, s).Boot.Group
	put(t, s, merge(Sample(1, false), Sample(2, true)))
	s = subject.Reboot(t, s)
	want := cnm.Records{
		Networks:  merge(Sample(1, false), Sample(2, true)).Networks,
		Endpoints: Sample(2, true).Endpoints,
	}
	expect(t, s, want)
	if b := load(t, s).Boot; !b.Fresh || b.Group == group {
		t.Errorf("after a reboot it says %+v; it is fresh, and its group is not %d again", b, group)
	}
	put(t, s, Sample(1, true)) // its identifier was that of an endpoint of the last boot
	put(t, s, Sample(3, false))
	s = subject.Reopen(t, s)
	if b := load(t, s).Boot; b.Fresh {
		t.Errorf("reopened after a reboot it says %+v", b)
	}
	expect(t, s, merge(Sample(1, true), cnm.Records{Networks: Sample(2, true).Networks, Endpoints: Sample(2, true).Endpoints}, Sample(3, false)))
}
