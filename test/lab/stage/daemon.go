// SPDX-License-Identifier: Apache-2.0

package stage

import (
	"bytes"
	"context"
	"log/slog"
	"sync"
	"testing"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/internal/daemon"
)

// Directories of the daemon, on the test's own tmpfs.
const (
	RunDir   = "/run/cnm"
	stateDir = "/run/cnm-state"
	linkDir  = "/run/netns"
)

// Verbs are what a daemon is asked to do, whether it is in this process or in another.
type Verbs interface {
	CreateNetwork(ctx context.Context, spec cnm.NetworkSpec) (cnm.Network, error)
	DeleteNetwork(ctx context.Context, id cnm.NetworkID, force bool) error
	CreateSandbox(ctx context.Context, spec cnm.SandboxSpec) (cnm.Sandbox, error)
	DeleteSandbox(ctx context.Context, id cnm.SandboxID) error
	CreateEndpoint(ctx context.Context, id cnm.NetworkID, spec cnm.EndpointSpec) (cnm.Endpoint, error)
	DeleteEndpoint(ctx context.Context, id cnm.EndpointID, force bool) error
	Join(ctx context.Context, id cnm.EndpointID, sb cnm.SandboxID, spec cnm.JoinSpec) (cnm.Attachment, error)
	Leave(ctx context.Context, id cnm.EndpointID) error
	Attach(ctx context.Context, spec cnm.AttachSpec) (cnm.Attachment, error)
	Detach(ctx context.Context, sb cnm.SandboxID, nw cnm.NetworkID) error
	Publish(ctx context.Context, id cnm.EndpointID, add, remove []cnm.PortSpec) (cnm.Attachment, error)
	Records(ctx context.Context) cnm.Records
	Events(ctx context.Context) <-chan cnm.Event
}

func config() daemon.Config {
	return daemon.Config{StateDir: stateDir, RunDir: RunDir, Socket: RunDir + "/cnm.sock", SocketMode: 0o666, LinkDir: linkDir, Version: "test"}
}

// Here is a daemon in this process.
type Here struct {
	Verbs
	t     testing.TB
	d     *daemon.Daemon
	stop  context.CancelFunc
	ended chan error
	log   *journal
	once  sync.Once
}

// StartHere starts a daemon, which ends with the test. When it returns the daemon serves.
func StartHere(t testing.TB) *Here {
	t.Helper()
	h := &Here{t: t, log: &journal{}, ended: make(chan error, 1)}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log("the daemon's log:\n" + h.log.String())
		}
	})
	// The test's own context ends before its cleanups, in which the daemon is still needed.
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	h.stop = stop
	var err error
	if h.d, err = daemon.Start(ctx, config(), h.log.logger()); err != nil {
		stop()
		t.Fatalf("start the daemon: %v", err)
	}
	h.Verbs = h.d.Controller()
	ready := make(chan struct{})
	go func() { h.ended <- h.d.Run(ctx, func() { close(ready) }) }()
	t.Cleanup(h.Close)
	select {
	case <-ready:
	case err := <-h.ended:
		h.ended <- err
		t.Fatalf("the daemon ended: %v", err)
	}
	return h
}

// Close ends the daemon as a signal would. It may be repeated.
func (h *Here) Close() {
	h.once.Do(func() {
		h.stop()
		if err := <-h.ended; err != nil {
			h.t.Errorf("the daemon ended: %v", err)
		}
		if err := h.d.Close(); err != nil {
			h.t.Errorf("close the daemon: %v", err)
		}
	})
}

// journal keeps what is logged.
type journal struct {
	mu   sync.Mutex // guards text
	text bytes.Buffer
}

func (j *journal) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(j, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// Write appends to it.
func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(b)
}

// String is all of it.
func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}
