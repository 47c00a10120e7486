// SPDX-License-Identifier: Apache-2.0

package ports

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// What sock_diag says of a socket, of linux/sock_diag.h and linux/inet_diag.h.
const (
	sockDiagByFamily = 20
	reqBytecode      = 1 // attribute: which sockets to list
	attrV6Only       = 11
	opLocalPortGE    = 2 // INET_DIAG_BC_S_GE
	opLocalPortLE    = 3 // INET_DIAG_BC_S_LE
	requestLen       = 56
	answerLen        = 72
	stateTimeWait    = 6
	stateClose       = 7
	stateListen      = 10
)

// stranger is the holder whose process cannot be seen.
const stranger = "a process of another user or namespace"

// holder is who holds a port, and on which of the addresses that were wanted.
type holder struct {
	addr netip.Addr
	by   string
}

// findHolder looks for the socket that is in the way of a number on the
// addresses, and for its process. It walks the host's sockets and processes: for
// errors only.
func findHolder(k key, addrs []netip.Addr) holder {
	found := holder{addr: addrs[0], by: stranger}
	for _, s := range socketsOn(k) {
		at := slices.IndexFunc(addrs, func(a netip.Addr) bool { return s.overlaps(a) })
		if at < 0 {
			continue
		}
		found.addr = addrs[at]
		if s.state == stateTimeWait {
			found.by = "a connection that was just closed (TIME_WAIT)"
			continue // a socket that somebody has explains more
		}
		if name, ok := processOf(s.inode); ok {
			found.by = name
		}
		return found
	}
	return found
}

// socket is one that has a local port.
type socket struct {
	addr   netip.Addr
	v6only bool
	state  uint8
	inode  uint32
}

// overlaps tells whether the socket is in the way of an address.
func (s *socket) overlaps(a netip.Addr) bool {
	if s.addr == netip.IPv6Unspecified() && !s.v6only && a.Is4() {
		return true
	}
	return overlap(s.addr.Unmap(), a)
}

// socketsOn lists the sockets of both families on a local port. What cannot be
// listed is left out.
func socketsOn(k key) []socket {
	conn, err := netlink.Dial(unix.NETLINK_SOCK_DIAG, nil)
	if err != nil {
		return nil
	}
	defer conn.Close()
	var list []socket
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		answers, err := conn.Execute(netlink.Message{
			Header: netlink.Header{Type: sockDiagByFamily, Flags: netlink.Request | netlink.Dump},
			Data:   diagRequest(k, family),
		})
		if err != nil {
			continue
		}
		for _, m := range answers {
			if s, port, ok := parseSocket(m.Data); ok && port == k.number {
				list = append(list, s)
			}
		}
	}
	return list
}

// diagRequest asks for the sockets of a family on a local port, in any state.
func diagRequest(k key, family uint8) []byte {
	b := make([]byte, requestLen, requestLen+20)
	b[0], b[1] = family, uint8(k.proto)
	for i := range 4 { // states
		b[4+i] = 0xff
	}
	// Two comparisons of two words each. A jump beyond the end means no.
	op := func(code, left uint8) {
		b = append(b, code, 8)
		b = binary.NativeEndian.AppendUint16(b, uint16(left)+4)
		b = binary.NativeEndian.AppendUint16(b, 0)
		b = binary.NativeEndian.AppendUint16(b, k.number)
	}
	b = binary.NativeEndian.AppendUint16(b, unix.SizeofNlAttr+16)
	b = binary.NativeEndian.AppendUint16(b, reqBytecode)
	op(opLocalPortGE, 16)
	op(opLocalPortLE, 8)
	return b
}

// parseSocket reads a struct inet_diag_msg and gives the local port too.
func parseSocket(b []byte) (s socket, port uint16, ok bool) {
	if len(b) < answerLen {
		return socket{}, 0, false
	}
	length := 4
	if b[0] == unix.AF_INET6 {
		length = 16
	}
	s.state = b[1]
	s.addr, _ = netip.AddrFromSlice(b[8 : 8+length])
	s.inode = binary.NativeEndian.Uint32(b[68:])
	// The kernel tells of sockets that neither listen nor wait for datagrams nothing
	// of their scope: a connection has one family.
	s.v6only = s.state != stateListen && s.state != stateClose
	attrs, err := netlink.UnmarshalAttributes(b[answerLen:])
	if err != nil {
		return socket{}, 0, false
	}
	for _, a := range attrs {
		if a.Type == attrV6Only && len(a.Data) == 1 {
			s.v6only = a.Data[0] != 0
		}
	}
	return s, binary.BigEndian.Uint16(b[4:]), true
}

// processOf names the process that has a socket: "nginx (pid 812)". Of several
// it is the one with the lowest number, usually the one that the others came from.
func processOf(inode uint32) (string, bool) {
	want := fmt.Sprintf("socket:[%d]", inode)
	procs, err := os.ReadDir("/proc")
	if inode == 0 || err != nil {
		return "", false
	}
	var pids []int
	for _, p := range procs {
		if pid, err := strconv.Atoi(p.Name()); err == nil {
			pids = append(pids, pid)
		}
	}
	slices.SortFunc(pids, cmp.Compare[int])
	for _, pid := range pids {
		dir := filepath.Join("/proc", strconv.Itoa(pid))
		fds, err := os.ReadDir(filepath.Join(dir, "fd"))
		if err != nil {
			continue // ended, or not ours to see
		}
		for _, fd := range fds {
			if target, err := os.Readlink(filepath.Join(dir, "fd", fd.Name())); err != nil || target != want {
				continue
			}
			comm, err := os.ReadFile(filepath.Join(dir, "comm"))
			if err != nil {
				break
			}
			return fmt.Sprintf("%s (pid %d)", strings.TrimSpace(string(comm)), pid), true
		}
	}
	return "", false
}
