// SPDX-License-Identifier: Apache-2.0

package install

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	cnm "github.com/libnetwork/cnm"
)

// Change is what became of a file.
type Change struct {
	Path string
	Done string // wrote, kept or removed
}

// file is one that we write. A signed one says in its first line that it is ours, with a digest of the rest; another is ours if it
// is what we would write.
type file struct {
	path, text string
	signed     bool
}

const signature = "# written by cnm install, sha256 "

func (f *file) content() string {
	if !f.signed {
		return f.text
	}
	return sign(f.text) + f.text
}

func sign(text string) string { return fmt.Sprintf("%s%x\n", signature, sha256.Sum256([]byte(text))) }

// read gives the text of what is at the path, if that is ours.
func (f *file) read() (text string, there bool, err error) {
	info, err := os.Lstat(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", false, nil
	}
	if err != nil {
		return "", false, kindly(f.path, err)
	}
	if !info.Mode().IsRegular() {
		return "", false, f.foreign()
	}
	data, err := os.ReadFile(f.path)
	if err != nil {
		return "", false, kindly(f.path, err)
	}
	text = string(data)
	if !f.signed {
		if text != f.text {
			return "", false, f.foreign()
		}
		return text, true, nil
	}
	line, rest, _ := strings.Cut(text, "\n")
	if line+"\n" != sign(rest) {
		return "", false, f.foreign()
	}
	return rest, true, nil
}

func (f *file) foreign() error {
	return cnm.Errorf(cnm.Exists, "%s is not as we write it, and stays; move it away first", f.path)
}

// write writes what is not there or is of another version.
func write(files ...file) ([]Change, error) {
	return each(files, func(f *file, text string, there bool) (string, error) {
		if there && text == f.text {
			return "kept", nil
		}
		return "wrote", f.replace()
	})
}

// remove removes what is there.
func remove(files ...file) ([]Change, error) {
	return each(files, func(f *file, _ string, there bool) (string, error) {
		if !there {
			return "", nil
		}
		return "removed", os.Remove(f.path)
	})
}

// each reads all files before do changes one.
func each(files []file, do func(f *file, text string, there bool) (done string, err error)) ([]Change, error) {
	type seen struct {
		text  string
		there bool
	}
	state := make([]seen, len(files))
	var errs []error
	for i := range files {
		var err error
		state[i].text, state[i].there, err = files[i].read()
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	var changes []Change
	for i := range files {
		done, err := do(&files[i], state[i].text, state[i].there)
		if err != nil {
			return changes, kindly(files[i].path, err)
		}
		if done != "" {
			changes = append(changes, Change{Path: files[i].path, Done: done})
		}
	}
	return changes, nil
}

// replace writes the file as a whole, or not at all.
func (f *file) replace() error {
	dir := filepath.Dir(f.path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(dir, ".cnm-*")
	if err != nil {
		return err
	}
	_, err = tmp.WriteString(f.content())
	err = errors.Join(err, tmp.Chmod(0o644), tmp.Sync(), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), f.path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(tmp.Name()))
	}
	return nil
}

// kindly gives an error its kind and the way out.
func kindly(path string, err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return cnm.Errorf(cnm.NotPermitted, "%s: %w; be root, or name another directory with --root", path, err)
	}
	return cnm.Errorf(cnm.Internal, "%s: %w", path, err)
}
