// SPDX-License-Identifier: Apache-2.0

package netns

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"

	"golang.org/x/sys/unix"
)

// threadPath names the network namespace of the calling thread. /proc/self
// would name that of the main thread.
const threadPath = "/proc/thread-self/ns/net"

// outcome is how a function on a borrowed thread ended.
type outcome struct {
	err    error
	panics *panicError
	exited bool // by runtime.Goexit, as testing's FailNow does
}

// panicError carries a panic from the borrowed thread to the caller together with
// the stack on which it happened.
type panicError struct {
	value any
	stack []byte
}

// Error gives the panic's value and its stack.
func (p *panicError) Error() string { return fmt.Sprintf("%v\n\n%s", p.value, p.stack) }

// Unwrap gives the panic's value where it was an error.
func (p *panicError) Unwrap() error {
	err, _ := p.value.(error)
	return err
}

// onThread runs fn on a locked thread that is not the process's main one and
// returns when the thread is back in the namespace it had before, or on its way
// to be destroyed. fn gets a descriptor of that namespace and may leave the
// thread in any other. A panic of fn is raised again in the caller, and a
// Goexit of fn ends the caller's goroutine too.
func onThread(fn func(home int) error) error {
	result := make(chan outcome, 1)
	go borrow(func() { attempt(fn, result) })
	out := <-result
	if out.panics != nil {
		panic(out.panics)
	}
	if out.exited {
		runtime.Goexit()
	}
	return out.err
}

// inPlace runs fn on the calling thread, which it locks meanwhile, and brings the thread back into the namespace it had. It saves
// the two wake-ups of another thread, which a short fn costs less than. On the process's main thread it is [onThread].
//
// fn must leave the thread the right to go back, as everything does that only makes system calls. Where the kernel refuses the way
// back all the same, inPlace panics with the thread still locked: nobody else runs on it, and it ends with the goroutine.
func inPlace(fn func() error) error {
	runtime.LockOSThread()
	if unix.Gettid() == os.Getpid() {
		runtime.UnlockOSThread()
		return onThread(func(int) error { return fn() })
	}
	home, err := unix.Open(threadPath, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("open the thread's own network namespace: %w", err)
	}
	defer unix.Close(home)
	defer func() {
		if err := unix.Setns(home, unix.CLONE_NEWNET); err != nil {
			panic(fmt.Sprintf("thread %d cannot go back to its network namespace: %v", unix.Gettid(), err))
		}
		runtime.UnlockOSThread()
	}()
	return fn()
}

// borrow calls job on a locked thread that is not the main one. The namespace
// of the main thread is what /proc/PID/ns/net shows of the whole process, and
// the runtime can park but never destroy it. job unlocks the thread, or does
// not where the thread must not be used again.
func borrow(job func()) {
	runtime.LockOSThread()
	if unix.Gettid() != os.Getpid() {
		job()
		return
	}
	defer runtime.UnlockOSThread()
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		job()
	}()
	<-done
}

// attempt runs fn on the calling, locked thread, puts the thread back into the
// namespace it had, releases it only if that worked, and then sends the result.
func attempt(fn func(home int) error, result chan<- outcome) {
	out := outcome{exited: true}
	defer func() { result <- out }()
	home, err := unix.Open(threadPath, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		runtime.UnlockOSThread()
		out = outcome{err: fmt.Errorf("open the thread's own network namespace: %w", err)}
		return
	}
	defer unix.Close(home)
	defer func() {
		if unix.Setns(home, unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		}
	}()
	defer func() {
		if value := recover(); value != nil {
			out = outcome{panics: &panicError{value: value, stack: debug.Stack()}}
		}
	}()
	out = outcome{err: fn(home)}
}
