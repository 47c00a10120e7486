// SPDX-License-Identifier: Apache-2.0

package firewall_test

import (
	"bytes"
	"net/netip"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	cnm "github.com/libnetwork/cnm"
)

// TestOnceToEachAndNeverBack counts what is sent to all, from the hub and from each of two shards: one copy at each peer, none at
// the sender.
func TestOnceToEachAndNeverBack(t *testing.T) {
	t.Parallel()
	both(t, func(l *lab) {
		l.network(1, plain("cn-a", 1))
		l.shard("1", "cn-a")
		l.shard("2", "cn-a")
		all := []*box{
			l.endpoint("h1", "cn-a", 1, 11), l.endpoint("h2", "cn-a", 1, 12),
			l.endpointOn("a1", "cn-a", "cns1", 1, 21), l.endpointOn("a2", "cn-a", "cns1", 1, 22),
			l.endpointOn("b1", "cn-a", "cns2", 1, 31), l.endpointOn("b2", "cn-a", "cns2", 1, 32),
		}
		last := l.endpoint("last", "cn-a", 1, 13)
		mark := []byte("that was all")
		for _, from := range []*box{all[0], all[2], all[4]} {
			frames := toMany(from)
			var taps []*tap
			for _, b := range all {
				taps = append(taps, l.tap(b))
			}
			out, end := l.tap(from), l.tap(last)
			onOneCPU(t, func() {
				for _, frame := range frames {
					out.send(frame)
				}
				end.send(eth(broadcast(), last.mac, typeIPv4, udp(port7(last.addrs[0]), netip.AddrPortFrom(addr4(1, 255), 7), string(mark))))
			})
			for i, to := range all {
				seen := taps[i].until(mark)
				want := 1
				if to == from {
					want = 0
				}
				for what, frame := range frames {
					got := 0
					for _, s := range seen {
						if bytes.HasPrefix(s, frame) {
							got++
						}
					}
					if got != want {
						t.Errorf("%s of %s comes %d times to %s, want %d", what, from.name, got, to.name, want)
					}
				}
			}
		}
	})
}

// toMany are frames of a box to all, or to a group.
func toMany(b *box) map[string][]byte {
	a4, a6 := b.addr(false), b.addr(true)
	target := addr6(1, 77).As16()
	solicited := netip.AddrFrom16([16]byte{0: 0xff, 1: 2, 11: 1, 12: 0xff, 13: target[13], 14: target[14], 15: target[15]})
	return map[string][]byte{
		"an ARP request":    eth(broadcast(), b.mac, typeARP, arp(1, b.mac, a4, addr4(1, 77))),
		"an IPv4 broadcast": eth(broadcast(), b.mac, typeIPv4, udp(port7(a4), netip.AddrPortFrom(addr4(1, 255), 7), "to all")),
		"an IPv4 multicast": eth(cnm.MAC{1, 0, 0x5e, 1, 2, 3}, b.mac, typeIPv4, udp(port7(a4), netip.MustParseAddrPort("239.1.2.3:7"), "to some")),
		"a neighbour solicitation": eth(cnm.MAC{0x33, 0x33, 0xff, target[13], target[14], target[15]}, b.mac, typeIPv6,
			icmp6(a6, solicited, 135, nd(netip.AddrFrom16(target), sourceOption, b.mac)...)),
		"an IPv6 multicast": eth(cnm.MAC{0x33, 0x33, 0, 0, 0, 1}, b.mac, typeIPv6, udp(port7(a6), netip.AddrPortFrom(netip.IPv6LinkLocalAllNodes(), 7), "to all")),
	}
}

// onOneCPU runs fn on one processor, where the kernel passes on what is sent in its order.
func onOneCPU(t *testing.T, fn func()) {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var all, one unix.CPUSet
	must(t, unix.SchedGetaffinity(0, &all))
	for i := 0; one.Count() == 0; i++ {
		if all.IsSet(i) {
			one.Set(i)
		}
	}
	must(t, unix.SchedSetaffinity(0, &one))
	defer func() { must(t, unix.SchedSetaffinity(0, &all)) }()
	fn()
}
