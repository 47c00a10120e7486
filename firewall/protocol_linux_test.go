// SPDX-License-Identifier: Apache-2.0

package firewall_test

import (
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/firewall"
	"github.com/libnetwork/cnm/kernel/kerneltest"
	"github.com/libnetwork/cnm/kernel/link"
)

// sctpInit begins an SCTP association; note is in its cookie parameter, for us to know it again.
func sctpInit(src, dst netip.AddrPort, note string) []byte {
	parameter := append(binary.BigEndian.AppendUint16([]byte{0x80, 8}, uint16(4+len(note))), note...)
	for len(parameter)%4 != 0 {
		parameter = append(parameter, 0)
	}
	b := binary.BigEndian.AppendUint16(nil, src.Port())
	b = binary.BigEndian.AppendUint16(b, dst.Port())
	b = append(b, make([]byte, 8)...)
	chunk := []byte{1, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 1}
	binary.BigEndian.PutUint16(chunk[2:], uint16(len(chunk)+len(parameter)))
	b = slices.Concat(b, chunk, parameter)
	binary.LittleEndian.PutUint32(b[8:], crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
	return ip(src.Addr(), dst.Addr(), unix.IPPROTO_SCTP, b)
}

// TestSCTP translates what begins an association, both families.
func TestSCTP(t *testing.T) {
	t.Parallel()
	both(t, func(l *lab) {
		l.network(1, plain("cn-a", 1))
		lan := l.neighbour("lan", 2)
		a1 := l.endpoint("a1", "cn-a", 1, 11)
		for _, h := range everywhere(8001) {
			a1.rules.Published = append(a1.rules.Published, firewall.Published{Proto: cnm.SCTP, Host: h, To: netip.AddrPortFrom(a1.addr(h.Addr().Is6()), 80)})
		}
		l.set(a1.owner(), a1.rules)
		own, err := lan.conn.Link(link.Named("eth0"))
		must(t, err)
		in, out := l.tap(a1), l.tap(lan)
		for _, six := range []bool{false, true} {
			typ := uint16(typeIPv4)
			if six {
				typ = typeIPv6
			}
			init := sctpInit(netip.AddrPortFrom(lan.addr(six), 5000), netip.AddrPortFrom(l.where("up2", six), 8001), "the first chunk")
			out.send(eth(cnm.MAC(lan.peer), cnm.MAC(own.MAC), typ, init))
			in.until([]byte("the first chunk"))
		}
	})
}

// TestPing: endpoints that reach no service of the host still get its echo, or nobody could look for a fault.
func TestPing(t *testing.T) {
	t.Parallel()
	both(t, func(l *lab) {
		internal, closed := plain("cn-i", 3), plain("cn-c", 4)
		internal.Internal, closed.HostAccess = true, false
		l.network(3, internal)
		l.network(4, closed)
		for n, e := range map[int]*box{3: l.endpoint("i1", "cn-i", 3, 11), 4: l.endpoint("c1", "cn-c", 4, 11)} {
			hub, err := l.conn.Link(link.Named(e.bridge))
			must(t, err)
			both := l.tap(e)
			both.send(eth(cnm.MAC(hub.MAC), e.mac, typeIPv4, icmp4(e.addr(false), addr4(n, 1), 8, []byte("\x00\x01\x00\x01an echo")...)))
			both.until([]byte("an echo"))
			both.send(eth(cnm.MAC(hub.MAC), e.mac, typeIPv6, icmp6(e.addr(true), addr6(n, 1), 128, []byte("\x00\x01\x00\x01another echo")...)))
			both.until([]byte("another echo"))
		}
	})
}

// TestRestart opens the firewall again and again while an endpoint sends to another network: nothing gets through in
// between, and what may flow goes on.
func TestRestart(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]firewall.Config{"owned": {}, "shared": {Shared: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			kerneltest.Run(t, func(t *testing.T) {
				l := newLab(t, cfg)
				l.network(1, plain("cn-a", 1))
				l.network(2, plain("cn-b", 2))
				l.neighbour("lan", 2)
				a1, b1 := l.endpoint("a1", "cn-a", 1, 11), l.endpoint("b1", "cn-b", 2, 11)
				l.serve(a1, 80)
				l.publish(a1, everywhere(8001)...)
				live := l.streams("up2", 8001, 0, "lan", "b1")
				sent, leaked := l.flood(b1, a1, func() { l.restart(cfg) })
				if sent < 100 || leaked != 0 {
					t.Errorf("%d of %d datagrams got through", leaked, sent)
				}
				l.live(live)
			})
		})
	}
}

// restart ends the firewall and opens it again, with the same rules.
func (l *lab) restart(cfg firewall.Config) {
	l.Helper()
	must(l, l.fw.Close())
	for range 30 {
		fw, err := firewall.Open(l.Context(), cfg)
		must(l, err)
		l.declare(fw)
		must(l, fw.Close())
	}
}

// declare sets all rules of the lab in one transaction.
func (l *lab) declare(fw *firewall.Firewall) {
	l.Helper()
	must(l, fw.Together(l.Context(), func(ctx context.Context) error {
		for owner, r := range l.rules {
			if err := fw.Set(ctx, owner, r); err != nil {
				return err
			}
		}
		return nil
	}))
}

// flood sends datagrams from one box to another, each pair from a port of its own, while something is done. It counts what
// was sent and what arrived before a datagram of the host's own, which comes last.
func (l *lab) flood(from, to *box, during func()) (sent, arrived int) {
	l.Helper()
	const port = 99
	in := l.listen(to, port)
	var wg sync.WaitGroup
	wg.Go(func() {
		buf := make([]byte, 16)
		for n, err := in.Read(buf); err == nil && string(buf[:n]) != "end"; n, err = in.Read(buf) {
			arrived++
		}
	})
	done := make(chan struct{})
	var sending sync.WaitGroup
	sending.Go(func() {
		for ; ; sent++ {
			select {
			case <-done:
				return
			default:
			}
			out := l.listen(from, 0)
			for _, six := range []bool{false, true} {
				_, _ = out.WriteToUDPAddrPort([]byte("leak"), netip.AddrPortFrom(to.addr(six), port))
			}
			_ = out.Close()
		}
	})
	during()
	close(done)
	sending.Wait()
	mark := l.listen(l.boxes["host"], 0)
	_, err := mark.WriteToUDPAddrPort([]byte("end"), netip.AddrPortFrom(to.addr(false), port))
	must(l, err)
	wg.Wait()
	must(l, errors.Join(mark.Close(), in.Close()))
	return sent, arrived
}

// listen opens a UDP socket of a box.
func (l *lab) listen(b *box, port int) *net.UDPConn {
	var c *net.UDPConn
	err := b.ns.Do(func() error {
		var err error
		c, err = net.ListenUDP("udp", &net.UDPAddr{Port: port})
		return err
	})
	if err != nil {
		l.Error(err)
		runtime.Goexit()
	}
	return c
}
