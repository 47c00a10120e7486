// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/kernel/kerneltest"
	"github.com/libnetwork/cnm/test/lab/stage"
)

// both are probes of one port by TCP and UDP.
func both(from stage.Place, port uint16, to ...netip.Addr) []stage.Probe {
	var all []stage.Probe
	for _, a := range to {
		for _, proto := range []string{"tcp", "udp"} {
			all = append(all, stage.Probe{From: from, Proto: proto, To: netip.AddrPortFrom(a, port)})
		}
	}
	return all
}

func loopbacks() []netip.Addr { return []netip.Addr{addr("127.0.0.1"), addr("127.0.0.5"), addr("::1")} }

// shop is a host with a server on network red, whose ports are published in several ways, and others who may ask.
type shop struct {
	*stage.World
	red, blue        cnm.Network
	web, same, other *stage.Box
}

func openShop(t *testing.T, ports ...string) *shop {
	t.Helper()
	w := stage.Build(t)
	s := &shop{World: w, red: w.Network("red"), blue: w.Network("blue")}
	s.web, s.same, s.other = w.Sandbox("web"), w.Sandbox("same", s.red), w.Sandbox("other", s.blue)
	w.Plug(s.web, s.red, w.Publishing(ports...))
	s.web.Serve(t, stage.EchoPort)
	return s
}

func TestPublishedOnAllAddresses(t *testing.T) {
	t.Parallel()
	for _, filter := range []string{"0", "1"} {
		t.Run("bridge netfilter "+filter, func(t *testing.T) {
			t.Parallel()
			kerneltest.Run(t, func(t *testing.T) {
				needBridgeNetfilter(t, filter)
				s := openShop(t, "8007:7/tcp", "8007:7/udp")
				answered := both(s.Place, 8007, slices.Concat(loopbacks(), hostAll(), gateways(s.red), gateways(s.blue))...)
				for _, from := range []stage.Place{s.Neighbour, s.same.Place, s.web.Place, s.other.Place} {
					answered = append(answered, both(from, 8007, hostAll()...)...)
				}
				answered = append(answered, both(s.same.Place, 8007, gateways(s.red)...)...)
				answered = append(answered, both(s.other.Place, 8007, gateways(s.blue)...)...)
				stage.Answered(t, answered...)
				stage.Silent(t, append(both(s.other.Place, stage.EchoPort, s.web.Addresses(s.red)...), both(s.Neighbour, 8008, hostAll()...)...)...)
				for i, at := range host4and6() {
					for _, proto := range []string{"tcp", "udp"} {
						to := netip.AddrPortFrom(at, 8007)
						seen(t, s.Neighbour, proto, to, neighbour4and6()[i])
						seen(t, s.other.Place, proto, to, s.other.Addresses(s.blue)...)
						seen(t, s.same.Place, proto, to, gateways(s.red)...)
						seen(t, s.web.Place, proto, to, gateways(s.red)...)
					}
				}
			})
		})
	}
}

func TestPublishedOnOneAddress(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		s := openShop(t,
			stage.SecondHost4+":8001:7/tcp", stage.SecondHost4+":8001:7/udp", "["+stage.SecondHost6+"]:8001:7/tcp", "["+stage.SecondHost6+"]:8001:7/udp",
			"127.0.0.1:8002:7/tcp", "127.0.0.1:8002:7/udp", "[::1]:8002:7/tcp", "[::1]:8002:7/udp")
		second := []netip.Addr{addr(stage.SecondHost4), addr(stage.SecondHost6)}
		local := []netip.Addr{addr("127.0.0.1"), addr("::1")}
		stage.Answered(t, slices.Concat(
			both(s.Neighbour, 8001, second...), both(s.Place, 8001, second...), both(s.other.Place, 8001, second...), both(s.same.Place, 8001, second...),
			both(s.Place, 8002, local...))...)
		stage.Silent(t, slices.Concat(
			both(s.Neighbour, 8001, host4and6()...), both(s.Place, 8001, host4and6()...), both(s.Place, 8001, loopbacks()...), both(s.other.Place, 8001, host4and6()...),
			both(s.Neighbour, 8002, hostAll()...), both(s.Place, 8002, hostAll()...), both(s.other.Place, 8002, hostAll()...), both(s.same.Place, 8002, gateways(s.red)...))...)
		// What is sent to 127.0.0.1 over a wire is for nobody.
		for i, mine := range []stage.Place{s.Neighbour, s.same.Place} {
			t.Run([]string{"from the LAN", "from an endpoint"}[i], func(t *testing.T) { martian(t, s, mine, i == 0) })
		}
	})
}

