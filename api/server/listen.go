// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	cnm "github.com/libnetwork/cnm"
)

// answerTime bounds how long another daemon may take to accept a connection.
const answerTime = 2 * time.Second

// Listen makes the API's socket at path with the given permissions, usually 0666: who may do what is not decided by them.
// Where they shut others out, gid (if not negative) becomes the socket's group. The directory is made if it is not there.
//
// A socket left by a dead daemon is replaced. Where a living one answers, the error is [cnm.Busy]; where something other than
// a socket is in the way, [cnm.Exists].
func Listen(ctx context.Context, path string, mode fs.FileMode, gid int) (net.Listener, error) {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, cnm.FieldErrorf(refusal(err), "socket", "make the socket's directory: %w; choose another --socket", err)
	}
	unlock, err := lockDir(dir)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := clearPath(ctx, path); err != nil {
		return nil, err
	}
	ln, err := bind(ctx, path, mode)
	if err != nil {
		return nil, cnm.FieldErrorf(refusal(err), "socket", "%w; choose another --socket", err)
	}
	if gid >= 0 && mode&0o007 == 0 {
		if err := os.Chown(path, -1, gid); err != nil {
			return nil, errors.Join(fmt.Errorf("give the socket to its group: %w", err), ln.Close())
		}
	}
	return ln, nil
}

// refusal is the kind of a system call's failure to make the socket.
func refusal(err error) cnm.Kind {
	switch {
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return cnm.NotPermitted
	case errors.Is(err, syscall.EINVAL), errors.Is(err, syscall.ENAMETOOLONG), errors.Is(err, syscall.ENOTDIR):
		return cnm.Invalid
	default:
		return cnm.Unavailable
	}
}

// lockDir keeps two daemons that start at once from taking the socket from each other. The lock is on the directory itself, so that no file is left.
func lockDir(dir string) (unlock func(), err error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("open the socket's directory: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		return nil, errors.Join(fmt.Errorf("lock the socket's directory %s: %w", dir, err), f.Close())
	}
	return func() { f.Close() }, nil
}

// clearPath removes a socket that nobody answers at.
func clearPath(ctx context.Context, path string) error {
	st, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look at %s: %w", path, err)
	}
	if st.Mode().Type() != fs.ModeSocket {
		return cnm.FieldErrorf(cnm.Exists, "socket", "%s is there and is no socket; remove it or choose another --socket", path)
	}
	d := net.Dialer{Timeout: answerTime}
	conn, err := d.DialContext(ctx, "unix", path)
	if err == nil {
		conn.Close()
		return cnm.FieldErrorf(cnm.Busy, "socket", "another daemon answers at %s; stop it or choose another --socket", path)
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return cnm.FieldErrorf(cnm.Busy, "socket", "something at %s does not answer: %w", path, err)
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("remove the socket of a dead daemon: %w", err)
	}
	return nil
}

// bind makes the socket with its permissions from the first moment. The umask that does it belongs to one thread: it
// stops sharing its umask with the others (CLONE_FS), and ends with the goroutine, which does not unlock it.
func bind(ctx context.Context, path string, mode fs.FileMode) (net.Listener, error) {
	type result struct {
		ln  net.Listener
		err error
	}
	done := make(chan result, 1)
	go func() {
		runtime.LockOSThread()
		if err := syscall.Unshare(syscall.CLONE_FS); err != nil {
			done <- result{err: fmt.Errorf("part with the umask: %w", err)}
			return
		}
		syscall.Umask(int(0o777 &^ mode.Perm()))
		var lc net.ListenConfig
		ln, err := lc.Listen(ctx, "unix", path)
		done <- result{ln, err}
	}()
	r := <-done
	return r.ln, r.err
}
