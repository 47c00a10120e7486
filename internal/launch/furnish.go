// SPDX-License-Identifier: Apache-2.0

package launch

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// furnish gives the thread what belongs to the sandbox beside its network: name files, /sys, a host name.
func furnish(o *order, say func(report) error) error {
	if o.Hostname != "" {
		if err := setHostname(o.Hostname); err != nil {
			return err
		}
	}
	files := []struct{ from, to string }{
		{o.Hosts, "/etc/hosts"}, {o.ResolvConf, "/etc/resolv.conf"}, {o.HostnameFile, "/etc/hostname"},
	}
	if o.Namespace == "" && o.Hosts == "" && o.ResolvConf == "" && o.HostnameFile == "" {
		return nil
	}
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("make a mount namespace: %w%s", err, rootHint(err))
	}
	// Nothing that is mounted here is seen outside. What is unmounted outside goes here too, so that the command keeps no
	// medium busy.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return fmt.Errorf("part the mounts from the host's: %w", err)
	}
	for _, f := range files {
		if err := cover(f.from, f.to); err != nil {
			return err
		}
	}
	if o.Namespace == "" {
		return nil
	}
	err := freshSys()
	if errors.Is(err, fs.ErrPermission) {
		return say(report{Note: fmt.Sprintf("/sys shows the host's network devices: %v", err)})
	}
	return err
}

func setHostname(name string) error {
	if err := unix.Unshare(unix.CLONE_NEWUTS); err != nil {
		return fmt.Errorf("have a host name of its own: %w%s", err, rootHint(err))
	}
	if err := unix.Sethostname([]byte(name)); err != nil {
		return fmt.Errorf("set the host name %q: %w", name, err)
	}
	return nil
}

// cover mounts a file over what a path leads to, through all links, and does nothing where that is not there. The target is opened
// first and mounted on by its descriptor, so that it cannot become another in between.
func cover(from, to string) error {
	if from == "" {
		return nil
	}
	fd, err := unix.Open(to, unix.O_PATH|unix.O_CLOEXEC, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open %s: %w", to, err)
	}
	defer unix.Close(fd)
	if err := unix.Mount(from, "/proc/thread-self/fd/"+strconv.Itoa(fd), "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("mount %s over %s: %w", from, to, err)
	}
	return nil
}

// freshSys mounts a /sys that shows the thread's network namespace, with all that was mounted below the old one (cgroups, ...)
// in its place again.
func freshSys() error {
	var st unix.Statfs_t
	if err := unix.Statfs("/sys", &st); err != nil || uint32(st.Type) != unix.SYSFS_MAGIC {
		return err // no sysfs there: the command has no network devices to be shown
	}
	below, err := mountsBelow("/sys")
	if err != nil {
		return err
	}
	kept := map[string]int{}
	defer func() {
		for _, fd := range kept {
			unix.Close(fd)
		}
	}()
	for _, path := range below {
		fd, err := unix.OpenTree(unix.AT_FDCWD, path, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
		if err != nil {
			return fmt.Errorf("keep the mount %s: %w", path, err)
		}
		kept[path] = fd
	}
	// A user namespace may not have less strict flags than the mount that is there.
	flags := uintptr(st.Flags) & (unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC)
	if err := unix.Mount("sysfs", "/sys", "sysfs", flags|unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount sysfs: %w", err)
	}
	for _, path := range below {
		err := unix.MoveMount(kept[path], "", unix.AT_FDCWD, path, unix.MOVE_MOUNT_F_EMPTY_PATH)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("mount %s again: %w", path, err)
		}
	}
	return nil
}

// mountsBelow lists the mount points below a directory that are not below another of them, each once.
func mountsBelow(dir string) ([]string, error) {
	f, err := os.Open("/proc/thread-self/mountinfo")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var found []string
	for lines := bufio.NewScanner(f); ; {
		if !lines.Scan() {
			return found, lines.Err()
		}
		fields := strings.Fields(lines.Text())
		if len(fields) > 4 && strings.HasPrefix(fields[4], dir+"/") && !covered(found, fields[4]) {
			found = append(found, fields[4])
		}
	}
}

// covered tells whether a mount point is, or is below, one of those found.
func covered(found []string, path string) bool {
	for _, f := range found {
		if path == f || strings.HasPrefix(path, f+"/") {
			return true
		}
	}
	return false
}
