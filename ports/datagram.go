// SPDX-License-Identifier: Apache-2.0

package ports

import (
	"container/list"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// receiver reads what reaches a held UDP socket. The socket's filter lets
// nothing through but datagrams to loopback.
type receiver struct{ hold *hold }

// sessionKey is a client of a held UDP port.
type sessionKey struct {
	hold   *hold
	client netip.AddrPort
	local  netip.Addr // what the client sends to, and expects answers from
}

// session is the socket that stands for a client before the endpoint.
type session struct {
	key    sessionKey
	fd     int
	number uint64
	to     netip.AddrPort
	from   []byte // control message: answers leave from the local address
	mapped bool   // IPv4 over a dual-stack socket
	last   time.Time
	place  *list.Element
}

// ready passes what has arrived on to the endpoint.
func (r *receiver) ready(s *splicer) {
	for range burst {
		n, oobn, _, from, err := unix.Recvmsg(r.hold.fd, s.buf, s.oob, unix.MSG_DONTWAIT)
		if err != nil {
			return
		}
		local, ok := destination(s.oob[:oobn])
		client := addrPort(from)
		if !ok || !local.IsLoopback() || !client.Addr().IsLoopback() {
			continue
		}
		ss := s.session(sessionKey{hold: r.hold, client: client, local: local})
		if ss == nil {
			continue
		}
		// A datagram that cannot be sent now is lost, as datagrams are.
		_, _ = unix.Write(ss.fd, s.buf[:n])
	}
}

// destination reads from control messages what address a datagram was sent to.
func destination(oob []byte) (netip.Addr, bool) {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return netip.Addr{}, false
	}
	for _, m := range messages {
		switch {
		case m.Header.Level == unix.IPPROTO_IP && m.Header.Type == unix.IP_PKTINFO && len(m.Data) >= unix.SizeofInet4Pktinfo:
			return netip.AddrFromSlice(m.Data[8:12])
		case m.Header.Level == unix.IPPROTO_IPV6 && m.Header.Type == unix.IPV6_PKTINFO && len(m.Data) >= unix.SizeofInet6Pktinfo:
			a, ok := netip.AddrFromSlice(m.Data[:16])
			return a.Unmap(), ok
		}
	}
	return netip.Addr{}, false
}

// source is the control message that makes answers leave from an address.
func (k *sessionKey) source(dual bool) []byte {
	if k.local.Is4() && !dual {
		return unix.PktInfo4(&unix.Inet4Pktinfo{Spec_dst: k.local.As4()})
	}
	return unix.PktInfo6(&unix.Inet6Pktinfo{Addr: k.local.As16()})
}

// session finds a client's session or makes one; nil where it leads nowhere.
// Where there are too many, the one that has been silent longest ends. The caller
// holds s.mu.
func (s *splicer) session(k sessionKey) *session {
	ss, ok := s.sessions[k]
	if !ok {
		if ss = s.begin(k); ss == nil {
			return nil
		}
	}
	ss.last = time.Now()
	s.recent.MoveToFront(ss.place)
	return ss
}

// begin makes a session. The caller holds s.mu.
func (s *splicer) begin(k sessionKey) *session {
	r := k.hold.route.Load()
	if r == nil {
		return nil
	}
	to := r.to(k.local)
	if !to.IsValid() {
		return nil
	}
	if len(s.sessions) >= s.maxSessions {
		if oldest, ok := s.recent.Back().Value.(*session); ok {
			s.finish(oldest)
		}
	}
	fd, err := connected(to)
	if err != nil {
		s.log.Warn("reaching the endpoint of a held port", "endpoint", to, "error", err)
		return nil
	}
	dual := k.hold.addrs[len(k.hold.addrs)-1].Is6()
	ss := &session{key: k, fd: fd, to: to, from: k.source(dual), mapped: dual}
	if ss.number, err = s.watch(fd, ss); err != nil {
		_ = unix.Close(fd)
		return nil
	}
	if len(s.sessions) == 0 {
		s.expiry.Reset(s.idle)
	}
	s.sessions[k] = ss
	ss.place = s.recent.PushFront(ss)
	return ss
}

// connected makes a UDP socket that is connected.
func connected(to netip.AddrPort) (int, error) {
	family := unix.AF_INET
	if to.Addr().Is6() {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_UDP)
	if err != nil {
		return -1, err
	}
	if err := unix.Connect(fd, sockaddr(to.Addr(), to.Port())); err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// ready passes the endpoint's answers back to the client.
func (ss *session) ready(s *splicer) {
	client := sockaddr(ss.key.client.Addr(), ss.key.client.Port())
	if ss.mapped {
		client = &unix.SockaddrInet6{Port: int(ss.key.client.Port()), Addr: ss.key.client.Addr().As16()}
	}
	for range burst {
		n, err := unix.Read(ss.fd, s.buf)
		if err != nil {
			return // nothing more, or the endpoint said that nobody listens
		}
		ss.last = time.Now()
		s.recent.MoveToFront(ss.place)
		_, _ = unix.SendmsgN(ss.key.hold.fd, s.buf[:n], ss.from, client, unix.MSG_DONTWAIT)
	}
}

// finish ends a session. The caller holds s.mu.
func (s *splicer) finish(ss *session) {
	delete(s.sources, ss.number)
	delete(s.sessions, ss.key)
	s.recent.Remove(ss.place)
	_ = unix.Close(ss.fd)
}

// endSessions ends those that match. The caller holds s.mu.
func (s *splicer) endSessions(match func(ss *session) bool) {
	for _, ss := range s.sessions {
		if match(ss) {
			s.finish(ss)
		}
	}
}

// expire ends the sessions that have been silent too long and comes again for
// the next one.
func (s *splicer) expire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	for e := s.recent.Back(); e != nil; e = s.recent.Back() {
		ss, ok := e.Value.(*session)
		if !ok {
			return
		}
		if left := s.idle - now.Sub(ss.last); left > 0 {
			s.expiry.Reset(left)
			return
		}
		s.finish(ss)
	}
}
