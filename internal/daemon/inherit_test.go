// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
)

const childVariable = "CNM_TEST_INHERITED"

// A socket that another process made, and holds, is ours to answer at, and stays where it is when we end.
func TestInherited(t *testing.T) {
	t.Parallel()
	if path := os.Getenv(childVariable); path != "" {
		serveInherited(t, path)
		return
	}
	path := filepath.Join(t.TempDir(), "s")
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	file, err := ln.File()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for range 2 { // it is away in between, and comes again
		conn, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		child := exec.Command("sh", "-c", `LISTEN_PID=$$ exec "$@"`, "sh", "/proc/"+strconv.Itoa(os.Getpid())+"/exe", "-test.run=^TestInherited$")
		child.Env = append(os.Environ(), childVariable+"="+path, "LISTEN_FDS=1")
		child.ExtraFiles = []*os.File{file}
		if out, err := child.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		buf := make([]byte, 8)
		if n, err := conn.Read(buf); err != nil || string(buf[:n]) != "here" {
			t.Errorf("it answers %q (%v)", buf[:n], err)
		}
	}
}

// serveInherited answers the one that waits.
func serveInherited(t *testing.T, path string) {
	t.Helper()
	all, err := Inherited(os.Getenv)
	if err != nil || len(all) != 1 || all[path] == nil {
		t.Fatalf("inherited %v (%v)", all, err)
	}
	conn, err := all[path].Accept()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write([]byte("here")); err != nil {
		t.Error(err)
	}
	conn.Close()
	if err := all[path].Close(); err != nil {
		t.Error(err)
	}
}

// What a service manager hands to others, or not well, is not taken.
func TestInheritedIsForUs(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pid, fds string
		bad      bool
	}{{"", "", false}, {"1", "1", false}, {strconv.Itoa(os.Getpid()), "x", true}, {strconv.Itoa(os.Getpid()), "-1", true}, {strconv.Itoa(os.Getpid()), "0", false}} {
		words := map[string]string{"LISTEN_PID": c.pid, "LISTEN_FDS": c.fds}
		all, err := Inherited(func(key string) string { return words[key] })
		if len(all) != 0 || (err != nil) != c.bad {
			t.Errorf("%+v: %v (%v)", c, all, err)
		}
	}
}
