// SPDX-License-Identifier: Apache-2.0

package ports

import (
	"errors"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/libnetwork/cnm"
)

// backlog is how many connections may wait to be accepted. Only those that the
// firewall does not translate ever do.
const backlog = 128

// binding says what a socket is to be bound to.
type binding struct {
	key   // number 0: any free one
	addrs []netip.Addr
	// absent allows an address that the host does not have now.
	absent bool
}

// open makes and binds a socket and gives its number. TCP listens: nobody can
// bind beside a listening socket, whatever options he sets. UDP is bound without
// any option that would let another join.
func (b *binding) open() (fd int, number uint16, err error) {
	family, typ, proto := b.kind()
	fd, err = unix.Socket(family, typ|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, proto)
	if err != nil {
		return -1, 0, err
	}
	if err = b.prepare(fd, family); err == nil {
		err = unix.Bind(fd, sockaddr(b.addrs[len(b.addrs)-1], b.number))
	}
	if err == nil && b.proto == cnm.TCP {
		err = unix.Listen(fd, backlog)
	}
	number = b.number
	if err == nil && number == 0 {
		number, err = boundPort(fd)
	}
	if err != nil {
		// A socket that was never used has nothing left to say when it is closed.
		_ = unix.Close(fd)
		return -1, 0, err
	}
	return fd, number, nil
}

// kind is the family, type and protocol of the socket.
func (b *binding) kind() (family, typ, proto int) {
	family = unix.AF_INET
	if slices.ContainsFunc(b.addrs, netip.Addr.Is6) {
		family = unix.AF_INET6
	}
	if b.proto == cnm.UDP {
		return family, unix.SOCK_DGRAM, unix.IPPROTO_UDP
	}
	return family, unix.SOCK_STREAM, int(b.proto)
}

// option is a socket option with a number for its value.
type option struct{ level, name, value int }

// prepare sets what must be set before the socket is bound.
func (b *binding) prepare(fd, family int) error {
	var opts []option
	if family == unix.AF_INET6 {
		alone := 1
		if len(b.addrs) > 1 {
			alone = 0
		}
		opts = append(opts, option{unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, alone})
	}
	if b.proto == cnm.TCP {
		// Without it, connections that were spliced before a restart would keep the
		// port for as long as they are in TIME_WAIT.
		opts = append(opts, option{unix.SOL_SOCKET, unix.SO_REUSEADDR, 1})
	}
	if b.absent {
		opts = append(opts, option{unix.IPPROTO_IP, unix.IP_FREEBIND, 1})
	}
	if b.proto == cnm.UDP {
		if family == unix.AF_INET6 {
			opts = append(opts, option{unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1})
		} else {
			opts = append(opts, option{unix.IPPROTO_IP, unix.IP_PKTINFO, 1})
		}
	}
	for _, o := range opts {
		if err := unix.SetsockoptInt(fd, o.level, o.name, o.value); err != nil {
			return err
		}
	}
	if b.proto == cnm.UDP {
		return attachFilter(fd, loopbackOnly(b.addrs))
	}
	return nil
}

// sockaddr is the kernel's form of an address and port.
func sockaddr(a netip.Addr, port uint16) unix.Sockaddr {
	if a.Is4() {
		return &unix.SockaddrInet4{Port: int(port), Addr: a.As4()}
	}
	return &unix.SockaddrInet6{Port: int(port), Addr: a.As16()}
}

// addrPort is the reverse of [sockaddr]; IPv4 mapped into IPv6 comes out as IPv4.
func addrPort(sa unix.Sockaddr) netip.AddrPort {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr).Unmap(), uint16(sa.Port))
	default:
		return netip.AddrPort{}
	}
}

// boundPort is the number that the kernel chose.
func boundPort(fd int) (uint16, error) {
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return 0, err
	}
	return addrPort(sa).Port(), nil
}

// loopbackOnly is a socket filter that lets datagrams to 127.0.0.0/8 and ::1
// through and drops all others, which nobody would read, in the kernel. A socket
// on an address that is neither drops everything.
func loopbackOnly(addrs []netip.Addr) []unix.SockFilter {
	const (
		network = ^uint32(0xfffff) // SKF_NET_OFF: offsets count from the IP header
		load8   = unix.BPF_LD | unix.BPF_B | unix.BPF_ABS
		load32  = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
		and     = unix.BPF_ALU | unix.BPF_AND | unix.BPF_K
		equal   = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		give    = unix.BPF_RET | unix.BPF_K
		dst4    = 16
		dst6    = 24
	)
	drop := unix.SockFilter{Code: give, K: 0}
	if !loopback(addrs) {
		return []unix.SockFilter{drop}
	}
	return []unix.SockFilter{
		{Code: load8, K: network},
		{Code: and, K: 0xf0},
		{Code: equal, K: 0x60, Jf: 8}, // IPv6, else to the IPv4 part
		{Code: load32, K: network + dst6},
		{Code: equal, K: 0, Jf: 9},
		{Code: load32, K: network + dst6 + 4},
		{Code: equal, K: 0, Jf: 7},
		{Code: load32, K: network + dst6 + 8},
		{Code: equal, K: 0, Jf: 5},
		{Code: load32, K: network + dst6 + 12},
		{Code: equal, K: 1, Jt: 2, Jf: 3},
		{Code: load8, K: network + dst4},
		{Code: equal, K: 127, Jf: 1},
		{Code: give, K: 1 << 18}, // all of it
		drop,
	}
}

// loopback tells whether a socket on the addresses can be reached over loopback.
func loopback(addrs []netip.Addr) bool {
	return slices.ContainsFunc(addrs, func(a netip.Addr) bool { return a.IsUnspecified() || a.IsLoopback() })
}

// attachFilter gives a socket its filter.
func attachFilter(fd int, prog []unix.SockFilter) error {
	return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
		&unix.SockFprog{Len: uint16(len(prog)), Filter: &prog[0]})
}

// missing tells whether the kernel has no sockets of this protocol.
func missing(err error) bool {
	return errors.Is(err, unix.EPROTONOSUPPORT) || errors.Is(err, unix.ESOCKTNOSUPPORT)
}
