// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// far is a server that counts its connections.
type far struct {
	srv  http.Server
	made atomic.Int32
}

// listen serves at a socket until the test ends or the returned function is called.
func listen(t *testing.T, socket string, h http.HandlerFunc) (f *far, stop func()) {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", socket)
	check(t, err)
	f = &far{}
	f.srv = http.Server{Handler: h, ReadHeaderTimeout: time.Minute, ConnState: func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			f.made.Add(1)
		}
	}}
	done := make(chan struct{})
	go func() { defer close(done); _ = f.srv.Serve(l) }()
	stop = sync.OnceFunc(func() { _ = f.srv.Close(); <-done })
	t.Cleanup(stop)
	return f, stop
}

func linesTo(t *testing.T, socket string) *http.Client {
	t.Helper()
	var d net.Dialer
	c := &http.Client{Transport: &lines{dial: func(ctx context.Context) (net.Conn, error) { return d.DialContext(ctx, "unix", socket) }}}
	t.Cleanup(c.CloseIdleConnections)
	return c
}

// fetch is one request whose answer is read to its end.
func fetch(t *testing.T, c *http.Client, method string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://cnm/", strings.NewReader("question"))
	check(t, err)
	resp, err := c.Do(req)
	check(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	check(t, err)
	return string(text)
}

// TestLineIsKept: calls in a row share a connection, whatever the form of the answers, and a new daemon gets a new one.
func TestLineIsKept(t *testing.T) {
	t.Parallel()
	socket := filepath.Join(t.TempDir(), "s")
	long := strings.Repeat("answer", 10000) // in chunks
	handler := func(w http.ResponseWriter, r *http.Request) {
		switch r.Method {
		case http.MethodDelete:
			w.WriteHeader(http.StatusNoContent)
		case http.MethodPut:
			_, _ = io.WriteString(w, long)
		default:
			_, _ = io.Copy(w, r.Body)
		}
	}
	f, stop := listen(t, socket, handler)
	c := linesTo(t, socket)
	for range 3 {
		if got := fetch(t, c, http.MethodPost); got != "question" {
			t.Errorf("answer %q", got)
		}
		if got := fetch(t, c, http.MethodDelete); got != "" {
			t.Errorf("answer %q", got)
		}
		if got := fetch(t, c, http.MethodPut); got != long {
			t.Errorf("an answer of %d bytes came as %d", len(long), len(got))
		}
	}
	if n := f.made.Load(); n != 1 {
		t.Errorf("%d connections for calls in a row, want 1", n)
	}
	stop()
	again, _ := listen(t, socket, handler)
	if got := fetch(t, c, http.MethodPost); got != "question" || again.made.Load() != 1 {
		t.Errorf("answer %q of the new daemon by %d connections", got, again.made.Load())
	}
}

// TestLineIsGivenUp: a call that ends in the middle of an answer leaves no connection for the next.
func TestLineIsGivenUp(t *testing.T) {
	t.Parallel()
	socket := filepath.Join(t.TempDir(), "s")
	f, _ := listen(t, socket, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "half")
		_ = http.NewResponseController(w).Flush()
		if r.Method == http.MethodGet {
			<-r.Context().Done()
		}
	})
	c := linesTo(t, socket)
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://cnm/", http.NoBody)
	check(t, err)
	resp, err := c.Do(req)
	check(t, err)
	cancel()
	if _, err := io.ReadAll(resp.Body); err == nil {
		t.Error("an answer that was called off came whole")
	}
	check(t, resp.Body.Close())
	if got := fetch(t, c, http.MethodPost); got != "half" || f.made.Load() != 2 {
		t.Errorf("answer %q by connection %d, want the second", got, f.made.Load())
	}
	ended, end := context.WithCancel(t.Context())
	end()
	req, err = http.NewRequestWithContext(ended, http.MethodGet, "http://cnm/", http.NoBody)
	check(t, err)
	resp, err = c.Do(req)
	if err == nil {
		err = resp.Body.Close()
	}
	if !errors.Is(err, context.Canceled) {
		t.Errorf("a call that was called off before it began: %v", err)
	}
}
