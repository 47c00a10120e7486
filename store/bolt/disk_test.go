// SPDX-License-Identifier: Apache-2.0

package bolt

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/kernel/kerneltest"
	"github.com/libnetwork/cnm/store/storetest"
)

// smallDisk mounts a file system of so many bytes in the test's own mount namespace, and returns a store's two directories on it.
func smallDisk(t *testing.T, size string) (Config, string) {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("small", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Fatalf("mount a small tmpfs: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	c := config(t)
	c.StateDir, c.RunDir = filepath.Join(dir, "state"), filepath.Join(dir, "run")
	for _, d := range []string{c.StateDir, c.RunDir} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return c, dir
}

// TestFullDisk fills the disk through the store: the call that does not fit says so and changes nothing, and the store goes on where it can.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	for _, keep := range []bool{false, true} {
		t.Run(map[bool]string{false: "boot", true: "durable"}[keep], func(t *testing.T) {
			t.Parallel()
			kerneltest.Run(t, func(t *testing.T) { fillDisk(t, keep) })
		})
	}
}

func fillDisk(t *testing.T, keep bool) {
	c, _ := smallDisk(t, "400k")
	s, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	var before cnm.Records
	for n := 0; ; n++ {
		before = mustLoad(t, s)
		r := cnm.Records{Endpoints: storetest.Sample(n, keep).Endpoints}
		if err = s.Put(t.Context(), r); err != nil {
			break
		}
	}
	path := c.path(t, boot)
	if keep {
		path = c.path(t, durable)
	}
	checkRefusal(t, "a full disk", err, path, cnm.Exhausted)
	if len(before.Endpoints) == 0 {
		t.Error("nothing fitted at all")
	}
	if after := mustLoad(t, s); !reflect.DeepEqual(after, before) {
		t.Errorf("it held %d endpoints and holds %d", len(before.Endpoints), len(after.Endpoints))
	}
	mustClose(t, s)
	if s, err = Open(c); err != nil {
		t.Fatalf("open on a full disk: %v", err)
	}
	before.Boot.Fresh = false
	if after := mustLoad(t, s); !reflect.DeepEqual(after, before) {
		t.Errorf("the next process finds %d endpoints and not %d", len(after.Endpoints), len(before.Endpoints))
	}
	if err := s.Drop(t.Context(), cnm.Keys{Endpoints: []cnm.EndpointID{before.Endpoints[0].ID}}); err != nil {
		t.Errorf("dropping one to make room: %v", err)
	}
	mustClose(t, s)
}

// TestNoRoomToBegin opens a store on a disk that is full, and leaves nothing behind.
func TestNoRoomToBegin(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		c, dir := smallDisk(t, "32k")
		fill, err := os.Create(filepath.Join(dir, "fill"))
		if err != nil {
			t.Fatal(err)
		}
		for err == nil {
			_, err = fill.Write(make([]byte, 4096))
		}
		if err := fill.Close(); err != nil {
			t.Fatal(err)
		}
		_, err = Open(c)
		checkRefusal(t, "a full disk", err, c.path(t, durable), cnm.Exhausted)
		if left := listing(t, c); left != "" {
			t.Errorf("it left %s", left)
		}
	})
}

// TestReadOnlyDisk opens existing and new stores on a disk that may not be written.
func TestReadOnlyDisk(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		c, dir := smallDisk(t, "1m")
		s, err := Open(c)
		if err != nil {
			t.Fatal(err)
		}
		mustClose(t, s)
		if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
			t.Fatalf("remount read-only: %v", err)
		}
		_, err = Open(c)
		checkRefusal(t, "a read-only disk", err, c.path(t, durable), cnm.NotPermitted)
		c.StateDir = t.TempDir()
		_, err = Open(c)
		checkRefusal(t, "a read-only run directory", err, c.path(t, boot), cnm.NotPermitted)
		c.BootID = "b1"
		_, err = Open(c)
		checkRefusal(t, "a read-only run directory with an old file", err, filepath.Join(c.RunDir, "boot-b0-c.db"), cnm.NotPermitted)
	})
}

// TestShortened has another program cut a file that is in use: the call fails, and the process lives.
func TestShortened(t *testing.T) {
	t.Parallel()
	eachLifetime(t, func(t *testing.T, l lifetime) {
		c, _ := filled(t)
		s := mustOpen(t, c)
		path := c.path(t, l)
		if err := os.Truncate(path, 0); err != nil {
			t.Fatal(err)
		}
		r := cnm.Records{Endpoints: storetest.Sample(9, l == durable).Endpoints}
		checkRefusal(t, "a file cut under us", s.Put(t.Context(), r), path, cnm.Internal)
		checkRefusal(t, "the next put", s.Put(t.Context(), r), path, cnm.Internal)
		mustClose(t, s)
	})
}
