// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Round trips are counted by the kernel, for the floor and the product alike and without the help of either: a process that
// does nothing but attach installs a seccomp filter which reports every send and write to this one before it happens
// (seccomp_unotify(2), Linux 5.5). What goes into a netlink socket is a round trip.

// seccompNotif is struct seccomp_notif, seccompAnswer struct seccomp_notif_resp.
type seccompNotif struct {
	id         uint64
	pid, flags uint32
	nr         int32
	arch       uint32
	ip         uint64
	args       [6]uint64
}

type seccompAnswer struct {
	id    uint64
	value int64
	errno int32
	flags uint32
}

const (
	notifReceive = 0xc0502100 // SECCOMP_IOCTL_NOTIF_RECV
	notifSend    = 0xc0182101 // SECCOMP_IOCTL_NOTIF_SEND
	goOn         = 1          // SECCOMP_USER_NOTIF_FLAG_CONTINUE
	listenerFd   = 100        // where the counted process has its listener
)

// phase is what the counted process is at; it says so by a write of so many bytes to no file at all.
type phase uint64

const (
	betweenPhases phase = iota + 1
	floorNew
	floorExisting
	productNew
	productExisting
	portNew
	phaseEnd
)

// trips are netlink messages: to rtnetlink, and to netfilter.
type trips struct{ route, netfilter int }

// counter counts the trips of another process by phase.
type counter struct {
	process  int // pidfd
	listener int // its seccomp listener, in this process
	now      phase
	trips    map[phase][]trips // of each attach
}

// least are the trips of the attach that took the fewest. All of a phase need the same; what some have besides is of the daemon's
// watchers, which look at an endpoint when its announcements are late.
func (c *counter) least(p phase) trips {
	return slices.MinFunc(c.trips[p], func(a, b trips) int { return cmp.Compare(a.route+a.netfilter, b.route+b.netfilter) })
}

// measureTrips counts the round trips of attaches.
func measureTrips(ctx context.Context, b *bench) ([]figure, error) {
	c, err := count(ctx, filepath.Join(b.dir, "count"))
	if err != nil {
		return nil, err
	}
	for p := floorNew; p < phaseEnd; p++ {
		// A report that was interrupted comes again: what is told twice has an attach without trips.
		c.trips[p] = slices.DeleteFunc(c.trips[p], func(t trips) bool { return t == trips{} })
		if n := len(c.trips[p]); n != countedTimes {
			return nil, fmt.Errorf("phase %d has %d attaches, not %d", p, n, countedTimes)
		}
	}
	per := func(p phase) (all float64, note string) {
		t := c.least(p)
		return float64(t.route + t.netfilter), fmt.Sprintf("rtnetlink %d, netfilter %d", t.route, t.netfilter)
	}
	var figures []figure
	for _, row := range []struct {
		what           string
		floor, product phase
	}{{"attach from nothing", floorNew, productNew}, {"attach of an existing sandbox", floorExisting, productExisting}} {
		f, fnote := per(row.floor)
		p, pnote := per(row.product)
		figures = append(figures,
			told("floor: round trips, "+row.what, f, "trips").noted("%s", fnote),
			atMost("round trips beyond the floor's, "+row.what, p-f, "trips", moreTrips).noted("%s in all: %s", number(p), pnote))
	}
	p, note := per(portNew)
	return append(figures, told("round trips with a published port", p, "trips").noted("%s", note)), nil
}

// count starts a process in the counted role and counts until it ends.
func count(ctx context.Context, dir string) (*counter, error) {
	cmd, err := reexec(ctx, roleCount, dir)
	if err != nil {
		return nil, err
	}
	listening, said, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer listening.Close()
	cmd.ExtraFiles = []*os.File{said}
	cmd.Stdout = os.Stderr
	// Signals of the runtime's own scheduler would have a reported call begin anew, and be counted twice.
	cmd.Env = append(cmd.Env, "GODEBUG=asyncpreemptoff=1")
	cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWNET
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL // of the thread that starts it
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err = cmd.Start()
	if err = errors.Join(err, said.Close()); err != nil {
		return nil, fmt.Errorf("start the counted process: %w", err)
	}
	c, err := follow(cmd, listening)
	if err != nil {
		err = errors.Join(err, cmd.Process.Kill())
	}
	return c, errors.Join(err, cmd.Wait())
}

// follow waits for the process's listener and serves it to the end.
func follow(cmd *exec.Cmd, listening *os.File) (*counter, error) {
	if _, err := io.Copy(io.Discard, listening); err != nil { // it closes its end: a write would be reported
		return nil, fmt.Errorf("wait for the counted process: %w", err)
	}
	c := &counter{trips: map[phase][]trips{}} //nolint:exhaustive // filled as they are told
	var err error
	if c.process, err = unix.PidfdOpen(cmd.Process.Pid, 0); err != nil {
		return nil, fmt.Errorf("open the counted process: %w", err)
	}
	defer unix.Close(c.process)
	if c.listener, err = unix.PidfdGetfd(c.process, listenerFd, 0); err != nil {
		return nil, fmt.Errorf("take the listener of the counted process, which it has once it is ready: %w", err)
	}
	defer unix.Close(c.listener)
	return c, c.serve()
}

// serve counts what is reported and lets it happen, until the process has ended.
func (c *counter) serve() error {
	for {
		poll := []unix.PollFd{{Fd: int32(c.listener), Events: unix.POLLIN}}
		_, err := unix.Poll(poll, -1)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || poll[0].Revents&unix.POLLIN == 0 {
			return err
		}
		var n seccompNotif
		if err := ioctl(c.listener, notifReceive, unsafe.Pointer(&n)); err != nil {
			if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EINTR) { // the caller was interrupted
				continue
			}
			return fmt.Errorf("receive a report: %w", err)
		}
		c.note(&n)
		answer := seccompAnswer{id: n.id, flags: goOn}
		if err := ioctl(c.listener, notifSend, unsafe.Pointer(&answer)); err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("answer a report: %w", err)
		}
	}
}

// note counts one call.
func (c *counter) note(n *seccompNotif) {
	fd := int32(n.args[0])
	if fd == -1 {
		c.now = phase(n.args[2])
		c.trips[c.now] = append(c.trips[c.now], trips{})
		return
	}
	all := c.trips[c.now]
	if len(all) == 0 {
		return
	}
	t := &all[len(all)-1]
	mine, err := unix.PidfdGetfd(c.process, int(fd), 0)
	if err != nil {
		return
	}
	defer unix.Close(mine)
	domain, err := unix.GetsockoptInt(mine, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err != nil || domain != unix.AF_NETLINK {
		return
	}
	switch protocol, _ := unix.GetsockoptInt(mine, unix.SOL_SOCKET, unix.SO_PROTOCOL); protocol {
	case unix.NETLINK_ROUTE:
		t.route++
	case unix.NETLINK_NETFILTER:
		t.netfilter++
	}
}

func ioctl(fd int, request uintptr, arg unsafe.Pointer) error {
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(arg)); errno != 0 {
		return errno
	}
	return nil
}
