// SPDX-License-Identifier: Apache-2.0

package client

import (
	"bufio"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/api/server"
	"github.com/libnetwork/cnm/api/server/servertest"
	"github.com/libnetwork/cnm/api/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve answers for fake, to members of this process's own group.
func serve(tb testing.TB, fake *servertest.Fake, made ...func(string, time.Duration) *Client) *Client {
	tb.Helper()
	if made == nil {
		made = append(made, New)
	}
	s, err := server.New(server.Config{
		Controller: fake, Log: slog.New(slog.DiscardHandler), Version: "1.2.3",
		Group: func() (uint32, bool) { return uint32(os.Getegid()), true },
	})
	if err != nil {
		tb.Fatal(err)
	}
	socket := filepath.Join(tb.TempDir(), "s")
	ln, err := server.Listen(tb.Context(), socket, 0o600, -1)
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, ln) }()
	c := made[0](socket, 0)
	tb.Cleanup(func() {
		c.Close()
		cancel()
		if err := <-ended; err != nil {
			tb.Error(err)
		}
	})
	return c
}

// must fails the test on an error.
func must[T any](t *testing.T) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// clients are the ways to make one.
func clients() map[string]func(string, time.Duration) *Client {
	return map[string]func(string, time.Duration) *Client{"kept": New, "brief": NewBrief}
}

// TestEveryCall goes once through all methods.
func TestEveryCall(t *testing.T) {
	t.Parallel()
	for name, made := range clients() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			everyCall(t, made)
		})
	}
}

func everyCall(t *testing.T, made func(string, time.Duration) *Client) {
	t.Helper()
	c, ctx := serve(t, servertest.New(), made), t.Context()
	network, endpoint, sandbox := must[wire.Network](t), must[wire.Endpoint](t), must[wire.Sandbox](t)
	pruned := must[wire.Pruned](t)

	nw := network(c.CreateNetwork(ctx, wire.NetworkCreate{Name: "front"}))
	if got := network(c.Network(ctx, "Front")); got.ID != nw.ID {
		t.Errorf("network %+v", got)
	}
	sb := sandbox(c.CreateSandbox(ctx, wire.SandboxCreate{Name: "web"}))
	if got := sandbox(c.Sandbox(ctx, string(sb.ID[:8]))); got.Name != "web" {
		t.Errorf("sandbox %+v", got)
	}
	if got := must[wire.Entry](t)(c.Enter(ctx, "web")); got.Namespace != sb.Namespace {
		t.Errorf("entry %+v", got)
	}
	ep := endpoint(c.CreateEndpoint(ctx, wire.EndpointCreate{Network: "front", Name: "a"}))
	if got := endpoint(c.Endpoint(ctx, "front/a")); got.ID != ep.ID {
		t.Errorf("endpoint %+v", got)
	}
	if got := endpoint(c.Endpoint(ctx, string(ep.ID))); got.Name != "a" {
		t.Errorf("endpoint %+v", got)
	}
	if got := endpoint(c.Join(ctx, wire.Join{Endpoint: "front/a", Sandbox: "web"})); got.Sandbox != "web" {
		t.Errorf("joined %+v", got)
	}
	check(t, c.Leave(ctx, wire.Leave{Endpoint: "front/a"}))
	check(t, c.DeleteEndpoint(ctx, "front/a", false))
	endpoint(c.Attach(ctx, wire.Attach{Sandbox: "web", Network: "front"}))
	if got := must[[]wire.Endpoint](t)(c.Publish(ctx, wire.Publish{Sandbox: "web", Add: []string{"8080:80"}})); got[0].Ports[0].HostPort != 8080 {
		t.Errorf("published %+v", got)
	}
	if got := must[[]wire.Endpoint](t)(c.Endpoints(ctx, "sandbox=web", "name=web")); len(got) != 1 {
		t.Errorf("endpoints %+v", got)
	}
	if got := must[[]wire.Sandbox](t)(c.Sandboxes(ctx)); len(got) != 1 || len(got[0].Endpoints) != 1 {
		t.Errorf("sandboxes %+v", got)
	}
	check(t, c.Detach(ctx, wire.Detach{Sandbox: "web", Network: "front"}))
	endpoint(c.CreateEndpoint(ctx, wire.EndpointCreate{Network: "front", Name: "b"}))
	if got := pruned(c.PruneEndpoints(ctx, wire.Prune{})); len(got.Deleted) != 1 {
		t.Errorf("pruned %+v", got)
	}
	if got := pruned(c.PruneSandboxes(ctx, wire.Prune{DryRun: true})); len(got.Deleted) != 1 {
		t.Errorf("pruned %+v", got)
	}
	check(t, c.DeleteSandbox(ctx, "web"))
	if got := must[wire.Provided](t)(c.Provide(ctx, wire.Provide{
		SandboxCreate: wire.SandboxCreate{Name: "whole", PID: 7, Labels: map[string]string{"a": "b"}}, Attach: []wire.ProvideAttach{{Network: "front"}},
	})); got.Sandbox.PID != 7 || len(got.Sandbox.Endpoints) != 1 {
		t.Errorf("provided %+v", got)
	}
	if err := c.DeleteSandbox(ctx, "whole", "a=b", "c=d"); !errors.Is(err, cnm.NotFound) {
		t.Errorf("deleted another's: %v", err)
	}
	check(t, c.DeleteSandbox(ctx, "whole", "a=b"))
	if got := pruned(c.PruneNetworks(ctx, wire.Prune{Filters: []string{"name=x"}})); len(got.Deleted) != 0 {
		t.Errorf("pruned %+v", got)
	}
	check(t, c.DeleteNetwork(ctx, "front", true))
	if got := must[[]wire.Network](t)(c.Networks(ctx)); len(got) != 0 {
		t.Errorf("networks %+v", got)
	}
	if got := must[[]wire.Driver](t)(c.Drivers(ctx, "name=bridge")); len(got) != 1 {
		t.Errorf("drivers %+v", got)
	}
	if got := must[wire.Driver](t)(c.Driver(ctx, "bridge")); got.Name != "bridge" {
		t.Errorf("driver %+v", got)
	}
	if got := must[string](t)(c.Version(ctx)); got != "1.2.3" {
		t.Errorf("version %s", got)
	}
}

