// SPDX-License-Identifier: Apache-2.0

package firewall_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/kernel/link"
)

// tap is a raw socket on a box's eth0.
type tap struct {
	l  *lab
	fd int
}

// tap opens a raw socket, which is closed with the test.
func (l *lab) tap(b *box) *tap {
	l.Helper()
	t := &tap{l: l}
	must(l, b.ns.Do(func() error {
		var err error
		t.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		return err
	}))
	l.Cleanup(func() { must(l, unix.Close(t.fd)) })
	eth, err := b.conn.Link(link.Named("eth0"))
	must(l, err)
	must(l, unix.Bind(t.fd, &unix.SockaddrLinklayer{Protocol: 0x0300, Ifindex: eth.Index})) // ETH_P_ALL in network byte order
	must(l, unix.SetsockoptTimeval(t.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: int64(patience / time.Second)}))
	return t
}

func (t *tap) send(frame []byte) {
	t.l.Helper()
	if len(frame) < 60 {
		frame = append(slices.Clone(frame), make([]byte, 60-len(frame))...)
	}
	_, err := unix.Write(t.fd, frame)
	must(t.l, err)
}

// until reads the frames that come in up to the one with the mark at its end.
func (t *tap) until(mark []byte) [][]byte {
	t.l.Helper()
	var seen [][]byte
	for {
		buf := make([]byte, 2048)
		n, from, err := unix.Recvfrom(t.fd, buf, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		must(t.l, err)
		if sa, ok := from.(*unix.SockaddrLinklayer); ok && sa.Pkttype == unix.PACKET_OUTGOING {
			continue
		}
		if bytes.Contains(buf[:n], mark) {
			return seen
		}
		seen = append(seen, buf[:n])
	}
}

// MACs of groups.
func broadcast() cnm.MAC { return cnm.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff} }

func eth(dst, src cnm.MAC, typ uint16, payload []byte) []byte {
	f := slices.Concat(dst[:], src[:], binary.BigEndian.AppendUint16(nil, typ))
	return append(f, payload...)
}

// sum is the checksum of the Internet protocols.
func sum(parts ...[]byte) uint16 {
	var s uint32
	for _, p := range parts {
		if len(p)%2 == 1 {
			p = append(slices.Clone(p), 0)
		}
		for i := 0; i < len(p); i += 2 {
			s += uint32(binary.BigEndian.Uint16(p[i:]))
		}
	}
	for s>>16 != 0 {
		s = s&0xffff + s>>16
	}
	return ^uint16(s)
}

// ip makes a packet of either family.
func ip(src, dst netip.Addr, proto byte, payload []byte) []byte {
	if src.Is6() {
		h := []byte{0x60, 0, 0, 0, 0, 0, proto, 255}
		binary.BigEndian.PutUint16(h[4:], uint16(len(payload)))
		return slices.Concat(h, src.AsSlice(), dst.AsSlice(), payload)
	}
	h := []byte{0x45, 0, 0, 0, 0, 0, 0, 0, 64, proto, 0, 0}
	h = slices.Concat(h, src.AsSlice(), dst.AsSlice())
	binary.BigEndian.PutUint16(h[2:], uint16(20+len(payload)))
	binary.BigEndian.PutUint16(h[10:], sum(h))
	return append(h, payload...)
}

// pseudo is what checksums of transport protocols begin with.
func pseudo(src, dst netip.Addr, proto byte, payload []byte) []byte {
	n := binary.BigEndian.AppendUint16([]byte{0, proto}, uint16(len(payload)))
	return slices.Concat(src.AsSlice(), dst.AsSlice(), n)
}

func udp(src, dst netip.AddrPort, payload string) []byte {
	b := binary.BigEndian.AppendUint16(nil, src.Port())
	b = binary.BigEndian.AppendUint16(b, dst.Port())
	b = binary.BigEndian.AppendUint16(b, uint16(8+len(payload)))
	b = append(append(b, 0, 0), payload...)
	binary.BigEndian.PutUint16(b[6:], sum(pseudo(src.Addr(), dst.Addr(), unix.IPPROTO_UDP, b), b))
	return ip(src.Addr(), dst.Addr(), unix.IPPROTO_UDP, b)
}

// tcp is a segment without data.
func tcp(src, dst netip.AddrPort, flags byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, src.Port())
	b = binary.BigEndian.AppendUint16(b, dst.Port())
	b = append(b, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, flags, 0x10, 0, 0, 0, 0, 0)
	binary.BigEndian.PutUint16(b[16:], sum(pseudo(src.Addr(), dst.Addr(), unix.IPPROTO_TCP, b), b))
	return ip(src.Addr(), dst.Addr(), unix.IPPROTO_TCP, b)
}

func icmp4(src, dst netip.Addr, typ byte, body ...byte) []byte {
	b := append([]byte{typ, 0, 0, 0}, body...)
	binary.BigEndian.PutUint16(b[2:], sum(b))
	return ip(src, dst, unix.IPPROTO_ICMP, b)
}

func icmp6(src, dst netip.Addr, typ byte, body ...byte) []byte {
	b := append([]byte{typ, 0, 0, 0}, body...)
	binary.BigEndian.PutUint16(b[2:], sum(pseudo(src, dst, unix.IPPROTO_ICMPV6, b), b))
	return ip(src, dst, unix.IPPROTO_ICMPV6, b)
}

// nd is the body of a neighbour solicitation or advertisement, with options of a type and a MAC each.
func nd(target netip.Addr, options ...any) []byte {
	b := append([]byte{0x60, 0, 0, 0}, target.AsSlice()...)
	for i := 0; i < len(options); i += 2 {
		typ, _ := options[i].(int)
		mac, _ := options[i+1].(cnm.MAC)
		b = append(append(b, byte(typ), 1), mac[:]...)
	}
	return b
}

func arp(op byte, senderMAC cnm.MAC, sender netip.Addr, target netip.Addr) []byte {
	b := []byte{0, 1, 8, 0, 6, 4, 0, op}
	return slices.Concat(b, senderMAC[:], sender.AsSlice(), make([]byte, 6), target.AsSlice())
}
