// SPDX-License-Identifier: Apache-2.0

package stage

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"testing"

	cnm "github.com/libnetwork/cnm"
)

// asDaemon is the environment variable that makes the test program a daemon; see [Main].
const asDaemon = "CNM_STAGE_DAEMON"

// ErrGone is the answer of a daemon that died before it could give one.
var ErrGone = errors.New("the daemon is gone")

// Away is a daemon in a process of its own, which can be killed at any moment and started again. What it is asked goes through
// its standard input and output, one JSON value a line.
type Away struct {
	t   testing.TB
	log *journal // of all its processes

	mu  sync.Mutex // guards now
	now *process
}

// process is one life of the daemon.
type process struct {
	log   *journal
	cmd   *exec.Cmd
	stdin io.WriteCloser
	done  chan struct{} // closed when the process has ended and everything it said is read

	mu      sync.Mutex // guards the fields below and stdin
	last    int
	waiting map[int]chan reply
	events  map[chan cnm.Event]context.Context
	gone    bool
}

var _ Verbs = (*Away)(nil)

// question asks for a verb, or, with Stop, to end.
type question struct {
	ID   int
	Verb string
	Args []json.RawMessage
}

// reply answers a question, or, with Event, tells of one.
type reply struct {
	ID     int
	Result json.RawMessage `json:",omitempty"`
	Error  *refusal        `json:",omitempty"`
	Event  *cnm.Event      `json:",omitempty"`
}

// refusal is an error on its way between the processes.
type refusal struct {
	Kind  cnm.Kind
	Field string
	Text  string
}

// StartAway starts a daemon. It ends with the test at the latest: when nobody can ask it any more.
func StartAway(t testing.TB) *Away {
	t.Helper()
	a := &Away{t: t, log: &journal{}}
	t.Cleanup(func() {
		a.Kill()
		if t.Failed() {
			t.Logf("the daemon's log:\n%s", a.log)
		}
	})
	a.Start()
	return a
}

// Start starts a daemon that has ended once more. It returns when the daemon serves.
func (a *Away) Start() {
	a.t.Helper()
	p := &process{log: a.log, done: make(chan struct{}), waiting: map[int]chan reply{}, events: map[chan cnm.Event]context.Context{}}
	self, err := os.Executable()
	if err != nil {
		a.t.Fatal(err)
	}
	p.cmd = exec.Command(self)
	p.cmd.Env = append(os.Environ(), asDaemon+"=1", "GORACE=atexit_sleep_ms=10 "+os.Getenv("GORACE"))
	p.cmd.Stderr = a.log
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		a.t.Fatal(err)
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		a.t.Fatal(err)
	}
	ready := make(chan reply, 1)
	p.waiting[0] = ready // the daemon says by itself when it serves
	if err := p.cmd.Start(); err != nil {
		a.t.Fatalf("start the daemon: %v", err)
	}
	go p.read(stdout)
	a.mu.Lock()
	a.now = p
	a.mu.Unlock()
	if r, ok := <-ready; !ok || r.Error != nil {
		<-p.done
		a.t.Fatalf("the daemon does not start: %+v", r.Error)
	}
}

func (a *Away) process() *process {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.now
}

// Log is what the daemon has logged so far.
func (a *Away) Log() string { return a.log.String() }

// PID is the daemon's process.
func (a *Away) PID() int { return a.process().cmd.Process.Pid }

// Kill ends it at once by SIGKILL and returns when it is gone. It may be repeated.
func (a *Away) Kill() {
	p := a.process()
	if p == nil {
		return // it was never started
	}
	_ = p.cmd.Process.Kill() // it may have ended already
	<-p.done
}

// Stop ends it as a signal to stop would.
func (a *Away) Stop() {
	p := a.process()
	_, _ = ask[struct{}](context.Background(), a, "stop") // there is no answer to this
	<-p.done
}

// read hands out what the daemon says until it ends.
func (p *process) read(stdout io.Reader) {
	lines := bufio.NewReader(stdout)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			break
		}
		var r reply
		if err := json.Unmarshal(line, &r); err != nil {
			fmt.Fprintf(p.log, "the daemon says %q: %v\n", line, err)
			continue
		}
		p.mu.Lock()
		if r.Event != nil {
			for ch, ctx := range p.events {
				select {
				case ch <- *r.Event:
				case <-ctx.Done():
				}
			}
		} else if ch := p.waiting[r.ID]; ch != nil {
			delete(p.waiting, r.ID)
			ch <- r
		}
		p.mu.Unlock()
	}
	_ = p.cmd.Wait() // killed, as a rule
	p.mu.Lock()
	p.gone = true
	for _, ch := range p.waiting {
		close(ch)
	}
	for ch := range p.events {
		close(ch)
	}
	p.waiting, p.events = nil, nil
	p.mu.Unlock()
	_ = p.stdin.Close() // Wait has closed it
	close(p.done)
}

