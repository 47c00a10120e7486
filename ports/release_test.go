// SPDX-License-Identifier: Apache-2.0

package ports

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/kernel/conntrack"
	"github.com/libnetwork/cnm/kernel/kerneltest"
)

// TestReleaseHalf lets go of one family of a dual-stack socket, and takes it back.
func TestReleaseHalf(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		h := newHolder(t, Config{})
		got := hold1(t, h, "a", "8080:80")
		h.Release("a", got[1:])
		_, err := h.Hold(t.Context(), request(t, "b", "[::]:8080:80"))
		wantKind(t, err, cnm.Exists, "endpoint n-a")
		hold1(t, h, "a", "[::]:8080:80")
		if n := h.Usage().Sockets; n != 1 {
			t.Errorf("%d sockets, want 1", n)
		}
		h.Release("b", got) // not b's
		h.Release("a", got)
		hold1(t, h, "b", "8080:80")
	})
}

func TestQuarantine(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		q := newQuarantine()
		h := newHolder(t, Config{Quarantine: q})
		h.Release("a", hold1(t, h, "a", "8080:80"))
		if want := []string{"0.0.0.0:8080/tcp", "[::]:8080/tcp"}; !slices.Equal(q.marks, want) {
			t.Errorf("marked %v, want %v", q.marks, want)
		}
		if got := hold1(t, h, "b", "8080-8081:80"); got[0].HostPort != 8081 {
			t.Errorf("a choice gave %s, want 8081", texts(got))
		}
		hold1(t, h, "c", "8080:80/udp") // another protocol
		hold1(t, h, "a", "8080:80")     // its own, at once
		h.ReleaseAll("a")

		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		_, err := h.Hold(ctx, request(t, "b", "127.0.0.1:8080:80"))
		wantKind(t, err, cnm.Unavailable, "port 8080/tcp on 127.0.0.1 was freed a moment ago")
		<-q.waits

		taken := make(chan error)
		for _, spec := range []string{"8080:80", "8080-8081:80"} { // the range has no other left
			h.ReleaseAll("d")
			go func() {
				_, err := h.Hold(t.Context(), request(t, "d", spec))
				taken <- err
			}()
			if spec == "8080:80" {
				<-q.waits
				q.clear()
			}
			if err := <-taken; err != nil {
				t.Error(err)
			}
		}
	})
}

func TestQuarantineIsForgotten(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		q := newQuarantine()
		q.clear()
		h := newHolder(t, Config{Quarantine: q})
		for i := range 1000 {
			h.Release("a", hold1(t, h, "a", fmt.Sprintf("%d:80", 20000+i)))
		}
		if n := len(h.table.freed); n > 64 {
			t.Errorf("%d freed ports are remembered", n)
		}
	})
}

func TestRestore(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		before := newHolder(t, Config{})
		list := hold1(t, before, "a", "8080:80", "8081:80", "8080:80/udp", "8082:80/sctp")
		before.Close() // as far as the kernel can tell, killed
		absent := cnm.Port{Proto: cnm.TCP, HostIP: netip.MustParseAddr("192.0.2.77"), HostPort: 9, Port: 80}
		absent6 := cnm.Port{Proto: cnm.UDP, HostIP: netip.MustParseAddr("2001:db8::77"), HostPort: 9, Port: 80}
		list = append(list, absent, absent6)
		pid, end := startOutsider(t, "tcp4 0.0.0.0:8081")

		h := newHolder(t, Config{})
		stolen := h.Restore("a", "web", list, endpoint())
		if len(stolen) != 1 || stolen[0].Port != list[2] || !strings.HasSuffix(stolen[0].Holder, fmt.Sprintf("(pid %d)", pid)) {
			t.Fatalf("stolen %+v, want %s by pid %d", stolen, list[2], pid)
		}
		wantKind(t, stolen[0].Err, cnm.Exists, "port 8081/tcp on 0.0.0.0 is held by ")
		if n := len(h.Held()); n != len(list)-1 {
			t.Errorf("%d ports are held, want %d", n, len(list)-1)
		}
		end()
		if stolen := h.Restore("a", "web", list, endpoint()); len(stolen) != 0 {
			t.Errorf("stolen %+v after the thief has gone", stolen)
		}
		if n := len(h.Held()); n != len(list) {
			t.Errorf("%d ports are held, want %d", n, len(list))
		}
		if stolen := h.Restore("b", "db", list[:2], endpoint()); len(stolen) != 2 || stolen[0].Holder != "endpoint web" {
			t.Errorf("stolen %+v, want both by endpoint web", stolen)
		}
	})
}

func TestClose(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		h := newHolder(t, Config{})
		var wait sync.WaitGroup
		for i := range 16 {
			wait.Go(func() {
				for {
					if _, err := h.Hold(t.Context(), request(t, strconv.Itoa(i), "80", "80/udp")); err != nil {
						wantKind(t, err, cnm.Unavailable, "no longer held")
						return
					}
					h.ReleaseAll(strconv.Itoa(i))
				}
			})
		}
		for h.Usage().Sockets == 0 {
			runtime.Gosched()
		}
		h.Close()
		h.Close()
		wait.Wait() // what is left open, kerneltest finds
	})
}

// TestReleaseAllAmongMany has a release of one owner take no longer where others hold much.
func TestReleaseAllAmongMany(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		took := func(others int) time.Duration {
			h := newHolder(t, Config{})
			h.mu.Lock()
			for i := range others {
				hd := &hold{key: key{cnm.SCTP, uint16(i + 1)}, owner: strconv.Itoa(i), fd: -1}
				h.table.add(hd)
				h.table.uncount(hd)
			}
			h.mu.Unlock()
			best := time.Hour
			for range 20 {
				hold1(t, h, "a", "8080:80")
				began := time.Now()
				h.ReleaseAll("a")
				best = min(best, time.Since(began))
			}
			h.mu.Lock()
			defer h.mu.Unlock()
			if n := len(h.table.owned); n != others {
				t.Errorf("%d owners are known, want the %d others", n, others)
			}
			return best
		}
		if few, many := took(0), took(60_000); many > 10*few {
			t.Errorf("it took %s among none and %s among 60,000", few, many)
		}
	})
}

// swept is the quarantine of a real sweeper.
type swept struct{ *conntrack.Sweeper }

func (s swept) Mark(p cnm.Protocol, at netip.AddrPort) uint64 { return s.Sweeper.Mark(uint8(p), at) }

// TestQuarantineOfTheKernel hands a port from one owner to the next across a real
// pass over the connection table.
func TestQuarantineOfTheKernel(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		s := swept{conntrack.NewSweeper(conntrack.Config{Interval: time.Hour})}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- s.Run(ctx) }()
		h := newHolder(t, Config{Quarantine: s})
		for i := range 5 {
			owner := strconv.Itoa(i)
			hold1(t, h, owner, "8080:80", "8080:80/udp")
			h.ReleaseAll(owner)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		_, err := h.Hold(t.Context(), request(t, "late", "8080:80"))
		if !errors.Is(err, conntrack.ErrStopped) {
			t.Errorf("got %v, want %v", err, conntrack.ErrStopped)
		}
	})
}
