// SPDX-License-Identifier: Apache-2.0

package launch

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/kernel/kerneltest"
	"github.com/libnetwork/cnm/kernel/netns"
)

// command is this binary as a command, with its output in a buffer and its notes in the test's log.
func command(t *testing.T, verb string) (Process, *bytes.Buffer) {
	t.Helper()
	var out bytes.Buffer
	p := ourselves(verb)
	p.Stdin, p.Stdout, p.Stderr = nil, &out, &out
	p.Note = func(text string) { t.Log("note:", text) }
	return p, &out
}

// see launches p and gives what the command saw.
func see(t *testing.T, p Process, out *bytes.Buffer) sight {
	t.Helper()
	status, err := Run(t.Context(), p)
	if err != nil || status != 0 {
		t.Fatalf("status %d, %v, said %s", status, err, out)
	}
	var s sight
	if err := json.Unmarshal(out.Bytes(), &s); err != nil {
		t.Fatalf("said %s: %v", out, err)
	}
	return s
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, path, text string) string {
	t.Helper()
	check(t, os.WriteFile(path, []byte(text), 0o644))
	return path
}

// pinned makes a namespace with a path, as a sandbox has it.
func pinned(t *testing.T) (path string, cookie netns.Cookie) {
	t.Helper()
	check(t, os.MkdirAll("/run/netns", 0o755))
	path = "/run/netns/web"
	cookie, err := netns.Make(path, func(netns.Cookie) error { return nil })
	check(t, err)
	t.Cleanup(func() { check(t, netns.Unpin(path)) })
	return path, cookie
}

// etc puts a directory of the test's own over /etc, in which resolv.conf is a link to a link out of it and hostname is missing.
func etc(t *testing.T) {
	t.Helper()
	check(t, unix.Mount("tmpfs", "/etc", "tmpfs", 0, ""))
	t.Cleanup(func() { check(t, unix.Unmount("/etc", unix.MNT_DETACH)) })
	write(t, "/etc/hosts", "the host's hosts")
	check(t, os.MkdirAll("/run/resolve", 0o755))
	write(t, "/run/resolve/real.conf", "the host's resolv.conf")
	check(t, os.Symlink("real.conf", "/run/resolve/stub.conf"))
	check(t, os.Symlink("../run/resolve/stub.conf", "/etc/resolv.conf"))
}

func TestCommandIsInTheSandbox(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		etc(t)
		path, cookie := pinned(t)
		dir := t.TempDir()
		before := look()
		p, out := command(t, "look")
		p.Sandbox, p.Namespace, p.Cookie, p.Hostname, p.Dir = "web", path, uint64(cookie), "www", "/run"
		p.Hosts = write(t, filepath.Join(dir, "hosts"), "sandbox hosts")
		p.ResolvConf = write(t, filepath.Join(dir, "resolv.conf"), "sandbox resolv.conf")
		p.HostnameFile = write(t, filepath.Join(dir, "hostname"), "sandbox hostname")
		p.Env = append(p.Env, "A=b")
		var notes []string
		p.Note = func(text string) { notes = append(notes, text) }
		s := see(t, p, out)
		if s.Cookie != cookie || s.Hostname != "www" || s.Dir != "/run" {
			t.Errorf("cookie %v (want %v), host name %s, directory %s", s.Cookie, cookie, s.Hostname, s.Dir)
		}
		if s.Hosts != "sandbox hosts" || s.ResolvConf != "sandbox resolv.conf" || s.HostFile != "" {
			t.Errorf("files %q, %q, %q", s.Hosts, s.ResolvConf, s.HostFile)
		}
		if !slices.Contains(s.Env, "A=b") || len(s.Env) != len(p.Env) {
			t.Errorf("environment %v", s.Env)
		}
		if len(s.Files) != 0 {
			t.Errorf("it has our files: %v", s.Files)
		}
		if s.Group != unix.Getpgrp() || s.Session != before.Session {
			t.Errorf("group %d, session %d; ours are %d, %d", s.Group, s.Session, unix.Getpgrp(), before.Session)
		}
		if len(notes) == 0 && !slices.Equal(s.Devices, []string{"lo"}) {
			t.Errorf("/sys shows %v, and nothing was said", s.Devices)
		}
		if s.Cgroup != before.Cgroup {
			t.Errorf("mounts below /sys: %v, before %v", s.Cgroup, before.Cgroup)
		}
		t.Logf("devices %v, notes %q", s.Devices, notes)
		after := look()
		if after.Hosts != before.Hosts || after.ResolvConf != before.ResolvConf || after.Hostname != before.Hostname || after.Cookie != before.Cookie {
			t.Errorf("outside changed: %+v to %+v", before, after)
		}
	})
}

