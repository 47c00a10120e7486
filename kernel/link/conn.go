// SPDX-License-Identifier: Apache-2.0

package link

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// Limits of one send. The kernel keeps each refusal in the socket's receive
// buffer, about 1 KiB of the default 208, until it is read after the whole send.
const (
	maxSendBytes    = 64 << 10
	maxSendMessages = 128

	smallReply = 4 << 10  // an acknowledgement with its text
	linkReply  = 8 << 10  // one link, of some 2 KiB, with what comes beside it
	largeReply = 32 << 10 // what the kernel fills at most in one step of a dump
)

// Conn is one rtnetlink socket. It belongs for ever to the namespace it was
// dialled in, and keeps that namespace alive until it is closed.
//
// A Conn is safe for concurrent use: one request with its replies runs at a time,
// and the others wait. The kernel runs a request inside the send, under its own
// global lock, so that replies are there when the send returns; no call waits for
// anything else, and none can be interrupted. A dump blocks the other callers for
// as long as it takes: audits dial a Conn of their own.
type Conn struct {
	file  *os.File
	raw   syscall.RawConn
	trips atomic.Uint64

	// mu guards the fields below and the order of requests and replies. It is held
	// across one exchange with the kernel.
	mu  sync.Mutex
	seq uint32
	enc encoder
	in  []byte
	io  ioResult
	// send, receive and wait are bound once, so that a call allocates no closure.
	send, receive, wait func(fd uintptr)
	service             service
}

// ioResult is what a bound system call leaves behind.
type ioResult struct {
	n, flags int
	from     unix.Sockaddr
	err      error
}

// errNoReply means that the kernel has no answer to a request: it answers inside
// the send, or never.
var errNoReply = errors.New("the kernel did not answer")

// Dial opens a socket in the namespace that fd is open on, or for Here in that of
// the calling thread. The descriptor is not needed afterwards. Entering a
// namespace needs CAP_SYS_ADMIN in the user namespace that owns it.
func Dial(fd int) (*Conn, error) {
	socket, err := open(fd)
	if err != nil {
		return nil, fmt.Errorf("dial rtnetlink: %w", err)
	}
	c := &Conn{file: os.NewFile(uintptr(socket), "rtnetlink"), in: make([]byte, smallReply)}
	c.send, c.receive, c.wait = c.sendOnce, c.receiveOnce, c.waitOnce
	if c.raw, err = c.file.SyscallConn(); err != nil {
		return nil, errors.Join(fmt.Errorf("dial rtnetlink: %w", err), c.file.Close())
	}
	return c, nil
}

// Close closes the socket. A call that is under way ends first or fails with
// os.ErrClosed.
func (c *Conn) Close() error { return c.file.Close() }

// RoundTrips counts the sends since Dial.
func (c *Conn) RoundTrips() uint64 { return c.trips.Load() }

// Do sends the batch: one system call for up to 128 messages or 64 KiB, then one
// for each answer, which is one acknowledgement and one for each refusal.
//
// A batch with a message that Batch.Err refuses is not sent at all. Otherwise
// every message was tried when Do returns, and each that the kernel refused is an
// *Error, several of them joined, in order. Any other error means that the socket
// failed and the fate of the remaining messages is unknown.
func (c *Conn) Do(b *Batch) error {
	if err := b.Err(); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.expect(b)
	if len(c.in) < linkReply && slices.ContainsFunc(b.msgs, func(m message) bool { _, asks := m.(answered); return asks }) {
		c.in = make([]byte, linkReply)
	}
	var refused []error
	for sent := 0; sent < len(b.msgs); {
		first, n := c.encode(b.msgs[sent:])
		err := c.exchange(first, b.msgs[sent:sent+n], func(i int, code syscall.Errno, text string) {
			c.unexpect(b.msgs[sent+i])
			refused = append(refused, b.msgs[sent+i].subject().refused(sent+i, code, text))
		})
		if err != nil {
			err = fmt.Errorf("messages %d to %d of %d: %w", sent+1, sent+n, len(b.msgs), err)
			return errors.Join(append(refused, err)...)
		}
		sent += n
	}
	if len(refused) == 1 {
		return refused[0]
	}
	return errors.Join(refused...)
}

