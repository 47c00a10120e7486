// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"syscall"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Config says how a socket is made. The zero Config is for the network namespace
// of the caller.
type Config struct {
	// NetNS is the descriptor of the network namespace that the socket is for; 0
	// is the one of the calling thread. It is not kept.
	NetNS int
}

// Conn is one socket to nf_tables. It is safe for concurrent use: transactions
// are sent one after the other, in the order of their callers.
//
// Tables that it makes with [Owner] are its own; closing it ends the ownership
// and, without [Persist], the tables.
type Conn struct {
	socket io.Closer
	raw    syscall.RawConn
	port   uint32
	limit  int // bytes that the socket may send at once
	trips  atomic.Uint64

	// turn holds one token. Its holder uses the socket and everything below. The
	// kernel's work is done while it is held: that is what it orders.
	turn  chan struct{}
	seq   uint32
	batch batch
	in    []byte

	// What the two functions below work on. They are made once, so that a
	// transaction makes no garbage.
	out     []byte
	n       int
	errno   error
	writeFn func(fd uintptr) bool
	readFn  func(fd uintptr) bool
}

// inSize is more than the kernel ever sends in one piece.
const inSize = 64 << 10

// Dial makes a socket.
func Dial(cfg Config) (*Conn, error) {
	if cfg.NetNS != 0 {
		nl, err := netlink.Dial(unix.NETLINK_NETFILTER, &netlink.Config{NetNS: cfg.NetNS})
		if err != nil {
			return nil, fmt.Errorf("netfilter socket: %w", err)
		}
		raw, err := nl.SyscallConn()
		if err != nil {
			return nil, errors.Join(fmt.Errorf("netfilter socket: %w", err), nl.Close())
		}
		return newConn(nl, raw)
	}
	// The runtime's poller does not know the file: it would be woken by each answer, and nobody waits for one there.
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, fmt.Errorf("netfilter socket: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, errors.Join(fmt.Errorf("netfilter socket: %w", err), unix.Close(fd))
	}
	file := os.NewFile(uintptr(fd), "netfilter")
	raw, err := file.SyscallConn()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("netfilter socket: %w", err), file.Close())
	}
	return newConn(file, raw)
}

// Inherit makes a Conn of a socket that another process, or an earlier one, has
// got by [Conn.File] and kept: the owner of a table stays its owner so. The Conn
// takes the file over.
func Inherit(f *os.File) (*Conn, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("inherited netfilter socket: %w", err), f.Close())
	}
	return newConn(f, raw)
}

func newConn(socket io.Closer, raw syscall.RawConn) (*Conn, error) {
	c := &Conn{
		socket: socket, raw: raw, turn: make(chan struct{}, 1), in: make([]byte, inSize),
	}
	c.writeFn = func(fd uintptr) bool {
		c.n, c.errno = retry(func() (int, error) { return unix.Write(int(fd), c.out) })
		return true
	}
	c.readFn = func(fd uintptr) bool {
		c.n, c.errno = retry(func() (int, error) { return unix.Read(int(fd), c.in) })
		return true
	}
	if err := c.control(c.configure); err != nil {
		return nil, errors.Join(fmt.Errorf("netfilter socket: %w", err), socket.Close())
	}
	if err := c.drain(); err != nil {
		return nil, errors.Join(err, socket.Close())
	}
	c.turn <- struct{}{}
	return c, nil
}

// drain throws away what the kernel said to an earlier holder of the socket, who
// ended before reading it.
func (c *Conn) drain() error {
	for {
		switch _, err := c.receive(); {
		case errors.Is(err, errDrained):
			return nil
		case err != nil && !errors.Is(err, unix.ENOBUFS):
			return err
		}
	}
}

// retry repeats a system call that a signal interrupted.
func retry(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}

// control runs fn with the socket's descriptor.
func (c *Conn) control(fn func(fd int) error) error {
	var err error
	if cerr := c.raw.Control(func(fd uintptr) { err = fn(int(fd)) }); cerr != nil {
		return cerr
	}
	return err
}

