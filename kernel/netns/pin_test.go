// SPDX-License-Identifier: Apache-2.0

package netns_test

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/libnetwork/cnm/kernel/kerneltest"
	"github.com/libnetwork/cnm/kernel/netns"
)

func TestMake(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		var inside netns.Cookie
		cookie, err := netns.Make("/run/pin", func(netns.Cookie) (err error) {
			inside, err = netns.CookieHere()
			links, linkErr := net.Interfaces()
			if linkErr != nil || len(links) != 1 || links[0].Flags&net.FlagUp != 0 {
				t.Errorf("inside are %v (%v), want lo alone, down", links, linkErr)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if cookie != inside || cookie == cookieOf(t, current(t)) {
			t.Errorf("made %v, inside was %v", cookie, inside)
		}
		ns, err := netns.Open("/run/pin")
		expectNS(t, ns, err, cookie)
		for range 3 {
			unpin(t, "/run/pin")
		}
		expectEmpty(t, "/run")
	})
}

func TestMakeUndoesEverything(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		want := errors.New("own error")
		if _, err := netns.Make("/run/pin", func(netns.Cookie) error { return want }); !errors.Is(err, want) {
			t.Errorf("got %v, want the function's error", err)
		}
		expectEmpty(t, "/run")
		func() {
			defer func() {
				if recover() == nil {
					t.Error("the panic was lost")
				}
			}()
			_, _ = netns.Make("/run/pin", func(netns.Cookie) error { panic("own panic") })
		}()
		expectEmpty(t, "/run")
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_, _ = netns.Make("/run/pin", func(netns.Cookie) error { runtime.Goexit(); return nil })
			t.Error("the caller went on")
		}()
		<-ended
		expectEmpty(t, "/run")
		limit(t, "user/max_net_namespaces", 0)
		if _, err := netns.Make("/run/pin", nil); !errors.Is(err, unix.ENOSPC) {
			t.Errorf("got %v, want ENOSPC", err)
		}
		expectEmpty(t, "/run")
	})
}

func TestMakeKeepsToItsPlace(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		for _, err := range []error{
			os.WriteFile("/run/file", []byte("kept"), 0o600), os.Symlink("/run/target", "/run/dangling"), os.Symlink("/run/file", "/run/link"),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
		for path, want := range map[string]error{
			"/run/file": fs.ErrExist, "/run/dangling": fs.ErrExist, "/run/link": fs.ErrExist, "/run": fs.ErrExist,
			"/run/none/pin": fs.ErrNotExist, "": fs.ErrNotExist, "/run/file/pin": unix.ENOTDIR, "/run/p\x00in": unix.EINVAL,
		} {
			if _, err := netns.Make(path, nil); !errors.Is(err, want) {
				t.Errorf("Make(%q) gave %v, want %v", path, err, want)
			}
		}
		if content, err := os.ReadFile("/run/file"); err != nil || string(content) != "kept" {
			t.Errorf("the file has %q (%v)", content, err)
		}
		if _, err := os.Lstat("/run/target"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the dangling link was followed: %v", err)
		}
	})
}

func TestMakeManyAtOnce(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		var mu sync.Mutex
		seen := make(map[netns.Cookie]bool)
		var wg sync.WaitGroup
		for i := range 32 {
			wg.Go(func() {
				pin := fmt.Sprintf("/run/pin%d", i)
				cookie, err := netns.Make(pin, nil)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				if seen[cookie] {
					t.Errorf("cookie %v came twice", cookie)
				}
				seen[cookie] = true
				mu.Unlock()
				ns, err := netns.Open(pin)
				expectNS(t, ns, err, cookie)
				unpin(t, pin)
			})
		}
		wg.Wait()
		expectEmpty(t, "/run")
	})
}

func TestUnpin(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		unpin(t, "/run/none")
		unpin(t, "/run/none/pin")
		if err := os.WriteFile("/run/never-mounted", nil, 0o600); err != nil {
			t.Fatal(err)
		}
		unpin(t, "/run/never-mounted")
		if _, err := netns.Make("/run/twice", nil); err != nil {
			t.Fatal(err)
		}
		if err := unix.Mount("/proc/self/ns/net", "/run/twice", "", unix.MS_BIND, ""); err != nil {
			t.Fatal(err)
		}
		unpin(t, "/run/twice")
		if _, err := netns.Make("/run/pin", nil); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink("/run/pin", "/run/link"); err != nil {
			t.Fatal(err)
		}
		unpin(t, "/run/link") // takes the link, never what it leads to
		ns, err := netns.Open("/run/pin")
		if err != nil {
			t.Fatal(err)
		}
		ns.Close()
		unpin(t, "/run/pin")
		expectEmpty(t, "/run")
		if err := netns.Unpin("/run"); err == nil || !strings.Contains(err.Error(), "/run") {
			t.Errorf("a directory: got %v, want an error that names it", err)
		}
	})
}

func TestUnpinLeavesUsersAlone(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		cookie, err := netns.Make("/run/pin", nil)
		if err != nil {
			t.Fatal(err)
		}
		ns, err := netns.Open("/run/pin")
		if err != nil {
			t.Fatal(err)
		}
		defer ns.Close()
		unpin(t, "/run/pin")
		if err := ns.DoAs(cookie, func() error { return nil }); err != nil {
			t.Error(err)
		}
	})
}

// expectEmpty checks that nothing is in a directory.
func expectEmpty(t *testing.T, dir string) {
	t.Helper()
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("%s has %v (%v), want nothing", dir, entries, err)
	}
}

// limit sets a limit of the test's own user namespace.
func limit(t *testing.T, key string, value int) {
	t.Helper()
	if err := os.WriteFile("/proc/sys/"+key, fmt.Appendf(nil, "%d", value), 0); err != nil {
		t.Fatal(err)
	}
}
