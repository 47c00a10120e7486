// SPDX-License-Identifier: Apache-2.0

package netns_test

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/libnetwork/cnm/kernel/kerneltest"
	"github.com/libnetwork/cnm/kernel/netns"
)

func TestCookie(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		one, two := kerneltest.NewNS(t), kerneltest.NewNS(t)
		own := cookieOf(t, current(t))
		if a, b := cookieOf(t, one), cookieOf(t, two); a == b || a == own || b == own || a == 0 {
			t.Errorf("cookies %v, %v and %v are not all different", own, a, b)
		}
		if again := cookieOf(t, one); again != cookieOf(t, one) {
			t.Errorf("cookie changed to %v", again)
		}
		kerneltest.InNS(t, one, func() {
			for _, family := range []int{unix.AF_INET, unix.AF_INET6, unix.AF_NETLINK} {
				fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
				if err != nil {
					t.Fatal(err)
				}
				defer unix.Close(fd)
				if cookie, err := netns.SocketCookie(fd); err != nil || cookie != cookieOf(t, one) {
					t.Errorf("socket of family %d has cookie %v (%v)", family, cookie, err)
				}
			}
		})
	})
}

func TestSocketCookieOfAFile(t *testing.T) {
	t.Parallel()
	file, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := netns.SocketCookie(int(file.Fd())); !errors.Is(err, unix.ENOTSOCK) {
		t.Errorf("got %v, want ENOTSOCK", err)
	}
}

func TestDoInManyPlacesAtOnce(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		var places []*netns.NS
		for range 4 {
			places = append(places, kerneltest.NewNS(t))
		}
		var wg sync.WaitGroup
		for i := range 64 {
			wg.Go(func() {
				for j := range 20 {
					outer, inner := places[(i+j)%len(places)], places[(i+j+1)%len(places)]
					if err := expectIn(outer, func() error { return expectIn(inner, nil) }); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
	})
}

// expectIn enters ns, does something there, and says whether the thread was in
// ns before and after that, and is not the process's main one.
func expectIn(ns *netns.NS, then func() error) error {
	want, err := ns.Cookie()
	if err != nil {
		return err
	}
	return ns.Do(func() error {
		if unix.Gettid() == os.Getpid() {
			return errors.New("the main thread was moved")
		}
		for _, step := range []func() error{then, nil} {
			if cookie, err := netns.CookieHere(); err != nil || cookie != want {
				return fmt.Errorf("in the namespace with cookie %v (%w), want %v", cookie, err, want)
			}
			if step == nil {
				continue
			}
			if err := step(); err != nil {
				return err
			}
		}
		return nil
	})
}

func TestDoGivesTheError(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		want := errors.New("own error")
		if err := kerneltest.NewNS(t).Do(func() error { return want }); err != want { //nolint:errorlint // it must be the very one
			t.Errorf("got %v, want %v", err, want)
		}
	})
}

func TestDoAfterClose(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		ns := kerneltest.NewNS(t)
		if err := errors.Join(ns.Close(), ns.Close()); err != nil {
			t.Error(err)
		}
		if err := ns.Do(func() error { return nil }); !errors.Is(err, netns.ErrClosed) {
			t.Errorf("got %v, want ErrClosed", err)
		}
		if _, err := ns.Processes(t.Context()); !errors.Is(err, netns.ErrClosed) {
			t.Errorf("got %v, want ErrClosed", err)
		}
		if ns.Fd() != -1 {
			t.Errorf("descriptor %d, want -1", ns.Fd())
		}
	})
}

// The leak check of kerneltest proves here, and in the next two tests, that no
// thread stays in the namespace.
func TestDoPanics(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		ns, want := kerneltest.NewNS(t), errors.New("own panic")
		defer func() {
			err, ok := recover().(error)
			if !ok || !errors.Is(err, want) || !strings.Contains(err.Error(), "TestDoPanics") {
				t.Errorf("recovered %v, want the panic's error with its stack", err)
			}
		}()
		_ = ns.Do(func() error { panic(want) })
	})
}

func TestDoGoexits(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		ns, done, survived := kerneltest.NewNS(t), make(chan struct{}), false
		go func() {
			defer close(done)
			_ = ns.Do(func() error { runtime.Goexit(); return nil })
			survived = true
		}()
		<-done
		if survived {
			t.Error("the caller went on after its function ended it")
		}
	})
}

func TestDoCannotReturn(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		ns := kerneltest.NewNS(t)
		err := ns.Do(func() error {
			// Without capabilities this thread, and it alone, cannot go back.
			header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
			return unix.Capset(&header, &make([]unix.CapUserData, 2)[0])
		})
		if err != nil {
			t.Error(err)
		}
		for range 100 {
			if err := expectIn(ns, nil); err != nil {
				t.Fatalf("a thread that lost its rights was used again: %v", err)
			}
		}
	})
}

func TestDoAs(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		ns, other := kerneltest.NewNS(t), kerneltest.NewNS(t)
		called := 0
		count := func() error { called++; return nil }
		if err := ns.DoAs(cookieOf(t, ns), count); err != nil || called != 1 {
			t.Errorf("got %v after %d calls, want one call", err, called)
		}
		if err := ns.DoAs(cookieOf(t, other), count); !errors.Is(err, netns.ErrStale) || called != 1 {
			t.Errorf("got %v after %d calls, want ErrStale and no further call", err, called)
		}
	})
}

func TestDoAsCannotReturn(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		ns := kerneltest.NewNS(t)
		cookie := cookieOf(t, ns)
		panicked := make(chan any)
		go offMain(func() {
			defer func() { panicked <- recover() }()
			_ = ns.DoAs(cookie, func() error { // without capabilities this thread cannot go back
				header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
				return unix.Capset(&header, &make([]unix.CapUserData, 2)[0])
			})
		})
		if got := fmt.Sprint(<-panicked); !strings.Contains(got, "cannot go back") {
			t.Errorf("recovered %q, want that the thread cannot go back", got)
		}
		for range 100 { // the thread that was spoiled is not among those that are used
			if err := expectIn(ns, nil); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// offMain runs fn on another thread than the process's main one, and returns when it has ended.
func offMain(fn func()) {
	runtime.LockOSThread()
	if unix.Gettid() != os.Getpid() {
		fn() // locked still, so that it ends with this goroutine
		return
	}
	defer runtime.UnlockOSThread()
	done := make(chan struct{})
	go func() {
		defer close(done)
		fn() // the main thread is held
	}()
	<-done
}

func TestUnsupportedError(t *testing.T) {
	t.Parallel()
	err := error(&netns.UnsupportedError{Feature: "time travel", Since: "9.1", Err: unix.ENOSYS})
	if !errors.Is(err, errors.ErrUnsupported) || !errors.Is(err, unix.ENOSYS) {
		t.Errorf("%v is not told as unsupported", err)
	}
	if want := "time travel needs Linux 9.1 or later: function not implemented"; err.Error() != want {
		t.Errorf("got %q, want %q", err, want)
	}
}
