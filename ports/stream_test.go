// SPDX-License-Identifier: Apache-2.0

package ports

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/kernel/kerneltest"
)

// limit bounds every wait of these tests for something that is to happen.
const limit = 10 * time.Second

// served listens as the endpoint does.
func served(t *testing.T, address string) *net.TCPListener {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l.(*net.TCPListener)
}

// dialTCP connects as a client on the host does.
func dialTCP(t *testing.T, address string) *net.TCPConn {
	t.Helper()
	c, err := net.DialTimeout("tcp", address, limit)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(limit)); err != nil {
		t.Fatal(err)
	}
	return c.(*net.TCPConn)
}

// accept takes the splice's connection at the endpoint.
func accept(t *testing.T, l *net.TCPListener) *net.TCPConn {
	t.Helper()
	if err := l.SetDeadline(time.Now().Add(limit)); err != nil {
		t.Fatal(err)
	}
	c, err := l.AcceptTCP()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(limit)); err != nil {
		t.Fatal(err)
	}
	return c
}

// wantReset checks that a connection ends with a reset and not as if all had
// been said.
func wantReset(t *testing.T, what string, c net.Conn) {
	t.Helper()
	if n, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("%s: read %d (%v), want a reset", what, n, err)
	}
}

// wantRefused connects and checks that the connection is reset, which may be
// seen before it is there.
func wantRefused(t *testing.T, what, address string) {
	t.Helper()
	wantRefusedFrom(t, what, "", address)
}

// wantRefusedFrom is wantRefused for a client with an address of its choice.
func wantRefusedFrom(t *testing.T, what, from, address string) {
	t.Helper()
	dialer := net.Dialer{Timeout: limit}
	if from != "" {
		dialer.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(from), 0))
	}
	c, err := dialer.Dial("tcp", address)
	if errors.Is(err, syscall.ECONNRESET) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(limit)); err != nil {
		t.Fatal(err)
	}
	wantReset(t, what, c)
}

// wantIdle waits until nothing is spliced any more.
func wantIdle(t *testing.T, h *Holder) {
	t.Helper()
	wantUsage(t, h, 0, 0)
}

// wantUsage waits until so much is spliced.
func wantUsage(t *testing.T, h *Holder, streams, sessions int) {
	t.Helper()
	end := time.After(limit)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		if u := h.Usage(); u.Streams == streams && u.Sessions == sessions {
			return
		}
		select {
		case <-tick.C:
		case <-end:
			t.Errorf("still %+v", h.Usage())
			return
		}
	}
}

// TestSpliceTCP sends more than any buffer holds in both directions, each ended
// before the other.
func TestSpliceTCP(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		blob := bytes.Repeat([]byte("0123456789abcdef"), 1<<18)
		server6, server4 := served(t, "[::1]:9080"), served(t, "127.0.0.9:9080")
		h := newHolder(t, Config{})
		hold1(t, h, "both", "8080:9080", "127.0.0.2:8081:9080", "[::1]:8081:9080")
		only4 := request(t, "v4", "8082:9080", "[::1]:8082:9080")
		only4.Targets.V6 = netip.Addr{}
		if _, err := h.Hold(t.Context(), only4); err != nil {
			t.Fatal(err)
		}
		for _, tc := range []struct {
			address string
			at      *net.TCPListener
		}{
			{"[::1]:8080", server6},
			{"127.0.0.1:8080", server6},
			{"[::1]:8081", server6},
			{"127.0.0.2:8081", server6},
			{"[::1]:8082", server4},
			{"127.0.0.1:8082", server4},
		} {
			for _, clientFirst := range []bool{true, false} {
				a, b := dialTCP(t, tc.address), accept(t, tc.at)
				if !clientFirst {
					a, b = b, a
				}
				oneWay(t, tc.address, a, b, blob)
				oneWay(t, tc.address, b, a, blob)
			}
		}
		wantIdle(t, h)
	})
}