// martian sends a datagram for 127.0.0.1 over a wire to the host, and asks for no answer.
func martian(t *testing.T, s *shop, from stage.Place, lan bool) {
	t.Helper()
	wire, me, host, mine := s.Neighbour.Wire(t, "eth0"), mac(t, s.Neighbour, "eth0"), mac(t, s.Place, stage.LANLink), addr(stage.Neighbour4)
	if !lan {
		at := s.same.At[s.red.ID]
		wire, me, host, mine = from.Wire(t, "eth0"), at.Endpoint.MAC, mac(t, s.Place, at.Join.Result.Link.Bridge), at.Endpoint.Address(cnm.IPv4)
	}
	inside := s.web.Wire(t, "eth0")
	to := addr("127.0.0.1")
	wire.Send(stage.Ether(host, me, 0x0800, stage.IP(mine, to, 17, stage.UDP(netip.AddrPortFrom(mine, 9), netip.AddrPortFrom(to, 8002), "martian"))))
	stage.Answered(t, both(s.Place, 8002, to)[1:]...)
	s.mark(t, "after the martian")
	if inside.Until("after the martian", "martian-")["martian-"] {
		t.Error("it came through")
	}
}

// mark sends a word to the server by the published port, so that it is on its wire.
func (s *shop) mark(t *testing.T, word string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), stage.Patience)
	defer cancel()
	if _, err := s.Place.Exchange(ctx, "udp", netip.AddrPortFrom(addr("127.0.0.1"), 8002), word); err != nil {
		t.Error(err)
	}
}

// mac is that of a link.
func mac(t *testing.T, p stage.Place, name string) cnm.MAC {
	t.Helper()
	var m cnm.MAC
	err := p.Do(func() error {
		i, err := net.InterfaceByName(name)
		if err == nil {
			copy(m[:], i.HardwareAddr)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// stream is a conversation over TCP or a connected UDP socket.
type stream struct {
	net.Conn
	name string
}

func converse(t *testing.T, from stage.Place, proto string, to netip.AddrPort) *stream {
	t.Helper()
	conn, err := from.Dial(t.Context(), proto, netip.Addr{}, to)
	if err != nil {
		t.Fatalf("%s -> %s/%s: %v", from.Name, to, proto, err)
	}
	t.Cleanup(func() { conn.Close() })
	return &stream{conn, from.Name + " -> " + to.String() + "/" + proto}
}

// say tells whether what is said is answered within a time.
func (s *stream) say(word string, within time.Duration) bool {
	buf := make([]byte, 512)
	if _, err := s.Write([]byte(word)); err != nil {
		return false
	}
	for s.SetReadDeadline(time.Now().Add(within)) == nil {
		n, err := s.Read(buf)
		if err != nil {
			return false
		}
		if string(buf[:n]) == word {
			return true
		}
	}
	return false
}

func TestUnpublishEndsLiveStreams(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		s := openShop(t, "8007:7/tcp", "8007:7/udp", "8008:7/tcp", "127.0.0.1:8009:7/tcp", "[::1]:8009:7/tcp")
		var ending []*stream
		for _, from := range []stage.Place{s.Neighbour, s.Place, s.same.Place, s.other.Place} {
			for _, at := range host4and6() {
				for _, proto := range []string{"tcp", "udp"} {
					ending = append(ending, converse(t, from, proto, netip.AddrPortFrom(at, 8007)))
				}
			}
		}
		for _, at := range []string{"127.0.0.1:8009", "[::1]:8009", "127.0.0.1:8007", "[::1]:8007"} {
			ending = append(ending, converse(t, s.Place, "tcp", netip.MustParseAddrPort(at)))
		}
		going := []*stream{
			converse(t, s.Neighbour, "tcp", netip.AddrPortFrom(addr(stage.Host4), 8008)),
			converse(t, s.Neighbour, "tcp", netip.AddrPortFrom(addr(stage.Host6), 8008)),
			converse(t, s.same.Place, "tcp", netip.AddrPortFrom(s.web.Address(s.red, cnm.IPv4), stage.EchoPort)),
		}
		for _, c := range append(ending, going...) {
			if !c.say("before", stage.Patience) {
				t.Errorf("%s: no answer", c.name)
			}
		}
		at, err := s.Publish(t.Context(), s.web.At[s.red.ID].Endpoint.ID, nil,
			stage.Ports(t, "8007:7/tcp", "8007:7/udp", "127.0.0.1:8009:7/tcp", "[::1]:8009:7/tcp"))
		if err != nil {
			t.Fatal(err)
		}
		if len(at.Join.Result.Ports) != 2 {
			t.Errorf("ports left: %v", at.Join.Result.Ports)
		}
		late := make(chan string, len(ending))
		for _, c := range ending {
			go func() {
				name := ""
				if c.say("after", stage.Silence) {
					name = c.name
				}
				late <- name
			}()
		}
		for range ending {
			if name := <-late; name != "" {
				t.Errorf("%s: answered after its port was withdrawn", name)
			}
		}
		for _, c := range going {
			if !c.say("after", stage.Patience) {
				t.Errorf("%s: ended though its port is still published", c.name)
			}
		}
	})
}

// TestPublishAgain gives a port that a client goes on sending to from one endpoint to another.
func TestPublishAgain(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		s := openShop(t, "8007:7/tcp", "8007:7/udp")
		client := converse(t, s.Neighbour, "udp", netip.AddrPortFrom(addr(stage.Host4), 8007))
		if !client.say("first", stage.Patience) {
			t.Fatal("no answer")
		}
		first, second := s.web.At[s.red.ID].Endpoint.ID, s.same.At[s.red.ID].Endpoint.ID
		if _, err := s.Publish(t.Context(), first, nil, stage.Ports(t, "8007:7/tcp", "8007:7/udp")); err != nil {
			t.Fatal(err)
		}
		if client.say("between", stage.Silence) {
			t.Error("answered while the port was nobody's")
		}
		s.same.Serve(t, stage.EchoPort)
		if _, err := s.Publish(t.Context(), second, stage.Ports(t, "8007:7/tcp", "8007:7/udp"), nil); err != nil {
			t.Fatal(err)
		}
		end := time.Now().Add(stage.Patience)
		for !client.say("second", stage.Silence) {
			if time.Now().After(end) {
				t.Fatal("a client that went on sending does not reach the new endpoint")
			}
		}
		stage.Answered(t, both(s.Neighbour, 8007, hostAll()...)...)
	})
}

