// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"net/netip"
	"strings"
	"testing"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/kernel/kerneltest"
	"github.com/libnetwork/cnm/test/lab/stage"
)

// Multicast addresses of frames.
func toMulticast(a netip.Addr) cnm.MAC {
	b := a.As16()
	return cnm.MAC{0x33, 0x33, b[12], b[13], b[14], b[15]}
}

// frame is one that an endpoint might send. The word is in it, behind what it claims to be.
type frame struct {
	name string
	// opt is the option that lets it pass; "" where none does.
	opt  string
	make func(a attacker, word string) []byte
}

// attacker knows its own addresses, a victim's and the gateway's.
type attacker struct {
	mac, victimMAC, hubMAC cnm.MAC
	ip4, ip6, local6       netip.Addr
	victim4, victim6       netip.Addr
	gateway4, gateway6     netip.Addr
}

func other() cnm.MAC { return cnm.MAC{2, 0, 0, 0, 9, 9} }

func (a attacker) datagram(from netip.Addr, sport, dport uint16, word string) []byte {
	to := a.victim4
	if from.Is6() {
		to = a.victim6
	}
	return stage.IP(from, to, 17, stage.UDP(netip.AddrPortFrom(from, sport), netip.AddrPortFrom(to, dport), word))
}

// neighbour is a neighbour discovery message about an address, with the option that has a MAC address.
func (a attacker) neighbour(from, to, about netip.Addr, kind, option byte, mac cnm.MAC, word string) []byte {
	body := append([]byte{0, 0, 0, 0}, about.AsSlice()...)
	if option != 0 {
		body = append(append(body, option, 1), mac[:]...)
	}
	body = append(body, append([]byte{14, byte((len(word) + 2 + 7) / 8)}, padded(word)...)...) // a nonce has the word
	return stage.IP(from, to, 58, stage.ICMP6(from, to, kind, body))
}

// padded is a word in an option, whose length is counted in units of eight bytes, two of which are its head.
func padded(word string) []byte {
	return append([]byte(word), make([]byte, (len(word)+2+7)/8*8-2-len(word))...)
}

const (
	arp, ipv4, ipv6 = 0x0806, 0x0800, 0x86dd
	solicit, advert = 135, 136
)

