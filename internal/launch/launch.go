// SPDX-License-Identifier: Apache-2.0

package launch

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"

	cnm "github.com/libnetwork/cnm"
)

// The statuses that are not the command's own.
const (
	StatusOurs          = 125 // the command was not reached
	StatusNotExecutable = 126
	StatusNotFound      = 127
)

// Process is a command to be started in a sandbox.
type Process struct {
	Sandbox   string // its name, for messages
	Namespace string // path of the network namespace; "": the caller's own
	Cookie    uint64 // identity of the namespace
	// Hosts, ResolvConf and HostnameFile take the place of the files in /etc; "" leaves one as it is.
	Hosts, ResolvConf, HostnameFile string
	Hostname                        string // "": the caller's own
	Command                         []string
	Env                             []string // all of it
	User                            string   // NAME or UID, with :GROUP or :GID if wanted; "": the caller's own
	Dir                             string   // "": the caller's own
	// Detach leaves the command running on its own. With After, a process of ours waits for its end and then becomes our own program with these arguments.
	Detach         bool
	After          []string
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Note           func(text string) // told what could not be done and is not needed; nil: nobody
}

// order is what the child is told. Names of users are numbers by then.
type order struct {
	Namespace    string    `json:"namespace"`
	Cookie       uint64    `json:"cookie"`
	Hosts        string    `json:"hosts"`
	ResolvConf   string    `json:"resolv_conf"`
	HostnameFile string    `json:"hostname_file"`
	Hostname     string    `json:"hostname"`
	Command      []string  `json:"command"`
	Env          []string  `json:"env"`
	As           *identity `json:"as"` // nil: as we are
	Dir          string    `json:"dir"`
	Sandbox      string    `json:"sandbox"`
	After        []string  `json:"after"` // of the keeper alone
}

// report is what the child says on its pipe: notes, then, if it could not become the command, why.
type report struct {
	Note   string `json:"note,omitempty"`
	Status int    `json:"status,omitempty"`
	Kind   string `json:"kind,omitempty"`
	Error  string `json:"error,omitempty"`
}

// The names by which a program of ours knows what it was executed for; argv[0] of the child and of the keeper.
const (
	childName  = "cnm-launch"
	keeperName = "cnm-keeper"
)

// Run starts p and waits for its end, unless p is detached. It returns the command's status, 128 and the signal's number
// where a signal ended it; with an error it is 125, 126 or 127. Signals to us are passed on while the command runs, and the end of ctx then
// means nothing: whoever asked the command to end has to wait for it.
func Run(ctx context.Context, p Process) (int, error) {
	if err := ctx.Err(); err != nil {
		return StatusOurs, err
	}
	as, err := identify(p.User)
	if err != nil {
		return StatusOurs, err
	}
	o := order{
		Namespace: p.Namespace, Cookie: p.Cookie, Hosts: p.Hosts, ResolvConf: p.ResolvConf, HostnameFile: p.HostnameFile,
		Hostname: p.Hostname, Command: p.Command, Env: p.Env, As: as, Dir: p.Dir, Sandbox: p.Sandbox,
	}
	if as != nil {
		o.Env = as.environ(o.Env)
	}
	cmd := self(childName, p.Sandbox)
	if p.Detach {
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if o.After = p.After; p.After != nil {
			cmd.Args[0] = keeperName
		}
	} else {
		cmd.Stdin, cmd.Stdout, cmd.Stderr = p.Stdin, p.Stdout, p.Stderr
	}
	relay := listen() // before the start, so that no signal ends us and leaves the command
	defer relay.stop()
	if status, err := start(cmd, &o, p.Note); err != nil {
		return status, err
	}
	if p.Detach {
		return 0, cmd.Process.Release()
	}
	return relay.wait(cmd)
}

// self is our own program under another name. The file is the one that runs, even if it was replaced meanwhile.
func self(name, about string) *exec.Cmd {
	return &exec.Cmd{Path: "/proc/self/exe", Args: []string{name, about}}
}

// start executes the child, gives it its order and returns when it has become the command, or could not: then it is
// gone, and the status is that of its failure.
func start(cmd *exec.Cmd, o *order, note func(string)) (int, error) {
	data, err := json.Marshal(o)
	if err != nil {
		return StatusOurs, err
	}
	orders, orderOut, err := os.Pipe()
	if err != nil {
		return StatusOurs, err
	}
	defer orders.Close()
	reports, reportIn, err := os.Pipe()
	if err != nil {
		return StatusOurs, errors.Join(err, orderOut.Close())
	}
	defer reports.Close()
	cmd.ExtraFiles = []*os.File{orders, reportIn}
	err = cmd.Start()
	reportIn.Close()
	if err != nil {
		return StatusOurs, errors.Join(fmt.Errorf("execute ourselves: %w", err), orderOut.Close())
	}
	_, wrote := orderOut.Write(data)
	closed := orderOut.Close()
	said, err := io.ReadAll(reports)
	if err := errors.Join(wrote, closed, err); err != nil {
		return StatusOurs, errors.Join(fmt.Errorf("speak with the child: %w", err), cmd.Process.Kill(), ended(cmd))
	}
	status, err := heed(said, note)
	if err != nil {
		return status, errors.Join(err, ended(cmd))
	}
	return 0, nil
}

// heed reads the child's reports.
func heed(said []byte, note func(string)) (int, error) {
	for in := json.NewDecoder(bytes.NewReader(said)); ; {
		var r report
		err := in.Decode(&r)
		switch {
		case errors.Is(err, io.EOF):
			return 0, nil
		case err != nil:
			return StatusOurs, fmt.Errorf("read the child's report: %w", err)
		case r.Error != "":
			return r.Status, cnm.Errorf(cnm.KindNamed(r.Kind), "%s", r.Error)
		case note != nil:
			note(r.Note)
		}
	}
}

// ended waits for a child whose status is known already.
func ended(cmd *exec.Cmd) error {
	var exit *exec.ExitError
	if err := cmd.Wait(); err != nil && !errors.As(err, &exit) {
		return err
	}
	return nil
}

// statusOf is the exit status as a shell gives it.
func statusOf(s *os.ProcessState) int {
	if w, ok := s.Sys().(syscall.WaitStatus); ok && w.Signaled() {
		return 128 + int(w.Signal())
	}
	return s.ExitCode()
}