// configure sets the socket's options and learns what it is.
func (c *Conn) configure(fd int) error {
	name, err := unix.Getsockname(fd)
	if err != nil {
		return err
	}
	addr, ok := name.(*unix.SockaddrNetlink)
	if !ok {
		return fmt.Errorf("descriptor %d is no netlink socket", fd)
	}
	c.port = addr.Pid
	proto, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL)
	if err != nil {
		return err
	}
	if proto != unix.NETLINK_NETFILTER {
		return fmt.Errorf("descriptor %d is a netlink socket of protocol %d, not of netfilter", fd, proto)
	}
	// Refusals that tell where, and do not repeat what was sent.
	for _, opt := range []int{unix.NETLINK_EXT_ACK, unix.NETLINK_CAP_ACK} {
		if err := unix.SetsockoptInt(fd, unix.SOL_NETLINK, opt, 1); err != nil {
			return err
		}
	}
	if c.limit, err = sendLimit(fd); err != nil {
		return err
	}
	return unix.SetNonblock(fd, true)
}

// What is asked for as send buffer, which is a bound and takes no memory; and what
// the kernel keeps of it for itself.
const (
	sndbuf        = 1 << 29
	sndbufReserve = 32
)

// sendLimit makes the socket's send buffer as large as may be and tells how much
// can be sent at once. A batch cannot be sent in pieces.
func sendLimit(fd int) (int, error) {
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, sndbuf) != nil {
		// Without privilege on the machine it is cut to net.core.wmem_max.
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, sndbuf); err != nil {
			return 0, err
		}
	}
	size, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF)
	return size - sndbufReserve, err
}

// Close closes the socket. Transactions that run are finished before.
func (c *Conn) Close() error { return c.socket.Close() }

// PortID gives the number by which the kernel knows the socket: the owner in
// [TableState], and the author in [Change].
func (c *Conn) PortID() uint32 { return c.port }

// Limit gives how many bytes a transaction may have: see [Tx.Size]. It is so
// large as not to matter where the process has CAP_NET_ADMIN in the first user
// namespace, else twice net.core.wmem_max: by default 416 KiB, which are some
// 10,000 elements of maps or 25,000 ports.
func (c *Conn) Limit() int { return c.limit }

// RoundTrips gives how many messages the socket has sent; each was answered.
func (c *Conn) RoundTrips() uint64 { return c.trips.Load() }

// File gives a duplicate of the socket, to be handed to a service manager or
// another process. As long as one duplicate is open, tables stay owned.
func (c *Conn) File() (*os.File, error) {
	var file *os.File
	err := c.control(func(fd int) error {
		dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("duplicate of the netfilter socket: %w", err)
		}
		file = os.NewFile(uintptr(dup), "netfilter")
		return nil
	})
	return file, err
}

// acquire takes the turn; release gives it back.
func (c *Conn) acquire(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case <-c.turn:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *Conn) release() { c.turn <- struct{}{} }

// send sends out; the caller holds the turn.
func (c *Conn) send(out []byte) error {
	c.out = out
	err := c.raw.Write(c.writeFn)
	c.out = nil
	if err == nil {
		err = c.errno
	}
	if err != nil {
		return fmt.Errorf("netfilter socket: send %d bytes: %w", len(out), err)
	}
	c.trips.Add(1)
	return nil
}

// errDrained is that the kernel has nothing more to say. It answers within the
// call that sends, so that what is not there then does not come.
var errDrained = errors.New("nothing more to read")

// receive reads one piece of what the kernel has said, into memory that the next
// receive uses again; the caller holds the turn.
func (c *Conn) receive() ([]byte, error) {
	err := c.raw.Read(c.readFn)
	if err == nil {
		err = c.errno
	}
	switch {
	case errors.Is(err, unix.EAGAIN):
		return nil, errDrained
	case err != nil:
		return nil, fmt.Errorf("netfilter socket: receive: %w", err)
	case c.n >= len(c.in):
		return nil, fmt.Errorf("netfilter socket: receive: message longer than %d bytes", len(c.in))
	default:
		return c.in[:c.n], nil
	}
}
