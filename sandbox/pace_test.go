// SPDX-License-Identifier: Apache-2.0

package sandbox

import (
	"testing"
	"time"
)

func TestPace(t *testing.T) {
	t.Parallel()
	var p pace
	now := time.Unix(1000, 0)
	for i := range calm + 2 {
		if got, want := p.hurried(now), i >= calm; got != want {
			t.Errorf("plug %d of a second is hurried: %t, want %t", i+1, got, want)
		}
	}
	if p.hurried(now.Add(time.Second)) {
		t.Error("the first plug of the next second is hurried")
	}
}