// ask has the daemon do something and gives its answer.
func ask[R any](ctx context.Context, a *Away, verb string, args ...any) (R, error) {
	var result R
	q := question{Verb: verb}
	for _, arg := range args {
		b, err := json.Marshal(arg)
		if err != nil {
			return result, err
		}
		q.Args = append(q.Args, b)
	}
	answer := make(chan reply, 1)
	if err := a.process().send(q, answer); err != nil {
		return result, err
	}
	var r reply
	select {
	case got, ok := <-answer:
		if !ok {
			return result, ErrGone
		}
		r = got
	case <-ctx.Done():
		return result, ctx.Err()
	}
	if len(r.Result) > 0 {
		if err := json.Unmarshal(r.Result, &result); err != nil {
			return result, err
		}
	}
	if r.Error != nil {
		return result, &cnm.Error{Kind: r.Error.Kind, Field: r.Error.Field, Err: errors.New(r.Error.Text)}
	}
	return result, nil
}

// send writes a question down and sees that its answer is heard.
func (p *process) send(q question, answer chan reply) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gone {
		return ErrGone
	}
	p.last++
	q.ID = p.last
	line, err := json.Marshal(q)
	if err != nil {
		return err
	}
	p.waiting[q.ID] = answer
	if _, err := p.stdin.Write(append(line, '\n')); err != nil {
		delete(p.waiting, q.ID)
		return ErrGone
	}
	return nil
}

// Events delivers what happens from now until ctx ends or the daemon does; then the channel is closed.
func (a *Away) Events(ctx context.Context) <-chan cnm.Event {
	p := a.process()
	ch := make(chan cnm.Event, 256)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gone {
		close(ch)
		return ch
	}
	p.events[ch] = ctx //nolint:fatcontext // one entry a reader
	context.AfterFunc(ctx, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if _, ok := p.events[ch]; ok {
			delete(p.events, ch)
			close(ch)
		}
	})
	return ch
}

// The verbs.

func (a *Away) CreateNetwork(ctx context.Context, spec cnm.NetworkSpec) (cnm.Network, error) {
	return ask[cnm.Network](ctx, a, "create network", spec)
}

func (a *Away) DeleteNetwork(ctx context.Context, id cnm.NetworkID, force bool) error {
	_, err := ask[struct{}](ctx, a, "delete network", id, force)
	return err
}

func (a *Away) CreateSandbox(ctx context.Context, spec cnm.SandboxSpec) (cnm.Sandbox, error) {
	return ask[cnm.Sandbox](ctx, a, "create sandbox", spec)
}

func (a *Away) DeleteSandbox(ctx context.Context, id cnm.SandboxID) error {
	_, err := ask[struct{}](ctx, a, "delete sandbox", id)
	return err
}

func (a *Away) CreateEndpoint(ctx context.Context, id cnm.NetworkID, spec cnm.EndpointSpec) (cnm.Endpoint, error) {
	return ask[cnm.Endpoint](ctx, a, "create endpoint", id, spec)
}

func (a *Away) DeleteEndpoint(ctx context.Context, id cnm.EndpointID, force bool) error {
	_, err := ask[struct{}](ctx, a, "delete endpoint", id, force)
	return err
}

func (a *Away) Join(ctx context.Context, id cnm.EndpointID, sb cnm.SandboxID, spec cnm.JoinSpec) (cnm.Attachment, error) {
	return ask[cnm.Attachment](ctx, a, "join", id, sb, spec)
}

func (a *Away) Leave(ctx context.Context, id cnm.EndpointID) error {
	_, err := ask[struct{}](ctx, a, "leave", id)
	return err
}

func (a *Away) Attach(ctx context.Context, spec cnm.AttachSpec) (cnm.Attachment, error) {
	return ask[cnm.Attachment](ctx, a, "attach", spec)
}

func (a *Away) Detach(ctx context.Context, sb cnm.SandboxID, nw cnm.NetworkID) error {
	_, err := ask[struct{}](ctx, a, "detach", sb, nw)
	return err
}

func (a *Away) Publish(ctx context.Context, id cnm.EndpointID, add, remove []cnm.PortSpec) (cnm.Attachment, error) {
	return ask[cnm.Attachment](ctx, a, "publish", id, add, remove)
}

// Records are none where the daemon is gone.
func (a *Away) Records(ctx context.Context) cnm.Records {
	r, err := ask[cnm.Records](ctx, a, "records")
	if err != nil && !errors.Is(err, ErrGone) {
		a.t.Errorf("ask the daemon for its records: %v", err)
	}
	return r
}
