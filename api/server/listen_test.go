// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"

	cnm "github.com/libnetwork/cnm"
)

func TestListenSetsModeAtOnce(t *testing.T) {
	t.Parallel()
	for _, mode := range []fs.FileMode{0o666, 0o660, 0o600} {
		path := filepath.Join(t.TempDir(), "made", "s")
		ln, err := Listen(t.Context(), path, mode, os.Getgid())
		if err != nil {
			t.Fatal(err)
		}
		st, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if st.Mode().Perm() != mode {
			t.Errorf("mode is %v, want %v", st.Mode().Perm(), mode)
		}
		ln.Close()
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the socket is still there: %v", err)
		}
	}
}

func TestListenReplacesTheDeadAlone(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s")
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	dead.Close()
	living, err := Listen(t.Context(), path, 0o600, -1)
	if err != nil {
		t.Fatalf("a dead daemon's socket: %v", err)
	}
	defer living.Close()
	_, err = Listen(t.Context(), path, 0o600, -1)
	isKind(t, err, cnm.Busy, "another daemon answers at "+path)
	if _, err := net.Dial("unix", path); err != nil {
		t.Errorf("the living one was harmed: %v", err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = Listen(t.Context(), file, 0o600, -1)
	isKind(t, err, cnm.Exists, "is no socket")
}

// TestListenRace: of many that start at once on a dead socket, one gets it and goes on having it.
func TestListenRace(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s")
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	dead.Close()
	var wg sync.WaitGroup
	won := make(chan net.Listener, 8)
	for range cap(won) {
		wg.Go(func() {
			ln, err := Listen(context.Background(), path, 0o600, -1)
			if err == nil {
				won <- ln
			} else if !errors.Is(err, cnm.Busy) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if len(won) != 1 {
		t.Fatalf("%d got the socket", len(won))
	}
	ln := <-won
	defer ln.Close()
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatalf("the winner does not answer: %v", err)
	}
	conn.Close()
}

func TestListenKeepsTheUmask(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ln, err := Listen(t.Context(), filepath.Join(dir, "s"), 0o666, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	before := filepath.Join(dir, "f")
	if err := os.WriteFile(before, nil, 0o777); err != nil {
		t.Fatal(err)
	}
	st, err := os.Stat(before)
	if err != nil {
		t.Fatal(err)
	}
	if st.Mode().Perm() == 0o666 {
		t.Errorf("the process has the socket's umask: %v", st.Mode())
	}
}

// TestPeerIsWhoTheKernelSays asks for this very process.
func TestPeerIsWhoTheKernelSays(t *testing.T) {
	t.Parallel()
	ln, err := Listen(t.Context(), filepath.Join(t.TempDir(), "s"), 0o600, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	conn, err := net.Dial("unix", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	other, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	p, err := peerOf(other)
	if err != nil {
		t.Fatal(err)
	}
	groups, err := syscall.Getgroups()
	if err != nil {
		t.Fatal(err)
	}
	if int(p.UID) != os.Geteuid() || int(p.GID) != os.Getegid() || int(p.PID) != os.Getpid() || len(p.Groups) != len(groups) {
		t.Errorf("got %+v, groups %v", p, groups)
	}
	for _, g := range groups {
		if !slices.Contains(p.Groups, uint32(g)) {
			t.Errorf("group %d is missing in %v", g, p.Groups)
		}
	}
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	if _, err := peerOf(a); err == nil {
		t.Error("a pipe has a peer")
	}
}

func TestRoles(t *testing.T) {
	t.Parallel()
	group := func() (uint32, bool) { return 990, true }
	none := func() (uint32, bool) { return 0, false }
	for _, c := range []struct {
		peer  Peer
		group func() (uint32, bool)
		want  Role
	}{
		{root(), none, Change},
		{member(), group, Change},
		{member(), none, ReadNetworks},
		{reader(), group, ReadNetworks},
		{Peer{UID: 5, GID: 0}, none, ReadNetworks}, // without a group nobody is its member, not even gid 0
	} {
		if got := roleOf(c.peer, c.group); got != c.want {
			t.Errorf("%+v is %v, want %v", c.peer, got, c.want)
		}
	}
}
