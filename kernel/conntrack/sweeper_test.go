// SPDX-License-Identifier: Apache-2.0

package conntrack

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libnetwork/cnm/kernel/kerneltest"
)

// fake is a table whose passes the test lets end.
type fake struct {
	passes chan func(e *Entry) bool // sent when a pass begins
	end    chan error               // received before it ends
}

func newFake() *fake {
	return &fake{passes: make(chan func(*Entry) bool), end: make(chan error)}
}

func (f *fake) DeleteFunc(ctx context.Context, _ []Filter, match func(*Entry) bool) (int, error) {
	select {
	case f.passes <- match:
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	return 0, <-f.end
}

func (f *fake) Close() error { return nil }

// start runs a sweeper over a fake table in a bubble of synthetic time.
func start(t *testing.T) (*Sweeper, *fake, context.CancelFunc) {
	t.Helper()
	f := newFake()
	s := NewSweeper(Config{
		Dial:  func() (Table, error) { return f, nil },
		Local: func() ([]netip.Addr, error) { return []netip.Addr{netip.MustParseAddr("198.51.100.1")}, nil },
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return s, f, cancel
}

func at(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// within tells whether a pass begins within d of synthetic time.
func within(f *fake, d time.Duration) bool {
	select {
	case <-f.passes:
		return true
	case <-time.After(d):
		return false
	}
}

func TestSweepGathers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, f, _ := start(t)
		if within(f, time.Hour) {
			t.Fatal("a pass began with nothing to look for")
		}
		m1 := s.Mark(tcp, at("203.0.113.1:0"))
		if within(f, gatherFor-time.Millisecond) {
			t.Fatal("a pass began at once")
		}
		m2 := s.Mark(tcp, at("203.0.113.2:0"))
		begun := time.Now()
		match := <-f.passes
		if d := time.Since(begun); d != time.Millisecond {
			t.Errorf("the pass began %v after the second mark, want 1ms", d)
		}
		m3 := s.Mark(tcp, at("203.0.113.3:0")) // after this pass began
		for addr, want := range map[string]bool{"203.0.113.1:80": true, "203.0.113.2:80": true, "203.0.113.3:80": false} {
			e := flow(tcp, "192.0.2.1:1", addr, addr)
			if match(&e) != want {
				t.Errorf("the first pass matches %s: %v, want %v", addr, !want, want)
			}
		}
		if s.Clear(m1) {
			t.Error("clear before the pass is done")
		}
		f.end <- nil
		ended := time.Now()
		synctest.Wait()
		if !s.Clear(m1) || !s.Clear(m2) || s.Clear(m3) {
			t.Errorf("clear after the first pass: %v %v %v, want the first two only", s.Clear(m1), s.Clear(m2), s.Clear(m3))
		}
		<-f.passes
		if d := time.Since(ended); d != DefaultInterval {
			t.Errorf("the second pass began %v after the first, want %v", d, DefaultInterval)
		}
		f.end <- nil
		synctest.Wait()
		if !s.Clear(m3) {
			t.Error("the third mark is not clear after the second pass")
		}
		if within(f, time.Hour) {
			t.Error("a third pass began with nothing to look for")
		}
	})
}

func TestWaitSweepsAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, f, _ := start(t)
		marks := []uint64{s.Mark(tcp, at("203.0.113.1:0")), s.Mark(udp, at("[2001:db8:a::1]:0"))}
		begun := time.Now()
		waited := make(chan error, len(marks))
		for _, m := range marks {
			go func() { waited <- s.Wait(t.Context(), m) }()
		}
		<-f.passes
		late := s.Mark(tcp, at("203.0.113.2:0"))
		go func() { waited <- s.Wait(t.Context(), late) }()
		synctest.Wait()
		f.end <- nil
		for range marks {
			if err := <-waited; err != nil {
				t.Error(err)
			}
		}
		<-f.passes // the late one needs another, which begins at once too
		f.end <- nil
		if err := <-waited; err != nil {
			t.Error(err)
		}
		if d := time.Since(begun); d != 0 {
			t.Errorf("waited %v, want no time at all", d)
		}
		if err := s.Wait(t.Context(), late); err != nil {
			t.Errorf("waiting for what is clear: %v", err)
		}
	})
}

