// SPDX-License-Identifier: Apache-2.0

package stage

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	cnm "github.com/libnetwork/cnm"
)

// Wire is a packet socket on one link: what it is given goes out as it is, and it hears everything that comes in.
type Wire struct {
	t    testing.TB
	file *os.File
	link int
	name string
}

// Wire opens one on a link of a place, until the test ends.
func (p Place) Wire(t testing.TB, name string) *Wire {
	t.Helper()
	w := &Wire{t: t, name: p.Name + ":" + name}
	err := p.Do(func() error {
		i, err := net.InterfaceByName(name)
		if err != nil {
			return err
		}
		const all = unix.ETH_P_ALL<<8&0xff00 | unix.ETH_P_ALL>>8
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, all)
		if err != nil {
			return err
		}
		if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: i.Index}); err != nil {
			return errors.Join(err, unix.Close(fd))
		}
		w.file, w.link = os.NewFile(uintptr(fd), w.name), i.Index
		return nil
	})
	if err != nil {
		t.Fatalf("open %s: %v", w.name, err)
	}
	t.Cleanup(w.Close)
	return w
}

// Close ends it. It may be repeated.
func (w *Wire) Close() { _ = w.file.Close() }

// Send sends a frame.
func (w *Wire) Send(frame []byte) {
	w.t.Helper()
	if len(frame) < 60 {
		frame = append(frame, make([]byte, 60-len(frame))...) // the least that Ethernet carries
	}
	if _, err := w.file.Write(frame); err != nil {
		w.t.Errorf("send by %s: %v", w.name, err)
	}
}

// Until reads frames until one has the marker in it, and tells which of the words were in those before. A marker that does
// not come fails the test.
func (w *Wire) Until(marker string, words ...string) map[string]bool {
	w.t.Helper()
	seen := map[string]bool{}
	buf := make([]byte, 4096)
	if err := w.file.SetReadDeadline(time.Now().Add(Patience)); err != nil {
		w.t.Fatal(err)
	}
	for {
		n, err := w.file.Read(buf)
		if err != nil {
			w.t.Errorf("%s: the marker %q does not come: %v", w.name, marker, err)
			return seen
		}
		for _, word := range words {
			if bytes.Contains(buf[:n], []byte(word)) {
				seen[word] = true
			}
		}
		if bytes.Contains(buf[:n], []byte(marker)) {
			return seen
		}
	}
}

// Count counts the frames with a word in them until the wire is closed.
func (w *Wire) Count(word string) int64 {
	buf := make([]byte, 4096)
	for count := int64(0); ; {
		n, err := w.file.Read(buf)
		if err != nil {
			return count
		}
		if bytes.Contains(buf[:n], []byte(word)) {
			count++
		}
	}
}

// Broadcast is everybody's MAC address.
func Broadcast() cnm.MAC { return cnm.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff} }

// Ether is an Ethernet frame.
func Ether(to, from cnm.MAC, protocol uint16, payload []byte) []byte {
	b := append(append([]byte{}, to[:]...), from[:]...)
	b = binary.BigEndian.AppendUint16(b, protocol)
	return append(b, payload...)
}

// ARP is an ARP message with a word behind it, which receivers take for padding.
func ARP(operation uint16, sender cnm.MAC, senderIP netip.Addr, target cnm.MAC, targetIP netip.Addr, word string) []byte {
	b := []byte{0, 1, 8, 0, 6, 4, byte(operation >> 8), byte(operation)}
	b = append(append(b, sender[:]...), senderIP.AsSlice()...)
	b = append(append(b, target[:]...), targetIP.AsSlice()...)
	return append(b, word...)
}

// IP is a packet of the addresses' family.
func IP(from, to netip.Addr, protocol byte, payload []byte) []byte {
	if from.Is4() {
		b := make([]byte, 20)
		b[0], b[8], b[9] = 0x45, 64, protocol
		binary.BigEndian.PutUint16(b[2:], uint16(20+len(payload)))
		copy(b[12:], from.AsSlice())
		copy(b[16:], to.AsSlice())
		binary.BigEndian.PutUint16(b[10:], Checksum(b))
		return append(b, payload...)
	}
	b := make([]byte, 40)
	b[0], b[6], b[7] = 0x60, protocol, 255
	binary.BigEndian.PutUint16(b[4:], uint16(len(payload)))
	copy(b[8:], from.AsSlice())
	copy(b[24:], to.AsSlice())
	return append(b, payload...)
}

// UDP is a datagram with its checksum.
func UDP(from, to netip.AddrPort, word string) []byte {
	b := make([]byte, 8, 8+len(word))
	binary.BigEndian.PutUint16(b, from.Port())
	binary.BigEndian.PutUint16(b[2:], to.Port())
	binary.BigEndian.PutUint16(b[4:], uint16(8+len(word)))
	b = append(b, word...)
	binary.BigEndian.PutUint16(b[6:], transportChecksum(from.Addr(), to.Addr(), 17, b))
	return b
}

// ICMP6 is an ICMPv6 message with its checksum. The body follows its first four bytes.
func ICMP6(from, to netip.Addr, kind byte, body []byte) []byte {
	b := append([]byte{kind, 0, 0, 0}, body...)
	binary.BigEndian.PutUint16(b[2:], transportChecksum(from, to, 58, b))
	return b
}

// transportChecksum is over the pseudo header too (RFC 768, RFC 8200).
func transportChecksum(from, to netip.Addr, protocol byte, segment []byte) uint16 {
	b := append(append([]byte{}, from.AsSlice()...), to.AsSlice()...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(segment)))
	b = append(b, 0, 0, 0, protocol)
	return Checksum(append(b, segment...))
}
