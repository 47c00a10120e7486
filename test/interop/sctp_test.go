// SPDX-License-Identifier: Apache-2.0

//go:build interop

package interop_test

import (
	"errors"
	"net"
	"time"

	"github.com/libnetwork/cnm/test/interop/place"
)

// sctp fails the test unless the first message of an association that the neighbour begins with the host's port comes to the port of a
// container, on both families. Few kernels have SCTP sockets: the packet is made here.
func (k *docked) sctp(name string, host, port uint16) {
	k.Helper()
	for network, to := range map[string]string{"ip4:132": place.Host4, "ip6:132": place.Host6} {
		var heard net.PacketConn
		err := k.within(name).Do(func() error {
			var err error
			heard, err = net.ListenPacket(network, "")
			return err
		})
		if err != nil {
			k.Fatal(err)
		}
		err = k.p.Neighbour.Do(func() error {
			c, err := net.Dial(network, to)
			if err != nil {
				return err
			}
			defer c.Close()
			_, err = c.Write(sctpInit(4000, host))
			return err
		})
		if err != nil {
			k.Fatal(err)
		}
		buf := make([]byte, 128)
		err = heard.SetReadDeadline(time.Now().Add(answerTime))
		n, from, err2 := heard.ReadFrom(buf)
		heard.Close()
		if err := errors.Join(err, err2); err != nil || n < 4 || uint16(buf[2])<<8|uint16(buf[3]) != port {
			k.Errorf("by %s the container hears %x from %v (%v), want a packet to port %d", network, buf[:n], from, err, port)
		}
	}
}

// sctpInit is a packet with an INIT chunk (RFC 9260).
func sctpInit(from, to uint16) []byte {
	b := []byte{
		byte(from >> 8), byte(from), byte(to >> 8), byte(to), 0, 0, 0, 0, 0, 0, 0, 0, // ports, no tag yet, and the checksum
		1, 0, 0, 20, 0, 0, 0, 1, 0, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 1, // INIT: tag, window, streams, number
	}
	sum := crc32c(b)
	for i := range 4 {
		b[8+i] = byte(sum >> (8 * i))
	}
	return b
}

// crc32c is the checksum of SCTP over a packet whose own is zero.
func crc32c(b []byte) uint32 {
	const poly = 0x82f63b78
	crc := ^uint32(0)
	for _, x := range b {
		crc ^= uint32(x)
		for range 8 {
			crc = crc>>1 ^ poly&-(crc&1)
		}
	}
	return ^crc
}
