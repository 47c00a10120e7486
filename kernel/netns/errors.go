// SPDX-License-Identifier: Apache-2.0

package netns

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// Errors that callers tell apart with [errors.Is]. A path that does not exist
// matches [io/fs.ErrNotExist], one that must be new but is there matches
// [io/fs.ErrExist].
var (
	// ErrNotNamespace says that the path is there but is not a network namespace.
	ErrNotNamespace = errors.New("not a network namespace")
	// ErrSymlink says that the last component of the path is a symbolic link.
	ErrSymlink = errors.New("is a symbolic link, name its target instead")
	// ErrProcessGone says that the process has ended, or never was.
	ErrProcessGone = errors.New("process is gone")
	// ErrStale says that the namespace is not the one with the wanted cookie.
	ErrStale = errors.New("is another network namespace than before")
	// ErrClosed says that the handle was closed before it was used.
	ErrClosed = errors.New("namespace handle is closed")
)

// UnsupportedError says that the running kernel lacks a feature. It matches
// [errors.ErrUnsupported].
type UnsupportedError struct {
	Feature string // what is missing, such as "network namespace cookie"
	Since   string // the first kernel version that has it, such as "5.14"
	Err     error  // what the kernel answered
}

// Error names the feature, the version that brought it and the kernel's answer.
func (e *UnsupportedError) Error() string {
	return fmt.Sprintf("%s needs Linux %s or later: %v", e.Feature, e.Since, e.Err)
}

// Unwrap gives the kernel's answer.
func (e *UnsupportedError) Unwrap() error { return e.Err }

// Is reports true for [errors.ErrUnsupported].
func (e *UnsupportedError) Is(target error) bool { return target == errors.ErrUnsupported }

// unsupported turns the answers that kernels give to a call or option they do
// not know into an [UnsupportedError], and leaves every other error as it is.
func unsupported(feature, since string, err error) error {
	switch {
	case errors.Is(err, unix.ENOSYS), errors.Is(err, unix.ENOPROTOOPT), errors.Is(err, unix.ENOTTY):
		return &UnsupportedError{Feature: feature, Since: since, Err: err}
	default:
		return err
	}
}
