// SPDX-License-Identifier: Apache-2.0

// Package daemon composes the parts of the daemon. It is the only place that names concrete drivers, address managers and
// stores.
package daemon

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/adapter/docker"
	"github.com/libnetwork/cnm/api/server"
	"github.com/libnetwork/cnm/controller"
	"github.com/libnetwork/cnm/dns"
	"github.com/libnetwork/cnm/driver/bridge"
	"github.com/libnetwork/cnm/driver/host"
	"github.com/libnetwork/cnm/driver/null"
	"github.com/libnetwork/cnm/firewall"
	ipamnull "github.com/libnetwork/cnm/ipam/null"
	"github.com/libnetwork/cnm/ipam/pool"
	"github.com/libnetwork/cnm/kernel/conntrack"
	"github.com/libnetwork/cnm/kernel/netns"
	"github.com/libnetwork/cnm/ports"
	"github.com/libnetwork/cnm/sandbox"
	"github.com/libnetwork/cnm/store/bolt"
)

// Config is what the daemon is told. Paths are absolute.
type Config struct {
	StateDir   string
	RunDir     string
	Socket     string
	SocketMode fs.FileMode // 0666, 0660 or 0600
	// DockerPlugin is the socket at which Docker finds us as a plugin; "" for none.
	DockerPlugin string
	// Inherited are sockets that listen already, by their paths; see [Inherited]. Of those only Docker's is taken.
	Inherited map[string]net.Listener
	// DockerHost is the socket of Docker's own API, from which the plugin learns names; "" for none.
	DockerHost string
	// Pools are the prefixes that networks without subnets get theirs from; nil: the built-in ones.
	Pools []pool.DefaultPool
	// LinkDir gets a second name of each namespace for other tools; "" for none.
	LinkDir string
	Version string
}

// Daemon is the composed parts. Start makes it, Run serves until its context ends, Close lets go of files and sockets. None of
// them takes anything out of the kernel: that is what deleting is for.
type Daemon struct {
	log    *slog.Logger
	cfg    Config
	ctl    *controller.Controller
	runs   map[string]func(context.Context) error
	closes []func() error
}

// Run starts the daemon, calls ready once it answers, and serves until ctx ends.
func Run(ctx context.Context, cfg Config, log *slog.Logger, ready func()) error {
	d, err := Start(ctx, cfg, log)
	if err != nil {
		return err
	}
	err = d.Run(ctx, ready)
	return errors.Join(err, d.Close())
}

// callsAtOnce is how many calls may be in the kernel at once before the scheduler has to notice that they block.
const callsAtOnce = 32

// widen gives the scheduler more processors than there are. A call to the kernel may wait for its network lock for
// milliseconds, and keeps its processor until the scheduler takes it away, which it looks for every 10 ms at worst; with as
// many processors as cores, two waiting calls stop everybody. GOMAXPROCS in the environment wins.
func widen() {
	if _, set := os.LookupEnv("GOMAXPROCS"); !set {
		runtime.GOMAXPROCS(max(callsAtOnce, runtime.NumCPU()))
	}
}

