// SPDX-License-Identifier: Apache-2.0

package dns

import (
	"bytes"
	"errors"
	"io"
	"os"
	"syscall"

	cnm "github.com/libnetwork/cnm"
)

// rewriteMax bounds what is read back of a file before it is rewritten.
const rewriteMax = 1 << 20

// rewrite makes content the content of a file, in place: a bind mount follows the
// file, not its name, so a new file put under the name would never be seen.
//
// Somebody may read meanwhile, hence the order of [steps]. Within one step the
// kernel promises a reader nothing, but it copies a few hundred bytes in one go.
func rewrite(root *os.Root, name string, content []byte) (err error) {
	// What another put under the name is not ours to write through, and must not keep the sandbox from its end: it goes.
	if info, err := root.Lstat(name); err == nil && !info.Mode().IsRegular() {
		if err := root.RemoveAll(name); err != nil {
			return cnm.Errorf(cnm.Internal, "remove name file %s, which is no regular file but %v: %w", name, info.Mode().Type(), err)
		}
	}
	f, err := root.OpenFile(name, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0o644)
	if err != nil {
		return cnm.Errorf(cnm.Internal, "open name file %s: %w", name, err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return cnm.Errorf(cnm.Internal, "look at name file %s: %w", name, err)
	}
	if !info.Mode().IsRegular() {
		return cnm.Errorf(cnm.Internal, "name file %s is not a regular file but %v: remove it", name, info.Mode().Type())
	}
	if info.Mode().Perm() != 0o644 { // the umask may have cut it
		if err := f.Chmod(0o644); err != nil {
			return cnm.Errorf(cnm.Internal, "make name file %s readable: %w", name, err)
		}
	}
	if err := overwrite(f, int(min(info.Size(), rewriteMax)), content); err != nil {
		return cnm.Errorf(cnm.Internal, "write name file %s: %w", name, err)
	}
	return nil
}

// overwrite replaces the size bytes of f.
func overwrite(f *os.File, size int, content []byte) error {
	old, err := io.ReadAll(io.NewSectionReader(f, 0, int64(size)+1))
	if err != nil {
		return err
	}
	if bytes.Equal(old, content) {
		return nil
	}
	for _, step := range steps(len(old), content) {
		if _, err := f.WriteAt(step.data, step.at); err != nil {
			return err
		}
	}
	return f.Truncate(int64(len(content)))
}

// step is one write.
type step struct {
	at   int64
	data []byte
}

// steps are the writes that turn a file of the given length into content, which is
// cut to its length last. The file first grows, by empty lines, to the greater of
// the two lengths; then it takes all of the content at once, with empty lines over
// the old rest. So after each step it holds the old lines or the new ones, perhaps
// followed by empty ones, and never an old tail behind new lines.
func steps(length int, content []byte) []step {
	var all []step
	padded := bytes.Clone(content)
	switch grow := len(content) - length; {
	case grow > 0 && length > 0:
		all = append(all, step{at: int64(length), data: bytes.Repeat([]byte("\n"), grow)})
	case grow < 0:
		padded = append(padded, bytes.Repeat([]byte("\n"), -grow)...)
	}
	return append(all, step{data: padded})
}
