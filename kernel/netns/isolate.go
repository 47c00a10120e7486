// SPDX-License-Identifier: Apache-2.0

package netns

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
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

// RunIsolated starts cmd in new user, network, mount and process namespaces and
// waits for it. Its uid and gid 0 are the caller's own, so no privilege is
// needed. Where user namespaces are refused and the caller is root, the others
// alone are new; where network and mount namespaces are refused too the error is
// a [*RefusedError].
//
// The program is killed when the caller ends, however it ends, or when the
// command's context does, and with it every process that it has started and left
// running. (Only the program itself where process namespaces are refused, or where
// no proc file system may be mounted because parts of the caller's are hidden.)
// Its environment starts bare: loopback is down, /proc is the caller's and its
// mounts still propagate until it calls [PrepareStage].
//
// The calling goroutine's thread is held until the program has ended: Linux
// ties the kill on the parent's death to the thread that started the child.
func RunIsolated(cmd *exec.Cmd) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	flags, err := allowed()
	if err != nil {
		return err
	}
	isolate(cmd, flags)
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s in new namespaces: %w", cmd.Path, err)
	}
	return cmd.Wait()
}

// allowed gives the namespaces that this caller may have here and now. It asks
// by starting nothing at all in them, because a start that is refused loses two
// descriptors in the syscall package when user mappings are wanted.
func allowed() (uintptr, error) {
	const bare = unix.CLONE_NEWNET | unix.CLONE_NEWNS
	users := uintptr(unix.CLONE_NEWUSER)
	err := probe(users | bare)
	if err != nil && os.Geteuid() == 0 && probe(bare) == nil {
		users, err = 0, nil
	}
	if err != nil {
		return 0, &RefusedError{Err: err}
	}
	if wholeProc() && probe(users|bare|unix.CLONE_NEWPID) == nil {
		return users | bare | unix.CLONE_NEWPID, nil
	}
	return users | bare, nil
}

// wholeProc tells whether all of /proc is to be seen: the kernel lets a user
// namespace mount another one only then. The directory of binfmt_misc is empty
// without what is mounted there, and hides nothing.
func wholeProc() bool {
	content, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return false
	}
	for row := range strings.Lines(string(content)) {
		fields := strings.Fields(row)
		if len(fields) < 6 {
			return false
		}
		point, options := fields[4], strings.Split(fields[5], ",")
		if point == "/proc" && slices.Contains(options, "ro") {
			return false
		}
		if strings.HasPrefix(point, "/proc/") && point != "/proc/sys/fs/binfmt_misc" {
			return false
		}
	}
	return true
}

// probe starts a process in new namespaces that fails at once, because no
// program has the empty path, and gives the kernel's answer if it was another.
func probe(flags uintptr) error {
	attr := &syscall.ProcAttr{Sys: &syscall.SysProcAttr{Cloneflags: flags}}
	_, err := syscall.ForkExec("", []string{""}, attr)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	return err
}

// isolate asks for the namespaces in cmd and maps root inside to the caller.
func isolate(cmd *exec.Cmd, flags uintptr) {
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
}

// PrepareStage is the first call of a program started by [RunIsolated]: it
// makes every mount private, so that nothing mounted here is seen outside,
// mounts an empty tmpfs on /run, where pins can be made, and a /proc of the
// processes that it can see, and raises loopback.
// It must not be called in a namespace that is not the caller's own.
func PrepareStage() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make every mount private: %w", err)
	}
	if err := unix.Mount("tmpfs", "/run", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755"); err != nil {
		return fmt.Errorf("mount a tmpfs on /run: %w", err)
	}
	if os.Getpid() == 1 { // the first of a process namespace, which the /proc of before knows by another number
		if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
			return fmt.Errorf("mount a /proc of its own: %w", err)
		}
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
