// SPDX-License-Identifier: Apache-2.0

package ports

import (
	"cmp"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/libnetwork/cnm/kernel/sockdiag"
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
	list, _ := sockdiag.OnPort(uint8(k.proto), k.number) // what cannot be listed stays a stranger
	for _, s := range list {
		at := slices.IndexFunc(addrs, func(a netip.Addr) bool { return inTheWay(&s, a) })
		if at < 0 {
			continue
		}
		found.addr = addrs[at]
		if s.State == sockdiag.TimeWait {
			found.by = "a connection that was just closed (TIME_WAIT)"
			continue // a socket that somebody has explains more
		}
		if name, ok := processOf(s.Inode); ok {
			found.by = name
		}
		return found
	}
	return found
}

// inTheWay tells whether a socket keeps another from being bound to an address.
func inTheWay(s *sockdiag.Socket, a netip.Addr) bool {
	on := s.Local.Addr()
	if on == netip.IPv6Unspecified() && !s.V6Only && a.Is4() {
		return true
	}
	return overlap(on.Unmap(), a)
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
