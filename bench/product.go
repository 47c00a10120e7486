// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strconv"
	"time"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/controller"
	"github.com/libnetwork/cnm/internal/daemon"
	"github.com/libnetwork/cnm/kernel/link"
)

// product is the daemon's parts in this process, all of them running, in the namespace that the process was started in.
type product struct {
	ctl  *controller.Controller
	nets []cnm.Network
	conn *link.Conn // for looking
	made int        // sandboxes so far, for names; ports are counted with it
	live []attached // since the last clear
	held int        // endpoints that clear leaves
	stop func() error
}

// attached is one sandbox on one network.
type attached struct {
	sandbox cnm.SandboxID
	network cnm.NetworkID
	link    string // on the host; empty where nobody asks
}

// daemonConfig is a daemon that keeps all it has below dir.
func daemonConfig(dir string) daemon.Config {
	return daemon.Config{
		StateDir: filepath.Join(dir, "state"), RunDir: filepath.Join(dir, "run"),
		Socket: filepath.Join(dir, "run", "cnm.sock"), SocketMode: 0o666, Version: "bench",
	}
}

// startProduct starts it with its networks.
func startProduct(ctx context.Context, dir string, log *slog.Logger) (*product, error) {
	d, err := daemon.Start(ctx, daemonConfig(dir), log)
	if err != nil {
		return nil, fmt.Errorf("start the product: %w", err)
	}
	p := &product{ctl: d.Controller()}
	running, cancel := context.WithCancel(ctx)
	ready, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- d.Run(running, func() { close(ready) }) }()
	p.stop = func() error {
		cancel()
		return errors.Join(<-done, d.Close(), p.conn.Close())
	}
	select {
	case <-ready:
	case err := <-done:
		cancel()
		return nil, errors.Join(fmt.Errorf("run the product: %w", err), d.Close())
	}
	if p.conn, err = link.Dial(link.Here); err == nil {
		err = p.createNetworks(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, p.stop())
	}
	return p, nil
}

func (p *product) createNetworks(ctx context.Context) error {
	for i := range networks {
		nw, err := p.ctl.CreateNetwork(ctx, networkSpec(i))
		if err != nil {
			return fmt.Errorf("create a network: %w", err)
		}
		p.nets = append(p.nets, nw)
	}
	return nil
}

// sandbox makes a sandbox.
func (p *product) sandbox(ctx context.Context) (cnm.Sandbox, error) {
	p.made++
	return p.ctl.CreateSandbox(ctx, cnm.SandboxSpec{Name: "box" + strconv.Itoa(p.made)})
}

// attach ties a sandbox to network i with the ports published.
func (p *product) attach(ctx context.Context, sb cnm.SandboxID, i int, ports ...cnm.PortSpec) error {
	at, err := p.ctl.Attach(ctx, cnm.AttachSpec{Sandbox: sb, Network: p.nets[i].ID, Endpoint: cnm.EndpointSpec{Publish: ports}})
	if err != nil {
		return err
	}
	p.live = append(p.live, attached{at.Join.Sandbox, at.Join.Network, at.Join.Result.Link.Host})
	return nil
}

// attachNew makes a sandbox and attaches it, from nothing.
func (p *product) attachNew(ctx context.Context, i int, ports ...cnm.PortSpec) (time.Duration, error) {
	start := time.Now()
	sb, err := p.sandbox(ctx)
	if err != nil {
		return 0, err
	}
	err = p.attach(ctx, sb.ID, i, ports...)
	return time.Since(start), err
}

// port is a port of the host that was not used before.
func (p *product) port() cnm.PortSpec {
	const first, last = 20000, 29999
	number := uint16(first + p.made%(last-first))
	return cnm.PortSpec{Proto: cnm.TCP, HostPort: number, HostPortEnd: number, Port: 80}
}

// detach takes one sandbox off its network.
func (p *product) detach(ctx context.Context, a attached) (time.Duration, error) {
	start := time.Now()
	err := p.ctl.Detach(ctx, a.sandbox, a.network)
	return time.Since(start), err
}

// clear deletes every sandbox that was attached and waits until the kernel is quiet.
func (p *product) clear(ctx context.Context) error {
	for _, a := range p.live {
		if err := p.ctl.DeleteSandbox(ctx, a.sandbox); err != nil {
			return err
		}
	}
	p.live = nil
	return quiet(ctx, p.conn, p.held)
}
