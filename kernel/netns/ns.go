// SPDX-License-Identifier: Apache-2.0

package netns

import (
	"errors"
	"fmt"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

// Cookie identifies a network namespace for as long as the machine is up: it is
// never used again, unlike a namespace's inode or path. Zero is no namespace.
// It comes from SO_NETNS_COOKIE (Linux 5.14).
type Cookie uint64

// String gives the cookie in decimal.
func (c Cookie) String() string { return strconv.FormatUint(uint64(c), 10) }

// NS is an open handle on a network namespace. It keeps the namespace alive
// until Close, must not be copied, and may be used by several goroutines.
type NS struct {
	// mu guards fd against being closed, and its number given to another file,
	// between its reading and the system call that uses it. It is held across
	// that one call and never across a caller's function.
	mu     sync.RWMutex
	fd     int // -1 once closed
	cookie Cookie
}

// wrap makes a handle of an open descriptor, which it then owns.
func wrap(fd int) *NS { return &NS{fd: fd} }

// Current opens the network namespace of the calling thread. Outside of a
// locked thread that is the one the process was started in.
func Current() (*NS, error) {
	fd, err := unix.Open(threadPath, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open the current network namespace: %w", err)
	}
	return wrap(fd), nil
}

// New makes a network namespace that has no name: it lives until the handle is
// closed and nothing else uses it.
func New() (*NS, error) {
	ns := wrap(-1)
	err := onThread(func(int) error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("make a network namespace: %w", err)
		}
		fd, err := unix.Open(threadPath, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("open the new network namespace: %w", err)
		}
		ns.fd = fd
		return nil
	})
	if err != nil {
		return nil, err
	}
	return ns, nil
}

// Fd gives the handle's descriptor, which stays the handle's own and is valid
// until Close. It is -1 afterwards.
func (ns *NS) Fd() int {
	ns.mu.RLock()
	defer ns.mu.RUnlock()
	return ns.fd
}

// Close gives the handle up. The namespace ends when nothing else uses it.
// Closing again does nothing.
func (ns *NS) Close() error {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	if ns.fd < 0 {
		return nil
	}
	err := unix.Close(ns.fd)
	ns.fd = -1
	if err != nil {
		return fmt.Errorf("close network namespace: %w", err)
	}
	return nil
}

// Do runs fn on a locked thread that has entered ns and returns fn's error once
// that thread has left ns again, or is bound to be destroyed because it could
// not. Sockets that fn opens stay in ns. Goroutines that fn starts are not in
// ns. A panic of fn is raised in the caller after the way back, with the stack
// of the place it came from; a Goexit ends the caller too.
//
// Do may be nested and called from any goroutine at the same time.
func (ns *NS) Do(fn func() error) error {
	return onThread(func(int) error {
		if err := ns.enter(); err != nil {
			return err
		}
		return fn()
	})
}

// DoAs is [NS.Do] for a short fn, but only if the namespace's cookie is want: otherwise fn is
// not called and the error matches [ErrStale]. It is how a namespace that was
// opened by a path which somebody else owns is entered.
//
// fn runs on the calling thread, locked meanwhile, and must not give up the thread's
// rights: where the way back is refused, DoAs panics, since nobody may run on that thread any more.
func (ns *NS) DoAs(want Cookie, fn func() error) error {
	return inPlace(func() error {
		if err := ns.enter(); err != nil {
			return err
		}
		found, err := CookieHere()
		if err != nil {
			return err
		}
		if found != want {
			return fmt.Errorf("network namespace with cookie %v, wanted %v: %w", found, want, ErrStale)
		}
		return fn()
	})
}

// Cookie gives the namespace's identity. The kernel is asked once per handle.
func (ns *NS) Cookie() (Cookie, error) {
	ns.mu.RLock()
	cookie := ns.cookie
	ns.mu.RUnlock()
	if cookie != 0 {
		return cookie, nil
	}
	err := ns.Do(func() (err error) {
		cookie, err = CookieHere()
		return err
	})
	if err != nil {
		return 0, err
	}
	ns.mu.Lock()
	ns.cookie = cookie
	ns.mu.Unlock()
	return cookie, nil
}

// enter moves the calling thread into ns.
func (ns *NS) enter() error {
	ns.mu.RLock()
	defer ns.mu.RUnlock()
	if ns.fd < 0 {
		return ErrClosed
	}
	if err := unix.Setns(ns.fd, unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter network namespace: %w", err)
	}
	return nil
}

// CookieHere gives the cookie of the calling thread's network namespace, which
// means little outside of [NS.Do] or a locked thread.
func CookieHere() (Cookie, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("open a socket to read the network namespace's cookie: %w", err)
	}
	defer unix.Close(fd)
	return SocketCookie(fd)
}

// SocketCookie gives the cookie of the network namespace that a socket of any
// family was opened in.
func SocketCookie(fd int) (Cookie, error) {
	value, err := unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
	if err != nil {
		return 0, fmt.Errorf("read the network namespace's cookie: %w",
			unsupported("network namespace cookie", "5.14", err))
	}
	if value == 0 {
		return 0, errors.New("read the network namespace's cookie: the kernel gave zero")
	}
	return Cookie(value), nil
}
