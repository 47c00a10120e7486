// SPDX-License-Identifier: Apache-2.0

package ports

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/kernel/kerneltest"
)

// echo answers datagrams as the endpoint does, with where they came from.
func echo(t *testing.T, address string) {
	t.Helper()
	c, err := net.ListenPacket("udp", address)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { _ = c.Close(); <-done })
	go func() {
		defer close(done)
		buf := make([]byte, 1<<16)
		for {
			n, from, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = c.WriteTo(append([]byte(from.String()+" "), buf[:n]...), from)
		}
	}()
}

// dialUDP makes a client that takes answers from nobody else.
func dialUDP(t *testing.T, address string) net.Conn {
	t.Helper()
	c, err := net.Dial("udp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(limit)); err != nil {
		t.Fatal(err)
	}
	return c
}

// ask sends a question and gives where it came from and the answer.
func ask(c net.Conn, question string) (from, answer string, err error) {
	if _, err := c.Write([]byte(question)); err != nil {
		return "", "", err
	}
	buf := make([]byte, 1<<16)
	n, err := c.Read(buf)
	if err != nil {
		return "", "", err
	}
	f, a, _ := bytes.Cut(buf[:n], []byte(" "))
	return string(f), string(a), nil
}

func TestSpliceUDP(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		echo(t, "[::1]:9053")
		echo(t, "127.0.0.9:9053")
		h := newHolder(t, Config{})
		hold1(t, h, "both", "8053:9053/udp", "127.0.0.2:8054:9053/udp", "[::1]:8054:9053/udp")
		only4 := request(t, "v4", "8055:9053/udp", "[::1]:8055:9053/udp")
		only4.Targets.V6 = netip.Addr{}
		if _, err := h.Hold(t.Context(), only4); err != nil {
			t.Fatal(err)
		}
		large := string(bytes.Repeat([]byte("x"), 60_000))
		for i, address := range []string{"[::1]:8053", "127.0.0.1:8053", "127.0.0.3:8053", "[::1]:8054", "127.0.0.2:8054", "[::1]:8055", "127.0.0.1:8055"} {
			c := dialUDP(t, address) // connected: an answer from another address would not reach it
			first, answer, err := ask(c, "hello")
			if err != nil || answer != "hello" {
				t.Errorf("%s: %q (%v)", address, answer, err)
			}
			second, answer, err := ask(c, large)
			if err != nil || answer != large || second != first {
				t.Errorf("%s: %d bytes from %s (%v), want %d from %s", address, len(answer), second, err, len(large), first)
			}
			if n := h.Usage().Sessions; n != i+1 {
				t.Errorf("%d sessions, want %d", n, i+1)
			}
		}
		h.ReleaseAll("both")
		if n := h.Usage().Sessions; n != 2 {
			t.Errorf("%d sessions after the release, want 2", n)
		}
	})
}

// TestDatagramsToOthers sends to addresses that are not loopback: the kernel
// drops them without a word to us.
func TestDatagramsToOthers(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		addAddress(t, "192.0.2.1")
		addAddress(t, "2001:db8::1")
		echo(t, "[::1]:9053")
		h := newHolder(t, Config{})
		hold1(t, h, "a", "8053:9053/udp", "192.0.2.1:8054:9053/udp")
		for _, address := range []string{"192.0.2.1:8053", "[2001:db8::1]:8053", "192.0.2.1:8054"} {
			if _, err := dialUDP(t, address).Write([]byte("x")); err != nil {
				t.Error(err)
			}
		}
		// What was sent before this arrived before it.
		if _, answer, err := ask(dialUDP(t, "[::1]:8053"), "hello"); err != nil || answer != "hello" {
			t.Errorf("%q (%v)", answer, err)
		}
		if n := h.Usage().Sessions; n != 1 {
			t.Errorf("%d sessions, want 1", n)
		}
	})
}

