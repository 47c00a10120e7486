// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/adapter/oci"
	"github.com/libnetwork/cnm/api/client"
	"github.com/libnetwork/cnm/api/server"
	"github.com/libnetwork/cnm/api/server/servertest"
)

var update = flag.Bool("update", false, "write the goldens and the reference anew")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve answers for a fake at a socket until the test ends.
func serve(t interface {
	Defer(func())
}, socket string,
) (*servertest.Fake, error) {
	fake := servertest.New()
	s, err := server.New(server.Config{
		Controller: fake, Log: slog.New(slog.DiscardHandler), Version: "1.2.3",
		Group: func() (uint32, bool) { return uint32(os.Getegid()), true },
	})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	ln, err := server.Listen(ctx, socket, 0o600, -1)
	if err != nil {
		cancel()
		return nil, err
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = s.Serve(ctx, ln)
	}()
	t.Defer(func() { cancel(); <-ended })
	return fake, nil
}

// deferrer gives a testing.T the Defer that a testscript.Env has.
type deferrer struct{ testing.TB }

func (d deferrer) Defer(f func()) { d.Cleanup(f) }

// launched is what a test's launcher was told.
type launched struct {
	Process
	Stdin, Stdout, Stderr, Note, Env any `json:",omitempty"`
}

// launch stands in for starting a process: it prints what it was told; a command "exit N" ends so, and "cannot N" is not reached.
func launch(_ context.Context, p Process) (int, error) {
	shown := p
	shown.Env, shown.Stdin, shown.Stdout, shown.Stderr, shown.Note = nil, nil, nil, nil, nil
	enc := json.NewEncoder(p.Stdout)
	enc.SetIndent("", "  ")
	if err := enc.Encode(launched{Process: shown}); err != nil {
		return 0, err
	}
	if len(p.Command) == 2 {
		n, err := strconv.Atoi(p.Command[1])
		if err == nil && p.Command[0] == "exit" {
			return n, nil
		}
		if err == nil && p.Command[0] == "cannot" {
			return n, fmt.Errorf("command cannot %d", n)
		}
	}
	return 0, nil
}

// scriptState is what a script's commands share.
type scriptState struct {
	fake   *servertest.Fake
	status int
}

type stateKey struct{}

func stateOf(ts *testscript.TestScript) *scriptState {
	s, ok := ts.Value(stateKey{}).(*scriptState)
	if !ok {
		ts.Fatalf("the script has no state")
	}
	return s
}

// TestScripts runs the command line in this process, against a server with a fake behind it.
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:           "testdata/script",
		UpdateScripts: *update,
		Setup: func(env *testscript.Env) error {
			socket := filepath.Join(env.WorkDir, "cnm.sock")
			env.Setenv("CNM_SOCKET", socket)
			fake, err := serve(env, socket)
			env.Values[stateKey{}] = &scriptState{fake: fake}
			return err
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"cnm": scriptCNM, "status": scriptStatus, "fail": scriptFail, "dead": scriptDead,
		},
	})
}

// ociHook is the real one, bundle one that shows what it was told.
func ociHook(ctx context.Context, stage string, in io.Reader, c *client.Client) error {
	return oci.Hook(ctx, stage, in, c)
}

func ociBundle(out io.Writer) func(Bundle) ([]string, error) {
	return func(b Bundle) ([]string, error) {
		enc := json.NewEncoder(out)
		enc.SetIndent("", "  ")
		return []string{"a note"}, enc.Encode(b)
	}
}

// scriptCNM runs the command line. "! cnm" wants it to fail.
func scriptCNM(ts *testscript.TestScript, neg bool, args []string) {
	s := stateOf(ts)
	cio := IO{
		In: strings.NewReader(ts.Getenv("STDIN")), OCIHook: ociHook, OCIBundle: ociBundle(ts.Stdout()), Out: ts.Stdout(), Err: ts.Stderr(), Version: "1.2.3", Launch: launch,
		Environ: []string{"CNM_SOCKET=" + ts.Getenv("CNM_SOCKET"), "HOME=/home/test", "LANG=C"},
		Daemon:  func(context.Context, DaemonConfig, *slog.Logger) error { return nil },
		Hangups: func() (<-chan os.Signal, func()) { return nil, func() {} },
	}
	var done bool
	if s.status, done = Hook(context.Background(), cio, args); !done { // as in main
		s.status = Run(context.Background(), cio, args)
	}
	if (s.status != 0) != neg {
		ts.Fatalf("cnm ended with status %d", s.status)
	}
}

// scriptStatus checks how the last one ended.
func scriptStatus(ts *testscript.TestScript, neg bool, args []string) {
	if got := strconv.Itoa(stateOf(ts).status); neg || len(args) != 1 || args[0] != got {
		ts.Fatalf("status is %s, want %v", got, args)
	}
}

// scriptFail makes a method of the controller fail: fail METHOD KIND TEXT; without a kind it works again.
func scriptFail(ts *testscript.TestScript, _ bool, args []string) {
	var err error
	if len(args) == 3 {
		err = cnm.Errorf(cnm.KindNamed(args[1]), "%s", args[2])
	}
	stateOf(ts).fake.Fail(args[0], err)
}

// scriptDead takes the daemon's socket away.
func scriptDead(ts *testscript.TestScript, _ bool, _ []string) {
	ts.Check(os.Remove(ts.Getenv("CNM_SOCKET")))
}

// console is the command line with a fake behind it, for what a script cannot say.
type console struct {
	IO
	fake     *servertest.Fake
	out, err *safeBuffer
}

// safeBuffer is read while it is written.
type safeBuffer struct {
	mu    sync.Mutex // guards text
	text  strings.Builder
	wrote chan struct{} // gets a token at each write, if there is room
}

func newSafeBuffer() *safeBuffer { return &safeBuffer{wrote: make(chan struct{}, 1)} }

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case b.wrote <- struct{}{}:
	default:
	}
	return b.text.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// until waits for a text to be written.
func (b *safeBuffer) until(ctx context.Context, part string) error {
	for !strings.Contains(b.String(), part) {
		select {
		case <-b.wrote:
		case <-ctx.Done():
			return fmt.Errorf("%q was not written, only %q", part, b.String())
		}
	}
	return nil
}

func newConsole(t *testing.T) *console {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	fake, err := serve(deferrer{t}, socket)
	if err != nil {
		t.Fatal(err)
	}
	c := &console{fake: fake, out: newSafeBuffer(), err: newSafeBuffer()}
	c.IO = IO{
		In: strings.NewReader(""), Out: c.out, Err: c.err, Version: "1.2.3", Launch: launch,
		Environ: []string{"CNM_SOCKET=" + socket, "PATH=/bin"},
	}
	return c
}

func (c *console) run(ctx context.Context, args ...string) int { return Run(ctx, c.IO, args) }
