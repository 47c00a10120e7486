// SPDX-License-Identifier: Apache-2.0

package ports

import (
	"fmt"
	"io"
	"net"
	"runtime"
	"strconv"
	"testing"

	"github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/kernel/kerneltest"
)

// BenchmarkHoldRelease takes ports on all addresses of both families and lets
// go of them.
func BenchmarkHoldRelease(b *testing.B) {
	for _, proto := range []string{"tcp", "udp"} {
		for _, n := range []int{1, 200} {
			b.Run(fmt.Sprintf("%s/ports=%d", proto, n), func(b *testing.B) {
				kerneltest.Bench(b, func(b *testing.B) {
					h := newHolder(b, Config{})
					req := request(b, "a", fmt.Sprintf("20000-%d:20000-%d/%s", 19999+n, 19999+n, proto))
					b.ReportAllocs()
					for b.Loop() {
						got, err := h.Hold(b.Context(), req)
						if err != nil {
							b.Fatal(err)
						}
						h.Release("a", got)
					}
				})
			})
		}
	}
}

// BenchmarkHoldAny takes a port of the kernel's choice.
func BenchmarkHoldAny(b *testing.B) {
	kerneltest.Bench(b, func(b *testing.B) {
		h := newHolder(b, Config{})
		req := request(b, "a", "80")
		for b.Loop() {
			got, err := h.Hold(b.Context(), req)
			if err != nil {
				b.Fatal(err)
			}
			h.Release("a", got)
		}
	})
}

// BenchmarkRestore takes 10,000 ports and tells what memory of this process they
// need.
func BenchmarkRestore(b *testing.B) {
	kerneltest.Bench(b, func(b *testing.B) {
		var list []cnm.Port
		for n := range 10_000 {
			for _, a := range both() {
				list = append(list, cnm.Port{Proto: cnm.TCP, HostIP: a, HostPort: uint16(20_000 + n), Port: 80})
			}
		}
		var before, after runtime.MemStats
		for b.Loop() {
			b.StopTimer()
			h, err := New(Config{})
			if err != nil {
				b.Fatal(err)
			}
			runtime.GC()
			runtime.ReadMemStats(&before)
			b.StartTimer()
			for i := 0; i < len(list); i += 2 {
				if stolen := h.Restore(strconv.Itoa(i), "a", list[i:i+2], endpoint()); len(stolen) != 0 {
					b.Fatal(stolen)
				}
			}
			b.StopTimer()
			runtime.GC()
			runtime.ReadMemStats(&after)
			b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/10_000, "B/port")
			h.Close()
			b.StartTimer()
		}
	})
}

// BenchmarkSplice sends through a spliced connection to ::1.
func BenchmarkSplice(b *testing.B) {
	kerneltest.Bench(b, func(b *testing.B) {
		l, err := net.Listen("tcp", "[::1]:9080")
		if err != nil {
			b.Fatal(err)
		}
		drained := make(chan error, 1)
		go func() {
			c, err := l.Accept()
			if err == nil {
				_, err = io.Copy(io.Discard, c)
				_ = c.Close()
			}
			drained <- err
		}()
		h := newHolder(b, Config{})
		hold1(b, h, "a", "8080:9080")
		c, err := net.Dial("tcp", "[::1]:8080")
		if err != nil {
			b.Fatal(err)
		}
		chunk := make([]byte, 1<<20)
		b.SetBytes(int64(len(chunk)))
		for b.Loop() {
			if _, err := c.Write(chunk); err != nil {
				b.Fatal(err)
			}
		}
		_ = c.Close()
		if err := <-drained; err != nil {
			b.Error(err)
		}
		_ = l.Close()
	})
}
