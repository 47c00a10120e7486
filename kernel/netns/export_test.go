// SPDX-License-Identifier: Apache-2.0

package netns

import (
	"golang.org/x/sys/unix"
)

// OfProcessByNumber is OfProcess on a kernel without PIDFD_GET_NET_NAMESPACE.
// between runs after the process was pinned down and before its number is used.
func OfProcessByNumber(pid int, between func()) (*NS, error) {
	pidFd, err := openPidfd(pid)
	if err != nil {
		return nil, err
	}
	defer unix.Close(pidFd)
	between()
	fd, err := openNumbered(pid, pidFd)
	if err != nil {
		return nil, err
	}
	return adopt(fd)
}

// Decode feeds events to a watch as if the kernel had sent them.
func (w *PathWatch) Decode(events []byte) []string { return w.decode(events) }
