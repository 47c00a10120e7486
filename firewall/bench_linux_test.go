// SPDX-License-Identifier: Apache-2.0

package firewall_test

import (
	"context"
	"fmt"
	"net/netip"
	"strconv"
	"sync"
	"testing"

	"github.com/libnetwork/cnm/firewall"
	"github.com/libnetwork/cnm/kernel/kerneltest"
)

// declare makes a firewall with owners that each publish a port.
func declare(b *testing.B, owners int) *firewall.Firewall {
	b.Helper()
	fw := openFirewall(b, firewall.Config{})
	must(b, fw.Together(b.Context(), func(ctx context.Context) error {
		for i := range owners {
			must(b, fw.Set(ctx, owner(i), attach(i)))
		}
		return nil
	}))
	return fw
}

// BenchmarkSet is the share of one attach and detach: 11 elements in, 11 elements out.
func BenchmarkSet(b *testing.B) {
	for _, owners := range []int{0, 10_000} {
		b.Run(fmt.Sprintf("beside=%d", owners), func(b *testing.B) {
			kerneltest.Bench(b, func(b *testing.B) {
				fw := declare(b, owners)
				for b.Loop() {
					must(b, fw.Set(b.Context(), owner(20_000), attach(20_000)))
					must(b, fw.Drop(b.Context(), owner(20_000)))
				}
			})
		})
	}
}

// BenchmarkCallers is the same by 64 callers at once; the figure is for one attach and detach.
func BenchmarkCallers(b *testing.B) {
	kerneltest.Bench(b, func(b *testing.B) {
		fw := declare(b, 1000)
		var wg sync.WaitGroup
		work := make(chan int)
		for i := range 64 {
			wg.Go(func() {
				for range work {
					must(b, fw.Set(b.Context(), owner(20_000+i), attach(20_000+i)))
					must(b, fw.Drop(b.Context(), owner(20_000+i)))
				}
			})
		}
		for b.Loop() {
			work <- 0
		}
		close(work)
		wg.Wait()
	})
}

// BenchmarkStart declares 3,000 endpoints with a published port each, in one transaction that replaces everything.
func BenchmarkStart(b *testing.B) {
	kerneltest.Bench(b, func(b *testing.B) {
		kerneltest.Clear(b, "cnm")
		for b.Loop() {
			fw, err := firewall.Open(b.Context(), firewall.Config{})
			must(b, err)
			must(b, fw.Together(b.Context(), func(ctx context.Context) error {
				for i := range 3000 {
					must(b, fw.Set(ctx, owner(i), attach(i)))
				}
				return nil
			}))
			must(b, fw.Close())
		}
	})
}

// BenchmarkNetworks makes a network beside a thousand.
func BenchmarkNetworks(b *testing.B) {
	kerneltest.Bench(b, func(b *testing.B) {
		fw := openFirewall(b, firewall.Config{})
		network := func(i int) firewall.Rules {
			r := plain(fmt.Sprintf("cn-%d", i), 0)
			hi, lo := byte(i>>8), byte(i)
			r.Subnets = []netip.Prefix{
				netip.PrefixFrom(netip.AddrFrom4([4]byte{10, hi, lo}), 24), netip.PrefixFrom(netip.AddrFrom16([16]byte{0: 0xfd, 2: hi, 3: lo}), 64),
			}
			return firewall.Rules{Bridges: []firewall.Bridge{r}}
		}
		must(b, fw.Together(b.Context(), func(ctx context.Context) error {
			for i := range 1000 {
				must(b, fw.Set(ctx, firewall.Owner(strconv.Itoa(i)), network(i)))
			}
			return nil
		}))
		for b.Loop() {
			must(b, fw.Set(b.Context(), "another", network(2000)))
			must(b, fw.Drop(b.Context(), "another"))
		}
	})
}
