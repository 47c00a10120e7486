// SPDX-License-Identifier: Apache-2.0

package link

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Announce tells all on a link of the calling thread's namespace that addresses are at mac: an ARP announcement (RFC 5227) or an unsolicited
// neighbour advertisement (RFC 4861, section 7.2.6) of each. Those who knew them elsewhere send here from now on; those who did
// not know them learn nothing. The link has to be up.
func Announce(index int, mac MAC, addrs []netip.Addr) error {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0) // of no protocol: it hears nothing
	if err != nil {
		return fmt.Errorf("announce addresses on link %d: %w", index, err)
	}
	var errs []error
	for _, a := range addrs {
		frame := announcement(mac, a)
		if err := unix.Sendto(fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: index}); err != nil {
			errs = append(errs, fmt.Errorf("announce %s on link %d: %w", a, index, err))
		}
	}
	// The end of such a socket waits for everybody who reads the list of them (packet_release, Linux 2.6 to 6.18): 10 ms that
	// no endpoint need wait for. The namespace lives that much longer.
	go func() { _ = unix.Close(fd) }()
	return errors.Join(errs...)
}

// announcement is the whole frame.
func announcement(mac MAC, a netip.Addr) []byte {
	if a.Is4() {
		return arpAnnouncement(mac, a.As4())
	}
	return neighbourAdvertisement(mac, a.As16())
}

func arpAnnouncement(mac MAC, a [4]byte) []byte {
	b := append([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, mac[:]...)
	b = append(b, 0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, 1) // ARP: Ethernet, IPv4, a request
	b = append(append(b, mac[:]...), a[:]...)
	return append(append(b, 0, 0, 0, 0, 0, 0), a[:]...) // for the address itself: nobody else answers
}

func neighbourAdvertisement(mac MAC, a [16]byte) []byte {
	const (
		icmpv6        = 58
		advertisement = 136
		override      = 0x20
		length        = 32
	)
	all := [16]byte{0: 0xff, 1: 0x02, 15: 1} // ff02::1
	body := append([]byte{advertisement, 0, 0, 0, override, 0, 0, 0}, a[:]...)
	body = append(append(body, 2, 1), mac[:]...) // the target's link-layer address
	pseudo := append(append(append([]byte(nil), a[:]...), all[:]...), 0, 0, 0, length, 0, 0, 0, icmpv6)
	binary.BigEndian.PutUint16(body[2:], checksum(append(pseudo, body...)))
	b := append([]byte{0x33, 0x33, 0, 0, 0, 1}, mac[:]...)
	b = append(b, 0x86, 0xdd, 0x60, 0, 0, 0, 0, length, icmpv6, 255)
	return append(append(append(b, a[:]...), all[:]...), body...)
}

// checksum is the Internet's (RFC 1071), of an even number of bytes.
func checksum(b []byte) uint16 {
	var sum uint32
	for i := 0; i < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
