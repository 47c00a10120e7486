// SPDX-License-Identifier: Apache-2.0

package netns

import (
	"context"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// WatchProcess gives a channel that is closed when the process ends (it may
// still be a zombie then). If ctx ends first the watch ends and the channel is
// never closed, so a reader waits for both. It fails with [ErrProcessGone]
// where there is no such process.
//
// It holds one descriptor and no thread until then. The process is pinned down
// when WatchProcess returns: a later one with the same number is not confused
// with it.
func WatchProcess(ctx context.Context, pid int) (<-chan struct{}, error) {
	fd, err := openPidfd(pid)
	if err != nil {
		return nil, fmt.Errorf("watch process %d: %w", pid, err)
	}
	file := os.NewFile(uintptr(fd), "pidfd")
	conn, err := file.SyscallConn()
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("watch process %d: %w", pid, err)
	}
	gone := make(chan struct{})
	stop := context.AfterFunc(ctx, func() { file.Close() })
	go func() {
		defer file.Close()
		defer stop()
		// Read returns without an error only when exited said so. The context
		// may have ended before that without having closed the file yet.
		if conn.Read(exited) == nil && ctx.Err() == nil {
			close(gone)
		}
	}()
	return gone, nil
}

// exited reports whether the process behind a pidfd has ended.
func exited(fd uintptr) bool {
	set := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	n, err := unix.Poll(set, 0)
	return err == nil && n > 0 && set[0].Revents&unix.POLLIN != 0
}
