// SPDX-License-Identifier: Apache-2.0

package netns

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// PrepareDir makes a directory fit for pins, creating it (mode 0755) where it
// is missing: pins made in it appear in the mount namespaces of other
// processes, such as containers' shims, and vanish there when they are unpinned.
//
// That is so by itself where the directory is on a shared mount, as everything
// is on a machine run by systemd, and then nothing is mounted. Elsewhere the
// directory is bound onto itself and that new mount is made shared; mount
// namespaces made later take part. A directory that already has mounts below it
// is left as it is, because they would be hidden. PrepareDir may be repeated.
func PrepareDir(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("prepare pin directory: %w", err)
	}
	path, holder, all, err := mountOf(dir)
	if err != nil {
		return fmt.Errorf("prepare pin directory %s: %w", dir, err)
	}
	if holder.shared || hasBelow(all, path) {
		return nil
	}
	if err := unix.Mount(path, path, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("prepare pin directory: bind %s onto itself: %w", path, err)
	}
	if err := unix.Mount("", path, "", unix.MS_SHARED, ""); err != nil {
		return errors.Join(fmt.Errorf("prepare pin directory: make the mount of %s shared: %w", path, err),
			unix.Unmount(path, unix.UMOUNT_NOFOLLOW))
	}
	return nil
}

// ReleaseDir takes off the mount that [PrepareDir] made, if it made one. It
// fails with EBUSY while pins are left. The directory stays. ReleaseDir may be
// repeated.
func ReleaseDir(dir string) error {
	path, holder, all, err := mountOf(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("release pin directory %s: %w", dir, err)
	}
	if holder.point != escape(path) || !onItself(all, holder) {
		return nil
	}
	if err := unix.Unmount(path, unix.UMOUNT_NOFOLLOW); err != nil {
		return fmt.Errorf("release pin directory: unmount %s: %w", path, err)
	}
	return nil
}

// mount is a line of mountinfo (proc_pid_mountinfo(5)).
type mount struct {
	id, parent uint64
	device     string // MAJOR:MINOR
	root       string // what of the device is mounted
	point      string // where, with blanks as octal escapes
	shared     bool
}

// mountOf resolves dir and gives the mount that it is on among all mounts.
func mountOf(dir string) (path string, holder mount, all []mount, err error) {
	if path, err = filepath.Abs(dir); err != nil {
		return "", mount{}, nil, err
	}
	if path, err = filepath.EvalSymlinks(path); err != nil {
		return "", mount{}, nil, err
	}
	var stat unix.Statx_t
	if err = unix.Statx(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_MNT_ID, &stat); err != nil {
		return "", mount{}, nil, err
	}
	if all, err = readMounts(); err != nil {
		return "", mount{}, nil, err
	}
	at := slices.IndexFunc(all, func(m mount) bool { return m.id == stat.Mnt_id })
	if at < 0 {
		return "", mount{}, nil, fmt.Errorf("its mount %d is not in /proc/self/mountinfo", stat.Mnt_id)
	}
	return path, all[at], all, nil
}

// readMounts reads the mounts of the process's mount namespace.
func readMounts() ([]mount, error) {
	content, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	var all []mount
	for row := range strings.Lines(string(content)) {
		m, err := parseMount(row)
		if err != nil {
			return nil, err
		}
		all = append(all, m)
	}
	return all, nil
}

// parseMount reads one line of mountinfo.
func parseMount(row string) (mount, error) {
	fields := strings.Fields(row)
	end := slices.Index(fields, "-")
	if end < 6 {
		return mount{}, fmt.Errorf("mountinfo line %q has no separator", row)
	}
	id, errID := strconv.ParseUint(fields[0], 10, 64)
	parent, errParent := strconv.ParseUint(fields[1], 10, 64)
	if err := errors.Join(errID, errParent); err != nil {
		return mount{}, fmt.Errorf("mountinfo line %q: %w", row, err)
	}
	shared := slices.ContainsFunc(fields[6:end], func(f string) bool { return strings.HasPrefix(f, "shared:") })
	return mount{id: id, parent: parent, device: fields[2], root: fields[3], point: fields[4], shared: shared}, nil
}

// hasBelow reports whether something is mounted below a directory.
func hasBelow(all []mount, dir string) bool {
	return slices.ContainsFunc(all, func(m mount) bool { return strings.HasPrefix(m.point, escape(dir)+"/") })
}

// onItself reports whether m shows the very directory that it is mounted on.
func onItself(all []mount, m mount) bool {
	return slices.ContainsFunc(all, func(below mount) bool {
		inside := strings.TrimPrefix(m.point, below.point)
		return below.id == m.parent && below.device == m.device && filepath.Join(below.root, inside) == m.root
	})
}

// escape writes a path as mountinfo does.
func escape(path string) string {
	return strings.NewReplacer(" ", `\040`, "\t", `\011`, "\n", `\012`, `\`, `\134`).Replace(path)
}