// Start opens the store, brings the kernel to what it says, and returns the parts, not serving yet.
func Start(ctx context.Context, cfg Config, log *slog.Logger) (*Daemon, error) {
	widen()
	d := &Daemon{log: log, cfg: cfg, runs: map[string]func(context.Context) error{}}
	if err := d.compose(ctx); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// Controller is the daemon's, for programs that embed it.
func (d *Daemon) Controller() *controller.Controller { return d.ctl }

// closing has something closed with the daemon, newest first.
func (d *Daemon) closing(f func() error) { d.closes = append(d.closes, f) }

// Close lets go of everything. The kernel keeps what it has.
func (d *Daemon) Close() error {
	var errs []error
	for _, v := range slices.Backward(d.closes) {
		errs = append(errs, v())
	}
	d.closes = nil
	return errors.Join(errs...)
}

// compose builds the parts from the ground up.
func (d *Daemon) compose(ctx context.Context) error {
	if err := makeDirs(d.cfg); err != nil {
		return err
	}
	store, err := d.openStore()
	if err != nil {
		return err
	}
	records, err := store.Load(ctx)
	if err != nil {
		return err
	}
	sweeper := d.openSweeper()
	fw, err := firewall.Open(ctx, firewall.Config{Log: d.log})
	if err != nil {
		return err
	}
	d.closing(fw.Close)
	d.runs["firewall"] = fw.Run
	drivers, err := d.openDrivers(fw, sweeper, records.Boot.Group)
	if err != nil {
		return err
	}
	addresses, err := pool.New(pool.Config{Defaults: d.cfg.Pools, Seed: machineSeed(), Host: hostRoutes, Quarantine: sweeper})
	if err != nil {
		return err
	}
	stack, err := sandbox.New(sandbox.Config{RunDir: d.cfg.RunDir, LinkDir: d.cfg.LinkDir, Log: d.log}) //nolint:contextcheck // it reads a list of ids, which no caller waits out
	if err != nil {
		return err
	}
	d.closing(stack.Close)
	d.closing(func() error {
		// The last sandbox takes the mount for their pins with it; before that it is busy, and stays.
		if err := stack.Release(context.WithoutCancel(ctx)); !errors.Is(err, unix.EBUSY) {
			return err
		}
		return nil
	})
	d.ctl, err = controller.New(ctx, controller.Config{
		Log: d.log, Drivers: drivers, Store: store, Stack: stack,
		Allocators: map[string]cnm.Allocator{"pool": addresses, "null": ipamnull.Allocator{}},
		Names:      dns.New(dns.Config{RunDir: d.cfg.RunDir}),
		Together:   fw.Together, Orphans: orphans(drivers, stack),
	}, records)
	if err != nil {
		return err
	}
	d.runs["controller"] = d.ctl.Run
	return nil
}

// orphans asks the parts what of theirs is in use in the kernel.
func orphans(drivers map[string]cnm.Driver, stack *sandbox.Stack) func(context.Context) (string, error) {
	type orphaned interface {
		Orphans(ctx context.Context) (string, error)
	}
	parts := []orphaned{stack}
	for _, d := range drivers {
		if o, ok := d.(orphaned); ok {
			parts = append(parts, o)
		}
	}
	return func(ctx context.Context) (string, error) {
		for _, p := range parts {
			if what, err := p.Orphans(ctx); what != "" || err != nil {
				return what, err
			}
		}
		return "", nil
	}
}

func makeDirs(cfg Config) error {
	if err := makeDir("state", cfg.StateDir, 0o700); err != nil {
		return err
	}
	return makeDir("run", cfg.RunDir, 0o755)
}

// makeDir makes the directory that an option names.
func makeDir(option, path string, mode fs.FileMode) error {
	err := os.MkdirAll(path, mode)
	if err == nil {
		return nil
	}
	kind := cnm.Invalid
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, unix.EROFS) {
		kind = cnm.NotPermitted
	}
	return cnm.FieldErrorf(kind, option, "%s directory: %w; name another one with --%s", option, err, option)
}

func (d *Daemon) openStore() (*bolt.Store, error) {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return nil, cnm.Errorf(cnm.Internal, "the kernel's boot id: %w", err)
	}
	cookie, err := netns.CookieHere()
	if err != nil {
		return nil, cnm.Errorf(cnm.Unsupported, "the host's network namespace: %w", err)
	}
	s, err := bolt.Open(bolt.Config{
		StateDir: d.cfg.StateDir, RunDir: d.cfg.RunDir, BootID: strings.TrimSpace(string(boot)),
		HostCookie: uint64(cookie), Version: "cnm " + d.cfg.Version,
	})
	if err != nil {
		return nil, err
	}
	d.closing(s.Close)
	return s, nil
}

func (d *Daemon) openSweeper() quarantine {
	s := conntrack.NewSweeper(conntrack.Config{Log: d.log})
	d.runs["sweeper"] = s.Run
	return quarantine{s}
}

