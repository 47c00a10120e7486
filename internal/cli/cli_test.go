// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/api/client"
	"github.com/libnetwork/cnm/api/wire"
)

func TestPruneAsksOnATerminal(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		terminal bool
		answer   string
		args     []string
		gone     bool
	}{
		"no terminal":        {false, "", nil, true},
		"yes":                {true, "y\n", nil, true},
		"yes in full":        {true, " YES \n", nil, true},
		"yes without an end": {true, "y", nil, true},
		"no":                 {true, "n\n", nil, false},
		"nothing":            {true, "\n", nil, false},
		"end of input":       {true, "", nil, false},
		"forced":             {true, "", []string{"--force"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			con := newConsole(t)
			con.run(t.Context(), "network", "create", "a")
			con.InTerminal, con.In = c.terminal, strings.NewReader(c.answer)
			status := con.run(t.Context(), append([]string{"network", "prune"}, c.args...)...)
			left := len(con.fake.Records(t.Context()).Networks) != 0
			if left == c.gone || (status == 0) != c.gone {
				t.Errorf("left %v, status %d, said %q", left, status, con.err)
			}
		})
	}
}

// silent is a daemon that takes connections and does not answer.
func silent(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			defer conn.Close()
		}
	}()
	t.Cleanup(func() { ln.Close(); <-done })
	return path
}

func TestWaitingIsSaidOnATerminal(t *testing.T) {
	t.Parallel()
	for _, terminal := range []bool{true, false} {
		con := newConsole(t)
		con.ErrTerminal = terminal
		began := time.Now()
		status := con.run(t.Context(), "attach", "web", "front", "--socket", silent(t), "--timeout", "1ms")
		if status != 6 || !strings.Contains(con.err.String(), "no answer from the daemon in time") {
			t.Errorf("status %d, said %q", status, con.err)
		}
		if strings.Contains(con.err.String(), "waiting") {
			t.Errorf("after %v it said %q", time.Since(began), con.err)
		}
	}
	con := newConsole(t)
	con.ErrTerminal = true
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan int, 1)
	go func() { ended <- con.run(ctx, "attach", "web", "front", "--socket", silent(t)) }()
	if err := con.err.until(t.Context(), "waiting for the daemon at "); err != nil {
		t.Error(err)
	}
	if err := con.err.until(t.Context(), ": cnm attach web front\n"); err != nil {
		t.Error(err)
	}
	cancel()
	if status := <-ended; status != 1 || !strings.HasSuffix(con.err.String(), "cnm: interrupted\n") {
		t.Errorf("status %d, said %q", status, con.err)
	}
}

func TestEventsPrintAtOnce(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, "2026-01-02T03:04:06Z network create front network=6b86b273ff34\n"},
		{[]string{"--json"}, `{"time":"2026-01-02T03:04:06Z","object":"network","action":"create","name":"front","network_id":"6b86b273ff34fce19d6b804eff5a3f57","endpoint_id":"","sandbox_id":"","detail":{}}` + "\n"},
		{[]string{"--format", "{{.object}}:{{.NetworkID}}"}, "network:6b86b273ff34fce19d6b804eff5a3f57\n"},
	} {
		con := newConsole(t)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan int, 1)
		go func() { ended <- con.run(ctx, append([]string{"events"}, c.args...)...) }()
		if err := con.fake.Listening(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := con.fake.CreateNetwork(t.Context(), cnm.NetworkSpec{Name: "front"}); err != nil {
			t.Fatal(err)
		}
		if err := con.out.until(t.Context(), c.want); err != nil {
			t.Error(err)
		}
		cancel()
		if status := <-ended; status != 0 {
			t.Errorf("status %d, said %q", status, con.err)
		}
	}
}

func TestEventDetail(t *testing.T) {
	t.Parallel()
	e := wire.Event{Time: time.Unix(0, 0), Object: "drift", Action: "repair", SandboxID: "0123456789abcdef", Detail: map[string]string{"what": "link gone", "a": "b"}}
	if got := eventLine(&e); got != `1970-01-01T00:00:00Z drift repair sandbox=0123456789ab a="b" what="link gone"` {
		t.Error(got)
	}
}

// TestEnvironment: ours, what is asked for on top, and a key without a value only if we have it.
func TestEnvironment(t *testing.T) {
	t.Parallel()
	con := newConsole(t)
	con.Environ = append(con.Environ, "KEEP=1", "OVER=old", "TAKE=mine")
	var got []string
	con.Launch = func(_ context.Context, p Process) (int, error) { got = p.Env; return 0, nil }
	if status := con.run(t.Context(), "run", "--network", "none", "--env", "OVER=new", "--env", "TAKE", "--env", "NONE", "--env", "E=", "--", "true"); status != 0 {
		t.Fatalf("status %d, said %q", status, con.err)
	}
	for _, want := range []string{"KEEP=1", "OVER=new", "TAKE=mine", "E=", "PATH=/bin"} {
		if n := len(slices.DeleteFunc(slices.Clone(got), func(kv string) bool { return kv != want })); n != 1 {
			t.Errorf("%q is there %d times in %v", want, n, got)
		}
	}
	if slices.ContainsFunc(got, func(kv string) bool { return strings.HasPrefix(kv, "NONE") || kv == "OVER=old" }) {
		t.Errorf("too much in %v", got)
	}
}

