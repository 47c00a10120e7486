// SPDX-License-Identifier: Apache-2.0

package sockdiag

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// State is a TCP_* state of net/tcp_states.h. A UDP socket that is not connected
// is in [Close].
type State uint8

// The states that say something about who may bind a port.
const (
	Established State = 1
	TimeWait    State = 6
	Close       State = 7
	Listen      State = 10
)

// Socket is a socket that has a local port.
type Socket struct {
	// Local is what it is bound to. The address of an IPv6 socket with an IPv4
	// connection is the IPv4-mapped one.
	Local netip.AddrPort
	// V6Only tells that an IPv6 socket takes nothing from IPv4: by its option, or
	// because it is connected.
	V6Only bool
	State  State
	// Inode is the number in the "socket:[N]" of /proc/PID/fd; 0 where no process has
	// the socket any more.
	Inode uint32
}

// OnPort lists the sockets of a protocol (an IPPROTO_* number) on a local port, in
// any state and of both families, in the network namespace of the calling thread.
// With an error it lists what could be listed: a kernel without IPv6, or without
// the module that tells of a protocol (ENOENT), answers for the rest.
func OnPort(proto uint8, port uint16) ([]Socket, error) {
	conn, err := netlink.Dial(unix.NETLINK_SOCK_DIAG, nil)
	if err != nil {
		return nil, fmt.Errorf("open a sock_diag socket: %w", err)
	}
	defer conn.Close()
	var list []Socket
	var errs []error
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		answers, err := conn.Execute(netlink.Message{
			Header: netlink.Header{Type: byFamily, Flags: netlink.Request | netlink.Dump},
			Data:   request(family, proto, port),
		})
		if err != nil {
			errs = append(errs, fmt.Errorf("list the sockets of protocol %d on port %d: %w", proto, port, err))
			continue
		}
		for _, m := range answers {
			if s, ok := parse(m.Data); ok && s.Local.Port() == port {
				list = append(list, s)
			}
		}
	}
	return list, errors.Join(errs...)
}
