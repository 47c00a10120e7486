// SPDX-License-Identifier: Apache-2.0

package netns

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// watchMask is what can take a path away: its own deletion or renaming, or that
// of its directory.
const watchMask = unix.IN_DELETE | unix.IN_MOVED_FROM | unix.IN_DELETE_SELF | unix.IN_MOVE_SELF | unix.IN_ONLYDIR

// PathWatch tells of paths, such as namespace pins, that are deleted or renamed
// away. It costs one descriptor and one kernel watch a directory, whatever the
// number of paths. It is safe for use by several goroutines.
type PathWatch struct {
	file *os.File
	gone chan string

	// mu guards dirs and their paths, and is held while a watch is added or
	// removed so that they agree with the kernel's list. It is never held while
	// events are read or delivered.
	mu   sync.Mutex
	dirs map[int32]pathSet // by the kernel's number of the watch
}

// pathSet has the watched paths of a directory by their last component. One
// directory may be spelled in several ways.
type pathSet map[string]map[string]struct{}

// WatchPaths begins a watch of no path yet. It ends with ctx.
func WatchPaths(ctx context.Context) (*PathWatch, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if errors.Is(err, unix.EMFILE) {
		return nil, fmt.Errorf("watch paths: %w (raise fs.inotify.max_user_instances or the descriptor limit)", err)
	}
	if err != nil {
		return nil, fmt.Errorf("watch paths: %w", err)
	}
	w := &PathWatch{file: os.NewFile(uintptr(fd), "inotify"), gone: make(chan string), dirs: make(map[int32]pathSet)}
	stop := context.AfterFunc(ctx, func() { w.file.Close() })
	go func() {
		defer close(w.gone)
		defer w.file.Close()
		defer stop()
		w.run(ctx)
	}()
	return w, nil
}

// Gone delivers each watched path once when it is deleted or renamed, even if
// it exists anew; to go on watching it, add it again. The channel is closed when
// the watch has ended.
func (w *PathWatch) Gone() <-chan string { return w.gone }

// Add watches a path too. It fails with [io/fs.ErrNotExist] where the path does
// not exist: a deletion is either reported so or delivered. Paths in proc have
// no such events, see [WatchProcess] for those. Adding a path again does nothing.
func (w *PathWatch) Add(path string) error {
	dir, base := splitPath(path)
	var stat unix.Statfs_t
	if err := unix.Statfs(dir, &stat); err != nil {
		return fmt.Errorf("watch %s: %w", path, err)
	}
	if stat.Type == unix.PROC_SUPER_MAGIC {
		return fmt.Errorf("watch %s: %w: proc reports no deletions, watch the process", path, errors.ErrUnsupported)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	number, err := w.control(func(fd int) (int, error) { return unix.InotifyAddWatch(fd, dir, watchMask) })
	if err != nil {
		return fmt.Errorf("watch %s: %w", path, err)
	}
	w.lockedInsert(int32(number), base, path)
	// Only now can no deletion be missed, so only now does a look count.
	if err := unix.Lstat(path, new(unix.Stat_t)); err != nil {
		w.lockedRemove(int32(number), base, path)
		return fmt.Errorf("watch %s: %w", path, err)
	}
	return nil
}

// Remove stops watching a path. Its deletion may be delivered still if it
// happened before. Removing a path that is not watched does nothing.
func (w *PathWatch) Remove(path string) {
	_, base := splitPath(path)
	w.mu.Lock()
	defer w.mu.Unlock()
	for number, paths := range w.dirs {
		if _, ok := paths[base][path]; ok {
			w.lockedRemove(number, base, path)
		}
	}
}

// run reads events and delivers what is gone, until the descriptor is closed.
func (w *PathWatch) run(ctx context.Context) {
	buffer := make([]byte, 64<<10)
	for {
		n, err := w.file.Read(buffer)
		if err != nil {
			return
		}
		for _, path := range w.decode(buffer[:n]) {
			select {
			case w.gone <- path:
			case <-ctx.Done():
				return
			}
		}
	}
}

// decode takes the paths that a buffer of events says are gone off the list.
func (w *PathWatch) decode(events []byte) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var gone []string
	for len(events) >= unix.SizeofInotifyEvent {
		number := int32(binary.NativeEndian.Uint32(events))
		mask := binary.NativeEndian.Uint32(events[4:])
		end := unix.SizeofInotifyEvent + int(binary.NativeEndian.Uint32(events[12:]))
		if end > len(events) {
			break
		}
		name := strings.TrimRight(string(events[unix.SizeofInotifyEvent:end]), "\x00")
		events = events[end:]
		switch {
		case mask&(unix.IN_DELETE|unix.IN_MOVED_FROM) != 0:
			gone = append(gone, w.lockedTake(number, name)...)
		case mask&unix.IN_Q_OVERFLOW != 0:
			for number := range w.dirs {
				gone = append(gone, w.lockedMissing(number)...)
			}
		default: // the directory itself went
			for base := range w.dirs[number] {
				gone = append(gone, w.lockedTake(number, base)...)
			}
		}
	}
	return gone
}

// lockedInsert adds a path to a directory's list; mu is held.
func (w *PathWatch) lockedInsert(number int32, base, path string) {
	if w.dirs[number] == nil {
		w.dirs[number] = make(pathSet)
	}
	if w.dirs[number][base] == nil {
		w.dirs[number][base] = make(map[string]struct{})
	}
	w.dirs[number][base][path] = struct{}{}
}

// lockedRemove takes a path off a directory's list and ends the kernel's watch
// with the last one; mu is held.
func (w *PathWatch) lockedRemove(number int32, base, path string) {
	paths := w.dirs[number]
	delete(paths[base], path)
	if len(paths[base]) == 0 {
		delete(paths, base)
	}
	if len(paths) == 0 {
		delete(w.dirs, number)
		// An error says that the watch went with its directory.
		_, _ = w.control(func(fd int) (int, error) { return unix.InotifyRmWatch(fd, uint32(number)) })
	}
}

// lockedTake removes and gives the paths with a last component; mu is held.
func (w *PathWatch) lockedTake(number int32, base string) []string {
	var taken []string
	for path := range w.dirs[number][base] {
		taken = append(taken, path)
	}
	for _, path := range taken {
		w.lockedRemove(number, base, path)
	}
	return taken
}

// lockedMissing removes and gives the paths of a directory that do not exist any
// more, which is all that can be told after events were lost; mu is held.
func (w *PathWatch) lockedMissing(number int32) []string {
	var missing []string
	for base, paths := range w.dirs[number] {
		for path := range paths {
			if errors.Is(unix.Lstat(path, new(unix.Stat_t)), fs.ErrNotExist) {
				missing = append(missing, path)
				w.lockedRemove(number, base, path)
			}
		}
	}
	return missing
}

// control calls the kernel with the inotify descriptor, which stays open
// meanwhile even if the watch ends.
func (w *PathWatch) control(call func(fd int) (int, error)) (int, error) {
	conn, err := w.file.SyscallConn()
	if err != nil {
		return 0, fmt.Errorf("the watch has ended: %w", os.ErrClosed)
	}
	result := 0
	var callErr error
	if err := conn.Control(func(fd uintptr) { result, callErr = call(int(fd)) }); err != nil {
		return 0, fmt.Errorf("the watch has ended: %w", os.ErrClosed)
	}
	return result, callErr
}

// splitPath gives the directory of a path and its last component.
func splitPath(path string) (dir, base string) {
	cut := strings.LastIndexByte(path, '/') + 1
	if cut == 0 {
		return ".", path
	}
	return path[:cut], path[cut:]
}
