// SPDX-License-Identifier: Apache-2.0

package bolt

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"go.etcd.io/bbolt"

	"github.com/libnetwork/cnm"
)

// Config says where a store is. The directories exist, belong to the daemon's user and are writable by nobody else.
type Config struct {
	StateDir string // holds cnm.db
	RunDir   string // holds the boot file; any other boot-*.db in it is of another boot, and is removed unread
	// BootID is the kernel's name of this boot (/proc/sys/kernel/random/boot_id), and HostCookie the cookie of the host's network
	// namespace. Together they say whether the objects that the boot file speaks of can still exist.
	BootID     string
	HostCookie uint64
	// Version is the program's, "cnm 1.2.0". It is kept in the files, for the error of an older program that cannot read them.
	Version string
}

// opening is how one file is opened.
type opening struct {
	path   string
	holds  lifetime
	schema schema
	writer string

	found meta     // what the file says of itself, set by admit
	disk  *os.File // set by admit
}

// temporary is the pattern of the names under which files are made before they get their own.
func (o *opening) temporary() string { return "." + filepath.Base(o.path) + ".*.new" }

// open opens the file, making it if there is none, and brings it to the current schema.
func (o *opening) open() (*file, error) {
	fresh := false
	if _, err := os.Lstat(o.path); errors.Is(err, fs.ErrNotExist) {
		if fresh, err = o.create(); err != nil {
			return nil, diskError("make store file", o.path, err)
		}
	}
	f := &file{path: o.path, holds: o.holds, fresh: fresh, commit: (*bbolt.Tx).Commit, turn: make(chan struct{}, 1)}
	err := f.guard(func() (err error) {
		f.db, err = bbolt.Open(o.path, 0o600, o.options(o.admit))
		return err
	})
	if f.jammed {
		err = damaged(o.holds, err)
	}
	if err != nil {
		return nil, errors.Join(diskError("open store file", o.path, err), o.release())
	}
	f.disk, f.group = o.disk, o.found.group
	if err := o.bringUp(f); err != nil {
		return nil, errors.Join(diskError("open store file", o.path, err), f.close())
	}
	return f, nil
}

// release closes the descriptor where bbolt did not.
func (o *opening) release() error {
	if o.disk == nil {
		return nil
	}
	if err := o.disk.Close(); !errors.Is(err, os.ErrClosed) {
		return err
	}
	return nil
}

// options are bbolt's. Neither file keeps the list of its free pages: that is made anew when a file is opened, and a commit is a
// page shorter. The boot file is never flushed, and mapped large enough not to be mapped again while it grows.
func (o *opening) options(openFile func(string, int, os.FileMode) (*os.File, error)) *bbolt.Options {
	opts := &bbolt.Options{
		Timeout:        time.Nanosecond, // no wait for the lock: whoever has it keeps it
		OpenFile:       openFile,
		FreelistType:   bbolt.FreelistMapType,
		NoFreelistSync: true,
		NoStatistics:   true,
	}
	if o.holds == boot {
		opts.NoSync, opts.NoGrowSync, opts.InitialMmapSize = true, true, 64<<20
	}
	return opts
}

// create makes a new file beside its place and links it there when it is whole, so that no crash leaves half a file. It
// tells whether it did: another process may have been quicker.
func (o *opening) create() (bool, error) {
	tmp, err := os.CreateTemp(filepath.Dir(o.path), o.temporary())
	if err != nil {
		return false, err
	}
	err = tmp.Close()
	if err == nil {
		err = o.fill(tmp.Name())
	}
	if err == nil {
		err = os.Link(tmp.Name(), o.path)
	}
	quicker := errors.Is(err, fs.ErrExist)
	if quicker {
		err = nil
	}
	if rmErr := os.Remove(tmp.Name()); !errors.Is(rmErr, fs.ErrNotExist) {
		err = errors.Join(err, rmErr)
	}
	if err == nil && o.holds == durable {
		err = syncDir(filepath.Dir(o.path))
	}
	return err == nil && !quicker, err
}

