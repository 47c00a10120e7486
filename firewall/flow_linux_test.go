// SPDX-License-Identifier: Apache-2.0

package firewall_test

import (
	"bufio"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/firewall"
)

// serving notes a connection that the box has accepted.
func (b *box) serving(c net.Conn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.conns = append(b.conns, c)
}

// push sends a line on all connections that the box has accepted.
func (b *box) push() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range b.conns {
		_, _ = fmt.Fprintln(c, "pushed")
	}
}

// stream is a flow that goes on: a TCP connection, or a UDP socket.
type stream struct {
	what string
	c    net.Conn
	in   *bufio.Reader
}

// streams opens flows by TCP and UDP from each box to a name, over the families.
func (l *lab) streams(to string, port uint16, only int, from ...string) []*stream {
	l.Helper()
	var all []*stream
	for _, name := range from {
		for _, six := range []bool{false, true} {
			if only == 4 && six || only == 6 && !six {
				continue
			}
			for _, network := range []string{"tcp", "udp"} {
				all = append(all, l.stream(name, network, netip.AddrPortFrom(l.where(to, six), port)))
			}
		}
	}
	return all
}

func (l *lab) stream(from, network string, to netip.AddrPort) *stream {
	l.Helper()
	c, err := l.boxes[from].connect(network, to, patience)
	must(l, err)
	if t, ok := c.(*net.TCPConn); ok {
		must(l, t.SetLinger(0))
	}
	l.Cleanup(func() { _ = c.Close() })
	s := &stream{what: fmt.Sprintf("%s from %s to %s", network, from, to), c: c, in: bufio.NewReader(c)}
	if !s.alive(patience) {
		l.Fatalf("%s: nothing comes back", s.what)
	}
	return s
}

// alive sends and tells whether an answer comes within a time.
func (s *stream) alive(wait time.Duration) bool {
	if _, ok := s.c.(*net.UDPConn); ok {
		_, ok := converse(s.c, "?", wait)
		return ok
	}
	if _, err := fmt.Fprintln(s.c, "?"); err != nil {
		return false
	}
	return s.hears(wait)
}

// hears tells whether something comes.
func (s *stream) hears(wait time.Duration) bool {
	_ = s.c.SetReadDeadline(time.Now().Add(wait))
	_, err := s.in.ReadString('\n')
	return err == nil
}

// drain takes what has come already.
func (s *stream) drain() {
	for s.hears(time.Millisecond) {
	}
}

// live fails the test for every stream on which nothing comes back.
func (l *lab) live(streams []*stream) {
	l.Helper()
	var wg sync.WaitGroup
	for _, s := range streams {
		s.drain()
		wg.Go(func() {
			if !s.alive(patience) {
				l.Errorf("%s: is dead", s.what)
			}
		})
	}
	wg.Wait()
}

// dead fails the test for every stream on which anything comes, of what both sides send.
func (l *lab) dead(streams []*stream, servers ...*box) {
	l.Helper()
	var wg sync.WaitGroup
	for _, s := range streams {
		s.drain()
		_, _ = fmt.Fprintln(s.c, "?")
	}
	for _, b := range servers {
		b.push()
	}
	for _, s := range streams {
		wg.Go(func() {
			if s.hears(impatience) {
				l.Errorf("%s: is alive", s.what)
			}
		})
	}
	wg.Wait()
}

