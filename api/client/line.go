// SPDX-License-Identifier: Apache-2.0

package client

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"
)

const (
	idleMost = 16          // connections that are kept, for as many calls at once
	idleFor  = time.Minute // how long one is worth keeping
)

// lines is an [http.RoundTripper] of connections to one socket. The caller writes its request and reads the answer itself, on
// a connection that is its alone meanwhile: the standard transport has two other goroutines do that, and waking each takes longer than most
// requests.
type lines struct {
	dial func(ctx context.Context) (net.Conn, error)

	mu   sync.Mutex // guards idle
	idle []*line    // last used last
}

// line is one connection.
type line struct {
	conn net.Conn
	in   *bufio.Reader
	used time.Time
}

// RoundTrip implements [http.RoundTripper]. The answer's body has to be read or closed; the context ends it too.
func (l *lines) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx := req.Context()
	if err := ctx.Err(); err != nil {
		return nil, errors.Join(err, closeBody(req))
	}
	n, err := l.take(ctx)
	if err != nil {
		return nil, errors.Join(err, closeBody(req))
	}
	stop := context.AfterFunc(ctx, func() { _ = n.conn.SetDeadline(time.Unix(1, 0)) }) // fails only where it is closed
	resp, err := n.exchange(req)
	if err != nil {
		stop()
		_ = n.conn.Close() // nothing more is wanted of it
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, err
	}
	resp.Body = &answer{ReadCloser: resp.Body, ended: func(whole bool) {
		if stop() && whole && !resp.Close {
			l.give(n)
			return
		}
		_ = n.conn.Close()
	}}
	return resp, nil
}

// CloseIdleConnections is what [http.Client] calls.
func (l *lines) CloseIdleConnections() {
	l.mu.Lock()
	idle := l.idle
	l.idle = nil
	l.mu.Unlock()
	for _, n := range idle {
		_ = n.conn.Close()
	}
}

// take gives a connection that nobody uses, or a new one.
func (l *lines) take(ctx context.Context) (*line, error) {
	for {
		n := l.last()
		if n == nil {
			conn, err := l.dial(ctx)
			if err != nil {
				return nil, err
			}
			return &line{conn: conn, in: bufio.NewReader(conn)}, nil
		}
		if time.Since(n.used) < idleFor && n.quiet() {
			return n, nil
		}
		_ = n.conn.Close()
	}
}

func (l *lines) last() *line {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.idle) == 0 {
		return nil
	}
	n := l.idle[len(l.idle)-1]
	l.idle = l.idle[:len(l.idle)-1]
	return n
}

// give keeps a connection for the next call.
func (l *lines) give(n *line) {
	n.used = time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.idle) == idleMost {
		_ = l.idle[0].conn.Close()
		l.idle = l.idle[1:]
	}
	l.idle = append(l.idle, n)
}

// quiet tells whether the far end is there and has said nothing since: a daemon that ended has closed it.
func (n *line) quiet() bool {
	c, ok := n.conn.(syscall.Conn)
	if !ok || n.in.Buffered() > 0 {
		return false
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return false
	}
	quiet := false
	err = raw.Read(func(fd uintptr) bool {
		var b [1]byte
		_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		quiet = errors.Is(err, syscall.EAGAIN)
		return true
	})
	return err == nil && quiet
}

// exchange writes a request and reads the head of its answer. One that is refused before it is read whole has an answer all the same.
func (n *line) exchange(req *http.Request) (*http.Response, error) {
	out := bufio.NewWriter(n.conn)
	wrote := req.Write(out)
	if wrote == nil {
		wrote = out.Flush()
	}
	resp, err := http.ReadResponse(n.in, req)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("read the answer: %w", err), wrote)
	}
	return resp, nil
}

// answer is a body that tells, once, when it has ended, and whether it was read to its end.
type answer struct {
	io.ReadCloser

	once  sync.Once
	ended func(whole bool)
}

func (a *answer) Read(p []byte) (int, error) {
	n, err := a.ReadCloser.Read(p)
	if err != nil {
		a.once.Do(func() { a.ended(errors.Is(err, io.EOF)) })
	}
	return n, err //nolint:wrapcheck // the end of a body is a bare io.EOF
}

func (a *answer) Close() error {
	a.once.Do(func() { a.ended(false) })
	return nil
}

func closeBody(req *http.Request) error {
	if req.Body == nil {
		return nil
	}
	return req.Body.Close()
}
