// SPDX-License-Identifier: Apache-2.0

package probe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"time"
)

// The patience of probes. A probe that must be Answered may wait long and seldom does. One that must not be Answered has
// to wait all of its time, which is some thousand times what an answer takes here.
const (
	AnswerTime  = 4 * time.Second
	SilenceTime = 400 * time.Millisecond
	askAgain    = 100 * time.Millisecond // what has no retransmission of its own is sent again
)

// Place is where probes and servers are: the host, its neighbour, or a sandbox.
type Place struct {
	Name string
	// Inside runs fn on a thread that is in the place's network namespace. Sockets opened there stay there.
	Inside func(fn func() error) error
}

// DialTCP opens a connection. It stays on the calling thread because the address needs no resolver.
func (p Place) DialTCP(ctx context.Context, to netip.AddrPort) (conn net.Conn, err error) {
	err = p.Inside(func() error {
		var d net.Dialer
		conn, err = d.DialTCP(ctx, "tcp", netip.AddrPort{}, to)
		return err
	})
	if err != nil {
		return nil, err
	}
	return conn, nil
}

// ask sends a datagram, again and again, and waits until one is echoed.
func (p Place) ask(ctx context.Context, to netip.AddrPort) error {
	var conn net.Conn
	err := p.Inside(func() (err error) {
		var d net.Dialer
		conn, err = d.DialUDP(ctx, "udp", netip.AddrPort{}, to)
		return err
	})
	if err != nil {
		return err
	}
	defer conn.Close()
	return insist(ctx, conn.Close,
		func() error { _, err := conn.Write([]byte("are you there")); return err },
		func() error { _, err := conn.Read(make([]byte, 64)); return err })
}

// insist sends until an answer is received or the time is up. A refusal is no answer, and may be followed by one.
func insist(ctx context.Context, end func() error, send, receive func() error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = end() }) // so that receiving ends
	defer stop()
	go func() {
		again := time.NewTicker(askAgain)
		defer again.Stop()
		for ctx.Err() == nil {
			_ = send() // what it met is for receive to tell
			select {
			case <-again.C:
			case <-ctx.Done():
			}
		}
	}()
	for {
		err := receive()
		if err == nil || ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
			return err
		}
	}
}

// Fetch gets a page and returns its body.
func (p Place) Fetch(ctx context.Context, from netip.AddrPort, path string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, AnswerTime)
	defer cancel()
	cl := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return p.DialTCP(ctx, from) },
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+from.String()+path, http.NoBody)
	if err != nil {
		return "", err
	}
	resp, err := cl.Do(req)
	if err != nil {
		return "", fmt.Errorf("%s fetches from %s: %w", p.Name, from, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
	if err != nil {
		return "", fmt.Errorf("%s fetches from %s: %w", p.Name, from, err)
	}
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s fetches from %s: %s", p.Name, from, resp.Status)
	}
	return string(body), nil
}

// EchoServer answers TCP and UDP on one port of a place with what it gets, over both families.
type EchoServer struct {
	tcp net.Listener
	udp net.PacketConn
}

// Echo starts a server.
func (p Place) Echo(ctx context.Context, port uint16) (*EchoServer, error) {
	s := &EchoServer{}
	at := netip.AddrPortFrom(netip.IPv6Unspecified(), port).String()
	err := p.Inside(func() (err error) {
		var lc net.ListenConfig
		if s.tcp, err = lc.Listen(ctx, "tcp", at); err != nil {
			return err
		}
		if s.udp, err = lc.ListenPacket(ctx, "udp", at); err != nil {
			s.tcp.Close()
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("serve in %s: %w", p.Name, err)
	}
	go AcceptAll(s.tcp, func(conn net.Conn) { Pour(conn, conn) })
	go s.datagrams()
	return s, nil
}

func (s *EchoServer) datagrams() {
	buf := make([]byte, 2048)
	for {
		n, from, err := s.udp.ReadFrom(buf)
		if err != nil {
			return
		}
		if _, err := s.udp.WriteTo(buf[:n], from); err != nil {
			continue // an answer that cannot be sent is what a probe is to find out
		}
	}
}

// Close ends it.
func (s *EchoServer) Close() {
	s.tcp.Close()
	s.udp.Close()
}

// AcceptAll serves each connection until the listener is closed.
func AcceptAll(ln net.Listener, serve func(net.Conn)) {
	for {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			serve(conn)
		}()
	}
}

// Pour copies until either side ends. It hides from io.Copy that these are sockets: splicing would keep pipes for later.
func Pour(to io.Writer, from io.Reader) {
	_, _ = io.Copy(struct{ io.Writer }{to}, struct{ io.Reader }{from})
}
