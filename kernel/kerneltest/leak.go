// SPDX-License-Identifier: Apache-2.0

package kerneltest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// settle bounds how long what is on its way out, such as a thread that the
// runtime is destroying, or a link whose other side was in a namespace that the
// kernel is taking down behind those of other tests, may still be seen after a test.
const settle = 20 * time.Second

// inventory is what a process has that a test could leave behind, and what is in
// the room around it.
type inventory struct {
	settle     time.Duration
	goroutines goleak.Option
	fds        map[string]string // what each descriptor is, by path
	mounts     []string
	netns      string // what every thread is to be in
	room       []string
}

// takeInventory notes the present state of the process and its room.
func takeInventory(settle time.Duration) (*inventory, error) {
	// The runtime opens its poller with the first descriptor that needs it and
	// keeps it for good.
	reader, writer, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	if err := errors.Join(reader.Close(), writer.Close()); err != nil {
		return nil, err
	}
	inv := &inventory{settle: settle, goroutines: goleak.IgnoreCurrent()}
	if inv.fds, err = targets("/proc/self/fd/*"); err != nil {
		return nil, err
	}
	if inv.mounts, err = mounts(); err != nil {
		return nil, err
	}
	if inv.room, err = room(); err != nil {
		return nil, err
	}
	if inv.netns, err = os.Readlink("/proc/self/ns/net"); err != nil {
		return nil, err
	}
	return inv, nil
}

// compare fails the test for everything that is there now and was not when the
// inventory was taken, and for what was there then and is not now. A test that failed already is left alone: it often could
// not clean up.
func (inv *inventory) compare(tb testing.TB) {
	tb.Helper()
	if tb.Failed() {
		return
	}
	// A collection would close the descriptors of forgotten files and hide them.
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	if err := goleak.Find(inv.goroutines); err != nil {
		tb.Errorf("leak: %v", err)
	}
	// A descriptor or thread ends with no event to wait for, hence the ticker.
	end := time.After(inv.settle)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		leaks, err := inv.leaks()
		if err != nil {
			tb.Errorf("look for leaks: %v", err)
			return
		}
		if len(leaks) == 0 {
			return
		}
		select {
		case <-tick.C:
		case <-end:
			tb.Errorf("leak: %s", strings.Join(leaks, "\nleak: "))
			return
		}
	}
}

// leaks lists descriptors, mounts and threads that are too many, and how the room
// differs from what it was.
func (inv *inventory) leaks() ([]string, error) {
	var found []string
	fds, err := targets("/proc/self/fd/*")
	if err != nil {
		return nil, err
	}
	for number, target := range fds {
		if inv.fds[number] != target {
			found = append(found, fmt.Sprintf("descriptor %s is %s", filepath.Base(number), target))
		}
	}
	now, err := mounts()
	if err != nil {
		return nil, err
	}
	for _, mount := range now {
		if !slices.Contains(inv.mounts, mount) {
			found = append(found, "mount "+mount)
		}
	}
	threads, err := targets("/proc/self/task/*/ns/net")
	if err != nil {
		return nil, err
	}
	for path, target := range threads {
		if target != inv.netns {
			found = append(found, fmt.Sprintf("thread %s is in %s, not in %s", path, target, inv.netns))
		}
	}
	there, err := room()
	if err != nil {
		return nil, err
	}
	found = append(found, excess(there, inv.room)...)
	for _, line := range excess(inv.room, there) {
		found = append(found, "lost: "+line)
	}
	slices.Sort(found)
	return found, nil
}

// excess lists what is in some more often than in others.
func excess(some, others []string) []string {
	rest := map[string]int{}
	for _, line := range others {
		rest[line]++
	}
	var lines []string
	for _, line := range some {
		if rest[line]--; rest[line] < 0 {
			lines = append(lines, line)
		}
	}
	return lines
}

// targets reads the symbolic links that match a pattern. One that vanishes meanwhile, such as the descriptor that lists the
// others, is left out.
func targets(pattern string) (map[string]string, error) {
	paths, err := filepath.Glob(pattern)
	if err != nil {
		return nil, err
	}
	found := make(map[string]string, len(paths))
	for _, path := range paths {
		target, err := os.Readlink(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return nil, err
		default:
			found[path] = target
		}
	}
	return found, nil
}

// mounts lists the mounts of the process's mount namespace: mount point, type
// and source of each, with the mount's id so that a second one on top counts.
func mounts() ([]string, error) {
	content, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	var list []string
	for row := range strings.Lines(string(content)) {
		fields := strings.Fields(row)
		separator := slices.Index(fields, "-")
		if separator < 0 || separator+2 >= len(fields) {
			return nil, fmt.Errorf("mountinfo line %q has no separator", row)
		}
		list = append(list, fmt.Sprintf("%s (%s %s, id %s)", fields[4], fields[separator+1], fields[separator+2], fields[0]))
	}
	return list, nil
}
