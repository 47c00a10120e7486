// SPDX-License-Identifier: Apache-2.0

package place

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// mostOrder is the longest order, in bytes.
const mostOrder = 128 << 10

// order asks the steward to start a program, whose three files come with it, or
// to send a signal to one that was started.
type order struct {
	ID     int
	Args   []string       `json:",omitempty"`
	Env    []string       `json:",omitempty"`
	Dir    string         `json:",omitempty"`
	Signal syscall.Signal `json:",omitempty"`
}

// report tells that the steward is ready (0), or of a program that it has been
// started, could not be, or has ended.
type report struct {
	ID     int
	PID    int    `json:",omitempty"` // inside, once it is started
	Ended  bool   `json:",omitempty"`
	Status int    `json:",omitempty"` // of one that ended: as a shell gives it
	Error  string `json:",omitempty"`
}

// steward is the first process of a place.
type steward struct {
	conn *net.UnixConn
	mu   sync.Mutex  // guards the rest, and holds the reaping back while a program is started
	ids  map[int]int // of the running programs, by process
}

// serve carries out orders until nobody can give any more.
func serve() error {
	file := os.NewFile(orderFile, "orders")
	conn, err := net.FileConn(file)
	if err := errors.Join(err, file.Close()); err != nil {
		return err
	}
	unixConn, ok := conn.(*net.UnixConn)
	if !ok {
		return fmt.Errorf("descriptor %d is a %T, not a unix socket", orderFile, conn)
	}
	s := &steward{conn: unixConn, ids: map[int]int{}}
	children := make(chan os.Signal, 1)
	signal.Notify(children, unix.SIGCHLD)
	go func() {
		for range children {
			s.reap()
		}
	}()
	if err := s.say(report{}); err != nil {
		return err
	}
	for {
		o, files, err := readOrder(s.conn)
		if err != nil {
			return err
		}
		if o == nil {
			return nil
		}
		if err := s.obey(*o, files); err != nil {
			return err
		}
	}
}

// readOrder reads one order and its files; nil if there will be no more.
func readOrder(conn *net.UnixConn) (*order, []int, error) {
	buf, oob := make([]byte, mostOrder), make([]byte, unix.CmsgSpace(3*4))
	n, m, flags, _, err := conn.ReadMsgUnix(buf, oob)
	if n == 0 { // the test has closed it, or is no more
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	if flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 {
		return nil, nil, fmt.Errorf("an order is longer than %d bytes", mostOrder)
	}
	var o order
	if err := json.Unmarshal(buf[:n], &o); err != nil {
		return nil, nil, err
	}
	messages, err := unix.ParseSocketControlMessage(oob[:m])
	if err != nil {
		return nil, nil, err
	}
	var files []int
	for _, message := range messages {
		fds, err := unix.ParseUnixRights(&message)
		if err != nil {
			return nil, nil, err
		}
		files = append(files, fds...)
	}
	return &o, files, nil
}

func (s *steward) obey(o order, files []int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o.Signal != 0 {
		for pid, id := range s.ids {
			if id == o.ID {
				return unix.Kill(pid, o.Signal)
			}
		}
		return nil // it has ended, and that is told
	}
	defer func() {
		for _, fd := range files {
			_ = unix.Close(fd)
		}
	}()
	pid, err := start(o, files)
	if err != nil {
		return s.say(report{ID: o.ID, Error: err.Error()})
	}
	s.ids[pid] = o.ID
	return s.say(report{ID: o.ID, PID: pid})
}

// start starts a program in a session of its own.
func start(o order, files []int) (int, error) {
	path, err := exec.LookPath(o.Args[0])
	if err != nil {
		return 0, err
	}
	attr := &syscall.ProcAttr{Dir: o.Dir, Env: o.Env, Sys: &syscall.SysProcAttr{Setsid: true}}
	for _, fd := range files {
		attr.Files = append(attr.Files, uintptr(fd))
	}
	pid, err := syscall.ForkExec(path, o.Args, attr)
	if err != nil {
		return 0, &os.PathError{Op: "start", Path: path, Err: err}
	}
	return pid, nil
}

// reap takes note of every program that has ended. The first process is also
// given those that lost their parent.
func (s *steward) reap() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil || pid <= 0 {
			return
		}
		id, ours := s.ids[pid]
		if !ours {
			continue
		}
		delete(s.ids, pid)
		code := status.ExitStatus()
		if status.Signaled() {
			code = 128 + int(status.Signal())
		}
		_ = s.say(report{ID: id, Ended: true, Status: code}) // nobody listens: the next order will not come either
	}
}

func (s *steward) say(r report) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	_, err = s.conn.Write(b)
	return err
}