// forbidden are frames that no endpoint may send.
func forbidden() []frame {
	spoof := func(name string, build func(a attacker, word string) []byte) frame {
		return frame{name, "spoof-check=false", build}
	}
	all := netip.MustParseAddr("ff02::1")
	return []frame{
		spoof("another's mac", func(a attacker, w string) []byte {
			return stage.Ether(a.victimMAC, other(), ipv4, a.datagram(a.ip4, 9, 9, w))
		}),
		spoof("another's mac, ipv6", func(a attacker, w string) []byte {
			return stage.Ether(a.victimMAC, other(), ipv6, a.datagram(a.ip6, 9, 9, w))
		}),
		spoof("the gateway's mac", func(a attacker, w string) []byte {
			return stage.Ether(a.victimMAC, a.hubMAC, ipv4, a.datagram(a.ip4, 9, 9, w))
		}),
		spoof("another's address", func(a attacker, w string) []byte {
			return stage.Ether(a.victimMAC, a.mac, ipv4, a.datagram(a.gateway4, 9, 9, w))
		}),
		spoof("another's address, ipv6", func(a attacker, w string) []byte {
			return stage.Ether(a.victimMAC, a.mac, ipv6, a.datagram(a.gateway6, 9, 9, w))
		}),
		spoof("an address outside of the network", func(a attacker, w string) []byte {
			return stage.Ether(a.victimMAC, a.mac, ipv4, a.datagram(addr("198.51.100.1"), 9, 9, w))
		}),
		spoof("the unspecified address, ipv6", func(a attacker, w string) []byte {
			return stage.Ether(a.victimMAC, a.mac, ipv6, a.datagram(netip.IPv6Unspecified(), 9, 9, w))
		}),
		spoof("arp for the gateway", func(a attacker, w string) []byte {
			return stage.Ether(stage.Broadcast(), a.mac, arp, stage.ARP(2, a.mac, a.gateway4, a.victimMAC, a.victim4, w))
		}),
		spoof("arp with another's mac inside", func(a attacker, w string) []byte {
			return stage.Ether(stage.Broadcast(), a.mac, arp, stage.ARP(1, other(), a.ip4, cnm.MAC{}, a.victim4, w))
		}),
		spoof("gratuitous arp for the victim", func(a attacker, w string) []byte {
			return stage.Ether(stage.Broadcast(), a.mac, arp, stage.ARP(1, a.mac, a.victim4, cnm.MAC{}, a.victim4, w))
		}),
		spoof("advertisement of the gateway", func(a attacker, w string) []byte {
			return stage.Ether(toMulticast(all), a.mac, ipv6, a.neighbour(a.local6, all, a.gateway6, advert, 2, a.mac, w))
		}),
		spoof("advertisement with another's mac", func(a attacker, w string) []byte {
			return stage.Ether(toMulticast(all), a.mac, ipv6, a.neighbour(a.local6, all, a.ip6, advert, 2, other(), w))
		}),
		spoof("solicitation with another's mac", func(a attacker, w string) []byte {
			return stage.Ether(toMulticast(all), a.mac, ipv6, a.neighbour(a.local6, all, a.victim6, solicit, 1, other(), w))
		}),
		spoof("duplicate detection of another's address", func(a attacker, w string) []byte {
			return stage.Ether(toMulticast(all), a.mac, ipv6, a.neighbour(netip.IPv6Unspecified(), all, a.victim6, solicit, 0, cnm.MAC{}, w))
		}),
		{"router advertisement", "allow-ra=true", func(a attacker, w string) []byte {
			body := append(make([]byte, 12), append([]byte{14, byte((len(w) + 2 + 7) / 8)}, padded(w)...)...)
			return stage.Ether(toMulticast(all), a.mac, ipv6, stage.IP(a.local6, all, 58, stage.ICMP6(a.local6, all, 134, body)))
		}},
		{"redirect", "", func(a attacker, w string) []byte {
			return stage.Ether(a.victimMAC, a.mac, ipv4, stage.IP(a.ip4, a.victim4, 1, append([]byte{5, 1, 0, 0, 0, 0, 0, 0}, w...)))
		}},
		{"redirect, ipv6", "", func(a attacker, w string) []byte {
			return stage.Ether(a.victimMAC, a.mac, ipv6, stage.IP(a.local6, a.victim6, 58, stage.ICMP6(a.local6, a.victim6, 137, append(make([]byte, 36), w...))))
		}},
		{"dhcp server", "allow-dhcp-server=true", func(a attacker, w string) []byte {
			return stage.Ether(a.victimMAC, a.mac, ipv4, a.datagram(a.ip4, 67, 68, w))
		}},
		{"dhcp server, ipv6", "allow-dhcp-server=true", func(a attacker, w string) []byte {
			return stage.Ether(a.victimMAC, a.mac, ipv6, a.datagram(a.ip6, 547, 546, w))
		}},
		{"multicast listener report", "", func(a attacker, w string) []byte {
			return stage.Ether(toMulticast(all), a.mac, ipv6, stage.IP(a.local6, all, 58, stage.ICMP6(a.local6, all, 143, append(make([]byte, 4), w...))))
		}},
		{"bpdu", "", func(a attacker, w string) []byte {
			return append(stage.Ether(cnm.MAC{1, 0x80, 0xc2}, a.mac, uint16(3+len(w)), []byte{0x42, 0x42, 3}), w...)
		}},
		{"foreign ethertype", "", func(a attacker, w string) []byte {
			return stage.Ether(stage.Broadcast(), a.mac, 0x88cc, []byte(w))
		}},
		{"tagged frame", "", func(a attacker, w string) []byte {
			return stage.Ether(a.victimMAC, a.mac, 0x8100, append([]byte{0, 5, 8, 0}, a.datagram(a.ip4, 9, 9, w)...))
		}},
	}
}

// allowed are frames that any endpoint may send.
func allowed() []frame {
	all := netip.MustParseAddr("ff02::1")
	return []frame{
		{"its own", "", func(a attacker, w string) []byte {
			return stage.Ether(a.victimMAC, a.mac, ipv4, a.datagram(a.ip4, 9, 9, w))
		}},
		{"its own, ipv6", "", func(a attacker, w string) []byte {
			return stage.Ether(a.victimMAC, a.mac, ipv6, a.datagram(a.ip6, 9, 9, w))
		}},
		{"its own arp", "", func(a attacker, w string) []byte {
			return stage.Ether(stage.Broadcast(), a.mac, arp, stage.ARP(1, a.mac, a.ip4, cnm.MAC{}, a.victim4, w))
		}},
		{"arp probe", "", func(a attacker, w string) []byte {
			return stage.Ether(stage.Broadcast(), a.mac, arp, stage.ARP(1, a.mac, netip.IPv4Unspecified(), cnm.MAC{}, a.ip4, w))
		}},
		{"its own advertisement", "", func(a attacker, w string) []byte {
			return stage.Ether(toMulticast(all), a.mac, ipv6, a.neighbour(a.local6, all, a.ip6, advert, 2, a.mac, w))
		}},
		{"its own solicitation", "", func(a attacker, w string) []byte {
			return stage.Ether(toMulticast(all), a.mac, ipv6, a.neighbour(a.ip6, all, a.victim6, solicit, 1, a.mac, w))
		}},
		{"duplicate detection of its own address", "", func(a attacker, w string) []byte {
			return stage.Ether(toMulticast(all), a.mac, ipv6, a.neighbour(netip.IPv6Unspecified(), all, a.ip6, solicit, 0, cnm.MAC{}, w))
		}},
		{"dhcp client", "", func(a attacker, w string) []byte {
			from, to := netip.IPv4Unspecified(), netip.AddrFrom4([4]byte{255, 255, 255, 255})
			return stage.Ether(stage.Broadcast(), a.mac, ipv4, stage.IP(from, to, 17, stage.UDP(netip.AddrPortFrom(from, 68), netip.AddrPortFrom(to, 67), w)))
		}},
	}
}

