// SPDX-License-Identifier: Apache-2.0

// Package cli is the command line: noun and verb, stdout the product, stderr the commentary. It speaks to the daemon through
// api/client alone. What it cannot do so (start a process in a sandbox, be the daemon) is handed to it, and so are its
// input and output, so that all of it runs inside a test.
package cli

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/api/client"
)

// IO is everything outside of the command line that it touches.
type IO struct {
	In       io.Reader
	Out, Err io.Writer
	// InTerminal and ErrTerminal tell whether a person sits at the other end.
	InTerminal, ErrTerminal bool
	Environ                 []string // KEY=VALUE
	Version                 string

	// Launch starts a command in a sandbox. It returns the command's status, or with an error 125, 126 or 127.
	Launch func(ctx context.Context, p Process) (int, error)
	// Daemon is the daemon; it returns when ctx ends.
	Daemon func(ctx context.Context, cfg DaemonConfig, log *slog.Logger) error
	// OCIHook does what an OCI runtime calls us for at a stage of a container whose state in has.
	OCIHook func(ctx context.Context, stage string, in io.Reader, c *client.Client) error
	// OCIBundle writes into the bundle of a container what it is to join. The notes are for the person who asked.
	OCIBundle func(b Bundle) (notes []string, err error)
	// Install writes and removes files; nil: there is no such command.
	Install *Installer
	// Doctor looks at the host; nil: there is no such command.
	Doctor func(ctx context.Context, where Places) []Finding
	// Hangups begins to listen for SIGHUP; stop ends it.
	Hangups func() (hangups <-chan os.Signal, stop func())
}

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

// Exit statuses of our own for commands that end with another's.
const (
	statusUsage = 2
	statusOurs  = 125
)

// app is one run of the command line.
type app struct {
	io      IO
	out     *bufio.Writer
	env     map[string]string
	socket  string
	timeout time.Duration
	began   bool // a command's own code was reached: errors before are errors of usage
	status  int  // of a command that was run
}

// Run runs one command and returns its exit status. args are without the program's name.
func Run(ctx context.Context, cio IO, args []string) int {
	a := newApp(cio)
	root := a.root(args...)
	root.SetArgs(append([]string{}, args...)) // never nil, which stands for the process's own
	root.SetIn(cio.In)
	root.SetOut(a.out)
	root.SetErr(cio.Err)
	cmd, err := root.ExecuteContextC(ctx)
	if !a.began && err != nil {
		err = usage(cmd, err)
	}
	if flushed := a.out.Flush(); flushed != nil && err == nil {
		err = fmt.Errorf("write the output: %w", flushed)
	}
	return a.end(ctx, cmd, err)
}

func newApp(cio IO) *app {
	a := &app{io: cio, out: bufio.NewWriter(cio.Out), env: map[string]string{}}
	for _, kv := range cio.Environ {
		key, value, _ := strings.Cut(kv, "=")
		a.env[key] = value
	}
	return a
}

// end prints what went wrong and gives the exit status.
func (a *app) end(ctx context.Context, cmd *cobra.Command, err error) int {
	if err == nil {
		return a.status
	}
	code := 0
	for i, e := range flatten(err) {
		if ctx.Err() != nil && errors.Is(e, context.Canceled) {
			e = errors.New("interrupted")
		}
		fmt.Fprintln(a.io.Err, "cnm:", e)
		if one := exitOf(e); i == 0 {
			code = one
		} else if one != code {
			code = cnm.Internal.Code().Exit
		}
	}
	if foreign(cmd) {
		return cmp.Or(a.status, statusOurs)
	}
	return code
}

// exitOf is the exit status of one error.
func exitOf(err error) int {
	if _, ok := errors.AsType[*usageError](err); ok {
		return statusUsage
	}
	return cnm.KindOf(err).Code().Exit
}

// flatten takes joined errors apart.
func flatten(err error) []error {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	var out []error
	for _, e := range joined.Unwrap() {
		out = append(out, flatten(e)...)
	}
	return out
}

// usageError is a command line that cannot be understood.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

// usage makes err one of usage, with the way to the command's help.
func usage(cmd *cobra.Command, err error) error {
	if _, ok := errors.AsType[*usageError](err); ok {
		return err
	}
	return &usageError{fmt.Errorf("%w; see: %s --help", err, cmd.CommandPath())}
}

// usagef is [usage] of a formatted error.
func usagef(cmd *cobra.Command, format string, args ...any) error {
	return usage(cmd, fmt.Errorf(format, args...))
}

// body is what a command that speaks to the daemon does.
type body func(ctx context.Context, c *client.Client, args []string) error

// ask makes a command's code of a body: it has a client, and after a second says on a terminal what it waits for.
func (a *app) ask(do body) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		a.began = true
		c := a.client()
		defer c.Close()
		defer a.waiting(cmd, args)()
		return do(cmd.Context(), c, args)
	}
}

// client is a client of the daemon that the flags name.
func (a *app) client() *client.Client { return client.New(a.socketPath(), a.timeout) }

// bound ends with --timeout, if one is given.
func (a *app) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	if a.timeout > 0 {
		return context.WithTimeout(ctx, a.timeout)
	}
	return context.WithCancel(ctx)
}

func (a *app) socketPath() string {
	return cmp.Or(a.socket, a.env["CNM_SOCKET"], client.DefaultSocket)
}

// patience is how long nothing is said.
const patience = time.Second

// waiting says on a terminal what is waited for if it takes long; the returned function ends that.
func (a *app) waiting(cmd *cobra.Command, args []string) (stop func()) {
	if !a.io.ErrTerminal {
		return func() {}
	}
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		t := time.NewTimer(patience)
		defer t.Stop()
		select {
		case <-quit:
		case <-t.C:
			fmt.Fprintf(a.io.Err, "cnm: waiting for the daemon at %s: %s\n", a.socketPath(), strings.Join(append([]string{cmd.CommandPath()}, args...), " "))
		}
	}()
	return func() { close(quit); <-done }
}
