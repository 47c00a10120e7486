// SPDX-License-Identifier: Apache-2.0

package sockdiag

import (
	"cmp"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/libnetwork/cnm/kernel/kerneltest"
)

// bind makes a socket of that type and binds it, and listens if it is a stream's.
func bind(t *testing.T, typ int, to string, v6only bool) int {
	t.Helper()
	addr := netip.MustParseAddrPort(to)
	family, sa := unix.AF_INET, unix.Sockaddr(&unix.SockaddrInet4{Port: int(addr.Port())})
	if addr.Addr().Is6() {
		family, sa = unix.AF_INET6, &unix.SockaddrInet6{Port: int(addr.Port()), Addr: addr.Addr().As16()}
	} else if four, ok := sa.(*unix.SockaddrInet4); ok {
		four.Addr = addr.Addr().As4()
	}
	fd, err := unix.Socket(family, typ|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	if family == unix.AF_INET6 {
		only := 0
		if v6only {
			only = 1
		}
		err = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, only)
	}
	if err == nil {
		err = unix.Bind(fd, sa)
	}
	if err == nil && typ == unix.SOCK_STREAM {
		err = unix.Listen(fd, 1)
	}
	if err != nil {
		t.Fatalf("%s: %v", to, err)
	}
	return fd
}

// inodeOf is the number of an open socket.
func inodeOf(t *testing.T, fd int) uint32 {
	t.Helper()
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		t.Fatal(err)
	}
	return uint32(stat.Ino)
}

// onPort lists, in the order of addresses.
func onPort(t *testing.T, proto uint8, port uint16) []Socket {
	t.Helper()
	list, err := OnPort(proto, port)
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(list, func(a, b Socket) int {
		return cmp.Or(a.Local.Compare(b.Local), cmp.Compare(a.State, b.State))
	})
	return list
}

func TestOnPort(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		for _, proto := range []struct {
			number uint8
			typ    int
			state  State
		}{{unix.IPPROTO_TCP, unix.SOCK_STREAM, Listen}, {unix.IPPROTO_UDP, unix.SOCK_DGRAM, Close}} {
			bind(t, proto.typ, "127.0.0.1:79", false) // the neighbours are not meant
			bind(t, proto.typ, "[::1]:81", true)
			four, six := bind(t, proto.typ, "127.0.0.1:80", false), bind(t, proto.typ, "[::1]:80", true)
			dual := bind(t, proto.typ, "[::]:443", false)
			want := []Socket{
				{netip.MustParseAddrPort("127.0.0.1:80"), false, proto.state, inodeOf(t, four)},
				{netip.MustParseAddrPort("[::1]:80"), true, proto.state, inodeOf(t, six)},
			}
			if got := onPort(t, proto.number, 80); !slices.Equal(got, want) {
				t.Errorf("protocol %d: got %+v, want %+v", proto.number, got, want)
			}
			want = []Socket{{netip.MustParseAddrPort("[::]:443"), false, proto.state, inodeOf(t, dual)}}
			if got := onPort(t, proto.number, 443); !slices.Equal(got, want) {
				t.Errorf("protocol %d: got %+v, want %+v", proto.number, got, want)
			}
			if got := onPort(t, proto.number, 8080); len(got) != 0 {
				t.Errorf("protocol %d: got %+v on a port that nobody has", proto.number, got)
			}
		}
	})
}

// TestConnections has one open, and one that its client closed first.
func TestConnections(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		for _, host := range []string{"127.0.0.1", "::1"} {
			var config net.ListenConfig
			listener, err := config.Listen(t.Context(), "tcp", net.JoinHostPort(host, "0"))
			if err != nil {
				t.Fatal(err)
			}
			client, err := net.Dial("tcp", listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			server, err := listener.Accept()
			if err != nil {
				t.Fatal(err)
			}
			local := netip.MustParseAddrPort(client.LocalAddr().String())
			is := func(state State, held bool) {
				t.Helper()
				got := onPort(t, unix.IPPROTO_TCP, local.Port())
				if len(got) != 1 || got[0].Local != local || got[0].State != state || got[0].V6Only != local.Addr().Is6() || (got[0].Inode != 0) != held {
					t.Errorf("got %+v, want %s in state %d", got, local, state)
				}
			}
			is(Established, true)
			// The client is done first, and waits once the server is, too.
			if tcp, ok := client.(*net.TCPConn); !ok || tcp.CloseWrite() != nil {
				t.Fatal("the client cannot close its side")
			}
			_, err = io.ReadAll(server)
			err = errors.Join(err, server.Close())
			_, end := io.ReadAll(client)
			if err := errors.Join(err, end, client.Close(), listener.Close()); err != nil {
				t.Fatal(err)
			}
			is(TimeWait, false)
		}
	})
}

func TestUnknownProtocol(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		if list, err := OnPort(unix.IPPROTO_ICMP, 80); !errors.Is(err, unix.ENOENT) || len(list) > 0 {
			t.Errorf("got %v, %v, want ENOENT", list, err)
		}
	})
}

// answer is a struct inet_diag_msg and its attributes.
func answer(family uint8, state State, local string, attrs ...byte) []byte {
	b := make([]byte, answerLen)
	to := netip.MustParseAddrPort(local)
	b[0], b[1] = family, uint8(state)
	binary.BigEndian.PutUint16(b[4:], to.Port())
	copy(b[8:], to.Addr().AsSlice())
	binary.NativeEndian.PutUint32(b[68:], 4711)
	return append(b, attrs...)
}

func TestParse(t *testing.T) {
	t.Parallel()
	scoped := []byte{5, 0, attrV6Only, 0, 1, 0, 0, 0}
	if binary.NativeEndian.Uint16([]byte{1, 0}) != 1 {
		scoped = []byte{0, 5, 0, attrV6Only, 1, 0, 0, 0}
	}
	for i, c := range []struct {
		b    []byte
		only bool
		ok   bool
	}{
		{answer(unix.AF_INET, Listen, "192.0.2.1:80"), false, true},
		{answer(unix.AF_INET6, Listen, "[2001:db8::1]:80"), false, true},
		{answer(unix.AF_INET6, Listen, "[2001:db8::1]:80", scoped...), true, true},
		{answer(unix.AF_INET6, Established, "[2001:db8::1]:80"), true, true},
		{answer(unix.AF_INET, Listen, "192.0.2.1:80")[:answerLen-1], false, false},
		{answer(unix.AF_INET6, Listen, "[2001:db8::1]:80", 0xff, 0xff, 0, 0), false, false}, // an attribute beyond the end
	} {
		t.Run(strconv.Itoa(i), func(t *testing.T) {
			t.Parallel()
			s, ok := parse(c.b)
			if ok != c.ok || s.V6Only != c.only || ok && (s.Local.Port() != 80 || s.Inode != 4711) {
				t.Errorf("got %+v, %v", s, ok)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add(answer(unix.AF_INET, TimeWait, "192.0.2.1:80"))
	f.Add(answer(unix.AF_INET6, Close, "[2001:db8::1]:80", 5, 0, attrV6Only, 0, 1, 0, 0, 0))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		s, ok := parse(b)
		if ok && !s.Local.Addr().IsValid() || !ok && s != (Socket{}) {
			t.Errorf("got %+v, %v", s, ok)
		}
	})
}