func TestErrorsAreRestored(t *testing.T) {
	t.Parallel()
	for name, made := range clients() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			errorsAreRestored(t, made)
		})
	}
}

func errorsAreRestored(t *testing.T, made func(string, time.Duration) *Client) {
	t.Helper()
	c := serve(t, servertest.New(), made)
	_, err := c.Network(t.Context(), "nope")
	if !errors.Is(err, cnm.NotFound) || err.Error() != `network inspect: there is no network "nope"` {
		t.Errorf("got %v", err)
	}
	for _, ref := range []string{"", ".", "..", "../livez"} {
		if _, err := c.Network(t.Context(), ref); !errors.Is(err, cnm.Invalid) {
			t.Errorf("%q: %v", ref, err)
		}
		if err := c.DeleteSandbox(t.Context(), ref); !errors.Is(err, cnm.Invalid) {
			t.Errorf("%q: %v", ref, err)
		}
		if _, err := c.Endpoint(t.Context(), "a/"+ref); !errors.Is(err, cnm.Invalid) {
			t.Errorf("a/%q: %v", ref, err)
		}
	}
	// What would be a path, a query or a fragment is a name that nothing has.
	for _, ref := range []string{"a/b", "a?force=true", "a#b", "a%2fb", "a b"} {
		if err := c.DeleteNetwork(t.Context(), ref, false); !errors.Is(err, cnm.NotFound) {
			t.Errorf("%q: %v", ref, err)
		}
	}
}

func TestNobodyAnswers(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	absent := filepath.Join(dir, "absent")
	for _, made := range clients() {
		_, err := made(absent, 0).Networks(t.Context())
		if !errors.Is(err, cnm.Unavailable) || err.Error() != "no socket at "+absent+"; start it with: cnm daemon" {
			t.Errorf("absent: %v", err)
		}
	}
	dead := filepath.Join(dir, "dead")
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: dead})
	check(t, err)
	ln.SetUnlinkOnClose(false)
	ln.Close()
	if _, err := New(dead, 0).Networks(t.Context()); !errors.Is(err, cnm.Unavailable) || !strings.Contains(err.Error(), "nobody answers at "+dead) {
		t.Errorf("dead: %v", err)
	}
	if got := New("", 0).Socket(); got != "/run/cnm/cnm.sock" {
		t.Errorf("default %s", got)
	}
}

func TestPermissionIsNamed(t *testing.T) {
	t.Parallel()
	c := New("/s", 0)
	c.http.Transport = &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", os.ErrPermission)}
	}}
	if _, err := c.Networks(t.Context()); !errors.Is(err, cnm.NotPermitted) || !strings.Contains(err.Error(), "permission denied at /s") {
		t.Errorf("got %v", err)
	}
}

// mute is a socket that accepts and says nothing, or something that is no answer.
func mute(t *testing.T, say string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	ln, err := net.Listen("unix", path)
	check(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			defer conn.Close()
			if say != "" {
				_, _ = http.ReadRequest(bufio.NewReader(conn))
				_, _ = conn.Write([]byte(say))
				conn.Close()
			}
		}
	}()
	t.Cleanup(func() { ln.Close(); <-done })
	return path
}

