// SPDX-License-Identifier: Apache-2.0

package stage

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"
)

// The patience of probes. One that must be answered may wait long and seldom does; one that must not be answered waits all
// of its time, which is some hundred times what an answer takes.
const (
	Patience = 10 * time.Second
	Silence  = 300 * time.Millisecond
)

// EchoPort is where servers in sandboxes answer.
const EchoPort = 7

// Probe asks one question: does whoever is at an address answer by this protocol?
type Probe struct {
	From  Place
	Proto string // icmp, tcp, udp
	To    netip.AddrPort
}

// String is "web -> 10.0.0.2:7/tcp".
func (q Probe) String() string {
	if q.Proto == "icmp" {
		return fmt.Sprintf("%s -> %s/icmp", q.From.Name, q.To.Addr())
	}
	return fmt.Sprintf("%s -> %s/%s", q.From.Name, q.To, q.Proto)
}

// Every asks each address by ICMP, TCP and UDP; of the latter two its echo server.
func Every(from Place, to ...netip.Addr) []Probe {
	var all []Probe
	for _, a := range to {
		for _, proto := range []string{"icmp", "tcp", "udp"} {
			all = append(all, Probe{From: from, Proto: proto, To: netip.AddrPortFrom(a, EchoPort)})
		}
	}
	return all
}

// Ask is nil if there is an answer.
func (q Probe) Ask(ctx context.Context) error {
	if q.Proto == "icmp" {
		return q.From.Ping(ctx, q.To.Addr())
	}
	_, err := q.From.Exchange(ctx, q.Proto, q.To, "are you there")
	return err
}

// Answered fails the test unless every probe is answered.
func Answered(t testing.TB, all ...Probe) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	defer cancel()
	for i, err := range askAll(ctx, all) {
		if err != nil {
			t.Errorf("%v: no answer: %v", all[i], err)
		}
	}
}

// Silent fails the test if any probe is answered.
func Silent(t testing.TB, all ...Probe) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), Silence)
	defer cancel()
	for i, err := range askAll(ctx, all) {
		if err == nil {
			t.Errorf("%v: answered, which must not be", all[i])
		}
	}
}

func askAll(ctx context.Context, all []Probe) []error {
	errs := make([]error, len(all))
	var wg sync.WaitGroup
	for i, q := range all {
		wg.Go(func() { errs[i] = q.Ask(ctx) })
	}
	wg.Wait()
	return errs
}

// Dial opens a connection, or a connected UDP socket, from a place. from may be invalid.
func (p Place) Dial(ctx context.Context, proto string, from netip.Addr, to netip.AddrPort) (net.Conn, error) {
	var conn net.Conn
	err := p.Do(func() (err error) {
		var d net.Dialer
		local := netip.AddrPortFrom(from, 0)
		if proto == "tcp" {
			var c *net.TCPConn
			if c, err = d.DialTCP(ctx, "tcp", local, to); err == nil {
				conn = c
				_ = c.SetLinger(0) // as for the server's streams
			}
			return err
		}
		var c *net.UDPConn
		if c, err = d.DialUDP(ctx, "udp", local, to); err == nil {
			conn = c
		}
		return err
	})
	return conn, err
}

// Exchange sends a word to an echo server and returns what came back. A datagram is sent again a few times a second, as
// whoever uses UDP does.
func (p Place) Exchange(ctx context.Context, proto string, to netip.AddrPort, word string) (string, error) {
	return p.ExchangeFrom(ctx, proto, netip.Addr{}, to, word)
}

// ExchangeFrom is Exchange with an address of one's own.
func (p Place) ExchangeFrom(ctx context.Context, proto string, from netip.Addr, to netip.AddrPort, word string) (string, error) {
	conn, err := p.Dial(ctx, proto, from, to)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	buf := make([]byte, 2048)
	for {
		if _, err := conn.Write([]byte(word)); err != nil {
			return "", err
		}
		if err := conn.SetReadDeadline(time.Now().Add(Silence / 2)); err != nil {
			return "", err
		}
		n, err := conn.Read(buf)
		if err == nil {
			return string(buf[:n]), nil
		}
		if ctx.Err() != nil || !errors.Is(err, os.ErrDeadlineExceeded) {
			return "", err
		}
	}
}

// Ping asks for an ICMP echo, again and again until there is one.
func (p Place) Ping(ctx context.Context, to netip.Addr) error { return p.ping(ctx, to, true) }

// PingOnce is Ping with one request only.
func (p Place) PingOnce(ctx context.Context, to netip.Addr) error { return p.ping(ctx, to, false) }

func (p Place) ping(ctx context.Context, to netip.Addr, patient bool) error {
	network, request, reply := "ip4:icmp", byte(8), byte(0)
	if to.Is6() {
		network, request, reply = "ip6:ipv6-icmp", 128, 129
	}
	var conn *net.IPConn
	err := p.Do(func() (err error) {
		var d net.Dialer
		conn, err = d.DialIP(ctx, network, netip.Addr{}, to)
		return err
	})
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	message := make([]byte, 64)
	message[0] = request
	binary.BigEndian.PutUint16(message[4:], uint16(rand.N(1<<16)))
	if request == 8 { // the kernel does it for ICMPv6
		binary.BigEndian.PutUint16(message[2:], Checksum(message))
	}
	return p.await(ctx, conn, message, reply, patient)
}

// await reads answers until ours comes. Where patient, the request is sent again a few times a second.
func (Place) await(ctx context.Context, conn *net.IPConn, message []byte, reply byte, patient bool) error {
	buf := make([]byte, 1500)
	for send := true; ; {
		if send {
			if _, err := conn.Write(message); err != nil {
				return err
			}
		}
		if patient {
			if err := conn.SetReadDeadline(time.Now().Add(Silence / 2)); err != nil {
				return err
			}
		}
		n, _, err := conn.ReadFrom(buf)
		if err == nil && n >= 8 && buf[0] == reply && bytes.Equal(buf[4:6], message[4:6]) {
			return nil
		}
		if send = err != nil; send && (ctx.Err() != nil || !errors.Is(err, os.ErrDeadlineExceeded)) {
			return err
		}
	}
}

// Checksum is that of the internet protocols (RFC 1071).
func Checksum(b []byte) uint16 {
	var sum uint32
	for ; len(b) > 1; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
