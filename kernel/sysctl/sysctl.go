// SPDX-License-Identifier: Apache-2.0

// Package sysctl reads and writes the kernel parameters of a network namespace.
//
// Everything here acts on the namespace of the calling thread, so it belongs
// inside of netns.NS.Do or on another locked thread. Keys are the path below
// /proc/sys with slashes, such as "net/ipv6/conf/eth0.5/accept_ra": the dots of
// an interface name are ordinary there. Only keys below net/ are taken, as no
// others belong to a network namespace.
package sysctl

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// root is where the kernel shows its parameters.
const root = "/proc/sys/"

// size bounds the length of a value. Longer ones do not exist in net/.
const size = 4096

// ErrKey says that a key is not the path of a network parameter.
var ErrKey = errors.New("not a key of a network namespace, want a form like net/ipv4/ip_forward")

// IgnoredError says that the kernel took a write without complaint and did not
// keep the value.
type IgnoredError struct {
	Key    string
	Wanted string // what was written
	Found  string // what was read back
}

// Error names the key and both values.
func (e *IgnoredError) Error() string {
	return fmt.Sprintf("sysctl %s is %q after writing %q: the kernel ignores the write here", e.Key, e.Found, e.Wanted)
}

// Setting is a parameter and the value it is to have.
type Setting struct {
	Key   string
	Value string
}

// WriteAll writes the settings in their order, goes on after a failure and
// gives all failures joined.
func WriteAll(settings ...Setting) error {
	var errs []error
	for _, s := range settings {
		errs = append(errs, Write(s.Key, s.Value))
	}
	return errors.Join(errs...)
}

// Write gives a parameter a value and reads it back: a write that changed
// nothing is an [*IgnoredError]. Values compare equal where they differ in blanks
// between fields or in the base of a number only. A key of the wrong form is
// [ErrKey]; one that the kernel does not have, or whose interface is gone,
// matches [io/fs.ErrNotExist].
func Write(key, value string) error {
	fd, err := open(key, unix.O_RDWR)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	// One write: the kernel parses each by itself.
	if _, err := retry(func() (int, error) { return unix.Write(fd, []byte(value)) }); err != nil {
		return fmt.Errorf("write %q to sysctl %s: %w", value, key, err)
	}
	found, err := content(fd)
	if err != nil {
		return fmt.Errorf("read sysctl %s back: %w", key, err)
	}
	if !same(value, found) {
		return &IgnoredError{Key: key, Wanted: value, Found: found}
	}
	return nil
}

// Read gives a parameter's value without the line's end. Its errors are those
// of [Write].
func Read(key string) (string, error) {
	fd, err := open(key, unix.O_RDONLY)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	value, err := content(fd)
	if err != nil {
		return "", fmt.Errorf("read sysctl %s: %w", key, err)
	}
	return value, nil
}

// open opens a parameter. Descriptors are used bare: the runtime's poller has
// no use for them.
func open(key string, flags int) (int, error) {
	if !valid(key) {
		return -1, fmt.Errorf("sysctl key %q: %w", key, ErrKey)
	}
	fd, err := retry(func() (int, error) { return unix.Open(root+key, flags|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0) })
	if err != nil {
		return -1, fmt.Errorf("open sysctl %s: %w", key, err)
	}
	return fd, nil
}

// valid reports whether a key names something below net/ and nothing else.
func valid(key string) bool {
	return strings.HasPrefix(key, "net/") && fs.ValidPath(key) && path.Clean(key) == key && !strings.ContainsRune(key, 0)
}

// content reads a parameter from its beginning.
func content(fd int) (string, error) {
	buffer := make([]byte, size)
	n, err := retry(func() (int, error) { return unix.Pread(fd, buffer, 0) })
	if err != nil {
		return "", err
	}
	return string(bytes.TrimRight(buffer[:n], "\n")), nil
}

// same compares two values field by field, numbers by their value.
func same(a, b string) bool {
	as, bs := strings.Fields(a), strings.Fields(b)
	if len(as) != len(bs) {
		return false
	}
	for i := range as {
		if as[i] == bs[i] {
			continue
		}
		x, errX := strconv.ParseInt(as[i], 0, 64)
		y, errY := strconv.ParseInt(bs[i], 0, 64)
		if errX != nil || errY != nil || x != y {
			return false
		}
	}
	return true
}

// retry repeats a call that a signal interrupted.
func retry(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}
