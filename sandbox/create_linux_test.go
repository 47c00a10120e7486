// SPDX-License-Identifier: Apache-2.0

package sandbox

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/kernel/kerneltest"
	"github.com/libnetwork/cnm/kernel/link"
	"github.com/libnetwork/cnm/kernel/netns"
	"github.com/libnetwork/cnm/kernel/sysctl"
)

func TestCreateOwned(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		g := newStage(t)
		sb := g.sandbox("box")
		if sb.Namespace.Path != "/run/cnm/netns/box" || sb.Namespace.Cookie == 0 {
			t.Errorf("namespace %+v", sb.Namespace)
		}
		if target, err := os.Readlink("/run/netns/cnm-box"); target != sb.Namespace.Path {
			t.Errorf("second name leads to %q (%v)", target, err)
		}
		n := g.open(sb)
		if err := g.stack.Furnish(t.Context(), n); err != nil {
			t.Error(err)
		}
		if err := n.ns.Do(func() error {
			for key, want := range map[string]string{
				"net/ipv4/ip_unprivileged_port_start": "0", "net/ipv4/ping_group_range": strings.Replace(g.stack.groups, " ", "\t", 1),
			} {
				if got, err := sysctl.Read(key); err != nil || got != want {
					t.Errorf("%s is %q (%v), want %q", key, got, err, want)
				}
			}
			for _, a := range []string{"127.0.0.1:0", "[::1]:0"} {
				l, err := net.Listen("tcp", a)
				if err != nil {
					return err
				}
				l.Close()
			}
			return nil
		}); err != nil {
			t.Error(err)
		}

		if again, err := g.stack.Create(t.Context(), sb, nil); err != nil || again != sb.Namespace {
			t.Errorf("created again: %+v, %v", again, err)
		}
		other := cnm.Sandbox{ID: cnm.NewSandboxID(), Name: "box", Owned: true}
		if _, err := g.stack.Create(t.Context(), other, nil); !errors.Is(err, cnm.Exists) {
			t.Errorf("another sandbox of the name: %v", err)
		}
		n.Close()
		for range 2 {
			if err := g.stack.Delete(t.Context(), sb); err != nil {
				t.Error(err)
			}
		}
		for _, path := range []string{sb.Namespace.Path, "/run/netns/cnm-box"} {
			if _, err := os.Lstat(path); err == nil {
				t.Errorf("%s is left", path)
			}
		}
		if _, err := g.stack.Open(t.Context(), sb); !errors.Is(err, cnm.NotFound) {
			t.Errorf("opened after its end: %v", err)
		}
	})
}

func TestCreateLeavesForeignNamesAlone(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		g := newStage(t)
		if err := os.MkdirAll("/run/netns", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile("/run/netns/cnm-box", []byte("mine"), 0o600); err != nil {
			t.Fatal(err)
		}
		sb := g.sandbox("box")
		if err := g.stack.Delete(t.Context(), sb); err != nil {
			t.Error(err)
		}
		if text, err := os.ReadFile("/run/netns/cnm-box"); string(text) != "mine" {
			t.Errorf("a foreign file became %q (%v)", text, err)
		}
		for _, name := range []string{"../up", "a/b", "."} {
			_, err := g.stack.Create(t.Context(), cnm.Sandbox{ID: cnm.NewSandboxID(), Name: name, Owned: true}, nil)
			if !errors.Is(err, cnm.Invalid) {
				t.Errorf("name %q: %v", name, err)
			}
		}
	})
}

func TestAdopt(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		g := newStage(t)
		byPath := cnm.Sandbox{ID: cnm.NewSandboxID(), Name: "path", Namespace: cnm.Namespace{Path: g.foreign("one")}}
		g.create(&byPath)
		pid, end := start(t)
		byPID := cnm.Sandbox{ID: cnm.NewSandboxID(), Name: "pid", PID: pid}
		g.create(&byPID)
		if want := fmt.Sprintf("/proc/%d/ns/net", pid); byPID.Namespace.Path != want || byPID.Namespace.Cookie == byPath.Namespace.Cookie {
			t.Errorf("namespace %+v, want path %s", byPID.Namespace, want)
		}
		for _, sb := range []cnm.Sandbox{byPath, byPID} {
			n := g.open(sb)
			cookie, err := n.ns.Cookie()
			if err != nil || uint64(cookie) != sb.Namespace.Cookie {
				t.Errorf("%s: cookie %v (%v), want %d", sb.Name, cookie, err, sb.Namespace.Cookie)
			}
			n.Close()
		}

		// The same path, another namespace.
		g.unpin(byPath.Namespace.Path)
		g.foreign("one")
		end()
		for _, sb := range []cnm.Sandbox{byPath, byPID} {
			if _, err := g.stack.Open(t.Context(), sb); !errors.Is(err, cnm.NotFound) {
				t.Errorf("%s opened: %v", sb.Name, err)
			}
			if err := g.stack.Delete(t.Context(), sb); err != nil {
				t.Error(err)
			}
		}
		if left, err := netns.Open(byPath.Namespace.Path); err != nil {
			t.Errorf("a namespace that is not ours: %v", err)
		} else {
			left.Close()
		}
	})
}

