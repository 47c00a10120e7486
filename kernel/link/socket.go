// SPDX-License-Identifier: Apache-2.0

package link

import (
	"errors"
	"os"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// open makes an rtnetlink socket in the namespace that ns is open on, or for Here in that of the calling thread, with extended
// acknowledgements, strict checking of dump requests, and refusals that do not repeat the request.
//
// The runtime's poller does not know it. The kernel answers within the send, and would wake the poller's thread in the middle of it,
// for each answer anew; nobody waits for them there.
func open(ns int) (int, error) {
	fd, err := openIn(ns)
	if err != nil {
		return -1, err
	}
	for _, option := range []int{unix.NETLINK_EXT_ACK, unix.NETLINK_GET_STRICT_CHK, unix.NETLINK_CAP_ACK} {
		if err := setOption(fd, option, 1); err != nil {
			return -1, errors.Join(err, unix.Close(fd))
		}
	}
	return fd, nil
}

// openIn makes the bare socket. In another namespace it is made by a thread that is sent there.
func openIn(ns int) (int, error) {
	if ns == Here {
		return openHere()
	}
	nl, err := netlink.Dial(unix.NETLINK_ROUTE, &netlink.Config{NetNS: ns})
	if err != nil {
		return -1, err
	}
	fd := -1
	raw, err := nl.SyscallConn()
	if err == nil {
		var dupErr error
		err = raw.Control(func(from uintptr) { fd, dupErr = unix.FcntlInt(from, unix.F_DUPFD_CLOEXEC, 0) })
		err = errors.Join(err, dupErr)
	}
	// The poller forgets a descriptor that it closes, also while another leads to the same socket.
	if err = errors.Join(err, nl.Close()); err == nil {
		err = os.NewSyscallError("fcntl", unix.SetNonblock(fd, false))
	}
	if err != nil && fd >= 0 {
		err = errors.Join(err, unix.Close(fd))
	}
	return fd, err
}

func openHere() (int, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	// Without a number of its own the socket would not get the kernel's announcements, which have none either.
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return -1, errors.Join(os.NewSyscallError("bind", err), unix.Close(fd))
	}
	return fd, nil
}

// setOption sets an option of netlink's.
func setOption(fd, option, value int) error {
	return os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, unix.SOL_NETLINK, option, value))
}