func TestSessionsAreBounded(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		echo(t, "[::1]:9053")
		h := newHolder(t, Config{Sessions: 2})
		hold1(t, h, "a", "8053:9053/udp")
		var froms []string
		clients := []net.Conn{dialUDP(t, "[::1]:8053"), dialUDP(t, "[::1]:8053"), dialUDP(t, "[::1]:8053")}
		for _, i := range []int{0, 1, 0, 2, 0, 1} { // the third takes the place of the second, and loses it again
			from, answer, err := ask(clients[i], strconv.Itoa(i))
			if err != nil || answer != strconv.Itoa(i) {
				t.Errorf("client %d: %q (%v)", i, answer, err)
			}
			if n := h.Usage().Sessions; n > 2 {
				t.Errorf("%d sessions, want 2 at most", n)
			}
			froms = append(froms, from)
		}
		if froms[0] != froms[2] || froms[0] != froms[4] {
			t.Errorf("the client that was never silent came from %v", froms)
		}
	})
}

func TestSessionsExpire(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		echo(t, "[::1]:9053")
		h := newHolder(t, Config{Idle: 20 * time.Millisecond})
		hold1(t, h, "a", "8053:9053/udp")
		for range 3 { // the timer is set again each time
			for range 2 {
				if _, answer, err := ask(dialUDP(t, "[::1]:8053"), "hello"); err != nil || answer != "hello" {
					t.Errorf("%q (%v)", answer, err)
				}
			}
			wantIdle(t, h)
		}
	})
}

// TestEndpointDoesNotListen answers nothing, and goes on.
func TestEndpointDoesNotListen(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		h := newHolder(t, Config{})
		hold1(t, h, "a", "8053:9053/udp")
		c := dialUDP(t, "[::1]:8053")
		for range 10 {
			if _, err := c.Write([]byte("x")); err != nil {
				t.Fatal(err)
			}
		}
		echo(t, "[::1]:9053")
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		defer cancel()
		for ctx.Err() == nil { // those sent before are lost
			if err := c.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
				t.Fatal(err)
			}
			_, answer, err := ask(c, "hello")
			if err == nil && answer == "hello" {
				return
			}
			if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatal(err)
			}
		}
		t.Error("no answer")
	})
}

// TestFilter reads from a held socket what its filter let through.
func TestFilter(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		addAddress(t, "192.0.2.1")
		addAddress(t, "2001:db8::1")
		for _, tc := range []struct {
			bound []netip.Addr
			to    map[string]bool // whether it arrives
		}{
			{both(), map[string]bool{"127.0.0.1": true, "127.8.9.10": true, "192.0.2.1": false, "::1": true, "2001:db8::1": false}},
			{both()[:1], map[string]bool{"127.0.0.1": true, "192.0.2.1": false}},
			{both()[1:], map[string]bool{"::1": true, "2001:db8::1": false}},
			{[]netip.Addr{netip.MustParseAddr("127.0.0.2")}, map[string]bool{"127.0.0.2": true}},
			{[]netip.Addr{netip.MustParseAddr("192.0.2.1")}, map[string]bool{"192.0.2.1": false}},
		} {
			for to, arrives := range tc.to {
				b := binding{key: key{cnm.UDP, 8053}, addrs: tc.bound}
				fd, _, err := b.open()
				if err != nil {
					t.Fatal(err)
				}
				if _, err := dialUDP(t, net.JoinHostPort(to, "8053")).Write([]byte("x")); err != nil {
					t.Fatal(err)
				}
				// Over lo a datagram is there, or dropped, when the call that sends it returns.
				_, err = unix.Read(fd, make([]byte, 1))
				if got := err == nil; got != arrives {
					t.Errorf("bound to %v, sent to %s: arrived %v (%v), want %v", tc.bound, to, got, err, arrives)
				}
				if err := unix.Close(fd); err != nil {
					t.Fatal(err)
				}
			}
		}
	})
}
