// SPDX-License-Identifier: Apache-2.0

package netns

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"

	"golang.org/x/sys/unix"
)

// pinDepth bounds how many mounts on top of each other Unpin takes off.
const pinDepth = 16

// Make makes a network namespace, runs inside in it (unless nil) with its cookie, and then pins it at the path pin, so that it lives
// without a process. On any error nothing is left.
//
// The directory of pin must exist and pin must not ([io/fs.ErrExist]); a
// symbolic link at pin is never followed. inside runs on the calling thread as
// in [NS.DoAs].
func Make(pin string, inside func(Cookie) error) (cookie Cookie, err error) {
	file, err := unix.Open(pin, unix.O_RDONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("create namespace pin %s: %w", pin, err)
	}
	defer unix.Close(file)
	made := false
	defer func() {
		if !made { // also where inside panicked
			err = errors.Join(err, Unpin(pin))
		}
	}()
	err = inPlace(func() (err error) {
		cookie, err = build(file, inside)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("make network namespace %s: %w", pin, err)
	}
	made = true
	return cookie, nil
}

// build gives the calling thread a new network namespace, runs inside and mounts the namespace on the open file.
func build(file int, inside func(Cookie) error) (Cookie, error) {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return 0, fmt.Errorf("unshare: %w", err)
	}
	cookie, err := CookieHere()
	if err != nil {
		return 0, err
	}
	if inside != nil {
		if err := inside(cookie); err != nil {
			return 0, err
		}
	}
	// The target is the very file that was created, whatever its name means now.
	if err := unix.Mount(threadPath, ownFile(file), "", unix.MS_BIND, ""); err != nil {
		return 0, fmt.Errorf("bind mount: %w", err)
	}
	return cookie, nil
}

// Unpin takes a namespace's pin away: the namespace then ends as soon as
// nothing else uses it. A pin that is gone, or is a plain file that was never
// mounted on, is no error, so Unpin may be repeated. Processes that use the
// namespace are not disturbed.
func Unpin(pin string) error {
	for range pinDepth {
		err := unix.Unmount(pin, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil && !errors.Is(err, unix.EINVAL): // EINVAL: not a mount point
			return fmt.Errorf("unmount namespace pin %s: %w", pin, err)
		}
		err = unix.Unlink(pin)
		if err == nil || errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if !errors.Is(err, unix.EBUSY) { // EBUSY: another mount is below
			return fmt.Errorf("remove namespace pin %s: %w", pin, err)
		}
	}
	return fmt.Errorf("remove namespace pin %s: more than %d mounts are on it", pin, pinDepth)
}

// ownFile names an open file of this process by its descriptor, as a path.
func ownFile(fd int) string { return "/proc/thread-self/fd/" + strconv.Itoa(fd) }
