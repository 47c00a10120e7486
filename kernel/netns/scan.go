// SPDX-License-Identifier: Apache-2.0

package netns

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// inode names a namespace for as long as something keeps it alive.
type inode struct {
	device, number uint64
}

// Processes lists the processes whose first thread is in ns, in ascending
// order. Processes that the caller may not inspect are left out. It is one walk
// over /proc: a moment's picture.
func (ns *NS) Processes(ctx context.Context) ([]int, error) {
	var stat unix.Stat_t
	if err := ns.stat(&stat); err != nil {
		return nil, fmt.Errorf("list processes of a network namespace: %w", err)
	}
	groups, err := census(ctx)
	if err != nil {
		return nil, fmt.Errorf("list processes of a network namespace: %w", err)
	}
	return groups[inodeOf(&stat)], nil
}

// Survivors lists, for each of the wanted network namespaces that still has
// any, the processes whose first thread is in it, in ascending order. It needs
// no handle and no path, and takes one walk over /proc however many namespaces
// are wanted; each namespace that is in use on the machine is entered once.
// Processes that the caller may not inspect are left out.
func Survivors(ctx context.Context, wanted ...Cookie) (map[Cookie][]int, error) {
	groups, err := census(ctx)
	if err != nil {
		return nil, fmt.Errorf("look for processes in network namespaces: %w", err)
	}
	found := make(map[Cookie][]int)
	err = onThread(func(int) error {
		for id, pids := range groups {
			if err := ctx.Err(); err != nil {
				return err
			}
			if cookie := identify(id, pids); slices.Contains(wanted, cookie) {
				found[cookie] = pids
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("look for processes in network namespaces: %w", err)
	}
	return found, nil
}

// census groups all processes by network namespace.
func census(ctx context.Context) (map[inode][]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	groups := make(map[inode][]int)
	for _, entry := range entries {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue // not a process
		}
		var stat unix.Stat_t
		if unix.Stat(processPath(pid), &stat) != nil {
			continue // ended, or not ours to inspect
		}
		groups[inodeOf(&stat)] = append(groups[inodeOf(&stat)], pid)
	}
	for _, pids := range groups {
		slices.Sort(pids)
	}
	return groups, nil
}

// identify moves the calling thread into the namespace that the processes are
// in and gives its cookie, or zero if all of them have left it meanwhile or it
// may not be entered.
func identify(id inode, pids []int) Cookie {
	for _, pid := range pids {
		if cookie := identifyBy(id, pid); cookie != 0 {
			return cookie
		}
	}
	return 0
}

// identifyBy is [identify] for one process.
func identifyBy(id inode, pid int) Cookie {
	fd, err := unix.Open(processPath(pid), openFlags, 0)
	if err != nil {
		return 0
	}
	defer unix.Close(fd)
	var stat unix.Stat_t
	if unix.Fstat(fd, &stat) != nil || inodeOf(&stat) != id || unix.Setns(fd, unix.CLONE_NEWNET) != nil {
		return 0
	}
	cookie, err := CookieHere()
	if err != nil {
		return 0
	}
	return cookie
}

// stat looks at the open namespace.
func (ns *NS) stat(stat *unix.Stat_t) error {
	ns.mu.RLock()
	defer ns.mu.RUnlock()
	if ns.fd < 0 {
		return ErrClosed
	}
	return unix.Fstat(ns.fd, stat)
}

// inodeOf gives the identity in a stat. The field types differ by architecture.
func inodeOf(stat *unix.Stat_t) inode {
	return inode{device: uint64(stat.Dev), number: uint64(stat.Ino)} //nolint:unconvert // as it says above
}

// processPath names the network namespace of a process's first thread.
func processPath(pid int) string { return "/proc/" + strconv.Itoa(pid) + "/ns/net" }
