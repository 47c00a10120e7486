// SPDX-License-Identifier: Apache-2.0

package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/api/server/servertest"
	"github.com/libnetwork/cnm/api/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The fake is what the server needs.
var _ Controller = (*servertest.Fake)(nil)

// rig is a server on a socket of its own, with a caller whose identity the test chooses.
type rig struct {
	t      *testing.T
	fake   *servertest.Fake
	server *Server
	socket string
	log    *logBuffer
	client *http.Client
	stop   func() error
	peer   atomic.Pointer[Peer]
}

// become makes the callers on new connections another.
func (r *rig) become(p Peer) {
	r.peer.Store(&p)
	r.client.CloseIdleConnections()
}

// logBuffer is a log that is read while it is written.
type logBuffer struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// root, reader and member of the group are who calls.
func root() Peer   { return Peer{PID: 1, UID: 0} }
func reader() Peer { return Peer{PID: 2, UID: 1000, GID: 1000, Groups: []uint32{4, 24}} }
func member() Peer { return Peer{PID: 3, UID: 1000, GID: 1000, Groups: []uint32{4, 990}} }

// newRig serves fake to callers that are all peer; change may alter the server before it starts.
func newRig(t *testing.T, peer Peer, change ...func(*Server)) *rig {
	t.Helper()
	r := &rig{t: t, fake: servertest.New(), socket: filepath.Join(t.TempDir(), "s"), log: &logBuffer{}}
	var err error
	r.server, err = New(Config{
		Controller: r.fake, Version: "1.2.3", Group: func() (uint32, bool) { return 990, true },
		Log: slog.New(slog.NewJSONHandler(r.log, &slog.HandlerOptions{Level: slog.LevelInfo})),
	})
	if err != nil {
		t.Fatal(err)
	}
	r.peer.Store(&peer)
	r.server.peer = func(net.Conn) (Peer, error) { return *r.peer.Load(), nil }
	for _, f := range change {
		f(r.server)
	}
	ln, err := Listen(t.Context(), r.socket, 0o600, -1)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.server.Serve(ctx, ln) }()
	r.stop = sync.OnceValue(func() error { cancel(); return <-ended })
	var d net.Dialer
	r.client = &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return d.DialContext(ctx, "unix", r.socket) },
	}}
	t.Cleanup(func() {
		r.client.CloseIdleConnections()
		if err := r.stop(); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	return r
}

// request makes one; body is JSON text, "" for none.
func (r *rig) request(method, path, body string) *http.Request {
	r.t.Helper()
	var in io.Reader
	if body != "" {
		in = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(r.t.Context(), method, "http://cnm"+path, in)
	if err != nil {
		r.t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	return req
}

// send gives status and body.
func (r *rig) send(req *http.Request) (int, string) {
	r.t.Helper()
	resp, err := r.client.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return resp.StatusCode, string(data)
}

func (r *rig) do(method, path, body string) (int, string) {
	r.t.Helper()
	return r.send(r.request(method, path, body))
}

// want sends and decodes what must succeed.
func want[T any](r *rig, method, path, body string) T {
	r.t.Helper()
	var v T
	status, data := r.do(method, path, body)
	if status >= 300 {
		r.t.Fatalf("%s %s: %d %s", method, path, status, data)
	}
	if err := json.Unmarshal([]byte(data), &v); err != nil {
		r.t.Fatalf("%s %s: %q: %v", method, path, data, err)
	}
	return v
}

// refused sends what must fail and gives the error.
func (r *rig) refused(method, path, body string) (int, error) {
	r.t.Helper()
	return r.refusal(r.request(method, path, body))
}

func (r *rig) refusal(req *http.Request) (int, error) {
	r.t.Helper()
	status, data := r.send(req)
	var e wire.Error
	if err := json.Unmarshal([]byte(data), &e); err != nil || e.Message == "" || status < 400 {
		r.t.Fatalf("%s %s: %d %q is no error", req.Method, req.URL, status, data)
	}
	return status, e.Restore()
}

// isKind fails the test unless err is of the kind and its text has the part.
func isKind(t *testing.T, err error, k cnm.Kind, part string) {
	t.Helper()
	if !errors.Is(err, k) || !strings.Contains(err.Error(), part) {
		t.Errorf("got %v (%v), want %v with %q", err, cnm.KindOf(err), k, part)
	}
}
