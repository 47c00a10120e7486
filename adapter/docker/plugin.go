// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	cnm "github.com/libnetwork/cnm"
)

// Controller is what the adapter needs of the orchestrator. References are full identifiers; errors are [cnm.Error] values.
type Controller interface {
	Networks
	Sandboxes
	Endpoints
	Addresses
	Renames
	Records(ctx context.Context) cnm.Records
}

// Networks finds, makes and deletes networks.
type Networks interface {
	LookupNetwork(ref string) (cnm.Network, error)
	CreateNetwork(ctx context.Context, spec cnm.NetworkSpec) (cnm.Network, error)
	DeleteNetwork(ctx context.Context, id cnm.NetworkID, force bool) error
}

// Sandboxes finds, makes and deletes sandboxes.
type Sandboxes interface {
	LookupSandbox(ref string) (cnm.Sandbox, error)
	CreateSandbox(ctx context.Context, spec cnm.SandboxSpec) (cnm.Sandbox, error)
	DeleteSandbox(ctx context.Context, id cnm.SandboxID) error
}

// Endpoints finds, makes and deletes endpoints, ties them to sandboxes and publishes their ports.
type Endpoints interface {
	LookupAttachment(id cnm.EndpointID) (cnm.Attachment, error)
	CreateEndpoint(ctx context.Context, nw cnm.NetworkID, spec cnm.EndpointSpec) (cnm.Endpoint, error)
	DeleteEndpoint(ctx context.Context, id cnm.EndpointID, force bool) error
	Join(ctx context.Context, ep cnm.EndpointID, sb cnm.SandboxID, spec cnm.JoinSpec) (cnm.Attachment, error)
	Leave(ctx context.Context, ep cnm.EndpointID) error
	Republish(ctx context.Context, ep cnm.EndpointID, specs []cnm.PortSpec) (cnm.Attachment, error)
}

// Addresses takes pools and addresses ahead of the networks and endpoints that they are for.
type Addresses interface {
	CreatePool(ctx context.Context, ipam string, req cnm.PoolRequest) (cnm.Pool, error)
	DeletePool(ctx context.Context, id cnm.PoolID) error
	AllocateAddress(ctx context.Context, req cnm.AddressRequest) (cnm.Lease, error)
	ReleaseAddress(ctx context.Context, id cnm.PoolID, a netip.Addr) error
}

const (
	// callTime bounds every call, well below the 15 seconds for which Docker tries again to reach a plugin.
	callTime = 10 * time.Second
	bodyMax  = 1 << 20 // bytes
	grace    = 5 * time.Second
	// abandonedAfter is how long what Docker made may stand unused before it is taken for forgotten.
	abandonedAfter = 2 * time.Minute
)

// Config is what a plugin is made of; Log and Controller are needed.
type Config struct {
	Controller Controller
	Log        *slog.Logger
	// Abandoned is how long endpoints in no sandbox, and sandboxes without a namespace or endpoints, may stand before they are taken for
	// leftovers of a Docker daemon that died; 0: two minutes.
	Abandoned time.Duration
	// Engine is the socket of Docker's own API, from which its names and what it has no more are learned; "": they are not.
	Engine string
}

// Plugin answers Docker. It is safe for concurrent use.
type Plugin struct {
	ctl       Controller
	log       *slog.Logger
	abandoned time.Duration
	engine    string
	methods   map[string]method
	turns     *turns

	mu        sync.Mutex                  // guards the maps below
	sandboxes map[string]cnm.SandboxID    // by the path that Docker gives
	pools     map[netip.Prefix]cnm.PoolID // that no network has taken yet
}

// New makes a plugin that knows what Docker's containers have from the controller's records.
func New(ctx context.Context, cfg Config) *Plugin {
	p := &Plugin{ctl: cfg.Controller, log: cfg.Log, abandoned: cfg.Abandoned, engine: cfg.Engine, sandboxes: map[string]cnm.SandboxID{}, pools: map[netip.Prefix]cnm.PoolID{}, turns: newTurns()}
	if p.abandoned == 0 {
		p.abandoned = abandonedAfter
	}
	p.methods = p.table()
	for _, sb := range p.ctl.Records(ctx).Sandboxes {
		if key, ok := sb.Labels[labelSandbox]; ok {
			p.sandboxes[key] = sb.ID
		}
	}
	return p
}

// Serve answers on ln until ctx ends, then lets the calls under way come to their end, at most five seconds, and closes ln. It may be called
// once.
func (p *Plugin) Serve(ctx context.Context, ln net.Listener) error {
	srv := &http.Server{
		Handler:           p,
		ReadHeaderTimeout: callTime,
		ReadTimeout:       callTime,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(p.log.Handler(), slog.LevelWarn),
		BaseContext:       func(net.Listener) context.Context { return context.WithoutCancel(ctx) },
	}
	var background sync.WaitGroup
	background.Go(func() { p.collect(ctx) })
	if p.engine != "" {
		background.Go(func() { p.follow(ctx, newEngine(p.engine)) })
	}
	defer background.Wait()
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()
	select {
	case err := <-served:
		return fmt.Errorf("serve Docker: %w", err)
	case <-ctx.Done():
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	err := srv.Shutdown(last)
	if errors.Is(err, context.DeadlineExceeded) {
		err = srv.Close()
	}
	if why := <-served; !errors.Is(why, http.ErrServerClosed) {
		err = errors.Join(err, fmt.Errorf("serve Docker: %w", why))
	}
	return err
}