func TestAdoptRefuses(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		g := newStage(t)
		one := g.foreign("one")
		if err := errors.Join(
			os.Symlink(one, "/run/foreign/symlink"),
			unix.Mkfifo("/run/foreign/fifo", 0o600),
			os.WriteFile("/run/foreign/file", nil, 0o600),
			os.Symlink("loop", "/run/foreign/loop"),
		); err != nil {
			t.Fatal(err)
		}
		dead, end := start(t)
		end()
		for name, tc := range map[string]struct {
			sb    cnm.Sandbox
			kind  cnm.Kind
			field string
			says  string
		}{
			"symlink":      {cnm.Sandbox{Namespace: cnm.Namespace{Path: "/run/foreign/symlink"}}, cnm.Invalid, "netns", "netns /run/foreign/symlink: open network namespace /run/foreign/symlink: is a symbolic link, name its target instead; give the path of a network namespace, as /run/netns/NAME"},
			"fifo":         {cnm.Sandbox{Namespace: cnm.Namespace{Path: "/run/foreign/fifo"}}, cnm.Invalid, "netns", "netns /run/foreign/fifo: open network namespace /run/foreign/fifo: not a network namespace; give the path of a network namespace, as /run/netns/NAME"},
			"file":         {cnm.Sandbox{Namespace: cnm.Namespace{Path: "/run/foreign/file"}}, cnm.Invalid, "netns", "; give the path"},
			"directory":    {cnm.Sandbox{Namespace: cnm.Namespace{Path: "/run/foreign"}}, cnm.Invalid, "netns", "; give the path"},
			"mount":        {cnm.Sandbox{Namespace: cnm.Namespace{Path: "/proc/self/ns/mnt"}}, cnm.Invalid, "netns", "; give the path"},
			"relative":     {cnm.Sandbox{Namespace: cnm.Namespace{Path: "run/foreign/one"}}, cnm.Invalid, "netns", `netns "run/foreign/one" is no absolute path; write it as /run/netns/NAME`},
			"nothing":      {cnm.Sandbox{}, cnm.Invalid, "netns", `netns "" is no absolute path; write it as /run/netns/NAME`},
			"missing":      {cnm.Sandbox{Namespace: cnm.Namespace{Path: "/run/foreign/two"}}, cnm.NotFound, "netns", "netns /run/foreign/two: open network namespace /run/foreign/two: no such file or directory; give the path of a network namespace, as /run/netns/NAME"},
			"loop":         {cnm.Sandbox{Namespace: cnm.Namespace{Path: "/run/foreign/loop/one"}}, cnm.Invalid, "netns", "; give the path"},
			"below a file": {cnm.Sandbox{Namespace: cnm.Namespace{Path: "/run/foreign/file/one"}}, cnm.Invalid, "netns", "; give the path"},
			"too long":     {cnm.Sandbox{Namespace: cnm.Namespace{Path: "/" + strings.Repeat("x", 300)}}, cnm.Invalid, "netns", "; give the path"},
			"with a zero":  {cnm.Sandbox{Namespace: cnm.Namespace{Path: "/run/\x00"}}, cnm.Invalid, "netns", "; give the path"},
			"host by path": {cnm.Sandbox{Namespace: cnm.Namespace{Path: "/proc/self/ns/net"}}, cnm.Invalid, "netns", "netns /proc/self/ns/net is the host's own stack; ask for that by its name, as --netns host"},
			"host by pid":  {cnm.Sandbox{PID: os.Getpid()}, cnm.Invalid, "pid", " is in the host's own stack; ask for that by its name, as --netns host"},
			"negative":     {cnm.Sandbox{PID: -1}, cnm.Invalid, "pid", "pid -1: open network namespace of process -1: number is not that of a process: invalid argument; give that of a running process"},
			"too high":     {cnm.Sandbox{PID: 1<<32 + os.Getpid()}, cnm.Invalid, "pid", "; give that of a running process"},
			"dead":         {cnm.Sandbox{PID: dead}, cnm.NotFound, "pid", ": process is gone; give that of a running process"},
		} {
			t.Run(name, func(t *testing.T) {
				tc.sb.ID, tc.sb.Name = cnm.NewSandboxID(), "box"
				_, err := g.stack.Create(t.Context(), tc.sb, nil)
				var e *cnm.Error
				if !errors.As(err, &e) || e.Kind != tc.kind || e.Field != tc.field || !strings.Contains(err.Error(), tc.says) {
					t.Errorf("error %v (kind %v), want %v of %s: %s", err, cnm.KindOf(err), tc.kind, tc.field, tc.says)
				}
			})
		}
	})
}

