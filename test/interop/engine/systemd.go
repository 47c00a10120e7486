// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/libnetwork/cnm/test/interop/place"
)

// Systemd is a service manager that was booted in a place: the first process of a process namespace.
type Systemd struct {
	Manager *place.Process

	t     testing.TB
	place *place.Place
}

// boot makes what a manager must not change invisible or read-only to it, and becomes it. It has no more of the machine's than the place has: its
// control groups are of version 2 alone.
const boot = `set -e
mount -t proc none /proc
mount --bind /proc/sys /proc/sys
mount -o remount,bind,ro /proc/sys
mount --bind /proc/sys/net /proc/sys/net
mount -o remount,bind,rw /proc/sys/net
mount --bind /tmp /tmp
mount -o remount,bind,ro /tmp
mount -t tmpfs none /var
mount -t cgroup2 none /sys/fs/cgroup
mount --rbind /dev /dev
mount -o remount,bind,ro /dev
mount --bind /dev/null /dev/kmsg
exec /lib/systemd/systemd --system --unit=interop.target --log-target=null --show-status=false`

// StartSystemd boots one with the units, by name, in which CNM is the daemon's binary. None of the machine's units is started.
func StartSystemd(t testing.TB, p *place.Place, units map[string]string) *Systemd {
	t.Helper()
	s := &Systemd{t: t, place: p}
	p.Write("/run/systemd/system/interop.target", "[Unit]\nDefaultDependencies=no\n")
	for name, text := range units {
		text = strings.ReplaceAll(text, "CNM ", folder(t, cnmVariable)+" ")
		if !strings.Contains(text, "[Unit]\n") {
			text = "[Unit]\n" + text
		}
		text = strings.Replace(text, "[Unit]\n", "[Unit]\nDefaultDependencies=no\n", 1)
		text = strings.Replace(text, "[Service]\n", "[Service]\nStandardOutput=file:/run/"+name+".log\nStandardError=inherit\n", 1)
		p.Write(filepath.Join("/run/systemd/system", name), text)
	}
	ready, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: p.Path(readySocket), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer ready.Close()
	s.Manager = p.Start("systemd", place.Command{
		Args: []string{"unshare", "--pid", "--fork", "--kill-child", "--mount", "--propagation", "private", "sh", "-c", boot},
		Env:  []string{"container=interop", "NOTIFY_SOCKET=" + readySocket},
	})
	s.awaitReady(ready)
	return s
}

// readySocket is where the manager says that it is ready.
const readySocket = "/run/interop.ready"

// awaitReady waits until the manager says that it has started.
func (s *Systemd) awaitReady(ready *net.UnixConn) {
	s.t.Helper()
	if err := ready.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		s.t.Fatal(err)
	}
	buf := make([]byte, 4096)
	for {
		n, err := ready.Read(buf)
		if err != nil {
			s.t.Fatalf("systemd has not said that it is ready: %v; it said:\n%s", err, s.Manager.Log(logLines))
		}
		if slices.Contains(strings.Split(string(buf[:n]), "\n"), "READY=1") {
			return
		}
	}
}

const logLines = 60

// Run runs a command of systemctl's that has to succeed, and gives what it printed. It is answered only where its own process can be seen.
func (s *Systemd) Run(args ...string) string {
	s.t.Helper()
	r := s.systemctl(args...)
	if r.Status != 0 {
		units := s.systemctl("--no-pager", "--full", "--failed", "status")
		logs := s.place.Run(place.Command{Args: []string{"sh", "-c", "tail -n 60 /run/*.service.log"}})
		s.t.Fatalf("systemctl %s: status %d: %s; what failed is\n%s\nand the services said\n%s", strings.Join(args, " "), r.Status, r.Err, units.Out, logs.Out)
	}
	return strings.TrimSpace(r.Out)
}

func (s *Systemd) systemctl(args ...string) place.Result {
	s.t.Helper()
	of := fmt.Sprintf("/proc/%d/ns/", s.Manager.PID)
	return s.place.Run(place.Command{Args: append([]string{"nsenter", "--mount=" + of + "mnt", "--pid=" + of + "pid_for_children", "systemctl"}, args...)})
}
