// SPDX-License-Identifier: Apache-2.0

package netns_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/libnetwork/cnm/kernel/kerneltest"
	"github.com/libnetwork/cnm/kernel/netns"
)

func TestOpen(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		cookie, err := netns.Make("/run/pin", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer unpin(t, "/run/pin")
		for _, err := range []error{
			os.Symlink("/run", "/run/dir"), os.Symlink("/run/pin", "/run/link"), os.Symlink("/proc/self/ns/net", "/run/proc"),
			os.Symlink("/proc/self/ns", "/run/procdir"), unix.Mkfifo("/run/fifo", 0o600), os.WriteFile("/run/file", nil, 0o600),
			os.WriteFile("/run/user", nil, 0o600), unix.Mount("/proc/self/ns/user", "/run/user", "", unix.MS_BIND, ""),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
		defer unpin(t, "/run/user")
		own := cookieOf(t, current(t))
		child := start(t, unix.CLONE_NEWNET)
		childNS, err := netns.OfProcess(child.pid())
		if err != nil {
			t.Fatal(err)
		}
		defer childNS.Close()
		childCookie := cookieOf(t, childNS)

		for path, want := range map[string]netns.Cookie{
			"/run/pin": cookie, "/run/../run/./pin": cookie, "/run/dir/pin": cookie, "/run//pin": cookie,
			"/proc/self/ns/net": own, "/proc/thread-self/ns/net": own, "/proc/self/ns//net": own,
			fmt.Sprintf("/proc/%d/ns/net", child.pid()):                      childCookie,
			fmt.Sprintf("/proc/%d/task/%d/ns/net", child.pid(), child.pid()): childCookie,
			fmt.Sprintf("/proc/%d/root/run/pin", child.pid()):                cookie,
			fmt.Sprintf("/proc/%d/task/%[1]d/root/run/dir/pin", child.pid()): cookie,
			fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Getpid()):          own,
			fmt.Sprintf("/proc/self/fd/../../%d/ns/net", child.pid()):        childCookie,
			fmt.Sprintf("/proc/%d/ns/../ns/net", child.pid()):                childCookie,
		} {
			ns, err := netns.Open(path)
			expectNS(t, ns, err, want)
		}
		for path, want := range map[string]error{
			"/run/link": netns.ErrSymlink, "/run/proc": netns.ErrSymlink, "/run/procdir/net": netns.ErrSymlink,
			"/proc/self/exe": netns.ErrSymlink, "/proc/net": netns.ErrSymlink,
			"/run/fifo": netns.ErrNotNamespace, "/run/file": netns.ErrNotNamespace, "/run/user": netns.ErrNotNamespace,
			"/run": netns.ErrNotNamespace, "/run/.": netns.ErrNotNamespace, "/dev/null": netns.ErrNotNamespace,
			"/proc/self/status": netns.ErrNotNamespace,
			"/run/none":         fs.ErrNotExist, "/run/none/pin": fs.ErrNotExist, "": fs.ErrNotExist, "/run/": fs.ErrNotExist,
			"/proc/0/ns/net": fs.ErrNotExist, "/run/pin/net": unix.ENOTDIR, "/run/p\x00in": unix.EINVAL,
		} {
			ns, err := netns.Open(path)
			if err == nil {
				ns.Close()
			}
			if !errors.Is(err, want) {
				t.Errorf("Open(%q) gave %v, want %v", path, err, want)
			}
		}
	})
}

func TestOfProcess(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		child := start(t, unix.CLONE_NEWNET)
		path, err := netns.Open(fmt.Sprintf("/proc/%d/ns/net", child.pid()))
		if err != nil {
			t.Fatal(err)
		}
		defer path.Close()
		want := cookieOf(t, path)
		if want == cookieOf(t, current(t)) {
			t.Error("the child is in the test's namespace")
		}
		ns, err := netns.OfProcess(child.pid())
		expectNS(t, ns, err, want)
		ns, err = netns.OfProcessByNumber(child.pid(), func() {})
		expectNS(t, ns, err, want)

		pid := child.pid()
		ns, err = netns.OfProcessByNumber(pid, child.end)
		expectGone(t, ns, err)
		ns, err = netns.OfProcess(pid)
		expectGone(t, ns, err)
		ns, err = netns.Open(fmt.Sprintf("/proc/%d/ns/net", pid))
		if err == nil {
			ns.Close()
		}
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("got %v, want that the path does not exist", err)
		}
	})
}

func TestOfProcessThatIsAZombie(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		child := start(t, unix.CLONE_NEWNET)
		gone, err := netns.WatchProcess(t.Context(), child.pid())
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		<-gone
		ns, err := netns.OfProcess(child.pid())
		expectGone(t, ns, err)
		ns, err = netns.OfProcessByNumber(child.pid(), func() {})
		expectGone(t, ns, err)
		ns, err = netns.Open(fmt.Sprintf("/proc/%d/ns/net", child.pid()))
		expectGone(t, ns, err)
	})
}

func TestOfProcessThatIsNone(t *testing.T) {
	t.Parallel()
	for _, pid := range []int{0, -1, 1<<32 + os.Getpid()} {
		if ns, err := netns.OfProcess(pid); !errors.Is(err, unix.EINVAL) {
			ns.Close()
			t.Errorf("OfProcess(%d) gave %v, want EINVAL", pid, err)
		}
	}
}

// expectGone checks that opening the namespace of an ended process was refused
// for that reason.
func expectGone(t *testing.T, ns *netns.NS, err error) {
	t.Helper()
	if err == nil {
		ns.Close()
	}
	if !errors.Is(err, netns.ErrProcessGone) {
		t.Errorf("got %v, want ErrProcessGone", err)
	}
}

// unpin takes a pin away.
func unpin(t *testing.T, pin string) {
	t.Helper()
	if err := netns.Unpin(pin); err != nil {
		t.Error(err)
	}
}
