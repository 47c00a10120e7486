// SPDX-License-Identifier: Apache-2.0

package ports

import (
	"fmt"
	"net/netip"
	"os"
	"slices"
	"testing"

	"github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/kernel/kerneltest"
)

func TestHold(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		addAddress(t, "192.0.2.1")
		addAddress(t, "2001:db8::1")
		h := newHolder(t, Config{})
		for _, tc := range []struct {
			specs   []string
			want    string
			sockets int
		}{
			{[]string{"8080:80"}, "0.0.0.0:8080->80/tcp [::]:8080->80/tcp", 1},
			{[]string{"8080:80/udp"}, "0.0.0.0:8080->80/udp [::]:8080->80/udp", 1},
			{[]string{"8080:80/sctp"}, "0.0.0.0:8080->80/sctp [::]:8080->80/sctp", -1},
			{[]string{"0.0.0.0:8081:80"}, "0.0.0.0:8081->80/tcp", 1},
			{[]string{"[::]:8081:80"}, "[::]:8081->80/tcp", 1},
			{[]string{"192.0.2.1:8082:80", "[2001:db8::1]:8082:80"}, "192.0.2.1:8082->80/tcp [2001:db8::1]:8082->80/tcp", 2},
			{[]string{"9000-9001:80", "9000:81"}, "0.0.0.0:9001->80/tcp [::]:9001->80/tcp 0.0.0.0:9000->81/tcp [::]:9000->81/tcp", 2},
			{[]string{"9010-9012:80-82"}, "0.0.0.0:9010->80/tcp [::]:9010->80/tcp 0.0.0.0:9011->81/tcp [::]:9011->81/tcp 0.0.0.0:9012->82/tcp [::]:9012->82/tcp", 3},
			{nil, "", 0},
		} {
			before := h.Usage().Sockets
			owner := fmt.Sprint(tc.specs)
			got, err := h.Hold(t.Context(), request(t, owner, tc.specs...))
			if err != nil {
				t.Errorf("%v: %v", tc.specs, err)
				continue
			}
			if texts(got) != tc.want {
				t.Errorf("%v gives %s, want %s", tc.specs, texts(got), tc.want)
			}
			if n := h.Usage().Sockets - before; tc.sockets >= 0 && n != tc.sockets {
				t.Errorf("%v takes %d sockets, want %d", tc.specs, n, tc.sockets)
			}
		}
	})
}

func TestHoldAny(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		addAddress(t, "192.0.2.1")
		h := newHolder(t, Config{})
		req := request(t, "a", "80", "80", "80/udp", "80/sctp")
		req.Addresses = append(req.Addresses[1:], netip.MustParseAddr("192.0.2.1"))
		got, err := h.Hold(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != 8 {
			t.Fatalf("got %s, want 8 ports", texts(got))
		}
		for i := 0; i < len(got); i += 2 {
			if got[i].HostPort == 0 || got[i].HostPort != got[i+1].HostPort {
				t.Errorf("%s and %s have not one number", got[i], got[i+1])
			}
		}
		if got[0].HostPort == got[2].HostPort {
			t.Errorf("%s and %s are one", got[0], got[2])
		}
	})
}

func TestHoldIsAllOrNothing(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		q := newQuarantine()
		h := newHolder(t, Config{Quarantine: q})
		hold1(t, h, "a", "8080:80")
		held := hold1(t, h, "b", "8090:80")
		before := h.Held()
		req := request(t, "b", "8090:80", "8091:80", "8092:80/udp", "81", "8080:80")
		req.Held = held
		_, err := h.Hold(t.Context(), req)
		wantKind(t, err, cnm.Exists, "endpoint n-a")
		if after := h.Held(); !slices.Equal(before, after) {
			t.Errorf("held %+v after a refusal, want %+v", after, before)
		}
		if len(q.marks) != 0 {
			t.Errorf("%v in quarantine, though never promised", q.marks)
		}
		hold1(t, h, "c", "8091:80", "8092:80/udp")
	})
}

// TestHoldKeeps changes the list of an endpoint that runs.
func TestHoldKeeps(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		h := newHolder(t, Config{})
		first := hold1(t, h, "a", "8080:80", "81", "9000-9010:82")
		fds := func() map[cnm.Port]int {
			m := map[cnm.Port]int{}
			for _, x := range h.Held() {
				m[x.Port] = x.FD
			}
			return m
		}
		was := fds()
		req := request(t, "a", "81", "9000-9010:82", "9000-9010:83", "8080:84")
		req.Held = first
		second, err := h.Hold(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range first[2:] {
			if !slices.Contains(second, p) {
				t.Errorf("%s was not kept", p)
			}
		}
		now := fds()
		if now[second[6]] != was[first[0]] || second[6].Port != 84 {
			t.Errorf("%s is not held by the socket of %s", second[6], first[0])
		}
		// Let go of what is no longer wanted: the socket stays, for the new port.
		h.Release("a", first[:2])
		if left := fds(); left[second[6]] != was[first[0]] {
			t.Errorf("the socket of %s was closed with %s", second[6], first[0])
		}
		if u := h.Usage(); u.Sockets != 4 {
			t.Errorf("%d sockets, want 4", u.Sockets)
		}
		h.ReleaseAll("a")
		if u := h.Usage(); u.Sockets != 0 || len(h.Held()) != 0 {
			t.Errorf("%d sockets and %v are held at the end", u.Sockets, h.Held())
		}
	})
}

// TestHoldAgain repeats a request, as after a crash.
func TestHoldAgain(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		h := newHolder(t, Config{})
		first := hold1(t, h, "a", "8080:80", "80")
		req := request(t, "a", "8080:80", "80")
		req.Held = first
		second, err := h.Hold(t.Context(), req)
		if err != nil || !slices.Equal(first, second) || h.Usage().Sockets != 2 {
			t.Errorf("got %s (%v) with %d sockets, want %s", texts(second), err, h.Usage().Sockets, texts(first))
		}
	})
}

func TestWithoutIPv6Addresses(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		disable := func(value string) {
			for _, scope := range []string{"all", "default", "lo"} {
				if err := os.WriteFile("/proc/sys/net/ipv6/conf/"+scope+"/disable_ipv6", []byte(value), 0); err != nil {
					t.Fatal(err)
				}
			}
		}
		disable("1")
		defer disable("0")
		h := newHolder(t, Config{})
		if got := texts(hold1(t, h, "a", "8080:80")); got != "0.0.0.0:8080->80/tcp [::]:8080->80/tcp" {
			t.Errorf("got %s", got)
		}
		hold1(t, h, "b", "80", "80/udp")
	})
}
