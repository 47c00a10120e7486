// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"syscall"
	"unsafe"
)

// Role is what a caller may do. Each includes those before it; the zero value is none at all.
type Role uint8

const (
	// ReadNetworks may see that networks exist, without labels, options and endpoints. Everybody has it.
	ReadNetworks Role = iota + 1
	// Change may do everything: uid 0 of the daemon's own user namespace, and members of the group.
	Change
)

// String is the role's name in logs and errors.
func (r Role) String() string {
	switch r {
	case ReadNetworks:
		return "read-networks"
	case Change:
		return "change"
	default:
		return "none"
	}
}

// Peer is the process at the other end of a connection as it was when it connected, its numbers seen from the daemon's user namespace.
type Peer struct {
	PID    int32 // 0 where the peer is in no process namespace below ours
	UID    uint32
	GID    uint32
	Groups []uint32 // supplementary
}

// roleOf decides what a peer may do. group looks up the group whose members may change everything; it is asked only where
// it matters, and each time, so that a change of the group counts from the next connection on.
func roleOf(p Peer, group func() (gid uint32, ok bool)) Role {
	if p.UID == 0 {
		return Change
	}
	if gid, ok := group(); ok && (p.GID == gid || slices.Contains(p.Groups, gid)) {
		return Change
	}
	return ReadNetworks
}

// peerOf asks the kernel who is at the other end.
func peerOf(conn net.Conn) (Peer, error) {
	uc, ok := conn.(*net.UnixConn)
	if !ok {
		return Peer{}, fmt.Errorf("a caller over %s cannot be known", conn.LocalAddr().Network())
	}
	raw, err := uc.SyscallConn()
	if err != nil {
		return Peer{}, fmt.Errorf("ask who is calling: %w", err)
	}
	var p Peer
	var inner error
	err = raw.Control(func(fd uintptr) {
		var cred *syscall.Ucred
		if cred, inner = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED); inner == nil {
			p = Peer{PID: cred.Pid, UID: cred.Uid, GID: cred.Gid}
			p.Groups, inner = peerGroups(int(fd))
		}
	})
	if err := errors.Join(err, inner); err != nil {
		return Peer{}, fmt.Errorf("ask who is calling: %w", err)
	}
	return p, nil
}

// peerGroups is SO_PEERGROUPS (Linux 4.13), which the standard library has no call for.
func peerGroups(fd int) ([]uint32, error) {
	const soPeerGroups = 59
	groups := make([]uint32, 64)
	for {
		size := uint32(len(groups) * 4)
		_, _, errno := syscall.Syscall6(syscall.SYS_GETSOCKOPT, uintptr(fd), syscall.SOL_SOCKET, soPeerGroups,
			uintptr(unsafe.Pointer(unsafe.SliceData(groups))), uintptr(unsafe.Pointer(&size)), 0)
		switch {
		case errno == syscall.ERANGE && int(size) > len(groups)*4: // size says how much there is
			groups = make([]uint32, size/4)
		case errno != 0:
			return nil, errno
		default:
			return groups[:size/4], nil
		}
	}
}

// caller is what the connection's context carries.
type caller struct {
	Peer
	role Role
	err  error // why the peer is not known; the role is then none
}

type callerKey struct{}

// identify is called once a connection, before its first request is read.
func (s *Server) identify(ctx context.Context, conn net.Conn) context.Context {
	peer, err := s.peer(conn)
	c := caller{Peer: peer, err: err}
	if err == nil {
		c.role = roleOf(peer, s.group)
	}
	return context.WithValue(ctx, callerKey{}, c)
}

func callerOf(ctx context.Context) caller {
	c, ok := ctx.Value(callerKey{}).(caller)
	if !ok {
		c.err = errors.New("the connection was not asked who is calling")
	}
	return c
}