// TestRunCleansUpAfterAnInterrupt: the sandbox goes although the context that made it has ended.
func TestRunCleansUpAfterAnInterrupt(t *testing.T) {
	t.Parallel()
	con := newConsole(t)
	ctx, cancel := context.WithCancel(t.Context())
	con.Launch = func(context.Context, Process) (int, error) { cancel(); return 130, nil }
	if status := con.run(ctx, "run", "--", "true"); status != 130 {
		t.Errorf("status %d, said %q", status, con.err)
	}
	if left := con.fake.Records(t.Context()).Sandboxes; len(left) != 0 {
		t.Errorf("left %v", left)
	}
}

func TestRunTellsWhatItCouldNotDelete(t *testing.T) {
	t.Parallel()
	con := newConsole(t)
	con.fake.Fail("DeleteSandbox", cnm.Errorf(cnm.Internal, "stuck"))
	// The command's own status stays: it is the product.
	if status := con.run(t.Context(), "run", "--", "exit", "3"); status != 3 || !strings.Contains(con.err.String(), "stuck") {
		t.Errorf("status %d, said %q", status, con.err)
	}
}

func TestOutputThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	con := newConsole(t)
	r, w := io.Pipe()
	r.Close()
	con.Out = w
	if status := con.run(t.Context(), "network", "ls"); status != 1 || !strings.Contains(con.err.String(), "write the output") {
		t.Errorf("status %d, said %q", status, con.err)
	}
}

func TestCompletionAsksTheDaemon(t *testing.T) {
	t.Parallel()
	con := newConsole(t)
	con.run(t.Context(), "network", "create", "front")
	con.run(t.Context(), "sandbox", "create", "web")
	con.run(t.Context(), "attach", "web", "front")
	for _, c := range []struct{ args, want string }{
		{"network inspect ", "front"},
		{"network inspect front ", "front"},
		{"attach ", "web"},
		{"attach web ", "front"},
		{"attach web front ", ""},
		{"endpoint leave ", "front/web"},
		{"endpoint create ", "front"},
		{"endpoint create front ", ""},
	} {
		out := newSafeBuffer()
		con.Out = out
		con.run(t.Context(), append([]string{"__complete"}, strings.Split(c.args, " ")...)...)
		word, _, _ := strings.Cut(out.String(), "\n")
		if strings.HasPrefix(word, ":") {
			word = ""
		}
		if word != c.want {
			t.Errorf("%q completes to %q, want %q", c.args, word, c.want)
		}
	}
}

// TestOneRoundTripACommand counts the requests.
func TestOneRoundTripACommand(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	var n atomic.Int32
	lists := []string{"/v1/networks", "/v1/sandboxes", "/v1/endpoints", "/v1/drivers"}
	srv := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n.Add(1)
		if r.URL.Path == "/v1/publish" || r.Method == http.MethodGet && slices.Contains(lists, r.URL.Path) {
			fmt.Fprint(w, "[]")
			return
		}
		fmt.Fprint(w, "{}")
	})}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = srv.Serve(ln) }()
	t.Cleanup(func() { srv.Close(); <-ended })
	con := newConsole(t)
	con.Environ = []string{"CNM_SOCKET=" + path}
	for _, line := range []string{
		"network create a", "network ls", "network inspect a", "network rm a", "network prune",
		"sandbox create a", "sandbox ls", "sandbox inspect a", "sandbox rm a", "sandbox exec a -- true",
		"endpoint create n a", "endpoint join n/a s", "endpoint leave n/a", "endpoint ls", "endpoint rm n/a",
		"attach s n", "detach s n", "publish s 80", "unpublish s 80", "port s", "driver ls", "driver inspect d", "version",
	} {
		n.Store(0)
		if status := con.run(t.Context(), strings.Fields(line)...); status != 0 || n.Load() != 1 {
			t.Errorf("%s: %d requests, status %d, said %q", line, n.Load(), status, con.err)
		}
	}
}

func TestJoinedErrorsOfOneKindKeepIt(t *testing.T) {
	t.Parallel()
	nf, busy := cnm.Errorf(cnm.NotFound, "a"), cnm.Errorf(cnm.Busy, "b")
	for _, c := range []struct {
		err  error
		want int
	}{
		{nil, 0},
		{nf, 3},
		{errors.Join(nf, nf), 3},
		{errors.Join(nf, busy), 1},
		{errors.Join(errors.Join(busy, nil), busy), 4},
		{context.Canceled, 6},
		{errors.New("x"), 1},
		{&usageError{errors.New("x")}, 2},
	} {
		a := &app{io: IO{Err: io.Discard}}
		if got := a.end(t.Context(), a.root(), c.err); got != c.want {
			t.Errorf("%v gives %d, want %d", c.err, got, c.want)
		}
	}
}

func TestDefaultSocket(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		flag, env, want string
	}{{"/a", "/b", "/a"}, {"", "/b", "/b"}, {"", "", client.DefaultSocket}} {
		a := &app{socket: c.flag, env: map[string]string{"CNM_SOCKET": c.env}}
		if got := a.socketPath(); got != c.want {
			t.Errorf("%+v gives %s", c, got)
		}
	}
}
