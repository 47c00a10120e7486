// SPDX-License-Identifier: Apache-2.0

package ports

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// pause is how long a socket is left alone of which nothing can be accepted.
const pause = 100 * time.Millisecond

// listener accepts what reaches a held TCP socket.
type listener struct{ hold *hold }

// stream is a spliced TCP connection.
type stream struct {
	hold  *hold
	local netip.Addr     // what the client connected to
	to    netip.AddrPort // the endpoint's
	stop  context.CancelFunc
	ended chan struct{}
}

// ready accepts what waits.
func (l *listener) ready(s *splicer) {
	for range burst {
		fd, peer, err := unix.Accept4(l.hold.fd, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		switch {
		case err == nil:
			s.admit(l.hold, fd, addrPort(peer).Addr())
		case errors.Is(err, unix.EAGAIN):
			return
		case errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE):
			if !s.shed(l.hold.fd) {
				s.rest(l.hold)
				return
			}
		}
		// Whatever else it is concerns a connection that is gone already.
	}
}

// shed refuses one connection when no descriptor is left to accept it with:
// waiting, it would be reported again and again.
func (s *splicer) shed(listening int) bool {
	_ = unix.Close(s.spare)
	fd, _, err := unix.Accept4(listening, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
	if err == nil {
		reset(fd)
	}
	var reopened error
	s.spare, reopened = openSpare()
	if now := time.Now(); now.Sub(s.shedding) > time.Minute {
		s.shedding = now
		s.log.Warn("no descriptor is left, connections to held ports are refused", "error", errors.Join(err, reopened))
	}
	return err == nil && reopened == nil
}

// rest leaves a socket alone for a while.
func (s *splicer) rest(hd *hold) {
	s.arm(hd, 0)
	time.AfterFunc(pause, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.closed {
			return
		}
		if s.spare < 0 {
			s.spare, _ = openSpare() // if not now, the next time
		}
		s.arm(hd, unix.EPOLLIN)
	})
}

// admit begins to splice a connection, or resets it: one that did not come over
// loopback, one too many, one that leads nowhere.
func (s *splicer) admit(hd *hold, fd int, peer netip.Addr) {
	sa, err := unix.Getsockname(fd)
	if err != nil {
		reset(fd)
		return
	}
	local := addrPort(sa).Addr()
	var to netip.AddrPort
	if r := hd.route.Load(); r != nil {
		to = r.to(local)
	}
	if !local.IsLoopback() || !peer.IsLoopback() || !to.IsValid() || s.nstreams >= s.maxStreams {
		reset(fd)
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	st := &stream{hold: hd, local: local, to: to, stop: stop, ended: make(chan struct{})}
	if s.streams[hd] == nil {
		s.streams[hd] = make(map[*stream]struct{})
	}
	s.streams[hd][st] = struct{}{}
	s.nstreams++
	s.running.Go(func() {
		st.run(ctx, fd, s)
		s.forget(st)
	})
}

// forget takes an ended stream out.
func (s *splicer) forget(st *stream) {
	st.stop()
	s.mu.Lock()
	delete(s.streams[st.hold], st)
	if len(s.streams[st.hold]) == 0 {
		delete(s.streams, st.hold)
	}
	s.nstreams--
	s.mu.Unlock()
	close(st.ended)
}

// end cuts streams and waits until they are gone.
func end(streams []*stream) {
	for _, st := range streams {
		st.stop()
	}
	for _, st := range streams {
		<-st.ended
	}
}

// reset closes a connection so that its peer gets a reset.
func reset(fd int) {
	// Neither can fail on a connection that is open, and there is nobody to tell.
	_ = setReset(fd)
	_ = unix.Close(fd)
}

// setReset has a socket say goodbye with a reset when it is closed.
func setReset(fd int) error {
	return unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
}

// run connects to the endpoint and passes bytes on in both directions until both
// have ended, either fails, or ctx ends. An end of one direction is passed on as
// such; anything else is passed on as a reset.
func (st *stream) run(ctx context.Context, fd int, s *splicer) {
	client, err := tcpConn(fd)
	if err != nil {
		s.log.Warn("taking a connection to a held port", "error", err)
		return
	}
	server, err := s.dial(ctx, st.to)
	if err != nil {
		abort(client)
		return
	}
	cut := context.AfterFunc(ctx, func() { abort(client, server) })
	var out error
	var wait sync.WaitGroup
	wait.Go(func() { out = pass(server, client) })
	in := pass(client, server)
	wait.Wait()
	if !cut() {
		return // aborted
	}
	if in != nil || out != nil {
		abort(client, server)
		return
	}
	_ = client.Close()
	_ = server.Close()
}

// dial connects to an endpoint. A connection that is given up on the way ends
// with a reset, like any other that is cut.
func (s *splicer) dial(ctx context.Context, to netip.AddrPort) (*net.TCPConn, error) {
	dialer := net.Dialer{Timeout: s.dialTimeout, Control: func(_, _ string, raw syscall.RawConn) error {
		var failed error
		err := raw.Control(func(fd uintptr) { failed = setReset(int(fd)) })
		return errors.Join(err, failed)
	}}
	conn, err := dialer.DialContext(ctx, "tcp", to.String())
	if err != nil {
		return nil, err
	}
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return nil, errors.Join(errors.New("not a TCP connection"), conn.Close())
	}
	if err := tcp.SetLinger(-1); err != nil {
		return nil, errors.Join(err, tcp.Close())
	}
	return tcp, nil
}

// pass copies until from ends and passes the end on. A failure ends both
// connections, and with them the other direction.
func pass(to, from *net.TCPConn) error {
	_, err := io.Copy(to, from) // the kernel moves the bytes: splice(2)
	if err == nil {
		err = to.CloseWrite()
	}
	if err != nil {
		abort(to, from)
	}
	return err
}

// abort ends connections with a reset. It may be repeated.
func abort(conns ...*net.TCPConn) {
	for _, c := range conns {
		_ = c.SetLinger(0)
		_ = c.Close()
	}
}

// tcpConn makes an accepted descriptor, which it takes over, a connection of
// package net.
func tcpConn(fd int) (*net.TCPConn, error) {
	file := os.NewFile(uintptr(fd), "tcp")
	conn, err := net.FileConn(file)
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	if err := file.Close(); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return nil, errors.Join(errors.New("not a TCP connection"), conn.Close())
	}
	return tcp, nil
}
