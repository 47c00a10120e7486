// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// drainTime is how long the pipes of a program that ended may stay open.
const drainTime = 2 * time.Second

// process is a program that runs beside the rows. It is killed when the demo ends, however that ends.
type process struct {
	cmd   *exec.Cmd
	out   *transcript // what it prints to either output
	stdin io.Closer
	done  chan struct{} // closed when it has ended
	err   error         // how it ended; read it after done
}

// begin starts a program.
func begin(env []string, path string, args ...string) (*process, error) {
	p := &process{cmd: exec.Command(path, args...), out: newTranscript(), done: make(chan struct{})}
	p.cmd.Env, p.cmd.Stdout, p.cmd.Stderr, p.cmd.WaitDelay = env, p.out, p.out, drainTime
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var err error
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(p.done)
		p.err = p.cmd.Wait()
		p.out.end()
	}()
	return p, nil
}

// kill is kill -9, and waits for the end.
func (p *process) kill() error {
	err := p.cmd.Process.Kill()
	if err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	<-p.done
	return nil
}

// finish ends the program's input, at which it should end too, well.
func (p *process) finish(ctx context.Context) error {
	if err := p.stdin.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return err
	}
	select {
	case <-p.done:
		return p.err
	case <-ctx.Done():
		return fmt.Errorf("%s did not end with its input: %w", p.cmd.Path, context.Cause(ctx))
	}
}

// cleanEnv is our environment without settings of cnm.
func cleanEnv() []string {
	var env []string
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "CNM_") && !strings.HasPrefix(kv, "NOTIFY_SOCKET=") {
			env = append(env, kv)
		}
	}
	return env
}
