// SPDX-License-Identifier: Apache-2.0

package conntrack

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/libnetwork/cnm/kernel/kerneltest"
)

// BenchmarkPass is one pass over tables of several sizes in which one entry is
// deleted.
func BenchmarkPass(b *testing.B) {
	for _, size := range []int{0, 1, 1_000, 60_000} {
		for _, freed := range []int{1, 100} {
			b.Run(fmt.Sprintf("entries=%d/freed=%d", size, freed), func(b *testing.B) {
				kerneltest.Bench(b, func(b *testing.B) { benchmarkPass(b, size, freed) })
			})
		}
	}
}

func benchmarkPass(b *testing.B, size, freed int) {
	c := dial(b)
	have, err := c.Count()
	if err != nil {
		b.Fatal(err)
	}
	if have == 0 {
		fill(b, c, size-1)
		b.ResetTimer()
	}
	var wanted targets
	for i := range freed {
		wanted.add(0, netip.AddrPortFrom(netip.AddrFrom4([4]byte{203, 0, 113, byte(i + 1)}), 0))
	}
	victim := flow(udp, "192.0.2.1:1", "203.0.113.1:1", "203.0.113.1:1")
	b.ReportAllocs()
	for b.Loop() {
		if size > 0 {
			create(b, c, victim)
		}
		n, err := c.DeleteFunc(b.Context(), wanted.cover(), func(e *Entry) bool { return wanted.match(e, nil) })
		if err != nil || size > 0 && n != 1 {
			b.Fatalf("deleted %d (%v)", n, err)
		}
	}
}
