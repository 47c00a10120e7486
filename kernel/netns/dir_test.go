// SPDX-License-Identifier: Apache-2.0

package netns_test

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/libnetwork/cnm/kernel/kerneltest"
	"github.com/libnetwork/cnm/kernel/netns"
)

func TestPrepareDir(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		const dir = "/run/a place/netns"
		for range 3 {
			if err := netns.PrepareDir(dir); err != nil {
				t.Fatal(err)
			}
		}
		if n := mountsAt(t, "self", dir); n != 1 {
			t.Errorf("%d mounts on %s, want 1", n, dir)
		}
		other := start(t, unix.CLONE_NEWNS)
		pin := dir + "/pin"
		if _, err := netns.Make(pin, nil); err != nil {
			t.Fatal(err)
		}
		if n := mountsAt(t, strconv.Itoa(other.pid()), pin); n != 1 {
			t.Errorf("%d pins are seen in the other mount namespace, want 1", n)
		}
		if err := netns.ReleaseDir(dir); !errors.Is(err, unix.EBUSY) {
			t.Errorf("releasing with a pin gave %v, want EBUSY", err)
		}
		unpin(t, pin)
		if n := mountsAt(t, strconv.Itoa(other.pid()), pin); n != 0 {
			t.Errorf("%d pins are left in the other mount namespace", n)
		}
		for range 2 {
			if err := netns.ReleaseDir(dir); err != nil {
				t.Error(err)
			}
		}
		expectEmpty(t, dir)
	})
}

func TestPrepareDirOnASharedMount(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		if err := unix.Mount("", "/run", "", unix.MS_SHARED, ""); err != nil {
			t.Fatal(err)
		}
		for _, step := range []func(string) error{netns.PrepareDir, netns.ReleaseDir} {
			if err := step("/run/netns"); err != nil {
				t.Error(err)
			}
			if n := mountsAt(t, "self", "/run/netns"); n != 0 {
				t.Errorf("%d mounts, want none as /run is shared already", n)
			}
		}
	})
}

func TestPrepareDirLeavesMountsAlone(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		for _, dir := range []string{"/run/own", "/run/used"} {
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if err := unix.Mount("tmpfs", "/run/own", "tmpfs", 0, ""); err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := unix.Unmount("/run/own", unix.MNT_DETACH); err != nil {
				t.Error(err)
			}
		}()
		if err := netns.ReleaseDir("/run/own"); err != nil || mountsAt(t, "self", "/run/own") != 1 {
			t.Errorf("somebody's tmpfs was released (%v)", err)
		}
		if err := netns.PrepareDir("/run/own"); err != nil || mountsAt(t, "self", "/run/own") != 2 {
			t.Errorf("a private tmpfs has %d mounts (%v), want the bound one too", mountsAt(t, "self", "/run/own"), err)
		}
		if err := netns.ReleaseDir("/run/own"); err != nil || mountsAt(t, "self", "/run/own") != 1 {
			t.Errorf("release left %d mounts (%v), want the tmpfs alone", mountsAt(t, "self", "/run/own"), err)
		}
		if _, err := netns.Make("/run/used/pin", nil); err != nil {
			t.Fatal(err)
		}
		defer unpin(t, "/run/used/pin")
		if err := netns.PrepareDir("/run/used"); err != nil || mountsAt(t, "self", "/run/used") != 0 {
			t.Errorf("a directory with a pin was hidden (%v)", err)
		}
	})
}

// mountsAt counts the mounts at a path in the mount namespace of a process.
func mountsAt(t *testing.T, process, path string) int {
	t.Helper()
	content, err := os.ReadFile("/proc/" + process + "/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(content), " "+strings.ReplaceAll(path, " ", `\040`)+" ")
}
