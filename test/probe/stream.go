// SPDX-License-Identifier: Apache-2.0

package probe

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"sync"
	"time"
)

// pace is the time between two messages of a stream.
const pace = 2 * time.Millisecond

// Stream is traffic that goes on while something happens: numbered messages, each of which must come back, in order.
type Stream struct {
	Name string             // for messages
	stop context.CancelFunc // of the sending
	sent chan int           // receives how many were sent, once sending has ended
	done chan struct{}      // closed when receiving has ended

	mu    sync.Mutex    // guards the rest
	back  int           // messages that came back
	err   error         // why receiving ended
	grown chan struct{} // closed when one comes back or receiving ends, and then replaced

	close func() // may be called again
}

func newStream(name string) *Stream {
	return &Stream{Name: name, sent: make(chan int, 1), done: make(chan struct{}), grown: make(chan struct{})}
}

// run sends until the stream is stopped, and receives until it is closed, which the end of the context does too.
func (s *Stream) run(ctx context.Context, send func(n int) error, receive func() (int, error)) {
	sending, stop := context.WithCancel(ctx)
	s.stop = stop
	context.AfterFunc(ctx, s.close)
	go func() { s.sent <- s.send(sending, send) }()
	go s.receive(receive)
}

func (s *Stream) send(ctx context.Context, send func(n int) error) int {
	t := time.NewTicker(pace)
	defer t.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return n
		case <-t.C:
			if send(n) != nil {
				return n + 1 // a message that could not even be sent is lost
			}
		}
	}
}

func (s *Stream) receive(receive func() (int, error)) {
	defer close(s.done)
	for want := 0; ; want++ {
		got, err := receive()
		if err == nil && got != want {
			err = fmt.Errorf("message %d is missing, %d came", want, got)
		}
		s.mu.Lock()
		s.err = err
		if err == nil {
			s.back++
		}
		close(s.grown)
		s.grown = make(chan struct{})
		s.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// reach waits until that many messages have come back.
func (s *Stream) reach(ctx context.Context, n int) error {
	for {
		s.mu.Lock()
		back, err, grown := s.back, s.err, s.grown
		s.mu.Unlock()
		switch {
		case back >= n:
			return nil
		case err != nil:
			return fmt.Errorf("%s: after %d messages: %w", s.Name, back, err)
		}
		select {
		case <-grown:
		case <-ctx.Done():
			return fmt.Errorf("%s: no answer to message %d", s.Name, back)
		}
	}
}

// Count is how many messages have come back.
func (s *Stream) Count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.back
}

// More waits until n more messages have come back than had when it was called.
func (s *Stream) More(ctx context.Context, n int) error {
	ctx, cancel := context.WithTimeout(ctx, streamTime)
	defer cancel()
	return s.reach(ctx, n+s.Count())
}

// streamTime is how long the next few messages may take. It is more than a TCP retransmission's second, so that a
// connection which stalls but lives is not taken for dead.
const streamTime = 3 * time.Second

// Finish ends the stream. It is nil if every message that was sent came back.
func (s *Stream) Finish(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, streamTime)
	defer cancel()
	s.stop()
	err := s.reach(ctx, <-s.sent)
	s.close()
	<-s.done
	return err
}

// Pinging streams ICMP echoes.
func (p Place) Pinging(ctx context.Context, to netip.Addr) (*Stream, error) {
	g, err := p.pinger(ctx, to)
	if err != nil {
		return nil, err
	}
	s := newStream(fmt.Sprintf("ping %s -> %s", p.Name, to))
	s.close = func() { g.conn.Close() }
	s.run(ctx, func(n int) error { return g.send(uint16(n)) }, func() (int, error) {
		n, err := g.receive()
		return int(n), err
	})
	return s, nil
}

// Talking streams lines over one TCP connection to an echo server.
func (p Place) Talking(ctx context.Context, to netip.AddrPort) (*Stream, error) {
	dial, cancel := context.WithTimeout(ctx, AnswerTime)
	defer cancel()
	conn, err := p.DialTCP(dial, to)
	if err != nil {
		return nil, fmt.Errorf("%s connects to %s: %w", p.Name, to, err)
	}
	s := newStream(fmt.Sprintf("TCP %s -> %s", p.Name, to))
	s.close = func() { conn.Close() }
	lines := bufio.NewScanner(conn)
	s.run(ctx, func(n int) error { _, err := fmt.Fprintln(conn, n); return err }, func() (int, error) {
		if !lines.Scan() {
			return 0, fmt.Errorf("the connection ended: %w", orEOF(lines.Err()))
		}
		return strconv.Atoi(lines.Text())
	})
	return s, nil
}

// orEOF is err, or io.EOF for none.
func orEOF(err error) error {
	if err == nil {
		return io.EOF
	}
	return err
}

// Each calls do for all at once.
func Each(flows []*Stream, do func(*Stream) error) error {
	errs := make([]error, len(flows))
	var wg sync.WaitGroup
	for i, s := range flows {
		wg.Go(func() { errs[i] = do(s) })
	}
	wg.Wait()
	return errors.Join(errs...)
}