// oneWay sends all of blob and its end from one side to the other.
func oneWay(t *testing.T, what string, from, to *net.TCPConn, blob []byte) {
	t.Helper()
	sent := make(chan error, 1)
	go func() {
		_, err := from.Write(blob)
		sent <- errors.Join(err, from.CloseWrite())
	}()
	got, err := io.ReadAll(to)
	if err := errors.Join(err, <-sent); err != nil || !bytes.Equal(got, blob) {
		t.Errorf("%s: %d bytes of %d arrived (%v)", what, len(got), len(blob), err)
	}
}

func TestSplicePassesResetsOn(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		server := served(t, "[::1]:9080")
		h := newHolder(t, Config{})
		hold1(t, h, "a", "8080:9080", "8081:9999")
		client, far := dialTCP(t, "[::1]:8080"), accept(t, server)
		abort(client)
		wantReset(t, "endpoint of a client that reset", far)
		client, far = dialTCP(t, "[::1]:8080"), accept(t, server)
		abort(far)
		wantReset(t, "client of an endpoint that reset", client)
		wantRefused(t, "client of an endpoint that does not listen", "[::1]:8081")
		wantIdle(t, h)
	})
}

// TestOnlyLoopbackIsSpliced connects to an address of the host that is not
// loopback, which the firewall would have translated.
func TestOnlyLoopbackIsSpliced(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		addAddress(t, "192.0.2.1")
		addAddress(t, "2001:db8::1")
		server := served(t, "[::1]:9080")
		h := newHolder(t, Config{})
		hold1(t, h, "a", "8080:9080", "192.0.2.1:8081:9080")
		if stolen := h.Restore("nowhere", "nowhere", []cnm.Port{{Proto: cnm.TCP, HostIP: netip.IPv6Unspecified(), HostPort: 8082, Port: 80}}, Targets{}); len(stolen) != 0 {
			t.Fatal(stolen)
		}
		for _, address := range []string{"192.0.2.1:8080", "[2001:db8::1]:8080", "192.0.2.1:8081", "[::1]:8082"} {
			wantRefused(t, address, address)
		}
		for from, to := range map[string]string{"2001:db8::1": "[::1]:8080", "::1": "[2001:db8::1]:8080", "127.0.0.1": "192.0.2.1:8080"} {
			wantRefusedFrom(t, "from "+from+" to "+to, from, to)
		}
		dialTCP(t, "[::1]:8080")
		accept(t, server) // the first that arrives
	})
}

func TestReleaseCutsStreams(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		server := served(t, "[::1]:9080")
		h := newHolder(t, Config{})
		got := hold1(t, h, "a", "8080:9080")
		dual := hold1(t, h, "b", "8081:9080")
		client, far := dialTCP(t, "[::1]:8080"), accept(t, server)
		client6, far6 := dialTCP(t, "[::1]:8081"), accept(t, server)
		client4, far4 := dialTCP(t, "127.0.0.1:8081"), accept(t, server)

		h.Release("a", got)
		if u := h.Usage(); u.Streams != 2 {
			t.Errorf("%d streams when the call returns, want 2", u.Streams)
		}
		wantReset(t, "client", client)
		wantReset(t, "endpoint", far)
		if c, err := net.Dial("tcp", "[::1]:8080"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("connected to %v (%v), want a refusal", c, err)
		}

		h.Release("b", dual[1:]) // of the two families, one
		wantReset(t, "client over IPv6", client6)
		wantReset(t, "endpoint over IPv6", far6)
		oneWay(t, "over IPv4", client4, far4, []byte("still there"))
		wantRefused(t, "new client over IPv6", "[::1]:8081")
	})
}

