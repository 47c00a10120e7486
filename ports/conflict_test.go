// SPDX-License-Identifier: Apache-2.0

package ports

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/kernel/kerneltest"
)

// TestNobodyJoins tries to bind what is held, with every option that allows
// sharing.
func TestNobodyJoins(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		h := newHolder(t, Config{})
		hold1(t, h, "a", "8080:80", "8080:80/udp", "127.0.0.2:8081:80", "127.0.0.2:8081:80/udp")
		for _, tc := range []struct {
			address string
			want    error
		}{
			{"0.0.0.0:8080", unix.EADDRINUSE},
			{"127.0.0.1:8080", unix.EADDRINUSE},
			{"[::]:8080", unix.EADDRINUSE},
			{"[::1]:8080", unix.EADDRINUSE},
			{"0.0.0.0:8081", unix.EADDRINUSE},
			{"127.0.0.2:8081", unix.EADDRINUSE},
			{"127.0.0.3:8081", nil},
			{"[::1]:8081", nil},
		} {
			for _, proto := range []cnm.Protocol{cnm.TCP, cnm.UDP} {
				for _, opt := range []int{0, unix.SO_REUSEADDR, unix.SO_REUSEPORT} {
					if err := bindBeside(proto, netip.MustParseAddrPort(tc.address), opt); !errors.Is(err, tc.want) {
						t.Errorf("binding %s/%s with option %d: %v, want %v", tc.address, proto, opt, err, tc.want)
					}
				}
			}
		}
	})
}

// bindBeside binds as a stranger would, and lets go.
func bindBeside(proto cnm.Protocol, at netip.AddrPort, opt int) error {
	b := binding{key: key{proto, at.Port()}, addrs: []netip.Addr{at.Addr()}}
	family, typ, number := b.kind()
	fd, err := unix.Socket(family, typ|unix.SOCK_CLOEXEC, number)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if family == unix.AF_INET6 {
		err = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1)
	}
	if err == nil && opt != 0 {
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, opt, 1)
	}
	if err != nil {
		return err
	}
	return unix.Bind(fd, sockaddr(at.Addr(), at.Port()))
}

func TestConflictNamesTheHolder(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		h := newHolder(t, Config{})
		for i, tc := range []struct{ outsider, spec, want string }{
			{"tcp4 0.0.0.0:%d", "%d:80", "port %d/tcp on 0.0.0.0 is held by %s (pid %d); choose another host port"},
			{"tcp4 127.0.0.1:%d", "%d:80", "port %d/tcp on 0.0.0.0 is held by %s (pid %d); choose another host port"},
			{"tcp6 [::1]:%d", "%d:80", "port %d/tcp on :: is held by %s (pid %d); choose another host port"},
			{"tcp [::]:%d", "127.0.0.1:%d:80", "port %d/tcp on 127.0.0.1 is held by %s (pid %d); choose another host port"},
			{"udp4 0.0.0.0:%d", "%d:80/udp", "port %d/udp on 0.0.0.0 is held by %s (pid %d); choose another host port"},
			{"udp6 [::1]:%d", "[::]:%d:80/udp", "port %d/udp on :: is held by %s (pid %d); choose another host port"},
			{"udp [::]:%d", "0.0.0.0:%d:80/udp", "port %d/udp on 0.0.0.0 is held by %s (pid %d); choose another host port"},
		} {
			port := 8000 + i
			pid, _ := startOutsider(t, fmt.Sprintf(tc.outsider, port))
			comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
			if err != nil {
				t.Fatal(err)
			}
			_, err = h.Hold(t.Context(), request(t, "a", fmt.Sprintf(tc.spec, port)))
			wantKind(t, err, cnm.Exists, "")
			if want := fmt.Sprintf(tc.want, port, strings.TrimSpace(string(comm)), pid); err.Error() != want {
				t.Errorf("got %q, want %q", err, want)
			}
		}
		if u := h.Usage(); u.Sockets != 0 {
			t.Errorf("%d sockets are held after refusals only", u.Sockets)
		}
	})
}

// TestConflictWithUnseenProcess has a socket that no process has: it is in flight.
func TestConflictWithUnseenProcess(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		b := binding{key: key{cnm.TCP, 8080}, addrs: both()}
		fd, _, err := b.open()
		if err != nil {
			t.Fatal(err)
		}
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(pair[0])
		defer unix.Close(pair[1])
		if err := unix.Sendmsg(pair[0], []byte{0}, unix.UnixRights(fd), nil, 0); err != nil {
			t.Fatal(err)
		}
		if err := unix.Close(fd); err != nil {
			t.Fatal(err)
		}
		h := newHolder(t, Config{})
		_, err = h.Hold(t.Context(), request(t, "a", "8080:80"))
		wantKind(t, err, cnm.Exists, "port 8080/tcp on 0.0.0.0 is held by a process of another user or namespace; choose another host port")
	})
}

