// SPDX-License-Identifier: Apache-2.0

package netns_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/libnetwork/cnm/kernel/kerneltest"
	"github.com/libnetwork/cnm/kernel/netns"
)

func TestWatchProcess(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		child, stays := start(t, 0), start(t, 0)
		gone, err := netns.WatchProcess(t.Context(), child.pid())
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		never, err := netns.WatchProcess(ctx, stays.pid())
		if err != nil {
			t.Fatal(err)
		}
		select {
		case <-gone:
			t.Error("gone before its end")
		default:
		}
		if err := child.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		<-gone
		pid := child.pid()
		child.end()
		if _, err := netns.WatchProcess(t.Context(), pid); !errors.Is(err, netns.ErrProcessGone) {
			t.Errorf("got %v, want ErrProcessGone", err)
		}
		cancel() // the leak check waits for the watch to end
		stays.end()
		select {
		case <-never:
			t.Error("a watch that was cancelled tells of an end")
		default:
		}
	})
}

// watch begins a watch of paths until the test ends.
func watch(t *testing.T, paths ...string) *netns.PathWatch {
	t.Helper()
	w, err := netns.WatchPaths(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		if err := w.Add(path); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

// create makes empty files.
func create(t *testing.T, paths ...string) {
	t.Helper()
	for _, path := range paths {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestWatchPaths(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		if err := errors.Join(os.Mkdir("/run/a", 0o700), os.Mkdir("/run/b", 0o700), os.Symlink("/run/a", "/run/link")); err != nil {
			t.Fatal(err)
		}
		create(t, "/run/a/moved", "/run/a/unwatched", "/run/a/removed", "/run/a/last", "/run/b/inner", "/run/b/stays")
		if _, err := netns.Make("/run/a/pin", nil); err != nil {
			t.Fatal(err)
		}
		w := watch(t, "/run/a/pin", "/run/a/moved", "/run/a/removed", "/run/link/last", "/run/a/last", "/run/a/last", "/run/b/inner", "/run/b/stays")
		w.Remove("/run/a/removed")
		w.Remove("/run/a/never")
		unpin(t, "/run/a/pin")
		expectGonePaths(t, w, "/run/a/pin")
		for _, err := range []error{
			os.Remove("/run/a/unwatched"), os.Remove("/run/a/removed"), os.Rename("/run/a/moved", "/run/b/moved"),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
		expectGonePaths(t, w, "/run/a/moved")
		if err := os.Remove("/run/a/last"); err != nil {
			t.Fatal(err)
		}
		expectGonePaths(t, w, "/run/a/last", "/run/link/last")
		create(t, "/run/a/last")
		if err := w.Add("/run/a/last"); err != nil {
			t.Fatal(err)
		}
		if err := os.RemoveAll("/run/a"); err != nil {
			t.Fatal(err)
		}
		expectGonePaths(t, w, "/run/a/last")
		if err := os.Rename("/run/b", "/run/c"); err != nil {
			t.Fatal(err)
		}
		expectGonePaths(t, w, "/run/b/inner", "/run/b/stays")
	})
}

func TestWatchPathsRefuses(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		w := watch(t)
		for path, want := range map[string]error{
			"/run/none": fs.ErrNotExist, "/run/none/pin": fs.ErrNotExist,
			fmt.Sprintf("/proc/%d/ns/net", os.Getpid()): errors.ErrUnsupported,
		} {
			if err := w.Add(path); !errors.Is(err, want) {
				t.Errorf("Add(%q) gave %v, want %v", path, err, want)
			}
		}
	})
}

func TestWatchPathsEnds(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		w, err := netns.WatchPaths(ctx)
		if err != nil {
			t.Fatal(err)
		}
		create(t, "/run/file")
		if err := w.Add("/run/file"); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove("/run/file"); err != nil { // nobody receives it
			t.Fatal(err)
		}
		cancel()
		for range w.Gone() { // until it is closed
		}
		create(t, "/run/file")
		if err := w.Add("/run/file"); !errors.Is(err, os.ErrClosed) {
			t.Errorf("got %v, want that the watch has ended", err)
		}
	})
}

func TestWatchPathsAfterLostEvents(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		create(t, "/run/lost", "/run/kept")
		w := watch(t, "/run/kept")
		// A watch of a path whose deletion event is lost: the directory's watch
		// is the same, so only the look after the overflow can find it.
		other := watch(t, "/run/lost")
		if err := os.Remove("/run/lost"); err != nil {
			t.Fatal(err)
		}
		overflow := binary.NativeEndian.AppendUint32(nil, ^uint32(0))
		overflow = binary.NativeEndian.AppendUint32(overflow, unix.IN_Q_OVERFLOW)
		overflow = append(overflow, bytes.Repeat([]byte{0}, 8)...)
		if gone := w.Decode(overflow); len(gone) != 0 {
			t.Errorf("gone %v, want none as all are there", gone)
		}
		gone := other.Decode(overflow)
		if len(gone) == 0 { // the true event was faster
			gone = []string{<-other.Gone()}
		}
		if !slices.Equal(gone, []string{"/run/lost"}) {
			t.Errorf("gone %v, want the lost one", gone)
		}
		if gone := w.Decode(overflow[:10]); len(gone) != 0 {
			t.Errorf("half an event gave %v", gone)
		}
	})
}

// expectGonePaths receives as many paths as wanted and compares them.
func expectGonePaths(t *testing.T, w *netns.PathWatch, want ...string) {
	t.Helper()
	var got []string
	for range want {
		got = append(got, <-w.Gone())
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("gone are %v, want %v", got, want)
	}
}