// fill makes the empty file at path an empty store file.
func (o *opening) fill(path string) error {
	db, err := bbolt.Open(path, 0o600, o.options(nil))
	if err != nil {
		return err
	}
	return errors.Join(db.Update(func(tx *bbolt.Tx) error {
		return establish(tx, o.holds, o.schema, o.writer)
	}), db.Close())
}

// admit opens the file for bbolt if it may be used: if it is a file of ours, nobody else has it, and all of it is as it should be.
func (o *opening) admit(path string, _ int, _ os.FileMode) (*os.File, error) {
	if err := o.checkOutside(path); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDWR|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	if err := o.checkInside(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	o.disk = f
	return f, nil
}

// checkOutside looks at what there is at path without opening it.
func (o *opening) checkOutside(path string) error {
	st, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if !st.Mode().IsRegular() {
		return damaged(o.holds, fmt.Errorf("it is no regular file (%s)", st.Mode()))
	}
	if perm := st.Mode().Perm(); perm&0o022 != 0 {
		return cnm.Errorf(cnm.NotPermitted, "others may write it (mode %04o): chmod 600 it, if you know who did", perm)
	}
	if sys, ok := st.Sys().(*syscall.Stat_t); ok && int(sys.Uid) != os.Geteuid() {
		return cnm.Errorf(cnm.NotPermitted, "it belongs to user %d and not to the daemon's, %d: chown it, if you know why", sys.Uid, os.Geteuid())
	}
	return nil
}

// checkInside locks the file and reads it.
func (o *opening) checkInside(f *os.File) error {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return cnm.Errorf(cnm.Busy, "another daemon has it: stop that one, or give this one directories of its own")
	}
	if err != nil {
		return err
	}
	data, err := io.ReadAll(f)
	if err != nil {
		return err
	}
	found, err := readImage(data)
	if err != nil {
		return damaged(o.holds, err)
	}
	said, harmed, err := o.schema.check(found, o.holds)
	if harmed {
		return damaged(o.holds, err)
	}
	o.found = said
	return err
}

// bringUp migrates the file where it is older, and notes what it holds.
func (o *opening) bringUp(f *file) error {
	return f.guard(func() error {
		if o.found.schema != o.schema.version {
			err := f.db.Update(func(tx *bbolt.Tx) error { return o.schema.migrate(tx, o.found.schema, o.writer) })
			if err != nil {
				return err
			}
		}
		return f.db.View(func(tx *bbolt.Tx) (err error) {
			f.sums, f.total, err = sumUp(tx)
			return err
		})
	})
}

// bootPath is the path of the boot file.
func (c Config) bootPath() (string, error) {
	if c.BootID == "" || strings.Trim(c.BootID, "0123456789abcdef-") != "" {
		return "", cnm.Errorf(cnm.Invalid, "boot id %q is not as the kernel writes it, in hexadecimal digits and '-'", c.BootID)
	}
	return filepath.Join(c.RunDir, fmt.Sprintf("boot-%s-%x.db", c.BootID, c.HostCookie)), nil
}

// sweep removes what other boots left in the run directory, without looking inside, and what a crash left half made.
func (c Config) sweep(bootPath string) error {
	patterns := []string{
		filepath.Join(c.RunDir, "boot-*.db"),
		filepath.Join(c.RunDir, ".boot-*.db.*.new"),
		filepath.Join(c.StateDir, ".cnm.db.*.new"),
	}
	for _, p := range patterns {
		stale, err := filepath.Glob(p)
		if err != nil {
			return cnm.Errorf(cnm.Invalid, "directory %q cannot be searched: %w", filepath.Dir(p), err)
		}
		for _, path := range stale {
			if path == bootPath {
				continue
			}
			if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return diskError("remove stale file", path, err)
			}
		}
	}
	return nil
}

// syncDir makes a new name in a directory last.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