// TestUnpublish withdraws ports under live flows from everywhere.
func TestUnpublish(t *testing.T) {
	t.Parallel()
	both(t, func(l *lab) {
		l.network(1, plain("cn-a", 1))
		l.network(2, plain("cn-b", 2))
		l.neighbour("lan", 2)
		a1, a2 := l.endpoint("a1", "cn-a", 1, 11), l.endpoint("a2", "cn-a", 1, 12)
		l.endpoint("b1", "cn-b", 2, 11)
		l.serve(a1, 80)
		l.serve(a2, 80)

		onLink := []netip.AddrPort{netip.AddrPortFrom(outside4(2, 1), 8003), netip.AddrPortFrom(outside6(2, 1), 8003)}
		ports := append(append(everywhere(8001), everywhere(8002)...), onLink...)
		ports = append(ports, netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 8004))
		l.publish(a1, ports...)
		all := []string{"lan", "b1", "a1", "a2", "host"}
		first := append(l.streams("up2", 8001, 0, all...), l.streams("lo", 8001, 4, "host")...)
		second := l.streams("up2", 8002, 0, all...)
		third := l.streams("up2", 8003, 0, all...)
		fourth := l.streams("lo", 8004, 4, "host")

		l.publish(a1, ports[2:]...)
		l.dead(first, a1)
		l.live(second)
		l.live(third)
		l.live(fourth)

		// The same port of the same endpoint published again revives the flows; of another one it does not.
		l.publish(a1, ports...)
		l.live(first)
		l.publish(a1, ports[2:]...)
		l.publish(a2, ports[:2]...)
		l.dead(first)
		l.check(probe{from: "lan", to: "up2", port: 8001, want: "a2"}, probe{from: "host", to: "lo", port: 8001, want: "a2", only: 4})

		// A port of one address does not keep the flows to another address alive.
		l.publish(a2)
		elsewhere := []netip.AddrPort{netip.AddrPortFrom(addr4(1, 1), 8003), netip.AddrPortFrom(addr6(1, 1), 8003), netip.AddrPortFrom(addr4(1, 1), 8004)}
		l.publish(a1, append(elsewhere, ports[2:4]...)...)
		l.dead(third, a1)
		l.dead(fourth)
		l.live(second)

		must(t, l.fw.Drop(t.Context(), a1.owner()))
		l.dead(second)
	})
}

// TestWithdraw takes other permissions away under live flows.
func TestWithdraw(t *testing.T) {
	t.Parallel()
	both(t, func(l *lab) {
		open := plain("cn-a", 1)
		l.network(1, open)
		routed := plain("cn-r", 5)
		routed.Masquerade, routed.Trusted = cnm.FamilySet{}, []string{"up3"}
		l.network(5, routed)
		l.neighbour("lan", 2)
		l.neighbour("vpn", 3)
		l.endpoint("a1", "cn-a", 1, 11)
		r1 := l.endpoint("r1", "cn-r", 5, 11)
		l.serve(r1, 80)
		l.serve(l.boxes["lan"], 80)
		l.serve(l.boxes["host"], 9000)
		closed := r1.rules
		for _, six := range []bool{false, true} {
			for _, p := range []cnm.Protocol{cnm.TCP, cnm.UDP} {
				r1.rules.Published = append(r1.rules.Published, firewall.Published{Proto: p, To: netip.AddrPortFrom(r1.addr(six), 80)})
			}
		}
		l.set(r1.owner(), r1.rules)
		opened := l.streams("r1", 80, 0, "lan", "a1")
		trusted := l.streams("r1", 80, 0, "vpn")
		services := l.streams("gw1", 9000, 0, "a1")
		out := l.streams("lan", 80, 0, "r1", "a1")

		l.set(r1.owner(), closed)
		l.dead(opened, r1)
		l.live(trusted)
		routed.Trusted = nil
		l.set("network/cn-r", firewall.Rules{Bridges: []firewall.Bridge{routed}})
		l.dead(trusted, r1)

		l.live(services)
		open.HostAccess = false
		l.set("network/cn-a", firewall.Rules{Bridges: []firewall.Bridge{open}})
		l.dead(services)
		l.live(out)
		open.Internal, routed.Internal = true, true
		l.set("network/cn-a", firewall.Rules{Bridges: []firewall.Bridge{open}})
		l.set("network/cn-r", firewall.Rules{Bridges: []firewall.Bridge{routed}})
		l.dead(out, l.boxes["lan"])
	})
}