// TestPublishedSCTP looks for the first message of an association, because few kernels have SCTP sockets.
func TestPublishedSCTP(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		s := openShop(t, "8007:7/sctp")
		for _, to := range host4and6() {
			network := "ip4:132"
			if to.Is6() {
				network = "ip6:132"
			}
			wire := s.web.Wire(t, "eth0")
			init := sctpInit(4000, 8007)
			err := s.Neighbour.Do(func() error {
				var d net.Dialer
				c, err := d.DialIP(t.Context(), network, netip.Addr{}, to)
				if err != nil {
					return err
				}
				_, err = c.Write(init)
				return errors.Join(err, c.Close())
			})
			if err != nil {
				t.Fatal(err)
			}
			wire.Until(string([]byte{4000 >> 8, 4000 & 0xff, 0, stage.EchoPort, 0, 0, 0, 0})) // ports and tag
			wire.Close()
		}
	})
}

// sctpInit is a packet with an INIT chunk (RFC 9260).
func sctpInit(from, to uint16) []byte {
	b := make([]byte, 32)
	binary.BigEndian.PutUint16(b, from)
	binary.BigEndian.PutUint16(b[2:], to)
	b[12] = 1                                 // INIT
	binary.BigEndian.PutUint16(b[14:], 20)    // its length
	binary.BigEndian.PutUint32(b[16:], 1)     // tag
	binary.BigEndian.PutUint32(b[20:], 1<<16) // window
	binary.BigEndian.PutUint16(b[24:], 1)     // streams out
	binary.BigEndian.PutUint16(b[26:], 1)     // streams in
	binary.LittleEndian.PutUint32(b[8:], crc32c(b))
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

func TestPublishConflicts(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		s := openShop(t, "8007:7/tcp")
		var lc net.ListenConfig
		ln, err := lc.Listen(t.Context(), "tcp", "0.0.0.0:9000")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		same := s.same.At[s.red.ID].Endpoint.ID
		for _, port := range []string{"8007:7/tcp", "9000:7/tcp", "127.0.0.1:8007:7/tcp"} {
			before := s.Picture()
			if _, err := s.Publish(t.Context(), same, stage.Ports(t, port), nil); !errors.Is(err, cnm.Exists) {
				t.Errorf("publish %s, which is taken: %v", port, err)
			}
			if lines := s.Picture().Diff(before); len(lines) > 0 {
				t.Errorf("refused, and something changed: %q", lines)
			}
		}
		if _, err := s.Publish(t.Context(), same, stage.Ports(t, "8007:7/udp"), nil); err != nil {
			t.Errorf("the same number of another protocol: %v", err)
		}
		if _, err := os.Stat(s.same.Sandbox.Namespace.Path); err != nil {
			t.Error(err)
		}
	})
}