func TestConflictWithEndpoint(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		h := newHolder(t, Config{})
		hold1(t, h, "a", "8080:80", "8080:80/sctp")
		for spec, want := range map[string]string{
			"8080:80":           "port 8080/tcp on 0.0.0.0 is held by endpoint n-a; choose another host port",
			"[::1]:8080:80":     "port 8080/tcp on ::1 is held by endpoint n-a; choose another host port",
			"8080:80/sctp":      "port 8080/sctp on 0.0.0.0 is held by endpoint n-a; choose another host port",
			"127.0.0.1:8080:80": "port 8080/tcp on 127.0.0.1 is held by endpoint n-a; choose another host port",
		} {
			_, err := h.Hold(t.Context(), request(t, "b", spec))
			wantKind(t, err, cnm.Exists, "")
			if err.Error() != want {
				t.Errorf("got %q, want %q", err, want)
			}
		}
		_, err := h.Hold(t.Context(), request(t, "b", "8080-8080:80"))
		wantKind(t, err, cnm.Exists, "endpoint n-a")
		hold1(t, h, "c", "8081-8082:80")
		hold1(t, h, "d", "8081-8082:80")
		_, err = h.Hold(t.Context(), request(t, "b", "8080-8082:80"))
		wantKind(t, err, cnm.Exhausted, "no free port in 8080-8082/tcp on 0.0.0.0 and ::; the first: port 8080/tcp on 0.0.0.0 is held by endpoint n-a; choose another host port")
	})
}

// TestRace has 64 owners and a stranger contend for the same numbers.
func TestRace(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		const lowest, numbers = 20000, 96
		if err := os.WriteFile("/proc/sys/net/ipv4/ip_local_port_range", []byte(fmt.Sprintf("%d %d", lowest, lowest+numbers-1)), 0); err != nil {
			t.Fatal(err)
		}
		h := newHolder(t, Config{})
		begun, stop, strange := make(chan struct{}), make(chan struct{}), make(chan map[uint16]net.Listener)
		go func() { strange <- grab(lowest, numbers, begun, stop) }()
		<-begun
		var wait sync.WaitGroup
		var mu sync.Mutex
		promised := map[cnm.Port]string{}
		for i := range 64 {
			wait.Go(func() {
				owner := strconv.Itoa(i)
				specs := []string{fmt.Sprintf("%d-%d:80", lowest, lowest+numbers-1), fmt.Sprintf("%d:80", lowest+i/2), "80"}
				got, err := h.Hold(t.Context(), request(t, owner, specs[i%3]))
				if err != nil && !errors.Is(err, cnm.Exists) && !errors.Is(err, cnm.Exhausted) {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				for _, p := range got {
					if by, ok := promised[p]; ok {
						t.Errorf("%s is promised to %s and %s", p, by, owner)
					}
					promised[p] = owner
				}
			})
		}
		wait.Wait()
		close(stop)
		grabbed := <-strange
		for port, l := range grabbed {
			if by, ok := promised[cnm.Port{Proto: cnm.TCP, HostIP: netip.IPv4Unspecified(), HostPort: port, Port: 80}]; ok {
				t.Errorf("port %d is promised to %s and a stranger's", port, by)
			}
			_ = l.Close()
		}
		if len(promised) == 0 || len(grabbed) == 0 {
			t.Errorf("%d ports are ours and %d a stranger's: no contention", len(promised), len(grabbed))
		}
		if n := len(h.Held()); n != len(promised) {
			t.Errorf("%d ports are held, want %d", n, len(promised))
		}
	})
}

// grab takes ports as a stranger does until it is stopped, and keeps a few. It
// closes begun with the first of them.
func grab(lowest, numbers int, begun chan<- struct{}, stop <-chan struct{}) map[uint16]net.Listener {
	kept := map[uint16]net.Listener{}
	for i := 0; ; i++ {
		port := uint16(lowest + i*7%numbers)
		if _, mine := kept[port]; !mine {
			l, err := net.Listen("tcp4", netip.AddrPortFrom(netip.IPv4Unspecified(), port).String())
			if err == nil && len(kept) < 8 {
				if kept[port] = l; len(kept) == 1 {
					close(begun)
				}
			} else if err == nil {
				_ = l.Close()
			}
		}
		select {
		case <-stop:
			return kept
		default:
		}
	}
}