// openDrivers builds the drivers by name.
func (d *Daemon) openDrivers(fw *firewall.Firewall, q quarantine, group uint32) (map[string]cnm.Driver, error) {
	holder, err := ports.New(ports.Config{Log: d.log, Quarantine: q})
	if err != nil {
		return nil, err
	}
	d.closing(func() error { holder.Close(); return nil })
	br, err := bridge.New(bridge.Config{Log: d.log, Firewall: fw, Ports: holder, Group: group, Opened: fw.Opened(), Published: q.published})
	if err != nil {
		return nil, err
	}
	d.closing(br.Close)
	return map[string]cnm.Driver{"bridge": br, "host": host.Driver{}, "null": null.Driver{}}, nil
}

// Run serves the API and keeps the kernel as the records say, until ctx ends or a part fails.
func (d *Daemon) Run(ctx context.Context, ready func()) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	srv, err := server.New(server.Config{Controller: d.ctl, Log: d.log, Group: groupID, Version: d.cfg.Version})
	if err != nil {
		return err
	}
	gid := -1
	if g, ok := groupID(); ok {
		gid = int(g)
	}
	ln, err := server.Listen(ctx, d.cfg.Socket, d.cfg.SocketMode, gid)
	if err != nil {
		return err
	}
	if err := d.listenDocker(ctx); err != nil {
		return errors.Join(err, ln.Close())
	}
	var wg sync.WaitGroup
	run := func(name string, f func(context.Context) error) {
		wg.Go(func() {
			if err := f(ctx); err != nil && ctx.Err() == nil {
				stop(cnm.Errorf(cnm.KindOf(err), "%s: %w", name, err))
			}
		})
	}
	for name, f := range d.runs {
		run(name, f)
	}
	run("api", func(ctx context.Context) error { return srv.Serve(ctx, ln) })
	d.log.InfoContext(ctx, "ready", "socket", d.cfg.Socket)
	ready()
	wg.Wait()
	if err := context.Cause(ctx); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// listenDocker makes the socket at which Docker finds us, for root alone, and has it served.
func (d *Daemon) listenDocker(ctx context.Context) error {
	if d.cfg.DockerPlugin == "" {
		return nil
	}
	ln := d.cfg.Inherited[d.cfg.DockerPlugin]
	if ln == nil {
		var err error
		if ln, err = server.Listen(ctx, d.cfg.DockerPlugin, 0o600, -1); err != nil {
			return cnm.FieldErrorf(cnm.KindOf(err), "docker-plugin", "docker plugin: %w", err)
		}
	}
	plugin := docker.New(ctx, docker.Config{Controller: d.ctl, Log: d.log, Engine: d.cfg.DockerHost})
	d.runs["docker plugin"] = func(ctx context.Context) error { return plugin.Serve(ctx, ln) }
	d.log.InfoContext(ctx, "serving docker", "socket", d.cfg.DockerPlugin)
	return nil
}

// groupID is the number of the group whose members may change networks.
func groupID() (uint32, bool) {
	g, err := user.LookupGroup("cnm")
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseUint(g.Gid, 10, 32)
	return uint32(n), err == nil
}

// machineSeed makes the IPv6 prefixes of a machine its own and the same after each start.
func machineSeed() []byte {
	for _, p := range []string{"/etc/machine-id", "/var/lib/dbus/machine-id", filepath.Join("/proc/sys/kernel/random", "boot_id")} {
		if b, err := os.ReadFile(p); err == nil && len(b) > 0 {
			return b
		}
	}
	return nil
}

// quarantine is the sweeper in the words of the contract.
type quarantine struct{ *conntrack.Sweeper }

var _ cnm.Quarantine = quarantine{}

// Mark notes a freed address, or, with a port, a freed port of the host.
func (q quarantine) Mark(p cnm.Protocol, a netip.AddrPort) uint64 {
	return q.Sweeper.Mark(uint8(p), a)
}

// published has the flows forgotten that a client kept open to the host itself while the port was not published.
func (q quarantine) published(p cnm.Port) {
	q.MarkTranslated(uint8(p.Proto), netip.AddrPortFrom(p.HostIP, p.HostPort))
}
