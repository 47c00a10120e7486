// SPDX-License-Identifier: Apache-2.0

package place

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// ownNamespaces are the namespaces of a place. Its control group namespace is
// made by its first process, once that is in the control groups.
const ownNamespaces = unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC

// keep makes the control groups, starts the first process, and says its number
// on the standard output. When the standard input ends, because the test has
// closed it or is no more, it clears up. It is a process of its own so that it
// does this for a test that was killed, too.
func (p plan) keep() error {
	signal.Ignore(unix.SIGINT, unix.SIGTERM, unix.SIGHUP) // they are for the test, whose end we see
	runtime.LockOSThread()                                // the first process dies with the thread that started it
	groups, err := makeGroups(p.Name)
	if err != nil {
		return errors.Join(err, removeGroups(groups))
	}
	p.Groups, p.Role = groups, asBuilder
	first, err := p.startFirst()
	if err != nil {
		return errors.Join(err, removeGroups(groups))
	}
	fmt.Println(first.Process.Pid)
	ended, closed := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		err = first.Wait()
	}()
	go func() {
		defer close(closed)
		_, _ = io.Copy(io.Discard, os.Stdin)
	}()
	select {
	case <-ended:
		return errors.Join(fmt.Errorf("the first process ended by itself: %w", orNone(err)), removeGroups(groups))
	case <-closed:
	}
	if err := first.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	<-ended
	return removeGroups(groups)
}

// startFirst starts the first process of the place.
func (p plan) startFirst() (*exec.Cmd, error) {
	env, err := p.environment()
	if err != nil {
		return nil, err
	}
	orders := os.NewFile(orderFile, "orders")
	defer orders.Close()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env, cmd.Stderr, cmd.ExtraFiles = env, os.Stderr, []*os.File{orders}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: ownNamespaces, Pdeathsig: syscall.SIGKILL, Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start a process in new namespaces: %w", err)
	}
	return cmd, nil
}

// orNone is err, or an error that says that there was none.
func orNone(err error) error {
	if err == nil {
		return errors.New("with status 0")
	}
	return err
}
