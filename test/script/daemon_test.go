// SPDX-License-Identifier: Apache-2.0

package script

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

// patience bounds what a script waits for.
const patience = 10 * time.Second

// daemon is the daemon of a script.
type daemon struct {
	bin, dir string
	flags    []string // with which it was started last
	cmd      *exec.Cmd
	log      *lines
}

// command is `daemon start [FLAG...]`, `daemon stop` (SIGTERM), `daemon kill` (SIGKILL), `daemon reload` (SIGHUP), and
// `daemon says TEXT`, which waits until the log of the daemon that was started last holds TEXT.
func (d *daemon) command(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) == 0 || neg {
		ts.Fatalf("usage: daemon start [FLAG...] | stop | kill | reload | says TEXT")
	}
	switch {
	case args[0] == "start":
		ts.Check(d.launch(args[1:]))
		log := d.log
		ts.Defer(func() { ts.Logf("daemon:\n%s", log.all()) })
	case args[0] == "says" && len(args) == 2 && d.log != nil:
		ts.Check(d.log.await(args[1]))
	case args[0] == "stop":
		ts.Check(d.signal(unix.SIGTERM))
	case args[0] == "kill":
		ts.Check(d.signal(unix.SIGKILL))
	case args[0] == "reload" && d.cmd != nil:
		ts.Check(d.cmd.Process.Signal(unix.SIGHUP))
	default:
		ts.Fatalf("unknown: daemon %s", strings.Join(args, " "))
	}
}

// launch starts the daemon and waits for its word that it is ready.
func (d *daemon) launch(flags []string) error {
	if d.cmd != nil {
		return errors.New("a daemon runs already")
	}
	args := append([]string{"daemon", "--state", filepath.Join(d.dir, "state"), "--run", filepath.Join(d.dir, "run"), "--socket", filepath.Join(d.dir, "cnm.sock")}, flags...)
	d.cmd, d.log = exec.Command(d.bin, args...), &lines{more: make(chan struct{})}
	d.cmd.Dir, d.cmd.SysProcAttr = d.dir, &unix.SysProcAttr{Pdeathsig: unix.SIGKILL}
	out, err := d.cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := d.cmd.Start(); err != nil {
		return err
	}
	log := d.log
	log.reader.Go(func() {
		for in := bufio.NewScanner(out); in.Scan(); {
			log.add(in.Text() + "\n")
		}
		log.end()
	})
	if err := log.await("msg=ready"); err != nil {
		return errors.Join(err, d.signal(unix.SIGKILL))
	}
	d.flags = flags
	return nil
}

// signal ends the daemon and waits for it.
func (d *daemon) signal(s unix.Signal) error {
	if d.cmd == nil {
		return errors.New("no daemon runs")
	}
	cmd := d.cmd
	d.cmd = nil
	if err := cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	d.log.reader.Wait()
	err := cmd.Wait()
	if s == unix.SIGKILL {
		return nil
	}
	return err
}

// lines is text that grows.
type lines struct {
	reader sync.WaitGroup

	mu    sync.Mutex // guards all below
	text  string
	more  chan struct{} // closed at each change
	ended bool
}

func (l *lines) add(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text += text
	close(l.more)
	l.more = make(chan struct{})
}

func (l *lines) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	close(l.more)
}

func (l *lines) all() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text
}

// await waits until the text holds what is wanted.
func (l *lines) await(want string) error {
	late := time.NewTimer(patience)
	defer late.Stop()
	for {
		l.mu.Lock()
		text, more, ended := l.text, l.more, l.ended
		l.mu.Unlock()
		switch {
		case strings.Contains(text, want):
			return nil
		case ended:
			return fmt.Errorf("it ended, and did not say %q:\n%s", want, text)
		}
		select {
		case <-more:
		case <-late.C:
			return fmt.Errorf("it did not say %q in %s:\n%s", want, patience, text)
		}
	}
}
