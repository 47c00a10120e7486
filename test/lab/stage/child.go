// SPDX-License-Identifier: Apache-2.0

package stage

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"testing"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/controller"
	"github.com/libnetwork/cnm/internal/daemon"
)

// Main is the TestMain of a package whose tests use [StartAway] or [StartIdler]: the test program, started once more by them, is
// the daemon, or a process that does nothing.
func Main(m *testing.M) {
	if os.Getenv(asIdler) != "" {
		_, _ = io.Copy(io.Discard, os.Stdin) // until whoever started it has enough
		return
	}
	if os.Getenv(asDaemon) == "" {
		os.Exit(m.Run())
	}
	if err := serve(); err != nil {
		fmt.Fprintln(os.Stderr, "daemon:", err)
		os.Exit(1)
	}
}

// child is the daemon's side of the conversation.
type child struct {
	ctl *controller.Controller
	mu  sync.Mutex // guards out
	out *json.Encoder
}

// serve runs the daemon until it is told to stop.
func serve() error {
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	c := &child{out: json.NewEncoder(os.Stdout)}
	d, err := daemon.Start(ctx, config(), log)
	if err != nil {
		return errors.Join(err, c.say(reply{Error: refuse(err)}))
	}
	c.ctl = d.Controller()
	go func() {
		for e := range c.ctl.Events(ctx) {
			if err := c.say(reply{Event: &e}); err != nil {
				log.Error("telling of an event", "error", err)
			}
		}
	}()
	go c.listen(ctx, stop)
	err = d.Run(ctx, func() {
		if err := c.say(reply{}); err != nil {
			log.Error("telling that the daemon serves", "error", err)
		}
	})
	return errors.Join(err, d.Close())
}

// listen answers questions, each on its own, until there are no more.
func (c *child) listen(ctx context.Context, stop context.CancelFunc) {
	defer stop()
	lines := bufio.NewReader(os.Stdin)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return
		}
		var q question
		if err := json.Unmarshal(line, &q); err != nil {
			return
		}
		if q.Verb == "stop" {
			return
		}
		go func() {
			r := reply{ID: q.ID}
			result, err := c.do(ctx, q)
			if err == nil {
				r.Result, err = json.Marshal(result)
			}
			if err != nil {
				r.Error = refuse(err)
			}
			_ = c.say(r) // whoever asked is gone
		}()
	}
}

func (c *child) say(r reply) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.out.Encode(r)
}

func refuse(err error) *refusal {
	r := &refusal{Kind: cnm.KindOf(err), Text: err.Error()}
	if e, ok := errors.AsType[*cnm.Error](err); ok {
		r.Field = e.Field
	}
	return r
}

// do does what was asked.
func (c *child) do(ctx context.Context, q question) (any, error) {
	var (
		network  cnm.NetworkID
		endpoint cnm.EndpointID
		sandbox  cnm.SandboxID
		force    bool
	)
	switch q.Verb {
	case "create network":
		var spec cnm.NetworkSpec
		return value(q, func() (cnm.Network, error) { return c.ctl.CreateNetwork(ctx, spec) }, &spec)
	case "delete network":
		return none(q, func() error { return c.ctl.DeleteNetwork(ctx, network, force) }, &network, &force)
	case "create sandbox":
		var spec cnm.SandboxSpec
		return value(q, func() (cnm.Sandbox, error) { return c.ctl.CreateSandbox(ctx, spec) }, &spec)
	case "delete sandbox":
		return none(q, func() error { return c.ctl.DeleteSandbox(ctx, sandbox) }, &sandbox)
	case "create endpoint":
		var spec cnm.EndpointSpec
		return value(q, func() (cnm.Endpoint, error) { return c.ctl.CreateEndpoint(ctx, network, spec) }, &network, &spec)
	case "delete endpoint":
		return none(q, func() error { return c.ctl.DeleteEndpoint(ctx, endpoint, force) }, &endpoint, &force)
	case "join":
		var spec cnm.JoinSpec
		return value(q, func() (cnm.Attachment, error) { return c.ctl.Join(ctx, endpoint, sandbox, spec) }, &endpoint, &sandbox, &spec)
	case "leave":
		return none(q, func() error { return c.ctl.Leave(ctx, endpoint) }, &endpoint)
	case "attach":
		var spec cnm.AttachSpec
		return value(q, func() (cnm.Attachment, error) { return c.ctl.Attach(ctx, spec) }, &spec)
	case "detach":
		return none(q, func() error { return c.ctl.Detach(ctx, sandbox, network) }, &sandbox, &network)
	case "publish":
		var add, remove []cnm.PortSpec
		return value(q, func() (cnm.Attachment, error) { return c.ctl.Publish(ctx, endpoint, add, remove) }, &endpoint, &add, &remove)
	case "records":
		return c.ctl.Records(ctx), nil
	}
	return nil, fmt.Errorf("verb %q is unknown", q.Verb)
}

// value decodes the arguments and calls a verb that gives a value.
func value[R any](q question, verb func() (R, error), into ...any) (any, error) {
	if err := decode(q, into); err != nil {
		return nil, err
	}
	return verb()
}

// none is value for a verb that gives none.
func none(q question, verb func() error, into ...any) (any, error) {
	if err := decode(q, into); err != nil {
		return nil, err
	}
	return struct{}{}, verb()
}

func decode(q question, into []any) error {
	if len(q.Args) != len(into) {
		return fmt.Errorf("verb %q has %d arguments, want %d", q.Verb, len(q.Args), len(into))
	}
	for i := range into {
		if err := json.Unmarshal(q.Args[i], into[i]); err != nil {
			return err
		}
	}
	return nil
}
