// SPDX-License-Identifier: Apache-2.0

package netns

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// RefusedError says that this machine lets the caller have neither new user
// namespaces nor, without them, new network and mount namespaces.
type RefusedError struct {
	Err error // what the kernel answered
}

// Error names the kernel's answer and the switches that allow user namespaces.
func (e *RefusedError) Error() string {
	return fmt.Sprintf("new namespaces are refused (%v): set kernel.unprivileged_userns_clone=1 and "+
		"kernel.apparmor_restrict_unprivileged_userns=0 where they exist, raise user.max_user_namespaces "+
		"and user.max_net_namespaces, or run as root", e.Err)
}

// Unwrap gives the kernel's answer.
func (e *RefusedError) Unwrap() error { return e.Err }

// RunIsolated runs a program in new user, network and mount namespaces and
// waits for it. Its uid and gid 0 are the caller's own, so no privilege is
// needed. Where user namespaces are refused and the caller is root, only the
// network and mount namespaces are new; where those are refused too the error
// is a [*RefusedError].
//
// build makes the command; it is called a second time for that second way,
// because a command cannot be started twice. The program is killed when the
// caller ends, however it ends, or when the command's context does. Its
// environment starts bare: loopback is down and its mounts still propagate
// until it calls [PrepareStage].
//
// The calling goroutine's thread is held until the program has ended: Linux
// ties the kill on the parent's death to the thread that started the child.
func RunIsolated(build func() *exec.Cmd) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd := isolate(build(), unix.CLONE_NEWUSER|unix.CLONE_NEWNET|unix.CLONE_NEWNS)
	err := cmd.Start()
	if refused(err) && os.Geteuid() == 0 {
		cmd = isolate(build(), unix.CLONE_NEWNET|unix.CLONE_NEWNS)
		err = cmd.Start()
	}
	if refused(err) {
		return &RefusedError{Err: err}
	}
	if err != nil {
		return fmt.Errorf("start %s in new namespaces: %w", cmd.Path, err)
	}
	return cmd.Wait()
}

// isolate asks for the namespaces in cmd and maps root inside to the caller.
func isolate(cmd *exec.Cmd, flags uintptr) *exec.Cmd {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	attr := cmd.SysProcAttr
	attr.Cloneflags |= flags
	attr.Pdeathsig = syscall.SIGKILL
	if flags&unix.CLONE_NEWUSER != 0 {
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	}
	return cmd
}

// refused reports whether err is one of the kernel's ways to say that the
// caller may not have such namespaces: no privilege, a limit of zero or
// reached, or a kernel built without them.
func refused(err error) bool {
	return errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) || errors.Is(err, unix.ENOSPC) ||
		errors.Is(err, unix.EUSERS) || errors.Is(err, unix.EINVAL)
}

// PrepareStage is the first call of a program started by [RunIsolated]: it
// makes every mount private, so that nothing mounted here is seen outside,
// mounts an empty tmpfs on /run, where pins can be made, and raises loopback.
// It must not be called in a namespace that is not the caller's own.
func PrepareStage() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make every mount private: %w", err)
	}
	if err := unix.Mount("tmpfs", "/run", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755"); err != nil {
		return fmt.Errorf("mount a tmpfs on /run: %w", err)
	}
	if err := raiseLoopback(); err != nil {
		return fmt.Errorf("raise loopback: %w", err)
	}
	return nil
}

// raiseLoopback sets lo up in the calling thread's network namespace.
func raiseLoopback() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	req, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, req); err != nil {
		return err
	}
	req.SetUint16(req.Uint16() | unix.IFF_UP)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, req)
}
