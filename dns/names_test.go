// SPDX-License-Identifier: Apache-2.0

package dns

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	cnm "github.com/libnetwork/cnm"
)

// fresh is a Names in a directory of the test's own, with a host that has one name server.
func fresh(t *testing.T) (*Names, string) {
	t.Helper()
	dir := t.TempDir()
	conf := filepath.Join(dir, "host-resolv.conf")
	if err := os.WriteFile(conf, []byte("nameserver 192.0.2.53\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return New(Config{RunDir: dir, ResolvConf: conf, UpstreamResolvConf: filepath.Join(dir, "absent")}), dir
}

func text(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestFiles(t *testing.T) {
	t.Parallel()
	n, dir := fresh(t)
	sb := box(nil)
	if err := n.Put(t.Context(), sb, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "sandboxes")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("put made files: %v", err)
	}
	files, err := n.Files(t.Context(), sb, nil)
	if err != nil {
		t.Fatal(err)
	}
	base := filepath.Join(dir, "sandboxes", string(boxID))
	want := cnm.NameFiles{Hosts: base + "/hosts", ResolvConf: base + "/resolv.conf", Hostname: base + "/hostname"}
	if files != want {
		t.Errorf("files %+v, want %+v", files, want)
	}
	for _, f := range []string{files.Hosts, files.ResolvConf, files.Hostname} {
		if info, err := os.Stat(f); err != nil || info.Mode() != 0o644 {
			t.Errorf("%s: %v %v", f, info.Mode(), err)
		}
	}
	if got := text(t, files.Hostname); got != "box\n" {
		t.Errorf("hostname %q", got)
	}
	if got := text(t, files.ResolvConf); !strings.Contains(got, "nameserver 192.0.2.53\n") {
		t.Errorf("resolv.conf %q", got)
	}

	// One that is open, as a bind mount has it, follows; shorter content leaves no tail.
	open, err := os.Open(files.Hosts)
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	for _, at := range [][]cnm.Attachment{{joined("a", nil, "10.1.0.2/24", "fd00:1::2/64")}, nil, {joined("a", nil, "10.1.0.3/24")}} {
		if err := n.Put(t.Context(), sb, at); err != nil {
			t.Fatal(err)
		}
		wanted, err := HostsFile(sb, at)
		if err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 1<<16)
		size, _ := open.ReadAt(got, 0)
		if !bytes.Equal(got[:size], wanted) {
			t.Errorf("the open file has\n%s, want\n%s", got[:size], wanted)
		}
	}
	for range 2 {
		if err := n.Drop(t.Context(), boxID); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(base); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is left: %v", base, err)
	}
}

func TestFilesRefuses(t *testing.T) {
	t.Parallel()
	n, dir := fresh(t)
	for _, id := range []cnm.SandboxID{"", "..", "a/b", "ABC", "x"} {
		sb := cnm.Sandbox{ID: id, Name: "box"}
		_, err := n.Files(t.Context(), sb, nil)
		if !errors.Is(err, cnm.Invalid) || !errors.Is(n.Put(t.Context(), sb, nil), cnm.Invalid) || !errors.Is(n.Drop(t.Context(), id), cnm.Invalid) {
			t.Errorf("id %q: %v", id, err)
		}
	}
	base := filepath.Join(dir, "sandboxes", string(boxID))
	if err := os.MkdirAll(base, 0o755); err != nil {
		t.Fatal(err)
	}
	victim := filepath.Join(dir, "victim")
	if err := os.WriteFile(victim, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	for what, occupy := range map[string]func(path string) error{
		"symlink":   func(path string) error { return os.Symlink(victim, path) },
		"fifo":      func(path string) error { return syscall.Mkfifo(path, 0o600) },
		"directory": func(path string) error { return os.MkdirAll(filepath.Join(path, "inside"), 0o755) },
	} {
		path := filepath.Join(base, "hosts")
		if err := occupy(path); err != nil {
			t.Fatal(err)
		}
		if err := n.Put(t.Context(), box(nil), nil); err != nil {
			t.Errorf("in the place of a %s: %v", what, err)
		}
		if info, err := os.Lstat(path); err != nil || !info.Mode().IsRegular() {
			t.Errorf("the %s is still there: %v", what, err)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	if got := text(t, victim); got != "mine" {
		t.Errorf("a foreign file became %q", got)
	}
	bad := box(func(sb *cnm.Sandbox) { sb.Hostname = "a b" })
	if _, err := n.Files(t.Context(), bad, nil); !errors.Is(err, cnm.Invalid) {
		t.Errorf("hostname: %v", err)
	}
}

// After each write a reader sees the old or the new lines and nothing else.
func TestSteps(t *testing.T) {
	t.Parallel()
	texts := []string{"", "a\n", "first line\nsecond line\n", "first other line\nsecond\nthird, longer line\n"}
	for _, old := range texts {
		for _, content := range texts {
			file := []byte(old)
			for _, s := range steps(len(old), []byte(content)) {
				file = append(file[:s.at], append(s.data, file[min(len(file), int(s.at)+len(s.data)):]...)...)
				if seen := strings.TrimRight(string(file), "\n"); seen != strings.TrimRight(old, "\n") && seen != strings.TrimRight(content, "\n") {
					t.Errorf("between %q and %q the file is %q", old, content, file)
				}
			}
			if got := string(file[:len(content)]); got != content || strings.Trim(string(file[len(content):]), "\n") != "" {
				t.Errorf("from %q to %q gives %q", old, content, file)
			}
		}
	}
}

// Calls for one sandbox come one after the other: the file is always one of the versions.
func TestConcurrentPut(t *testing.T) {
	t.Parallel()
	n, _ := fresh(t)
	sb := box(nil)
	files, err := n.Files(t.Context(), sb, nil)
	if err != nil {
		t.Fatal(err)
	}
	legal := make(map[string]bool)
	var versions [][]cnm.Attachment
	for i := range 8 {
		var at []cnm.Attachment
		for j := range i {
			at = append(at, joined(strconv.Itoa(j), nil, fmt.Sprintf("10.%d.0.2/24", j)))
		}
		versions = append(versions, at)
		whole, err := HostsFile(sb, at)
		if err != nil {
			t.Fatal(err)
		}
		legal[string(whole)] = true
	}
	for round := range 20 {
		var writers sync.WaitGroup
		for _, at := range versions {
			writers.Go(func() {
				if err := n.Put(t.Context(), sb, at); err != nil {
					t.Error(err)
				}
			})
		}
		writers.Wait()
		if got := text(t, files.Hosts); !legal[got] {
			t.Fatalf("after round %d the file is\n%s", round, got)
		}
	}
	if len(n.locks.held) != 0 {
		t.Errorf("%d locks are left", len(n.locks.held))
	}
}

func TestLockWaitsForContext(t *testing.T) {
	t.Parallel()
	n, _ := fresh(t)
	unlock, err := n.locks.take(t.Context(), boxID)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := n.Drop(ctx, boxID); !errors.Is(err, cnm.Unavailable) || !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	unlock()
	if err := n.Drop(t.Context(), boxID); err != nil {
		t.Error(err)
	}
}
