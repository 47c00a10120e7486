// SPDX-License-Identifier: Apache-2.0

package launch

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/kernel/netns"
)

// The child's pipes, behind the three standard files.
const (
	orderFD  = 3
	reportFD = 4
)

// Main does what this process was executed for by [Run], and tells whether it was: if so the caller ends with the status
// and does nothing else. It belongs first into the program's main function. It does not return where the command begins.
func Main(args []string) (status int, mine bool) {
	if len(args) == 0 || args[0] != childName && args[0] != keeperName {
		return 0, false
	}
	syscall.CloseOnExec(orderFD)
	syscall.CloseOnExec(reportFD)
	out := os.NewFile(reportFD, "report")
	say := func(r report) error { return json.NewEncoder(out).Encode(r) }
	err := closeInherited()
	var o *order
	if err == nil {
		o, err = readOrder()
	}
	if err == nil {
		if args[0] == keeperName {
			status, err = keep(o, out, say)
		} else {
			status, err = become(o, say)
		}
	}
	if err == nil {
		return status, true
	}
	if status == 0 {
		status = StatusOurs
	}
	if say(report{Status: status, Kind: kindOf(err).Code().Name, Error: err.Error()}) != nil {
		return StatusOurs, true // whoever executed us is gone
	}
	return status, true
}

func kindOf(err error) cnm.Kind {
	if errors.Is(err, fs.ErrPermission) {
		return cnm.NotPermitted
	}
	return cnm.KindOf(err)
}

// closeInherited closes what whoever executed us did not, so that neither the command nor the keeper holds files that are
// not theirs: beside the three standard files and our pipes, all that was meant to pass an execve.
func closeInherited() error {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return fmt.Errorf("list our open files: %w", err)
	}
	for _, e := range entries {
		fd, err := strconv.Atoi(e.Name())
		if err != nil || fd <= reportFD {
			continue
		}
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if err == nil && flags&unix.FD_CLOEXEC == 0 {
			unix.Close(fd)
		}
	}
	return nil
}

func readOrder() (*order, error) {
	in := os.NewFile(orderFD, "order")
	if in == nil {
		return nil, errors.New("no order was given")
	}
	defer in.Close()
	data, err := io.ReadAll(in)
	if err != nil {
		return nil, fmt.Errorf("read the order: %w", err)
	}
	var o order
	return &o, json.Unmarshal(data, &o)
}

// become turns this process into the command. It returns only with an error. All of it happens on one thread, which never
// goes back to the runtime.
func become(o *order, say func(report) error) (int, error) {
	runtime.LockOSThread()
	if err := enter(o); err != nil {
		return StatusOurs, err
	}
	if err := furnish(o, say); err != nil {
		return StatusOurs, err
	}
	if err := o.As.assume(); err != nil {
		return StatusOurs, err
	}
	if o.Dir != "" {
		if err := os.Chdir(o.Dir); err != nil {
			return StatusOurs, workdirError(o.Dir, err)
		}
	}
	path, status, err := find(o.Command[0], o.Env)
	if err != nil {
		return status, err
	}
	err = syscall.Exec(path, o.Command, o.Env)
	if errors.Is(err, fs.ErrNotExist) {
		// The file is there, so it is what has to interpret it that is missing.
		return StatusNotExecutable, fmt.Errorf("execute %s: its interpreter is missing: %w", path, err)
	}
	return StatusNotExecutable, fmt.Errorf("execute %s: %w", path, err)
}

// workdirError says why the command cannot run in a directory.
func workdirError(dir string, err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		err = e.Err
	}
	return fmt.Errorf("workdir %q: %w; give a directory that the command's user may enter", dir, err)
}

// enter moves the thread into the sandbox's network namespace, and makes sure that it is the one that is meant.
func enter(o *order) error {
	if o.Namespace == "" {
		return nil
	}
	ns, err := netns.Open(o.Namespace)
	if err != nil {
		return fmt.Errorf("sandbox %s: %w", o.Sandbox, err)
	}
	defer ns.Close()
	if err := unix.Setns(ns.Fd(), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter the network namespace of sandbox %s: %w%s", o.Sandbox, err, rootHint(err))
	}
	found, err := netns.CookieHere()
	if err != nil {
		return err
	}
	if found != netns.Cookie(o.Cookie) {
		return cnm.Errorf(cnm.NotFound, "the namespace of sandbox %s is gone; another is at %s", o.Sandbox, o.Namespace)
	}
	return nil
}

func rootHint(err error) string {
	if errors.Is(err, fs.ErrPermission) {
		return "; it needs root (CAP_SYS_ADMIN, and CAP_SETUID and CAP_SETGID for another user)"
	}
	return ""
}

// assume takes the identity on; nil is the one we have. Where we have it already nothing is asked of the kernel, so that it
// works where groups may not be set.
func (id *identity) assume() error {
	if id == nil {
		return nil
	}
	if id.UID == os.Getuid() && id.GID == os.Getgid() {
		return nil
	}
	if err := syscall.Setgroups(id.Groups); err != nil {
		return fmt.Errorf("take the groups of user %d: %w%s", id.UID, err, rootHint(err))
	}
	if err := syscall.Setresgid(id.GID, id.GID, id.GID); err != nil {
		return fmt.Errorf("take group %d: %w%s", id.GID, err, rootHint(err))
	}
	if err := syscall.Setresuid(id.UID, id.UID, id.UID); err != nil {
		return fmt.Errorf("become user %d: %w%s", id.UID, err, rootHint(err))
	}
	return nil
}

// find looks a command up as execvp does, in the PATH of its own environment.
func find(name string, env []string) (path string, status int, err error) {
	if name == "" {
		return "", StatusNotFound, errors.New("the command is empty")
	}
	if strings.ContainsRune(name, '/') {
		return executable(name)
	}
	search := ""
	for _, kv := range env {
		if value, ok := strings.CutPrefix(kv, "PATH="); ok {
			search = value
		}
	}
	status, err = StatusNotFound, fmt.Errorf("command %q is in no directory of PATH (%s)", name, search)
	for _, dir := range filepath.SplitList(search) {
		if dir == "" {
			dir = "."
		}
		found, code, bad := executable(filepath.Join(dir, name))
		if bad == nil {
			return found, 0, nil
		}
		if code == StatusNotExecutable { // it is there: better than nowhere, should nothing follow
			status, err = code, bad
		}
	}
	return "", status, err
}

// executable tells whether a file can be executed by whom we are now.
func executable(path string) (string, int, error) {
	st, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return "", StatusNotFound, fmt.Errorf("command %s: %w", path, fs.ErrNotExist)
	case err != nil:
		return "", StatusNotExecutable, fmt.Errorf("command %s: %w", path, err)
	case st.IsDir():
		return "", StatusNotExecutable, fmt.Errorf("command %s: %w", path, syscall.EISDIR)
	}
	if err := unix.Faccessat(unix.AT_FDCWD, path, unix.X_OK, unix.AT_EACCESS); err != nil {
		return "", StatusNotExecutable, fmt.Errorf("command %s: %w", path, err)
	}
	return path, 0, nil
}
