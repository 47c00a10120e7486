// SPDX-License-Identifier: Apache-2.0

package link

import (
	"errors"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// bell is the receiving end of a socket whose reader is woken once, for all that arrives until it sets the bell again.
//
// The kernel wakes whoever waits for a socket within the call whose change it announces, and for each announcement anew: a
// reader in the runtime's poller, which always waits, makes the call of everybody else as much longer. So the poller does not know
// the socket, only an epoll instance that reports it a single time.
type bell struct {
	socket int      // ours
	file   *os.File // the epoll instance
	raw    syscall.RawConn
}

// newBell takes a socket over, also where it fails.
func newBell(socket int) (*bell, error) {
	b := &bell{socket: socket}
	if err := b.hang(); err != nil {
		return nil, errors.Join(err, b.close())
	}
	return b, nil
}

// hang makes the epoll instance. The bell is set.
func (b *bell) hang() error {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return os.NewSyscallError("epoll_create1", err)
	}
	if err := errors.Join(unix.SetNonblock(fd, true), b.control(fd, unix.EPOLL_CTL_ADD)); err != nil {
		return errors.Join(err, unix.Close(fd))
	}
	b.file = os.NewFile(uintptr(fd), "netlink events")
	b.raw, err = b.file.SyscallConn()
	return err
}

func (b *bell) control(fd, op int) error {
	event := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLONESHOT}
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(fd, op, b.socket, &event))
}

// set has the bell ring for what is there, or comes.
func (b *bell) set() error {
	var err error
	cerr := b.raw.Control(func(fd uintptr) { err = b.control(int(fd), unix.EPOLL_CTL_MOD) })
	return errors.Join(cerr, err)
}

// wait waits until it rings, or until the deadline.
func (b *bell) wait() error {
	var err error
	werr := b.raw.Read(func(fd uintptr) bool {
		var events [1]unix.EpollEvent
		var n int
		for n, err = unix.EpollWait(int(fd), events[:], 0); errors.Is(err, unix.EINTR); {
			n, err = unix.EpollWait(int(fd), events[:], 0)
		}
		return n > 0 || err != nil
	})
	return errors.Join(werr, os.NewSyscallError("epoll_wait", err))
}

// hurry ends a wait, and all that follow.
func (b *bell) hurry() { _ = b.file.SetReadDeadline(time.Unix(1, 0)) } // the file is open, and can be polled

// close closes the socket.
func (b *bell) close() error {
	err := unix.Close(b.socket)
	if b.file != nil {
		err = errors.Join(err, b.file.Close())
	}
	return err
}
