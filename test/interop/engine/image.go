// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/libnetwork/cnm/test/interop/place"
)

// Image is the one image there is: busybox, with a link to it for each of its
// programs.
const Image = "busybox"

// busybox is the program, and what it can be called.
func busybox(t testing.TB, p *place.Place) (program []byte, names []string) {
	t.Helper()
	for name := range strings.FieldsSeq(p.Output("busybox", "--list")) {
		if name != "busybox" {
			names = append(names, name)
		}
	}
	program, err := os.ReadFile(p.Path("/usr/bin/busybox"))
	if err != nil {
		t.Fatal(err)
	}
	return program, names
}

// imageArchive is the image's file system.
func imageArchive(t testing.TB, p *place.Place) io.Reader {
	t.Helper()
	program, names := busybox(t, p)
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	add := func(h tar.Header, content []byte) {
		h.Size = int64(len(content))
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(content); err != nil {
			t.Fatal(err)
		}
	}
	for _, dir := range []string{"bin", "dev", "etc", "proc", "root", "sys", "tmp", "var"} {
		add(tar.Header{Typeflag: tar.TypeDir, Name: dir + "/", Mode: 0o755}, nil)
	}
	add(tar.Header{Typeflag: tar.TypeReg, Name: "bin/busybox", Mode: 0o755}, program)
	for _, name := range names {
		add(tar.Header{Typeflag: tar.TypeSymlink, Name: "bin/" + name, Linkname: "busybox"}, nil)
	}
	add(tar.Header{Typeflag: tar.TypeReg, Name: "etc/passwd", Mode: 0o644}, []byte("root:x:0:0:root:/root:/bin/sh\n"))
	add(tar.Header{Typeflag: tar.TypeReg, Name: "etc/group", Mode: 0o644}, []byte("root:x:0:\n"))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return &b
}

// makeRoot makes the image's file system in a folder of this machine.
func makeRoot(t testing.TB, p *place.Place, dir string) {
	t.Helper()
	for r := tar.NewReader(imageArchive(t, p)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err == nil {
			err = unpack(h, r, dir)
		}
		if err != nil {
			t.Fatal(fmt.Errorf("make a root file system: %w", err))
		}
	}
}

func unpack(h *tar.Header, r io.Reader, dir string) error {
	path := filepath.Join(dir, h.Name)
	switch h.Typeflag {
	case tar.TypeDir:
		return os.MkdirAll(path, h.FileInfo().Mode().Perm())
	case tar.TypeSymlink:
		return os.Symlink(h.Linkname, path)
	default:
		content, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		return os.WriteFile(path, content, h.FileInfo().Mode().Perm())
	}
}