func TestStreamsAreBounded(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		server := served(t, "[::1]:9080")
		h := newHolder(t, Config{Streams: 2})
		hold1(t, h, "a", "8080:9080")
		client, far := dialTCP(t, "[::1]:8080"), accept(t, server)
		dialTCP(t, "[::1]:8080")
		accept(t, server)
		wantRefused(t, "one too many", "[::1]:8080")
		if u := h.Usage(); u.Streams != 2 {
			t.Errorf("%d streams, want 2", u.Streams)
		}
		abort(client)
		wantReset(t, "endpoint of the first", far)
		wantUsage(t, h, 1, 0)
		oneWay(t, "in its place", dialTCP(t, "[::1]:8080"), accept(t, server), []byte("hello"))
	})
}

// exhaust fills the table of descriptors and lets no more be opened until the
// function it gives is called.
func exhaust(t *testing.T) (end func()) {
	t.Helper()
	const limit = 100
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	// Below the limit nothing is free: all lower numbers are in use or taken here.
	var taken []int
	for n := 0; n <= limit; {
		fd, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		taken, n = append(taken, fd), fd
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: limit, Max: old.Max}); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
			t.Error(err)
		}
		for _, fd := range taken {
			_ = unix.Close(fd)
		}
	}
}

// TestNoDescriptorForClient runs out of descriptors while a client connects: with
// the spare one the client is refused, without it the client waits.
func TestNoDescriptorForClient(t *testing.T) {
	t.Parallel()
	for _, spare := range []bool{true, false} {
		t.Run(fmt.Sprintf("spare=%v", spare), func(t *testing.T) {
			t.Parallel()
			kerneltest.Run(t, func(t *testing.T) { testNoDescriptorForClient(t, spare) })
		})
	}
}

func testNoDescriptorForClient(t *testing.T, spare bool) {
	server := served(t, "[::1]:9080")
	h := newHolder(t, Config{})
	hold1(t, h, "a", "8080:9080")
	if !spare {
		h.splice.mu.Lock()
		_ = unix.Close(h.splice.spare)
		h.splice.spare = -1
		h.splice.mu.Unlock()
	}
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	end := exhaust(t)
	timeout := unix.NsecToTimeval((2 * pause).Nanoseconds())
	err = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout)
	if err == nil {
		err = unix.Connect(fd, &unix.SockaddrInet6{Port: 8080, Addr: netip.IPv6Loopback().As16()})
	}
	_, readErr := unix.Read(fd, make([]byte, 1))
	_ = unix.Close(fd)
	end()
	if want := map[bool]error{true: unix.ECONNRESET, false: unix.EAGAIN}[spare]; err != nil || !errors.Is(readErr, want) {
		t.Errorf("connect: %v, read: %v, want %v", err, readErr, want)
	}
	client := dialTCP(t, "[::1]:8080")
	if _, err := client.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	// Now that there are descriptors again, the one that waited may still come before.
	for said := ""; said != "hello"; {
		buf := make([]byte, len("hello"))
		n, _ := io.ReadFull(accept(t, server), buf)
		said = string(buf[:n])
	}
}

// TestSpliceAfterRestart measures how soon a port works again.
func TestSpliceAfterRestart(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		server := served(t, "[::1]:9080")
		before := newHolder(t, Config{})
		list := hold1(t, before, "a", "8080:9080", "8080:9080/udp")
		client, far := dialTCP(t, "[::1]:8080"), accept(t, server)
		oneWay(t, "before", far, client, []byte("bye")) // leaves the held side in TIME_WAIT
		oneWay(t, "before", client, far, []byte("bye"))
		wantIdle(t, before)
		client, far = dialTCP(t, "[::1]:8080"), accept(t, server)
		before.Close()
		wantReset(t, "client of the old holder", client)
		wantReset(t, "endpoint of the old holder", far)

		begun := time.Now()
		h := newHolder(t, Config{})
		if stolen := h.Restore("a", "web", list, endpoint()); len(stolen) != 0 {
			t.Fatalf("stolen %+v", stolen)
		}
		client, far = dialTCP(t, "[::1]:8080"), accept(t, server)
		oneWay(t, "after", client, far, []byte("hello"))
		if d := time.Since(begun); d > 100*time.Millisecond {
			t.Errorf("worked again after %v, want 100ms at most", d)
		}
	})
}
