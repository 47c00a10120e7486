// SPDX-License-Identifier: Apache-2.0

package stage

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// Server answers TCP and UDP on one port of a place, over both families. It begins each TCP stream and each answer to a
// datagram "who" with what it sees of the client, and echoes the rest.
type Server struct {
	tcp *net.TCPListener
	udp *net.UDPConn

	mu    sync.Mutex // guards conns
	conns map[net.Conn]bool
	done  sync.WaitGroup
}

// Who is the word that a server answers with the address of whoever asks.
const Who = "who"

// Serve starts an echo server that ends with the test.
func (p Place) Serve(t testing.TB, port uint16) *Server {
	t.Helper()
	s := &Server{conns: map[net.Conn]bool{}}
	err := p.Do(func() error {
		at := netip.AddrPortFrom(netip.IPv6Unspecified(), port)
		tcp, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(at))
		if err != nil {
			return err
		}
		udp, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
		if err != nil {
			return err
		}
		// An answer comes from the address that was asked, as whoever asked expects.
		raw, err := udp.SyscallConn()
		if err != nil {
			return err
		}
		var set error
		err = raw.Control(func(fd uintptr) { set = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1) })
		if err := errors.Join(err, set); err != nil {
			return err
		}
		s.tcp, s.udp = tcp, udp
		return nil
	})
	if err != nil {
		t.Fatalf("serve in %s: %v", p.Name, err)
	}
	s.done.Go(s.accept)
	s.done.Go(s.datagrams)
	t.Cleanup(s.Close)
	return s
}

// Close ends it with all its streams.
func (s *Server) Close() {
	s.tcp.Close()
	s.udp.Close()
	s.mu.Lock()
	for c := range s.conns {
		c.Close()
	}
	s.mu.Unlock()
	s.done.Wait()
}

func (s *Server) accept() {
	for {
		conn, err := s.tcp.AcceptTCP()
		if err != nil {
			return
		}
		// An end that nobody acknowledges would keep the namespace for minutes.
		_ = conn.SetLinger(0) // a TCP connection has it
		s.mu.Lock()
		s.conns[conn] = true
		s.mu.Unlock()
		s.done.Go(func() {
			s.stream(conn)
			s.mu.Lock()
			delete(s.conns, conn)
			s.mu.Unlock()
			conn.Close()
		})
	}
}

func (s *Server) stream(conn net.Conn) {
	buf := make([]byte, 2048)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return
		}
		if _, err := conn.Write(answer(buf[:n], conn.RemoteAddr())); err != nil {
			return
		}
	}
}

func (s *Server) datagrams() {
	buf, oob := make([]byte, 2048), make([]byte, 128)
	for {
		n, oobn, _, from, err := s.udp.ReadMsgUDPAddrPort(buf, oob)
		if err != nil {
			return
		}
		// An answer that cannot be sent is what a probe is to find out.
		_, _, _ = s.udp.WriteMsgUDPAddrPort(answer(buf[:n], net.UDPAddrFromAddrPort(from)), asked(oob[:oobn]), from)
	}
}

// asked is the control message that has an answer come from the address that was asked.
func asked(oob []byte) []byte {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil
	}
	for _, m := range messages {
		if m.Header.Level == unix.IPPROTO_IPV6 && m.Header.Type == unix.IPV6_PKTINFO && len(m.Data) >= unix.SizeofInet6Pktinfo {
			return unix.PktInfo6(&unix.Inet6Pktinfo{Addr: [16]byte(m.Data[:16])})
		}
	}
	return nil
}

// answer is what to send back.
func answer(word []byte, from net.Addr) []byte {
	if string(word) != Who {
		return word
	}
	if a, err := netip.ParseAddrPort(from.String()); err == nil {
		return []byte(a.Addr().Unmap().String())
	}
	return []byte(from.String())
}
