// SPDX-License-Identifier: Apache-2.0

package oci

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	cnm "github.com/libnetwork/cnm"
)

// configName is the file that makes a directory a bundle.
const configName = "config.json"

// Prepare writes into the bundle at dir what s says, in place of what was there of ours, and makes the files that hooks fill. It may be
// repeated: where nothing is to be changed nothing is written. The notes are for the person who asked.
func Prepare(dir string, s Setup) (notes []string, err error) {
	if s.Sandbox.Name == "" && len(s.Annotations) > 0 {
		full := make(map[string]string, len(s.Annotations))
		for key, value := range s.Annotations {
			full[Prefix+key] = value
		}
		if _, err := Parse(full); err != nil {
			return nil, err
		}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, cnm.FieldErrorf(cnm.Invalid, "bundle", "bundle %q: %w", dir, err)
	}
	defer root.Close()
	before, err := root.ReadFile(configName)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, cnm.FieldErrorf(cnm.NotFound, "bundle", "there is no %s in %s; make one, as with: runc spec", configName, dir)
	}
	if err != nil {
		return nil, cnm.FieldErrorf(cnm.Invalid, "bundle", "%w", err)
	}
	after, notes, err := Edit(before, s)
	if err != nil {
		return nil, err
	}
	if s.Files && s.Sandbox.Name == "" && len(s.Annotations) > 0 {
		err = makeFiles(root)
	} else {
		err = removeFiles(root)
	}
	if err != nil {
		return nil, fmt.Errorf("the files of bundle %s: %w", dir, err)
	}
	if bytes.Equal(before, after) {
		return notes, nil
	}
	return notes, replace(root, configName, after)
}

// makeFiles makes the files that are mounted and filled later.
func makeFiles(root *os.Root) error {
	if err := root.Mkdir(filesDir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	for _, f := range nameFiles() {
		file, err := root.OpenFile(filepath.Join(filesDir, f.name), os.O_WRONLY|os.O_CREATE, 0o644)
		if err != nil {
			return err
		}
		if err := file.Close(); err != nil {
			return err
		}
	}
	return nil
}

// removeFiles removes them, and their directory if nothing else is in it.
func removeFiles(root *os.Root) error {
	for _, f := range nameFiles() {
		if err := root.Remove(filepath.Join(filesDir, f.name)); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) {
			return err
		}
	}
	if err := root.Remove(filesDir); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTEMPTY) {
		return err
	}
	return nil
}

// replace gives a file a new content at once: whoever reads it sees the old one or the new one, also after a crash.
func replace(root *os.Root, name string, data []byte) error {
	st, err := root.Stat(name)
	if err != nil {
		return err
	}
	next := name + ".cnm-new"
	file, err := root.OpenFile(next, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, st.Mode().Perm())
	if err != nil {
		return err
	}
	if owner, ok := st.Sys().(*syscall.Stat_t); ok && (int(owner.Uid) != os.Geteuid() || int(owner.Gid) != os.Getegid()) {
		err = file.Chown(int(owner.Uid), int(owner.Gid))
	}
	if err == nil {
		_, err = file.Write(data)
	}
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err == nil {
		err = root.Rename(next, name)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", name, err), root.Remove(next))
	}
	return nil
}
