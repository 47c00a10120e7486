// SPDX-License-Identifier: Apache-2.0

package place

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	logShown = 60              // lines of a program's log that a failed test shows
	runTime  = 3 * time.Minute // the longest that a command may run: longer than what Docker retries
)

// Command is a program to be run in a place, as the test's user.
type Command struct {
	Args  []string // the program, found in the place's PATH, and its arguments
	Env   []string // beside PATH, HOME and LANG, or in their place
	Dir   string   // "" is /
	Stdin io.Reader
}

// Result is what became of a command.
type Result struct {
	Out, Err string // what it printed, to either output
	Status   int    // as a shell gives it: 128 and the signal's number for one that was killed
	Time     time.Duration
}

// Process is a program that was started in a place.
type Process struct {
	Name string // for messages
	// PID is its number inside of the place.
	PID int

	place   *Place
	id      int
	begun   chan report
	done    chan struct{}
	status  int // read it after done
	journal *journal
	reader  *os.File // of what it prints; nil where that goes to files
}

// Run runs a command to its end. It fails the test if the command cannot be
// started or takes too long, not for its exit status.
func (p *Place) Run(c Command) Result {
	p.t.Helper()
	files, err := outputs(c.Stdin)
	if err != nil {
		p.t.Fatal(err)
	}
	defer closeAll(files)
	began := time.Now()
	program := p.begin(c, c.Args[0], files)
	ctx, cancel := context.WithTimeout(p.t.Context(), runTime)
	defer cancel()
	select {
	case <-program.done:
	case <-ctx.Done():
		program.Signal(syscall.SIGKILL)
		p.t.Fatalf("%s has not ended after %v; it said %s", strings.Join(c.Args, " "), runTime, content(files[1])+content(files[2]))
	}
	return Result{Out: content(files[1]), Err: content(files[2]), Status: program.status, Time: time.Since(began)}
}

// Output runs a command, fails the test unless its exit status is 0, and gives
// what it printed without the space around it.
func (p *Place) Output(args ...string) string {
	p.t.Helper()
	return p.Run(Command{Args: args}).Must(p.t, args...)
}

// Must fails the test unless the command ended well, and gives what it printed
// without the space around it. The words name the command in the failure.
func (r Result) Must(t interface {
	Helper()
	Fatalf(format string, args ...any)
}, words ...string,
) string {
	t.Helper()
	if r.Status != 0 {
		t.Fatalf("%s: status %d: %s", strings.Join(words, " "), r.Status, strings.TrimSpace(r.Out+r.Err))
	}
	return strings.TrimSpace(r.Out)
}

// Start starts a program that runs on, at most until the place ends. What it
// prints is its log.
func (p *Place) Start(name string, c Command) *Process {
	p.t.Helper()
	reader, writer, err := os.Pipe()
	if err != nil {
		p.t.Fatal(err)
	}
	defer writer.Close()
	in, err := input(c.Stdin)
	if err != nil {
		p.t.Fatal(err)
	}
	defer in.Close()
	program := p.begin(c, name, []*os.File{in, writer, writer})
	program.reader = reader
	p.mu.Lock()
	p.logs = append(p.logs, program)
	p.mu.Unlock()
	go program.journal.read(reader)
	return program
}

// begin has the steward start a program with the three files.
func (p *Place) begin(c Command, name string, files []*os.File) *Process {
	p.t.Helper()
	program := &Process{Name: name, place: p, begun: make(chan report, 1), done: make(chan struct{}), journal: newJournal()}
	p.mu.Lock()
	p.last++
	program.id = p.last
	p.programs[program.id] = program
	p.mu.Unlock()
	env := append(slices.Clone(c.Env), "PATH="+p.path, "HOME=/run/home", "LANG=C.UTF-8") // the first of a name counts
	dir := c.Dir
	if dir == "" {
		dir = "/"
	}
	if err := p.order(order{ID: program.id, Args: c.Args, Env: env, Dir: dir}, files...); err != nil {
		p.t.Fatalf("start %s: %v", name, err)
	}
	select {
	case r := <-program.begun:
		if r.Error != "" {
			p.t.Fatalf("start %s: %s", name, r.Error)
		}
		program.PID = r.PID
	case <-p.gone:
		p.t.Fatalf("start %s: the place has ended", name)
	}
	return program
}

// take takes note of what the steward reports.
func (pr *Process) take(r report) {
	if r.Ended {
		pr.status = r.Status
		close(pr.done)
		return
	}
	pr.begun <- r
}