// TestNothingAskedNothingChanged: without a sandbox the command is where we are.
func TestNothingAskedNothingChanged(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		before := look()
		p, out := command(t, "look")
		s := see(t, p, out)
		if s.Cookie != before.Cookie || s.Hostname != before.Hostname || !slices.Equal(s.Devices, before.Devices) || s.Dir != before.Dir || s.Caps != before.Caps {
			t.Errorf("%+v is not %+v", s, before)
		}
	})
}

func TestWrongNamespaceIsRefused(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		path, cookie := pinned(t)
		dir := t.TempDir()
		link := filepath.Join(dir, "link")
		check(t, os.Symlink(path, link))
		fifo := filepath.Join(dir, "fifo")
		check(t, unix.Mkfifo(fifo, 0o600))
		for _, c := range []struct {
			path   string
			cookie netns.Cookie
			kind   cnm.Kind
			text   string
		}{
			{path, cookie + 1, cnm.NotFound, "the namespace of sandbox web is gone; another is at " + path},
			{filepath.Join(dir, "none"), cookie, cnm.Internal, "no such file"},
			{link, cookie, cnm.Internal, "symbolic link"},
			{fifo, cookie, cnm.Internal, "not a network namespace"},
			{"/proc/self/ns/mnt", cookie, cnm.Internal, "network namespace"},
		} {
			p, out := command(t, "look")
			p.Sandbox, p.Namespace, p.Cookie = "web", c.path, uint64(c.cookie)
			status, err := Run(t.Context(), p)
			if status != StatusOurs || err == nil || cnm.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.text) || out.Len() > 0 {
				t.Errorf("%s: status %d, %v (%v), said %s", c.path, status, err, cnm.KindOf(err), out)
			}
		}
	})
}

func TestStatus(t *testing.T) {
	t.Parallel()
	for verb, want := range map[string]int{"exit 0": 0, "exit 7": 7, "exit 255": 255, "die 9": 137, "die 15": 143} {
		p, out := command(t, verb)
		if status, err := Run(t.Context(), p); err != nil || status != want {
			t.Errorf("%s: status %d, %v, said %s", verb, status, err, out)
		}
	}
}

