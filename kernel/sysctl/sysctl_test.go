// SPDX-License-Identifier: Apache-2.0

package sysctl

import (
	"errors"
	"io/fs"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/libnetwork/cnm/kernel/kerneltest"
)

func TestWriteAndRead(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		ns := kerneltest.NewNS(t)
		kerneltest.InNS(t, ns, func() {
			for key, value := range map[string]string{
				"net/ipv4/ip_forward":                     "1",
				"net/ipv6/conf/all/forwarding":            "1",
				"net/ipv4/conf/lo/route_localnet":         "0x1",
				"net/ipv6/conf/lo/accept_ra":              "2\n",
				"net/ipv4/ip_local_port_range":            "20000 30000",
				"net/ipv4/ip_unprivileged_port_start":     "0",
				"net/ipv6/conf/default/hop_limit":         "33",
				"net/ipv4/tcp_congestion_control":         "reno",
				"net/ipv6/conf/default/accept_dad":        " 0 ",
				"net/ipv6/conf/default/temp_prefered_lft": "-1",
			} {
				if err := Write(key, value); err != nil {
					t.Error(err)
				}
				if got, err := Read(key); err != nil || !same(got, value) || strings.HasSuffix(got, "\n") {
					t.Errorf("%s is %q (%v), want %q", key, got, err, value)
				}
			}
		})
		for _, key := range []string{"net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"} {
			if got, err := Read(key); err != nil || got != "0" {
				t.Errorf("%s is %q (%v) in the other namespace, want 0", key, got, err)
			}
		}
	})
}

// An empty write is one that every kernel takes and ignores.
func TestWriteThatDoesNothing(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		const key = "net/ipv4/conf/lo/promote_secondaries"
		before, err := Read(key)
		if err != nil {
			t.Fatal(err)
		}
		err = Write(key, "")
		ignored, ok := errors.AsType[*IgnoredError](err)
		if !ok || ignored.Key != key || ignored.Wanted != "" || ignored.Found != before {
			t.Fatalf("got %v, want that the write was ignored", err)
		}
		want := `sysctl net/ipv4/conf/lo/promote_secondaries is "` + before + `" after writing "": the kernel ignores the write here`
		if err.Error() != want {
			t.Errorf("got %q, want %q", err, want)
		}
	})
}

func TestWriteAll(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		err := WriteAll(
			Setting{"net/ipv4/none", "1"},
			Setting{"net/ipv4/ip_forward", "1"},
			Setting{"net/ipv6/conf/eth0.5/accept_ra", "1"},
			Setting{"net/ipv6/conf/lo/accept_ra", "many"},
		)
		for _, part := range []string{"net/ipv4/none", "net/ipv6/conf/eth0.5/accept_ra", "net/ipv6/conf/lo/accept_ra", `"many"`} {
			if err == nil || !strings.Contains(err.Error(), part) {
				t.Errorf("%v does not name %s", err, part)
			}
		}
		if !errors.Is(err, fs.ErrNotExist) || !errors.Is(err, unix.EINVAL) {
			t.Errorf("%v is not told as absent and as invalid", err)
		}
		if got, err := Read("net/ipv4/ip_forward"); err != nil || got != "1" {
			t.Errorf("ip_forward is %q (%v): the writes stopped at a failure", got, err)
		}
		if err := WriteAll(Setting{"net/ipv4/ip_forward", "0"}, Setting{"net/ipv6/conf/all/forwarding", "0"}); err != nil {
			t.Error(err)
		}
	})
}

func TestKeys(t *testing.T) {
	t.Parallel()
	for _, key := range []string{
		"", "net", "net/", "/net/ipv4/ip_forward", "net/../kernel/hostname", "net/ipv4/./ip_forward", "net//ipv4/ip_forward",
		"net/ipv4/ip_forward/", "kernel/hostname", "net/..", "net.ipv4.ip_forward", "net/ipv4/ip\x00_forward", "net/ipv4/conf/../../../vm/x",
	} {
		if _, err := Read(key); !errors.Is(err, ErrKey) {
			t.Errorf("Read(%q) gave %v, want ErrKey", key, err)
		}
		if err := Write(key, "1"); !errors.Is(err, ErrKey) {
			t.Errorf("Write(%q) gave %v, want ErrKey", key, err)
		}
	}
	for _, key := range []string{"net/ipv6/conf/eth0.5/mtu", "net/ipv4/conf/..eth/x", "net/ipv4/conf/a b/x"} {
		if !valid(key) {
			t.Errorf("%q is not taken as a key", key)
		}
	}
}

func TestSame(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		a, b string
		want bool
	}{
		{"1", "1", true},
		{"1", "0", false},
		{"0x10", "16", true},
		{"1 2", "1\t2\n", true},
		{"1 2", "12", false},
		{"reno", "cubic", false},
		{"reno", "1", false},
		{"", "", true},
		{"", "0", false},
		{"-1", "4294967295", false},
	} {
		if got := same(test.a, test.b); got != test.want {
			t.Errorf("same(%q, %q) = %v", test.a, test.b, got)
		}
	}
}

func BenchmarkWrite(b *testing.B) {
	kerneltest.Bench(b, func(b *testing.B) {
		for b.Loop() {
			if err := Write("net/ipv4/ip_local_port_range", "20000 30000"); err != nil {
				b.Fatal(err)
			}
		}
	})
}
