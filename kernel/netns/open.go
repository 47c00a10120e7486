// SPDX-License-Identifier: Apache-2.0

package netns

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// openFlags open a namespace for entering. O_NONBLOCK is for what turns out to
// be something else after all.
const openFlags = unix.O_RDONLY | unix.O_CLOEXEC | unix.O_NONBLOCK | unix.O_NOCTTY

// pidfdGetNet is the ioctl PIDFD_GET_NET_NAMESPACE (Linux 6.11): number 4 of
// the magic 0xff, with the direction bits that this architecture gives to
// requests without an argument.
const pidfdGetNet = unix.NS_GET_NSTYPE&^0xffff | 0xff04

// Open opens the network namespace at a path: a pin such as /run/netns/blue, or
// the ns/net of a process or thread in a proc file system.
//
// The last component may not be a symbolic link ([ErrSymlink]), other than
// those of proc, which are no real ones; the directories before it may be.
// Nothing but a namespace is ever opened, only looked at, so a path that names
// a FIFO or a device has no effect on it ([ErrNotNamespace]). A path under
// /proc names whoever has the number now: prefer [OfProcess].
func Open(name string) (*NS, error) {
	fd, err := openPath(name)
	if err != nil {
		return nil, fmt.Errorf("open network namespace %s: %w", name, err)
	}
	ns, err := adopt(fd)
	if err != nil {
		return nil, fmt.Errorf("open network namespace %s: %w", name, err)
	}
	return ns, nil
}

// OfProcess opens the network namespace of a process (its first thread's) and
// cannot be fooled by the number being used again meanwhile. It fails with
// [ErrProcessGone] where the process has ended or is a zombie.
func OfProcess(pid int) (*NS, error) {
	fd, err := openProcess(pid)
	if err != nil {
		return nil, fmt.Errorf("open network namespace of process %d: %w", pid, err)
	}
	ns, err := adopt(fd)
	if err != nil {
		return nil, fmt.Errorf("open network namespace of process %d: %w", pid, err)
	}
	return ns, nil
}

// openPath opens what is at name for reading if it is a namespace of any type.
func openPath(name string) (int, error) {
	cut := strings.LastIndexByte(name, '/') + 1
	dir, base := name[:cut], name[cut:]
	if dir == "" {
		dir = "."
	}
	dirFd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	defer unix.Close(dirFd)
	if base == "net" && path.Base(dir) == "ns" && onFileSystem(dirFd, unix.PROC_SUPER_MAGIC) == nil {
		return openMagic(dirFd)
	}
	fd, err := unix.Openat(dirFd, base, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	defer unix.Close(fd)
	if err := inspect(fd); err != nil {
		return -1, err
	}
	return unix.Open(ownFile(fd), openFlags, 0)
}

// inspect looks at a descriptor that was opened without effect (O_PATH).
func inspect(fd int) error {
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return err
	}
	if stat.Mode&unix.S_IFMT == unix.S_IFLNK {
		return ErrSymlink
	}
	return onFileSystem(fd, unix.NSFS_MAGIC)
}

// openMagic follows the magic link "net" of an ns directory in proc, where only
// the kernel makes links.
func openMagic(dirFd int) (int, error) {
	fd, err := unix.Openat(dirFd, "net", openFlags, 0)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) {
		return -1, fmt.Errorf("%w: %w", ErrProcessGone, err)
	}
	return fd, err
}

// openProcess opens a process's network namespace through a pidfd.
func openProcess(pid int) (int, error) {
	pidFd, err := openPidfd(pid)
	if err != nil {
		return -1, err
	}
	defer unix.Close(pidFd)
	fd, err := unix.IoctlRetInt(pidFd, pidfdGetNet)
	switch {
	case err == nil:
		return fd, nil
	case errors.Is(err, unix.ESRCH):
		return -1, ErrProcessGone
	case errors.Is(err, unix.ENOTTY), errors.Is(err, unix.EINVAL):
		return openNumbered(pid, pidFd)
	default:
		return -1, err
	}
}

// openNumbered opens a process's network namespace by its number, and then
// makes sure that the number was still that of the process behind pidFd.
func openNumbered(pid, pidFd int) (int, error) {
	fd, err := unix.Open(fmt.Sprintf("/proc/%d/ns/net", pid), openFlags, 0)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) {
		return -1, ErrProcessGone
	}
	if err != nil {
		return -1, err
	}
	err = unix.PidfdSendSignal(pidFd, 0, nil, 0)
	if errors.Is(err, unix.ESRCH) {
		unix.Close(fd)
		return -1, ErrProcessGone
	}
	// Any other answer, such as EPERM, comes from a process that is there.
	return fd, nil
}

// openPidfd opens a process so that its number can no longer be confused. The
// descriptor does not block.
func openPidfd(pid int) (int, error) {
	if pid <= 0 || pid > math.MaxInt32 { // the kernel would take the lower half of a longer one
		return -1, fmt.Errorf("number is not that of a process: %w", unix.EINVAL)
	}
	fd, err := unix.PidfdOpen(pid, unix.O_NONBLOCK)
	switch {
	case errors.Is(err, unix.ESRCH):
		return -1, ErrProcessGone
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOENT):
		return -1, fmt.Errorf("number is not that of a process: %w", err)
	default:
		return fd, err
	}
}

// adopt makes a handle of fd, or closes it if it is no network namespace.
func adopt(fd int) (*NS, error) {
	err := onFileSystem(fd, unix.NSFS_MAGIC)
	if err == nil {
		var kind int
		kind, err = unix.IoctlRetInt(fd, unix.NS_GET_NSTYPE)
		if err == nil && kind != unix.CLONE_NEWNET {
			err = ErrNotNamespace
		}
	}
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	return wrap(fd), nil
}

// onFileSystem fails with [ErrNotNamespace] unless fd is a file of the file
// system with the given magic number.
func onFileSystem(fd int, magic uint32) error {
	var stat unix.Statfs_t
	if err := unix.Fstatfs(fd, &stat); err != nil {
		return err
	}
	if uint32(stat.Type) != magic {
		return ErrNotNamespace
	}
	return nil
}
