// SPDX-License-Identifier: Apache-2.0

package firewall_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// How long a probe waits for what must come, and for what must not.
const (
	patience   = 20 * time.Second
	impatience = 250 * time.Millisecond
)

// serve answers on a TCP and a UDP port of a box with the box's name and who asked. A TCP connection then
// echoes lines.
func (l *lab) serve(b *box, port int) {
	l.Helper()
	var tcp *net.TCPListener
	var udp *net.UDPConn
	must(l, b.ns.Do(func() error {
		var err error
		if tcp, err = net.ListenTCP("tcp", &net.TCPAddr{Port: port}); err != nil {
			return err
		}
		udp, err = net.ListenUDP("udp", &net.UDPAddr{Port: port})
		return err
	}))
	var wg sync.WaitGroup
	wg.Go(func() { l.accept(b, tcp) })
	wg.Go(func() {
		buf := make([]byte, 256)
		for {
			_, from, err := udp.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			_, _ = udp.WriteToUDPAddrPort([]byte(answer(b, from)), from)
		}
	})
	l.Cleanup(func() {
		_ = tcp.Close()
		_ = udp.Close()
		wg.Wait()
	})
}

func answer(b *box, from netip.AddrPort) string {
	return b.name + " " + from.Addr().Unmap().String() + "\n"
}

// accept serves TCP connections until the listener is closed.
func (l *lab) accept(b *box, tcp *net.TCPListener) {
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	for {
		c, err := tcp.AcceptTCP()
		if err != nil {
			return
		}
		wg.Go(func() {
			defer context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })()
			defer func() { _ = c.Close() }()
			_ = c.SetLinger(0)
			b.serving(c)
			from, _ := netip.ParseAddrPort(c.RemoteAddr().String())
			if _, err := c.Write([]byte(answer(b, from))); err != nil {
				return
			}
			for in := bufio.NewScanner(c); in.Scan(); {
				if _, err := fmt.Fprintln(c, in.Text()); err != nil {
					return
				}
			}
		})
	}
}

// ask asks what serves at an address, from a box; "" is nothing.
func (b *box) ask(network string, to netip.AddrPort, wait time.Duration) (name string, seen netip.Addr, err error) {
	c, err := b.connect(network, to, wait)
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() || errors.Is(err, unix.ECONNREFUSED) || errors.Is(err, unix.EHOSTUNREACH) {
		return "", netip.Addr{}, nil
	}
	if err != nil {
		return "", netip.Addr{}, err
	}
	defer func() { _ = c.Close() }()
	if t, ok := c.(*net.TCPConn); ok {
		_ = t.SetLinger(0)
	}
	line, ok := converse(c, "?", wait)
	if !ok {
		return "", netip.Addr{}, nil
	}
	name, from, _ := strings.Cut(strings.TrimSpace(line), " ")
	seen, err = netip.ParseAddr(from)
	return name, seen, err
}

// again is how long a datagram is waited for before it is sent again: while a neighbour is not yet known, some are lost.
const again = 400 * time.Millisecond

// converse hears a line within a time; by UDP it asks for it, and repeats that.
func converse(c net.Conn, say string, wait time.Duration) (string, bool) {
	in := bufio.NewReader(c)
	end := time.Now().Add(wait)
	_, stream := c.(*net.TCPConn)
	for time.Now().Before(end) {
		next := end
		if !stream {
			if _, err := c.Write([]byte(say)); err != nil {
				return "", false
			}
			if t := time.Now().Add(again); t.Before(end) {
				next = t
			}
		}
		_ = c.SetReadDeadline(next)
		line, err := in.ReadString('\n')
		var timeout net.Error
		if err == nil || !errors.As(err, &timeout) || !timeout.Timeout() {
			return line, err == nil
		}
	}
	return "", false
}

// connect makes a connection from a box.
func (b *box) connect(network string, to netip.AddrPort, wait time.Duration) (net.Conn, error) {
	var c net.Conn
	err := b.ns.Do(func() error {
		var err error
		c, err = net.DialTimeout(network, to.String(), wait)
		return err
	})
	return c, err
}

// probe is one question and its answer.
type probe struct {
	from string // box
	to   string // box, or a name that the lab's addresses have
	port uint16
	want string // name of the box that answers; "" for none
	seen string // whose address it sees; "" for any
	only int    // 4 or 6; 0 for both
	tcp  bool   // by TCP only: a server with several addresses answers UDP from any
}

// where gives the address of a name: a box's, a gateway's ("gw3" of network 3), the host's on a link ("up2"), loopback ("lo").
func (l *lab) where(name string, six bool) netip.Addr {
	l.Helper()
	var n int
	pick := func(four, other netip.Addr) netip.Addr {
		if six {
			return other
		}
		return four
	}
	if _, err := fmt.Sscanf(name, "gw%d", &n); err == nil {
		return pick(addr4(n, 1), addr6(n, 1))
	}
	if _, err := fmt.Sscanf(name, "up%d", &n); err == nil {
		return pick(outside4(n, 1), outside6(n, 1))
	}
	if name == "lo" {
		return pick(netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback())
	}
	if a, err := netip.ParseAddr(name); err == nil {
		return a
	}
	b := l.boxes[name]
	if b == nil {
		l.Fatalf("no box %q", name)
	}
	return b.addr(six)
}

// check asks all probes at once, by TCP and UDP, over both families.
func (l *lab) check(probes ...probe) {
	l.Helper()
	var wg sync.WaitGroup
	for _, p := range probes {
		for _, six := range []bool{false, true} {
			if p.only == 4 && six || p.only == 6 && !six {
				continue
			}
			for _, network := range []string{"tcp", "udp"} {
				if p.tcp && network != "tcp" {
					continue
				}
				to := netip.AddrPortFrom(l.where(p.to, six), p.port)
				var seen netip.Addr
				if p.seen != "" {
					seen = l.where(p.seen, six)
				}
				wg.Go(func() { l.checkOne(p, network, to, seen) })
			}
		}
	}
	wg.Wait()
}

func (l *lab) checkOne(p probe, network string, to netip.AddrPort, seen netip.Addr) {
	wait := patience
	if p.want == "" {
		wait = impatience
	}
	name, from, err := l.boxes[p.from].ask(network, to, wait)
	switch {
	case err != nil:
		l.Errorf("%s from %s to %s %s: %v", network, p.from, p.to, to, err)
	case name != p.want:
		l.Errorf("%s from %s to %s %s reached %q, want %q", network, p.from, p.to, to, name, p.want)
	case seen.IsValid() && from != seen:
		l.Errorf("%s from %s to %s %s was seen from %s, want %s (%s)", network, p.from, p.to, to, from, seen, p.seen)
	}
}

// holder is a UDP socket of the host.
type holder struct{ c *net.UDPConn }

// hold binds a UDP port of the host.
func (l *lab) hold(at netip.AddrPort) holder {
	l.Helper()
	var h holder
	must(l, l.boxes["host"].ns.Do(func() error {
		var err error
		h.c, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
		return err
	}))
	l.Cleanup(func() { must(l, h.c.Close()) })
	return h
}

// read gives the first datagram that comes within a time, or none.
func (h holder) read(wait time.Duration) []string {
	buf := make([]byte, 64)
	_ = h.c.SetReadDeadline(time.Now().Add(wait))
	n, err := h.c.Read(buf)
	if err != nil {
		return nil
	}
	return []string{string(buf[:n])}
}