// TestAdoptErrors is for the refusals of a kernel that no test can have at will.
func TestAdoptErrors(t *testing.T) {
	t.Parallel()
	path, pid := cnm.Sandbox{Namespace: cnm.Namespace{Path: "/a"}}, cnm.Sandbox{PID: 7}
	for _, tc := range []struct {
		sb    cnm.Sandbox
		cause error
		kind  cnm.Kind
		field string
		says  string
	}{
		{path, unix.EACCES, cnm.NotPermitted, "netns", "netns /a: permission denied; the daemon has to be root in the user namespace that owns it"},
		{pid, unix.EPERM, cnm.NotPermitted, "pid", "pid 7: operation not permitted; the daemon has to be root in the user namespace that owns it"},
		{pid, unix.EMFILE, cnm.Exhausted, "pid", "pid 7: too many open files"},
		{path, unix.EIO, cnm.Internal, "netns", "netns /a: input/output error"},
	} {
		err := adoptError(tc.sb, tc.cause)
		var e *cnm.Error
		if !errors.As(err, &e) || e.Kind != tc.kind || e.Field != tc.field || err.Error() != tc.says || !errors.Is(err, tc.cause) {
			t.Errorf("%v (kind %v), want %q, %v of %s", err, cnm.KindOf(err), tc.says, tc.kind, tc.field)
		}
	}
}

func TestHost(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		g := newStage(t)
		sb := cnm.Sandbox{ID: cnm.NewSandboxID(), Name: "host", Host: true}
		g.create(&sb)
		n := g.open(sb)
		if cookie, err := n.ns.Cookie(); cookie != g.stack.host {
			t.Errorf("cookie %v (%v), want %v", cookie, err, g.stack.host)
		}
		before := g.state(sb)
		at := cnm.Attachment{Sandbox: sb}
		if err := errors.Join(plugAndAwait(t.Context(), g.stack, n, at), g.stack.Unplug(t.Context(), n, at)); err != nil {
			t.Error(err)
		}
		if after := g.state(sb); after != before {
			t.Errorf("the host became\n%s, was\n%s", after, before)
		}
	})
}

// An adopted namespace whose path and process are gone lives on with another process.
func TestOpenFindsSurvivors(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		g := newStage(t)
		pid, end := start(t)
		path := "/run/pin"
		bind(t, fmt.Sprintf("/proc/%d/ns/net", pid), path)
		sb := cnm.Sandbox{ID: cnm.NewSandboxID(), Name: "box", Namespace: cnm.Namespace{Path: path}}
		g.create(&sb)
		g.unpin(path)
		g.open(sb).Close()
		end()
		if _, err := g.stack.Open(t.Context(), sb); !errors.Is(err, cnm.NotFound) {
			t.Errorf("opened after its end: %v", err)
		}
	})
}

// bind pins a namespace under another path.
func bind(tb testing.TB, from, to string) {
	tb.Helper()
	if err := os.WriteFile(to, nil, 0o600); err != nil {
		tb.Fatal(err)
	}
	if err := unix.Mount(from, to, "", unix.MS_BIND, ""); err != nil {
		tb.Fatal(err)
	}
}

func TestVanishing(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		g := newStage(t)
		sb := g.sandbox("box")
		at := g.join(sb, 1, nil)
		n := g.open(sb)
		var b link.Batch
		b.DeleteLink(link.Numbered(100 + g.links))
		g.do(link.Here, &b)
		if err := plugAndAwait(t.Context(), g.stack, n, at); !errors.Is(err, cnm.NotFound) {
			t.Errorf("plugged without its link: %v (%v)", err, cnm.KindOf(err))
		}
		if err := g.stack.Unplug(t.Context(), n, at); err != nil {
			t.Errorf("unplugged without its link: %v", err)
		}
		has(t, g.state(sb), "!priority 20000", "!table 2147483")
		if err := g.stack.Delete(t.Context(), sb); err != nil {
			t.Error(err)
		}
		// Held open it lives; the next entry finds it gone.
		if err := g.stack.Unplug(t.Context(), n, at); err != nil {
			t.Error(err)
		}
		n.Close()
		if _, err := g.stack.Open(t.Context(), sb); !errors.Is(err, cnm.NotFound) {
			t.Errorf("opened after its end: %v", err)
		}
	})
}
