// SPDX-License-Identifier: Apache-2.0

package probe

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"net"
	"net/netip"
)

// ICMP echo (RFC 792, RFC 4443).
const (
	echoRequest4, echoReply4 = 8, 0
	echoRequest6, echoReply6 = 128, 129
	echoHeader               = 8
)

// pinger asks one address for echoes, from one place.
type pinger struct {
	conn           *net.IPConn
	id             uint16
	request, reply byte
}

// pinger opens the socket.
func (p Place) pinger(ctx context.Context, to netip.Addr) (*pinger, error) {
	g := &pinger{id: uint16(rand.N(1 << 16)), request: echoRequest4, reply: echoReply4}
	network := "ip4:icmp"
	if to.Is6() {
		network, g.request, g.reply = "ip6:ipv6-icmp", echoRequest6, echoReply6
	}
	err := p.Inside(func() (err error) {
		var d net.Dialer
		g.conn, err = d.DialIP(ctx, network, netip.Addr{}, to)
		return err
	})
	if err != nil {
		return nil, err
	}
	return g, nil
}

// send sends one request.
func (g *pinger) send(seq uint16) error {
	msg := make([]byte, echoHeader, echoHeader+56)
	msg[0] = g.request
	binary.BigEndian.PutUint16(msg[4:], g.id)
	binary.BigEndian.PutUint16(msg[6:], seq)
	msg = msg[:cap(msg)]
	if g.request == echoRequest4 { // the kernel does it for ICMPv6
		binary.BigEndian.PutUint16(msg[2:], checksum(msg))
	}
	_, err := g.conn.Write(msg)
	return err
}

// receive waits for the next answer that is ours.
func (g *pinger) receive() (seq uint16, err error) {
	buf := make([]byte, 1500)
	for {
		n, _, err := g.conn.ReadFrom(buf)
		if err != nil {
			return 0, err
		}
		if n >= echoHeader && buf[0] == g.reply && binary.BigEndian.Uint16(buf[4:]) == g.id {
			return binary.BigEndian.Uint16(buf[6:]), nil
		}
	}
}

// checksum is that of the internet protocols (RFC 1071), over an even number of bytes.
func checksum(b []byte) uint16 {
	var sum uint32
	for ; len(b) > 1; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// ping sends requests until one is Answered.
func (p Place) ping(ctx context.Context, to netip.Addr) error {
	g, err := p.pinger(ctx, to)
	if err != nil {
		return err
	}
	defer g.conn.Close()
	return insist(ctx, g.conn.Close,
		func() error { return g.send(1) },
		func() error { _, err := g.receive(); return err })
}