// arena is a network with an attacker and a victim.
type arena struct {
	attacker
	from   *stage.Wire
	victim *stage.Wire
}

func newArena(t *testing.T, w *stage.World, name string, options ...string) arena {
	t.Helper()
	var more []func(*cnm.NetworkSpec)
	for _, o := range options {
		key, value, _ := strings.Cut(o, "=")
		more = append(more, stage.Option(key, value))
	}
	nw := w.Network(name, more...)
	bad, good := w.Sandbox("bad-"+name, nw), w.Sandbox("good-"+name, nw)
	b, g := bad.At[nw.ID], good.At[nw.ID]
	a := arena{attacker: attacker{
		mac: b.Endpoint.MAC, victimMAC: g.Endpoint.MAC, hubMAC: mac(t, w.Place, b.Join.Result.Link.Bridge),
		ip4: b.Endpoint.Address(cnm.IPv4), ip6: b.Endpoint.Address(cnm.IPv6), local6: linkLocal(b.Endpoint.MAC),
		victim4: g.Endpoint.Address(cnm.IPv4), victim6: g.Endpoint.Address(cnm.IPv6),
		gateway4: nw.Gateway(cnm.IPv4), gateway6: nw.Gateway(cnm.IPv6),
	}}
	a.from, a.victim = bad.Wire(t, "eth0"), good.Wire(t, "eth0")
	return a
}

func linkLocal(m cnm.MAC) netip.Addr {
	return netip.AddrFrom16([16]byte{0xfe, 0x80, 8: m[0] ^ 2, m[1], m[2], 0xff, 0xfe, m[3], m[4], m[5]})
}

// passes sends a frame, and behind it one that is its sender's own, and tells whether the first was seen before the second. They
// take the same way, one after the other, so that nothing has to be waited for.
func (a arena) passes(f frame) bool {
	word, marker := "word of "+f.name+".", "marker behind "+f.name+"."
	a.from.Send(f.make(a.attacker, word))
	a.from.Send(stage.Ether(a.victimMAC, a.mac, ipv4, a.datagram(a.ip4, 9, 9, marker)))
	return a.victim.Until(marker, word)[word]
}

func TestProtectionAtThePort(t *testing.T) {
	t.Parallel()
	for _, filter := range []string{"0", "1"} {
		t.Run("bridge netfilter "+filter, func(t *testing.T) {
			t.Parallel()
			kerneltest.Run(t, func(t *testing.T) {
				needBridgeNetfilter(t, filter)
				w := stage.Build(t)
				strict := newArena(t, w, "strict")
				opened := newArena(t, w, "opened", "spoof-check=false", "allow-ra=true", "allow-dhcp-server=true")
				for _, f := range forbidden() {
					if strict.passes(f) {
						t.Errorf("%s: passes", f.name)
					}
					if passes := opened.passes(f); passes != (f.opt != "") {
						t.Errorf("%s: passes with every opt-out: %t; the option for it is %q", f.name, passes, f.opt)
					}
				}
				for _, f := range allowed() {
					if !strict.passes(f) {
						t.Errorf("%s: is dropped", f.name)
					}
				}
			})
		})
	}
}

// TestProtectionOfTheHost sends the same frames where only the host can hear them.
func TestProtectionOfTheHost(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		w := stage.Build(t)
		nw := w.Network("red")
		bad := w.Sandbox("bad", nw)
		b := bad.At[nw.ID]
		hub := b.Join.Result.Link.Bridge
		a := arena{attacker: attacker{
			mac: b.Endpoint.MAC, victimMAC: mac(t, w.Place, hub), hubMAC: mac(t, w.Place, hub),
			ip4: b.Endpoint.Address(cnm.IPv4), ip6: b.Endpoint.Address(cnm.IPv6), local6: linkLocal(b.Endpoint.MAC),
			victim4: nw.Gateway(cnm.IPv4), victim6: nw.Gateway(cnm.IPv6), gateway4: addr(stage.Host4), gateway6: addr(stage.Host6),
		}, from: bad.Wire(t, "eth0"), victim: w.Place.Wire(t, hub)}
		for _, f := range forbidden() {
			if a.passes(f) {
				t.Errorf("%s: reaches the host", f.name)
			}
		}
		for _, f := range allowed() {
			if !a.passes(f) {
				t.Errorf("%s: does not reach the host", f.name)
			}
		}
	})
}