func TestNotExecuted(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	check(t, os.Mkdir(filepath.Join(dir, "folder"), 0o755))
	write(t, filepath.Join(dir, "plain"), "text")
	check(t, os.WriteFile(filepath.Join(dir, "noise"), []byte("noise"), 0o755))
	check(t, os.WriteFile(filepath.Join(dir, "orphan"), []byte("#!/no/such/interpreter\n"), 0o755))
	exe, err := os.Executable()
	check(t, err)
	check(t, os.Symlink(exe, filepath.Join(dir, "good")))
	in := func(name string) string { return filepath.Join(dir, name) }
	for _, c := range []struct {
		command, path string
		status        int
		text          string
	}{
		{in("nothing"), "", StatusNotFound, "does not exist"},
		{in("plain/below"), "", StatusNotFound, "does not exist"},
		{"nothing", dir, StatusNotFound, `command "nothing" is in no directory of PATH (` + dir},
		{"nothing", "", StatusNotFound, "PATH ()"},
		{in("plain"), "", StatusNotExecutable, "permission denied"},
		{"plain", dir, StatusNotExecutable, "permission denied"},
		{in("folder"), "", StatusNotExecutable, "is a directory"},
		{in("noise"), "", StatusNotExecutable, "exec format error"},
		{in("orphan"), "", StatusNotExecutable, "its interpreter is missing"},
		{"good", "/no/such:" + dir, 0, ""},
	} {
		p, out := command(t, "exit 0")
		p.Command = []string{c.command}
		p.Env = append(p.Env, "PATH="+c.path)
		status, err := Run(t.Context(), p)
		if status != c.status || (err == nil) != (c.text == "") || err != nil && !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: status %d, %v, said %s", c.command, status, err, out)
		}
	}
	p, _ := command(t, "exit 0")
	p.Dir = in("nothing")
	if status, err := Run(t.Context(), p); status != StatusOurs || !strings.Contains(err.Error(), "give a directory") {
		t.Errorf("status %d, %v", status, err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if status, err := Run(ended, p); status != StatusOurs || !errors.Is(err, context.Canceled) {
		t.Errorf("status %d, %v", status, err)
	}
}

// TestUser: root becomes another and loses its powers; who is not root is told so. Where only one user exists, as in a user
// namespace without a range, root stays root and another is refused.
func TestUser(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	exe, err := os.Executable()
	check(t, err)
	// A directory of a test is not for others; the command is opened before by its name.
	for d := exe; d != "/"; d = filepath.Dir(d) {
		if st, err := os.Stat(d); err != nil || st.Mode().Perm()&0o005 != 0o005 {
			exe = ""
			break
		}
	}
	p, out := command(t, "look")
	if exe == "" {
		data, err := os.ReadFile(p.Command[0])
		check(t, err)
		open, err := os.MkdirTemp("", "cnm-launch-") //nolint:usetesting // others may not enter t.TempDir
		check(t, err)
		t.Cleanup(func() { check(t, os.RemoveAll(open)) })
		check(t, os.Chmod(open, 0o755))
		p.Command = []string{filepath.Join(open, "test")}
		check(t, os.WriteFile(p.Command[0], data, 0o755))
	}
	p.User, p.Dir = "12345:54321", "/"
	if os.Geteuid() != 0 {
		if status, err := Run(t.Context(), p); status != StatusOurs || !errors.Is(err, cnm.NotPermitted) {
			t.Errorf("status %d, %v", status, err)
		}
		return
	}
	s := see(t, p, out)
	if s.UID != 12345 || s.GID != 54321 || !slices.Equal(s.Groups, []int{54321}) || strings.Trim(s.Caps, "0") != "" {
		t.Errorf("got %+v", s)
	}
	p, _ = command(t, "look")
	p.User, p.Dir = "12345", dir
	if status, err := Run(t.Context(), p); status != StatusOurs || !errors.Is(err, cnm.NotPermitted) {
		t.Errorf("another's directory: status %d, %v", status, err)
	}
}

func TestUserInAUserNamespace(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		p, out := command(t, "look")
		p.User = "0:0"
		if s := see(t, p, out); s.UID != 0 || s.GID != 0 || strings.Trim(s.Caps, "0") == "" {
			t.Errorf("got %+v", s)
		}
		p, _ = command(t, "look")
		p.User = "5"
		if status, err := Run(t.Context(), p); status != StatusOurs || err == nil || !strings.Contains(err.Error(), "user 5") {
			t.Errorf("status %d, %v", status, err)
		}
	})
}

func TestIdentify(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]identity{
		"12345":      {UID: 12345, GID: 12345, Groups: []int{12345}},
		"12345:7":    {UID: 12345, GID: 7, Groups: []int{7}},
		"12345:root": {UID: 12345, GID: 0, Groups: []int{0}},
		"root:12345": {UID: 0, GID: 12345, Groups: []int{12345}, Name: "root", Home: "/root"},
		"0:0":        {UID: 0, GID: 0, Groups: []int{0}, Name: "root", Home: "/root"},
	} {
		got, err := identify(text)
		if err != nil || got.UID != want.UID || got.GID != want.GID || !slices.Equal(got.Groups, want.Groups) || got.Name != want.Name || got.Home != want.Home {
			t.Errorf("%s is %+v, %v", text, got, err)
		}
	}
	for _, bad := range []string{"no-such-user", ":0", "root:no-such-group", "-1", "4294967295", "0:-1", "0:4294967295", "99999999999"} {
		if got, err := identify(bad); !errors.Is(err, cnm.Invalid) {
			t.Errorf("%s is %+v, %v", bad, got, err)
		}
	}
	env := (&identity{Name: "bob", Home: "/home/bob"}).environ([]string{"HOME=/root", "A=b", "USER=root"})
	if !slices.Equal(env, []string{"A=b", "HOME=/home/bob", "USER=bob", "LOGNAME=bob"}) {
		t.Errorf("environment %v", env)
	}
}