func TestTimeout(t *testing.T) {
	t.Parallel()
	for name, made := range clients() {
		c := made(mute(t, ""), time.Millisecond)
		_, err := c.Networks(t.Context())
		if !errors.Is(err, cnm.Unavailable) || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "in time") {
			t.Errorf("%s: got %v", name, err)
		}
		c.Close()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := made(mute(t, ""), 0).Networks(ctx); !errors.Is(err, cnm.Unavailable) || !errors.Is(err, context.Canceled) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestStrangeAnswers(t *testing.T) {
	t.Parallel()
	for name, made := range clients() {
		for say, kind := range map[string]cnm.Kind{
			"220 mail.example ESMTP\r\n":                                                                        cnm.Unavailable,
			"HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\nnope\n":                                         cnm.Internal,
			"HTTP/1.1 301 Moved\r\nLocation: http://evil/\r\nContent-Length: 0\r\n\r\n":                         cnm.Internal,
			"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nnope\n":                                                cnm.Internal,
			"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n[":                                                    cnm.Unavailable,
			"HTTP/1.1 503 Busy\r\nContent-Length: 42\r\n\r\n{\"kind\":\"unavailable\",\"message\":\"not now\"}": cnm.Unavailable,
			"HTTP/1.1 ok\r\n\r\n": cnm.Unavailable,
		} {
			c := made(mute(t, say), 0)
			if _, err := c.Networks(t.Context()); cnm.KindOf(err) != kind || err == nil {
				t.Errorf("%s: %q: %v (%v)", name, say, err, cnm.KindOf(err))
			}
			c.Close()
		}
	}
}

func TestEvents(t *testing.T) {
	t.Parallel()
	c := serve(t, servertest.New())
	events, err := c.Events(t.Context())
	check(t, err)
	must[wire.Network](t)(c.CreateNetwork(t.Context(), wire.NetworkCreate{Name: "front"}))
	must[wire.Network](t)(c.CreateNetwork(t.Context(), wire.NetworkCreate{Name: "back"}))
	var names []string
	for e, err := range events {
		check(t, err)
		if names = append(names, e.Name); len(names) == 2 {
			break
		}
	}
	if strings.Join(names, " ") != "front back" {
		t.Errorf("got %v", names)
	}
	// The end of the context is the end of listening, and no failure; so is that of the time limit once the stream has begun.
	ctx, cancel := context.WithCancel(t.Context())
	events, err = c.Events(ctx)
	check(t, err)
	cancel()
	for e, err := range events {
		t.Errorf("got %+v, %v", e, err)
	}
	short := New(c.socket, 50*time.Millisecond)
	defer short.Close()
	if events, err = short.Events(t.Context()); err != nil {
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		return
	}
	for e, err := range events {
		t.Errorf("got %+v, %v", e, err)
	}
}

func TestEventsTellWhenTheDaemonEnds(t *testing.T) {
	t.Parallel()
	c := New(mute(t, "HTTP/1.1 200 OK\r\n\r\n"), 0)
	defer c.Close()
	events, err := c.Events(t.Context())
	check(t, err)
	n := 0
	for _, err := range events {
		if n++; !errors.Is(err, cnm.Unavailable) {
			t.Errorf("got %v", err)
		}
	}
	if n != 1 {
		t.Errorf("%d events", n)
	}
}

// BenchmarkAttach compares an attach and a detach through the socket with the same in process: the difference is two round trips.
func BenchmarkAttach(b *testing.B) {
	fake := servertest.New()
	nw, err := fake.CreateNetwork(b.Context(), cnm.NetworkSpec{Name: "front"})
	if err != nil {
		b.Fatal(err)
	}
	sb, err := fake.CreateSandbox(b.Context(), cnm.SandboxSpec{Name: "web"})
	if err != nil {
		b.Fatal(err)
	}
	b.Run("process", func(b *testing.B) {
		for b.Loop() {
			if _, err := fake.Attach(b.Context(), cnm.AttachSpec{Sandbox: sb.ID, Network: nw.ID}); err != nil {
				b.Fatal(err)
			}
			if err := fake.Detach(b.Context(), sb.ID, nw.ID); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("socket", func(b *testing.B) {
		c := serve(b, fake)
		for b.Loop() {
			if _, err := c.Attach(b.Context(), wire.Attach{Sandbox: "web", Network: "front"}); err != nil {
				b.Fatal(err)
			}
			if err := c.Detach(b.Context(), wire.Detach{Sandbox: "web", Network: "front"}); err != nil {
				b.Fatal(err)
			}
		}
	})
}
