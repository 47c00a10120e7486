// SPDX-License-Identifier: Apache-2.0

package oci

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/api/wire"
)

// filesDir is the directory in a bundle whose files are mounted over those in the container's /etc. A runtime makes the mounts before it
// calls createRuntime, so that the files are there before the sandbox is, and are filled in place.
const filesDir = "cnm"

// nameFile is one of the files: where it is mounted and where the sandbox's own is.
type nameFile struct {
	name string // in the bundle's directory, and in /etc
	from func(wire.NameFiles) string
}

// nameFiles returns all three.
func nameFiles() []nameFile {
	return []nameFile{
		{"hosts", func(f wire.NameFiles) string { return f.Hosts }},
		{"resolv.conf", func(f wire.NameFiles) string { return f.ResolvConf }},
		{"hostname", func(f wire.NameFiles) string { return f.Hostname }},
	}
}

// fill writes the sandbox's files into those of the bundle that are there. It leaves no bundle by a link: the bundle may be another user's.
func fill(bundle string, from wire.NameFiles) error {
	if !filepath.IsAbs(bundle) {
		return nil
	}
	root, err := os.OpenRoot(bundle)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open the bundle: %w", err)
	}
	defer root.Close()
	for _, f := range nameFiles() {
		if err := copyInto(root, filepath.Join(filesDir, f.name), f.from(from)); err != nil {
			return cnm.Errorf(cnm.Internal, "fill %s: %w", filepath.Join(bundle, filesDir, f.name), err)
		}
	}
	return nil
}

// copyInto writes over a file that is there, keeping it the same file.
func copyInto(root *os.Root, name, from string) error {
	// Not waiting for whoever might be at the other end, if it is no plain file.
	to, err := root.OpenFile(name, os.O_WRONLY|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	st, err := to.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = errors.New("it is no regular file")
	}
	var data []byte
	if err == nil {
		data, err = os.ReadFile(from)
		data = asCopy(data)
	}
	if err == nil {
		_, err = to.WriteAt(data, 0)
	}
	if err == nil {
		err = to.Truncate(int64(len(data)))
	}
	return errors.Join(err, to.Close())
}

// asCopy is the text of a sandbox's file without the line that says it is kept up to date: a copy is not.
func asCopy(data []byte) []byte {
	line, rest, _ := bytes.Cut(data, []byte("\n"))
	if !bytes.HasPrefix(line, []byte("# Written by cnm")) {
		return data
	}
	return slices.Concat([]byte("# Written by cnm when the container was made.\n"), rest)
}