// encode fills the buffer with as many messages as one send takes, and returns
// the sequence number of the first and how many there are.
func (c *Conn) encode(msgs []message) (first uint32, n int) {
	c.enc.b = c.enc.b[:0]
	first = c.seq + 1
	last := 0
	for n < len(msgs) && n < maxSendMessages && len(c.enc.b) < maxSendBytes {
		c.seq++
		last = c.enc.openMessage()
		typ, flags := msgs[n].encode(&c.enc)
		c.enc.closeMessage(last, typ, flags|unix.NLM_F_REQUEST, c.seq)
		n++
	}
	c.enc.addFlags(last, unix.NLM_F_ACK)
	return first, n
}

// exchange sends the buffer and reads answers up to that of the last message.
func (c *Conn) exchange(first uint32, msgs []message, refused func(i int, code syscall.Errno, text string)) error {
	if err := c.transmit(); err != nil {
		return err
	}
	for {
		b, err := c.next()
		if err != nil {
			return err
		}
		for m := (messages{rest: b}); m.next(); {
			i := m.seq - first
			if m.typ != unix.NLMSG_ERROR || i >= uint32(len(msgs)) {
				if !answeredBy(msgs, i, &m) {
					c.aside(m.typ, m.body)
				}
				continue // or an answer to a request that was given up
			}
			code, text, ok := parseAck(m.typ, m.flags, m.body)
			if !ok {
				return errNoReply
			}
			if code != 0 {
				refused(int(i), code, text)
			}
			if int(i) == len(msgs)-1 {
				return nil
			}
		}
	}
}

// answered is a message that asks for something.
type answered interface {
	// answer takes what came back, and tells whether that was it.
	answer(typ uint16, body []byte) bool
}

// answeredBy tells whether m was what message i asked for.
func answeredBy(msgs []message, i uint32, m *messages) bool {
	if i >= uint32(len(msgs)) {
		return false
	}
	a, asks := msgs[i].(answered)
	return asks && a.answer(m.typ, m.body)
}

// transmit sends the buffer in one system call.
func (c *Conn) transmit() error {
	c.trips.Add(1)
	if err := c.raw.Control(c.send); err != nil {
		return os.ErrClosed // there is no other reason
	}
	if c.io.err != nil {
		return fmt.Errorf("send %d bytes: %w", len(c.enc.b), c.io.err)
	}
	return nil
}

func (c *Conn) sendOnce(fd uintptr) {
	for {
		c.io.err = unix.Send(int(fd), c.enc.b, 0)
		if !errors.Is(c.io.err, unix.EINTR) {
			return
		}
	}
}

// next reads one datagram from the kernel. It is valid until the next call.
func (c *Conn) next() ([]byte, error) {
	for {
		if err := c.raw.Control(c.receive); err != nil {
			return nil, os.ErrClosed
		}
		switch err := c.io.err; {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EAGAIN):
			return nil, errNoReply
		case err != nil:
			return nil, fmt.Errorf("receive: %w", err)
		}
		if !fromKernel(c.io.from) {
			continue
		}
		if c.io.flags&unix.MSG_TRUNC != 0 {
			return nil, fmt.Errorf("receive: an answer is longer than %d bytes", len(c.in))
		}
		return c.in[:c.io.n], nil
	}
}

func (c *Conn) receiveOnce(fd uintptr) {
	c.io.n, _, c.io.flags, c.io.from, c.io.err = unix.Recvmsg(int(fd), c.in, nil, unix.MSG_DONTWAIT)
}

// fromKernel tells the kernel's datagrams from those of another process.
func fromKernel(from unix.Sockaddr) bool {
	sa, ok := from.(*unix.SockaddrNetlink)
	return ok && sa.Pid == 0
}