// lines gives a reader's lines as they come.
func lines(r io.Reader) func() string {
	var rest []byte
	buf := make([]byte, 512)
	return func() string {
		for {
			if line, more, ok := bytes.Cut(rest, []byte("\n")); ok {
				rest = more
				return strings.TrimSpace(string(line))
			}
			n, err := r.Read(buf)
			if err != nil {
				return "end: " + err.Error()
			}
			rest = append(rest, buf[:n]...)
		}
	}
}

// TestSignalsArePassedOn sends them to this process, which is alone in its namespaces.
func TestSignalsArePassedOn(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		r, w, err := os.Pipe()
		check(t, err)
		defer r.Close()
		p, _ := command(t, "count")
		p.Stdout = w
		type end struct {
			status int
			err    error
		}
		ended := make(chan end, 1)
		go func() {
			status, err := Run(context.Background(), p)
			w.Close()
			ended <- end{status, err}
		}()
		next := lines(r)
		if got := next(); got != "ready" {
			t.Fatal(got)
		}
		for _, s := range []syscall.Signal{syscall.SIGUSR1, syscall.SIGHUP, syscall.SIGTERM} {
			check(t, syscall.Kill(os.Getpid(), s))
			if got := next(); got != s.String() {
				t.Errorf("got %s for %v", got, s)
			}
		}
		if e := <-ended; e.status != 2 || e.err != nil {
			t.Errorf("status %d, %v", e.status, e.err)
		}
	})
}

// fifo is a named pipe that the far end writes once; what it wrote comes from the channel.
func fifo(t *testing.T) (path string, said <-chan string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "fifo")
	check(t, unix.Mkfifo(path, 0o600))
	out := make(chan string, 1)
	go func() { data, err := os.ReadFile(path); out <- string(data) + errText(err) }()
	return path, out
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// TestDetached: the command has a session of its own and no terminal, and when it has ended our own program comes.
func TestDetached(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		for _, keeper := range []bool{true, false} {
			path, said := fifo(t)
			var done <-chan string
			p, out := command(t, "show "+path)
			p.Detach = true
			if keeper {
				var after string
				after, done = fifo(t)
				p.After = []string{"after", after}
			}
			if status, err := Run(t.Context(), p); status != 0 || err != nil || out.Len() > 0 {
				t.Fatalf("status %d, %v, said %s", status, err, out)
			}
			var s sight
			check(t, json.Unmarshal([]byte(<-said), &s))
			ours, err := unix.Getsid(0)
			check(t, err)
			if s.Session == ours || s.Input != "/dev/null" || keeper && s.Parent != s.Session || len(s.Files) != 0 {
				t.Errorf("got %+v; our session is %d", s, ours)
			}
			if keeper {
				if got := <-done; got != "after" {
					t.Errorf("after the end: %s", got)
				}
			}
		}
		p, _ := command(t, "exit 0")
		p.Detach, p.After, p.Command = true, []string{"after", "/no/such/fifo"}, []string{"/no/such/command"}
		if status, err := Run(t.Context(), p); status != StatusNotFound || err == nil {
			t.Errorf("status %d, %v", status, err)
		}
	})
}

func TestNotOurs(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{nil, {}, {"cnm"}, {"cnm", childName}, {"/bin/" + childName}} {
		if _, mine := Main(args); mine {
			t.Errorf("%v is mine", args)
		}
	}
}

func TestMountsBelow(t *testing.T) {
	t.Parallel()
	if !covered([]string{"/sys/fs/cgroup"}, "/sys/fs/cgroup/cpu") || covered([]string{"/sys/fs/cgroup"}, "/sys/fs/cgroup2") {
		t.Error("covered")
	}
	if _, err := mountsBelow("/sys"); err != nil {
		t.Error(err)
	}
}