func TestRefusedPassIsNotDone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, f, _ := start(t)
		refusal := errors.New("no buffers")
		mark := s.Mark(tcp, at("203.0.113.1:0"))
		waited := make(chan error)
		go func() { waited <- s.Wait(t.Context(), mark) }()
		<-f.passes
		f.end <- refusal
		if err := <-waited; !errors.Is(err, refusal) {
			t.Errorf("got %v, want the refusal", err)
		}
		if s.Clear(mark) {
			t.Error("clear though no pass was done")
		}
		begun := time.Now()
		match := <-f.passes // again, unasked
		if d := time.Since(begun); d != DefaultInterval {
			t.Errorf("again after %v, want %v", d, DefaultInterval)
		}
		if e := flow(tcp, "192.0.2.1:1", "203.0.113.1:80", "203.0.113.1:80"); !match(&e) {
			t.Error("the target was forgotten with the refused pass")
		}
		f.end <- nil
		synctest.Wait()
		if !s.Clear(mark) {
			t.Error("not clear after a pass that was done")
		}
	})
}

func TestKernelWithoutTable(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, f, _ := start(t)
		mark := s.Mark(tcp, at("203.0.113.1:0"))
		<-f.passes
		f.end <- errors.ErrUnsupported
		if err := s.Wait(t.Context(), mark); err != nil {
			t.Error(err)
		}
	})
}

func TestWaitEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, f, stop := start(t)
		mark := s.Mark(tcp, at("203.0.113.1:0"))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		go func() { <-f.passes }() // and never ends by itself
		if err := s.Wait(ctx, mark); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want the deadline", err)
		}
		waited := make(chan error)
		go func() { waited <- s.Wait(t.Context(), mark) }()
		synctest.Wait()
		stop()
		f.end <- context.Canceled
		if err := <-waited; !errors.Is(err, context.Canceled) && !errors.Is(err, ErrStopped) {
			t.Errorf("got %v, want that the sweeper stopped", err)
		}
		if err := s.Wait(t.Context(), mark); !errors.Is(err, ErrStopped) {
			t.Errorf("got %v, want %v", err, ErrStopped)
		}
	})
}

// TestMarkGivenBeforeRun covers a daemon that frees things while it starts.
func TestMarkGivenBeforeRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		s := NewSweeper(Config{Dial: func() (Table, error) { return f, nil }})
		mark := s.Mark(tcp, at("203.0.113.1:0"))
		waited := make(chan error, 1)
		go func() { waited <- s.Wait(t.Context(), mark) }()
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- s.Run(ctx) }()
		<-f.passes
		f.end <- nil
		if err := errors.Join(<-waited); err != nil {
			t.Error(err)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func TestTargets(t *testing.T) {
	t.Parallel()
	masqueraded := flow(udp, "203.0.113.1:5000", "192.0.2.53:53", "192.0.2.53:53")
	masqueraded.Reply.Dst = at("198.51.100.1:5000")
	local := map[netip.Addr]struct{}{
		netip.MustParseAddr("198.51.100.1"):  {},
		netip.MustParseAddr("2001:db8:1::1"): {},
	}
	address := func(s string) targets { var x targets; x.add(0, at(s)); return x }
	freed := func(proto uint8, s string) targets { var x targets; x.add(proto, at(s)); return x }
	fresh := func(proto uint8, s string) targets { var x targets; x.addFresh(proto, at(s)); return x }
	published4 := flow(tcp, "192.0.2.1:4000", "198.51.100.1:8080", "203.0.113.1:80")
	published6 := flow(tcp, "[2001:db8:c::1]:4000", "[2001:db8:1::1]:8080", "[2001:db8:a::1]:80")
	plain := flow(udp, "192.0.2.1:4000", "198.51.100.1:8080", "198.51.100.1:8080")
	for _, tc := range []struct {
		name string
		in   targets
		e    Entry
		want bool
	}{
		{"address as destination", address("203.0.113.1:0"), flow(tcp, "192.0.2.1:1", "203.0.113.1:80", "203.0.113.1:80"), true},
		{"address behind a translated port", address("203.0.113.1:0"), published4, true},
		{"v6 address behind a translated port", address("[2001:db8:a::1]:0"), published6, true},
		{"address as source", address("203.0.113.1:0"), masqueraded, true},
		{"another address", address("203.0.113.2:0"), published4, false},
		{"nothing", targets{}, published4, false},
		{"port on all addresses", freed(tcp, "0.0.0.0:8080"), published4, true},
		{"port on all v6 addresses", freed(tcp, "[::]:8080"), published6, true},
		{"port on all addresses of the other family", freed(tcp, "[::]:8080"), published4, false},
		{"port on one address", freed(tcp, "198.51.100.1:8080"), published4, true},
		{"port on one v6 address", freed(tcp, "[2001:db8:1::1]:8080"), published6, true},
		{"port on another address", freed(tcp, "198.51.100.2:8080"), published4, false},
		{"another port", freed(tcp, "0.0.0.0:8081"), published4, false},
		{"another protocol", freed(udp, "0.0.0.0:8080"), published4, false},
		{"same port of somebody else's machine", freed(udp, "0.0.0.0:53"), masqueraded, false},
		{"loopback", freed(tcp, "0.0.0.0:8080"), flow(tcp, "127.0.0.1:1", "127.0.0.2:8080", "203.0.113.1:80"), true},
		{"v6 loopback", freed(tcp, "[::]:8080"), flow(tcp, "[::1]:1", "[::1]:8080", "[::1]:8080"), true},
		{"source port of a client", freed(tcp, "0.0.0.0:4000"), published4, false},
		{"translated now, to the host before", fresh(udp, "0.0.0.0:8080"), plain, true},
		{"translated now, on one address", fresh(udp, "198.51.100.1:8080"), plain, true},
		{"translated now, translated already", fresh(tcp, "0.0.0.0:8080"), published4, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if got := tc.in.match(&tc.e, local); got != tc.want {
				t.Errorf("match %v, want %v", got, tc.want)
			}
			if cover := tc.in.cover(); tc.want && !slices.ContainsFunc(cover, func(f Filter) bool { return passes(f, &tc.e) }) {
				t.Errorf("none of %+v lets it through", cover)
			}
		})
	}
}

