// SPDX-License-Identifier: Apache-2.0

package drivertest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/kernel/netns"
)

// echoPort is where sandboxes answer.
const echoPort = 7

// serve starts an echo server on TCP and UDP, for both families.
func (b *box) serve() error {
	at := netip.AddrPortFrom(netip.IPv6Unspecified(), echoPort)
	err := b.ns.Do(func() error {
		tcp, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(at))
		if err != nil {
			return err
		}
		udp, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
		if err != nil {
			return errors.Join(err, tcp.Close())
		}
		b.tcp, b.udp = tcp, udp
		return nil
	})
	if err != nil {
		return err
	}
	b.serving.Go(func() {
		for {
			conn, err := b.tcp.AcceptTCP()
			if err != nil {
				return
			}
			b.serving.Go(func() { b.stream(conn) })
		}
	})
	b.serving.Go(func() {
		buf := make([]byte, 512)
		for {
			n, from, err := b.udp.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			// An answer that cannot be sent is what a probe finds out.
			_, _ = b.udp.WriteToUDPAddrPort(buf[:n], from)
		}
	})
	return nil
}

// stream echoes until the client or the box ends it. The socket leaves nothing behind that would keep the namespace, such
// as an end that nobody acknowledges.
func (b *box) stream(conn *net.TCPConn) {
	b.mu.Lock()
	b.conns = append(b.conns, conn)
	b.mu.Unlock()
	_ = conn.SetLinger(0) // a TCP connection has it
	defer conn.Close()
	buf := make([]byte, 512)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return
		}
		if _, err := conn.Write(buf[:n]); err != nil {
			return
		}
	}
}

// probe is one question: does whoever is at an address answer?
type probe struct {
	from  *netns.NS
	name  string
	proto string
	to    netip.AddrPort
}

func (p probe) String() string { return fmt.Sprintf("%s -> %s/%s", p.name, p.to, p.proto) }

// asks are all questions from a box to another on a network.
func asks(from, to *box, nw cnm.Network) []probe {
	var all []probe
	for _, f := range cnm.Families() {
		for _, proto := range []string{"icmp", "tcp", "udp"} {
			all = append(all, probe{from.ns, from.record.Name, proto, netip.AddrPortFrom(to.address(nw, f), echoPort)})
		}
	}
	return all
}

// answered fails the test unless all are answered.
func answered(t *testing.T, all ...probe) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for i, err := range ask(ctx, all) {
		if err != nil {
			t.Errorf("%s: no answer: %v", all[i], err)
		}
	}
}

// silent fails the test if any is answered.
func silent(t *testing.T, all ...probe) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), silence)
	defer cancel()
	for i, err := range ask(ctx, all) {
		if err == nil {
			t.Errorf("%s: answered, which must not be", all[i])
		}
	}
}

func ask(ctx context.Context, all []probe) []error {
	errs := make([]error, len(all))
	var wg sync.WaitGroup
	for i, p := range all {
		wg.Go(func() { errs[i] = p.ask(ctx) })
	}
	wg.Wait()
	return errs
}

// ask is nil if there is an answer.
func (p probe) ask(ctx context.Context) error {
	var conn net.Conn
	err := p.from.Do(func() (err error) {
		var d net.Dialer
		network, address := p.proto, p.to.String()
		if p.proto == "icmp" {
			network, address = "ip4:icmp", p.to.Addr().String()
			if p.to.Addr().Is6() {
				network = "ip6:ipv6-icmp"
			}
		}
		conn, err = d.DialContext(ctx, network, address) // numbers only: it stays on this thread
		return err
	})
	if err != nil {
		return err
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // as for the server's streams
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	if p.proto == "icmp" {
		return converse(ctx, conn, echoRequest(p.to.Addr().Is6()), isEchoReply)
	}
	return converse(ctx, conn, []byte("are you there"), func([]byte) bool { return true })
}

// converse says a word until an answer comes that is as wanted.
func converse(ctx context.Context, conn net.Conn, word []byte, wanted func([]byte) bool) error {
	buf := make([]byte, 512)
	for {
		if _, err := conn.Write(word); err != nil {
			return err
		}
		for {
			if err := conn.SetReadDeadline(time.Now().Add(silence / 2)); err != nil {
				return err
			}
			n, err := conn.Read(buf)
			if err == nil && wanted(buf[:n]) {
				return nil
			}
			if err != nil && (ctx.Err() != nil || !errors.Is(err, os.ErrDeadlineExceeded)) {
				return err
			}
			if err != nil {
				break
			}
		}
	}
}

// echoRequest is an ICMP echo request (RFC 792, RFC 4443).
func echoRequest(six bool) []byte {
	message := make([]byte, 16)
	message[0] = 128 // the kernel adds the checksum
	if !six {
		message[0] = 8
		binary.BigEndian.PutUint16(message[2:], ^uint16(8<<8))
	}
	return message
}

// isEchoReply tells whether what was read of a raw socket is a reply. For IPv4 the packet's header comes before it.
func isEchoReply(b []byte) bool {
	if len(b) > 20 && b[0]>>4 == 4 {
		return b[20] == 0
	}
	return len(b) > 0 && b[0] == 129
}
