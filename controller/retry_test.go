// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"testing"
	"time"
)

func TestRetryPauses(t *testing.T) {
	t.Parallel()
	r := newRetry()
	defer r.timer.Stop()
	is := func(when string, want time.Duration) {
		t.Helper()
		if r.pause != want {
			t.Errorf("%s the pause is %s, want %s", when, r.pause, want)
		}
	}
	is("at first", 0)
	r.soon()
	is("after a failure", firstRetry)
	for want := 2 * firstRetry; want < lookEvery; want *= 2 {
		r.tried(true)
		is("after a try in vain", want)
	}
	for range 3 {
		r.tried(true)
		is("after many", lookEvery)
	}
	r.soon()
	is("after another failure", firstRetry)
	r.tried(false)
	is("when all is done", 0)
	r.tried(true)
	is("when a look left something", firstRetry)
}