// passes tells whether a filter is meant to let an entry through.
func passes(f Filter, e *Entry) bool {
	to := e.Orig
	if f.Reply {
		to = e.Reply
	}
	addr := func(want, have netip.Addr) bool {
		return !want.IsValid() || want == have || want.IsUnspecified() && want.Is4() == have.Is4()
	}
	return addr(f.Src, to.Src.Addr()) && addr(f.Dst, to.Dst.Addr()) &&
		(f.Proto == 0 || f.Proto == to.Proto) && (f.DstPort == 0 || f.DstPort == to.Dst.Port())
}

// TestSweepKernel sweeps real entries, both families, in one pass.
func TestSweepKernel(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		c := dial(t)
		stays := []Entry{
			flow(tcp, "192.0.2.1:40000", "203.0.113.2:80", "203.0.113.2:80"),
			flow(udp, "203.0.113.3:40000", "192.0.2.53:8053", "192.0.2.53:8053"), // through the host to that port elsewhere
			flow(tcp, "[::1]:40000", "[::1]:8054", "[::1]:8054"),
		}
		goes := []Entry{
			flow(tcp, "192.0.2.1:40001", "203.0.113.1:80", "203.0.113.1:80"),
			flow(udp, "[2001:db8:c::1]:40000", "[2001:db8:a::1]:53", "[2001:db8:a::1]:53"),
			flow(udp, "127.0.0.1:40000", "127.0.0.1:8053", "127.0.0.1:8053"),
			flow(udp, "[::1]:40000", "[::1]:8053", "[::1]:8053"),
		}
		create(t, c, append(slices.Clone(stays), goes...)...)
		s := NewSweeper(Config{})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- s.Run(ctx) }()
		s.Mark(0, at("203.0.113.1:0"))
		s.Mark(0, at("[2001:db8:a::1]:0"))
		s.Mark(udp, at("0.0.0.0:8053"))
		mark := s.Mark(udp, at("[::]:8053"))
		if err := s.Wait(ctx, mark); err != nil {
			t.Fatal(err)
		}
		left := list(t, c)
		for _, e := range stays {
			if _, ok := left[e.Orig]; !ok {
				t.Errorf("%+v is gone", e.Orig)
			}
		}
		if len(left) != len(stays) {
			t.Errorf("%d entries left, want %d: %+v", len(left), len(stays), left)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