// Signal sends a signal, if it still runs.
func (pr *Process) Signal(signal syscall.Signal) {
	pr.place.t.Helper()
	if err := pr.place.order(order{ID: pr.id, Signal: signal}); err != nil {
		pr.place.t.Errorf("send %v to %s: %v", signal, pr.Name, err)
	}
}

// End sends a signal, if it still runs, waits for its end and gives the exit
// status.
func (pr *Process) End(signal syscall.Signal) int {
	pr.place.t.Helper()
	pr.Signal(signal)
	select {
	case <-pr.done:
	case <-pr.place.gone:
	case <-time.After(patience):
		pr.place.t.Fatalf("%s has not ended %v after %v", pr.Name, patience, signal)
	}
	return pr.status
}

// Done is closed when it has ended.
func (pr *Process) Done() <-chan struct{} { return pr.done }

// Await waits for a line of its log that has the text, from its start on, and
// gives it. It fails the test if the program ends before or takes too long.
func (pr *Process) Await(text string) string {
	pr.place.t.Helper()
	ctx, cancel := context.WithTimeout(pr.place.t.Context(), patience)
	defer cancel()
	line, err := pr.journal.await(ctx, text, pr.done)
	if err != nil {
		pr.place.t.Fatalf("%s: %v", pr.Name, err)
	}
	return line
}

// Log is the last n lines of what it has printed.
func (pr *Process) Log(n int) string { return pr.journal.tail(n) }

// forget lets the log's reader end, though programs that it started may hold
// the other end.
func (pr *Process) forget() { pr.reader.Close() }

// outputs are files for the standard input and both outputs, in memory.
func outputs(stdin io.Reader) ([]*os.File, error) {
	in, err := input(stdin)
	if err != nil {
		return nil, err
	}
	files := []*os.File{in}
	for _, name := range []string{"stdout", "stderr"} {
		fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
		if err != nil {
			closeAll(files)
			return nil, err
		}
		files = append(files, os.NewFile(uintptr(fd), name))
	}
	return files, nil
}

// input is a file in memory with what can be read, or nothing.
func input(from io.Reader) (*os.File, error) {
	if from == nil {
		return os.Open(os.DevNull)
	}
	fd, err := unix.MemfdCreate("stdin", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "stdin")
	if _, err := io.Copy(f, from); err != nil {
		f.Close()
		return nil, err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}

// content is what was written to a file.
func content(f *os.File) string {
	stat, err := f.Stat()
	if err != nil {
		return err.Error()
	}
	b := make([]byte, stat.Size())
	n, err := f.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return err.Error()
	}
	return string(b[:n])
}

// journal is a program's log, line by line.
type journal struct {
	mu    sync.Mutex // guards the rest
	lines []string
	grown chan struct{} // closed when there is more, and then replaced
	ended bool
}

func newJournal() *journal { return &journal{grown: make(chan struct{})} }

// read adds what is read, until its end.
func (j *journal) read(r io.Reader) {
	buf, rest := make([]byte, 32<<10), []byte(nil)
	for {
		n, err := r.Read(buf)
		rest = append(rest, buf[:n]...)
		last := bytes.LastIndexByte(rest, '\n') + 1
		fresh := slices.Collect(strings.Lines(string(rest[:last])))
		rest = append([]byte(nil), rest[last:]...)
		j.mu.Lock()
		j.lines = append(j.lines, fresh...)
		j.ended = err != nil
		close(j.grown)
		j.grown = make(chan struct{})
		j.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// await waits for a line with the text.
func (j *journal) await(ctx context.Context, text string, done <-chan struct{}) (string, error) {
	seen := 0
	var late <-chan time.Time
	for {
		j.mu.Lock()
		fresh, grown, ended := j.lines[seen:], j.grown, j.ended
		j.mu.Unlock()
		for _, line := range fresh {
			if strings.Contains(line, text) {
				return strings.TrimSuffix(line, "\n"), nil
			}
		}
		seen += len(fresh)
		if ended {
			return "", fmt.Errorf("it ended, and never said %q", text)
		}
		select {
		case <-grown:
		case <-done:
			// What it said at last may still be in the pipe, whose end comes when
			// none of its children holds it either.
			done, late = nil, time.After(time.Second)
		case <-late:
			return "", fmt.Errorf("it ended, and never said %q", text)
		case <-ctx.Done():
			return "", fmt.Errorf("it has not said %q: %w", text, context.Cause(ctx))
		}
	}
}

// tail is the last n lines.
func (j *journal) tail(n int) string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Join(j.lines[max(0, len(j.lines)-n):], "")
}
