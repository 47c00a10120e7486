// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/libnetwork/cnm/kernel/link"
)

// countedTimes is how often each phase attaches.
const countedTimes = 10

// beCounted attaches, with the floor and the product, while the process that started it counts.
func beCounted(ctx context.Context, dir string) (err error) {
	conn, err := link.Dial(link.Here)
	if err != nil {
		return err
	}
	if err := errors.Join(conn.RaiseLoopback(), conn.Close()); err != nil {
		return err
	}
	b := &bench{log: logger(), dir: dir}
	defer func() { err = errors.Join(err, b.close()) }()
	p, err := b.product(ctx)
	if err != nil {
		return err
	}
	spots, err := b.countedSpots(ctx)
	if err != nil {
		return err
	}
	boxes, err := p.sandboxes(ctx, countedTimes)
	if err != nil {
		return err
	}
	if _, err := p.attachNew(ctx, 0); err != nil {
		return err
	}
	if err := reportSends(); err != nil {
		return err
	}
	return errors.Join(
		repeat(floorNew, func(i int) error { return b.onFloor(spots[i], (*floor).attachNew) }),
		repeat(floorExisting, func(i int) error { return b.onFloor(spots[countedTimes+i], (*floor).attachExisting) }),
		repeat(productNew, func(i int) error { _, err := p.attachNew(ctx, i%networks); return err }),
		repeat(productExisting, func(i int) error { return p.attach(ctx, boxes[i], i%networks) }),
		repeat(portNew, func(i int) error { _, err := p.attachNew(ctx, i%networks, p.port()); return err }),
		b.byHand.clear(ctx, spots), p.clear(ctx),
	)
}

// countedSpots are the spots of both of the floor's phases; the sandboxes of the second are there.
func (b *bench) countedSpots(ctx context.Context) ([]*spot, error) {
	if _, err := b.worker(ctx, 0); err != nil {
		return nil, err
	}
	all := make([]*spot, 2*countedTimes)
	for i := range all {
		all[i] = b.byHand.spot(i % networks)
		if i < countedTimes {
			continue
		}
		if err := b.byHand.sandbox(all[i]); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// onFloor has the floor do one of its two things.
func (b *bench) onFloor(s *spot, do func(*floor, *spot) error) error {
	_, err := b.workers[0].time(func(f *floor) error { return do(f, s) })
	return err
}

// repeat is one phase.
func repeat(p phase, do func(i int) error) error {
	defer tell(betweenPhases)
	for i := range countedTimes {
		tell(p)
		if err := do(i); err != nil {
			return fmt.Errorf("phase %d, attach %d: %w", p, i, err)
		}
	}
	return nil
}

// tell marks the beginning of an attach of a phase: the call fails, but it is reported.
func tell(p phase) {
	_, _ = unix.Write(-1, make([]byte, p))
}

// reportSends has all threads report their sends and writes from now on, and says so.
func reportSends() error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("no new privileges: %w", err)
	}
	said := os.NewFile(3, "said")
	filter := sendFilter()
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	const flags = unix.SECCOMP_FILTER_FLAG_TSYNC | unix.SECCOMP_FILTER_FLAG_TSYNC_ESRCH | unix.SECCOMP_FILTER_FLAG_NEW_LISTENER
	if err := unix.Prctl(unix.PR_SET_PTRACER, uintptr(os.Getppid()), 0, 0, 0); err != nil && !errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("let the counting process look: %w", err)
	}
	fd, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags, uintptr(unsafe.Pointer(&program)))
	if errno != 0 {
		return fmt.Errorf("seccomp filter with a listener (Linux 5.7): %w", errno)
	}
	if err := unix.Dup3(int(fd), listenerFd, unix.O_CLOEXEC); err != nil {
		return fmt.Errorf("listener: %w", err)
	}
	return said.Close()
}

// sendFilter reports the calls by which messages reach a socket.
func sendFilter() []unix.SockFilter {
	const load, jump, ret = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, unix.BPF_RET | unix.BPF_K
	calls := []uint32{unix.SYS_SENDTO, unix.SYS_SENDMSG, unix.SYS_WRITE, unix.SYS_WRITEV}
	filter := []unix.SockFilter{{Code: load, K: 0}} // the number of the call
	for i, nr := range calls {
		filter = append(filter, unix.SockFilter{Code: jump, K: nr, Jt: uint8(len(calls) - i)})
	}
	return append(filter,
		unix.SockFilter{Code: ret, K: unix.SECCOMP_RET_ALLOW},
		unix.SockFilter{Code: ret, K: unix.SECCOMP_RET_USER_NOTIF})
}
