// SPDX-License-Identifier: Apache-2.0

package place

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/libnetwork/cnm/kernel/netns"
)

// patience bounds what a place itself is waited for. It is for a machine that
// is busy with other things; nothing takes a second of it otherwise.
const patience = time.Minute

// Config says what a place has beside what the machine has.
type Config struct {
	// Unpacked is a folder with unpacked packages. Its usr and etc are laid over
	// the machine's own, and are searched for programs; /usr/local is not.
	Unpacked string
}

// Place is a machine made of namespaces. Its methods fail the test where they
// cannot do what they are asked, and may be called concurrently.
//
// Inside, /run, /var/lib and /opt are empty and in memory, /etc may be changed,
// and /usr is read-only; all else is the machine's own. Control groups begin at
// the place's own.
type Place struct {
	// Name is that of the host and of the control groups, and no other place's.
	Name string
	// Host is the place's own stack, Neighbour another host on its LAN.
	Host, Neighbour Stack

	t      testing.TB
	path   string // PATH inside
	first  int    // the first process
	keeper *exec.Cmd
	stdin  io.Closer // of the keeper, which clears up when it ends
	words  *bytes.Buffer
	conn   *net.UnixConn // to the steward

	end      sync.Once
	mu       sync.Mutex // guards the rest
	last     int
	programs map[int]*Process
	logs     []*Process
	gone     chan struct{} // closed when the steward will report no more
	ready    chan struct{} // closed when the steward takes orders
}

// New makes a place, which ends with the test. It needs root.
func New(t testing.TB, cfg Config) *Place {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("a place needs root: its engines mount, and have control groups of their own")
	}
	p := &Place{
		Name: fmt.Sprintf("cnm-interop-%d-%x", os.Getpid(), time.Now().UnixNano()),
		t:    t, words: &bytes.Buffer{}, programs: map[int]*Process{}, gone: make(chan struct{}), ready: make(chan struct{}),
		path: "/usr/sbin:/usr/bin",
	}
	plan := plan{
		Role: asKeeper, Name: p.Name, Dir: t.TempDir(),
		Unpacked: cfg.Unpacked, Path: p.path,
	}
	var err error
	if p.first, err = p.startKeeper(plan); err != nil {
		t.Fatalf("make a place: %v", err)
	}
	t.Cleanup(p.End)
	go p.listen()
	select {
	case <-p.ready:
	case <-p.gone:
		t.Fatal("make a place: its first process ended") // and End tells what it said
	case <-time.After(patience):
		t.Fatalf("make a place: its first process is not ready after %v", patience)
	}
	ns, err := netns.OfProcess(p.first)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	p.joinLAN(ns)
	return p
}

// startKeeper starts the keeper and gives the number of the first process.
func (p *Place) startKeeper(plan plan) (int, error) {
	ours, theirs, err := orderSocket()
	if err != nil {
		return 0, err
	}
	defer theirs.Close()
	conn, err := net.FileConn(ours)
	if err := errors.Join(err, ours.Close()); err != nil {
		return 0, err
	}
	p.conn, _ = conn.(*net.UnixConn)
	env, err := plan.environment()
	if err != nil {
		return 0, err
	}
	p.keeper = exec.Command("/proc/self/exe")
	p.keeper.Env, p.keeper.Stderr, p.keeper.ExtraFiles = env, p.words, []*os.File{theirs}
	stdin, err := p.keeper.StdinPipe()
	if err != nil {
		return 0, err
	}
	p.stdin = stdin
	stdout, err := p.keeper.StdoutPipe()
	if err != nil {
		return 0, err
	}
	if err := p.keeper.Start(); err != nil {
		return 0, err
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		_ = p.stdin.Close()
		return 0, errors.Join(p.keeper.Wait(), errors.New(p.words.String()))
	}
	return strconv.Atoi(strings.TrimSpace(line))
}

// orderSocket makes both ends of the way from the test to the steward.
func orderSocket() (ours, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	return os.NewFile(uintptr(fds[0]), "orders"), os.NewFile(uintptr(fds[1]), "orders"), nil
}

// End ends the place and everything in it before the test does, and fails the
// test if something is left. The programs' logs are shown if the test has
// failed. Ending again does nothing.
func (p *Place) End() {
	p.t.Helper()
	p.end.Do(p.clearUp)
}

func (p *Place) clearUp() {
	p.t.Helper()
	if p.t.Failed() {
		for _, program := range p.started() {
			p.t.Logf("%s said at last:\n%s", program.Name, program.Log(logShown))
		}
	}
	_ = p.stdin.Close() // the keeper may have ended already
	err := p.keeper.Wait()
	p.conn.Close()
	<-p.gone
	for _, program := range p.started() {
		program.forget()
	}
	if err != nil || p.words.Len() > 0 {
		p.t.Errorf("clear the place up: %v\n%s", err, p.words)
	}
}

// started are the programs that have a log.
func (p *Place) started() []*Process {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]*Process(nil), p.logs...)
}

// listen hands out what the steward reports until it ends.
func (p *Place) listen() {
	defer close(p.gone)
	buf := make([]byte, mostOrder)
	for {
		n, err := p.conn.Read(buf)
		if err != nil || n == 0 {
			return
		}
		var r report
		if json.Unmarshal(buf[:n], &r) != nil {
			return
		}
		if r.ID == 0 {
			close(p.ready)
			continue
		}
		p.mu.Lock()
		program := p.programs[r.ID]
		if r.Ended {
			delete(p.programs, r.ID)
		}
		p.mu.Unlock()
		program.take(r)
	}
}

// Keeper is the process that clears up when the test is no more.
func (p *Place) Keeper() int { return p.keeper.Process.Pid }

// order sends an order, with the files that belong to it.
func (p *Place) order(o order, files ...*os.File) error {
	b, err := json.Marshal(o)
	if err != nil {
		return err
	}
	var fds []int
	for _, f := range files {
		fds = append(fds, int(f.Fd()))
	}
	var oob []byte
	if fds != nil {
		oob = unix.UnixRights(fds...)
	}
	_, _, err = p.conn.WriteMsgUnix(b, oob, nil)
	return err
}

// Path is where the test finds a file of the place. Links in it that are
// absolute lead out of the place.
func (p *Place) Path(inside string) string {
	return filepath.Join("/proc", strconv.Itoa(p.first), "root", inside)
}

// Write makes a file inside, with the folders above it.
func (p *Place) Write(inside, text string) {
	p.t.Helper()
	path := p.Path(inside)
	err := os.MkdirAll(filepath.Dir(path), 0o755)
	if err == nil {
		err = os.WriteFile(path, []byte(text), 0o644)
	}
	if err != nil {
		p.t.Fatal(err)
	}
}

// In runs fn on a thread that is in the network namespace of a process of the
// place, and holds that no longer than fn takes. The number is the one inside.
func (p *Place) In(pid int, fn func() error) error {
	ns, err := netns.Open(p.Path(filepath.Join("/proc", strconv.Itoa(pid), "ns/net")))
	if err != nil {
		return err
	}
	defer ns.Close()
	return ns.Do(fn)
}
