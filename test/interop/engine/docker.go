// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/libnetwork/cnm/kernel/sysctl"
	"github.com/libnetwork/cnm/test/interop/place"
)

// Generation is one of the Dockers there are.
type Generation string

const (
	// Debian is the release's own package: 20.10, API 1.41, iptables.
	Debian Generation = "debian"
	// Current is the newest, with the newest containerd and command line: API
	// 1.56, nftables.
	Current Generation = "current"
)

// Generations are all of them.
func Generations() []Generation { return []Generation{Debian, Current} }

// DockerOptions say what a dockerd is told beside what it must be.
type DockerOptions struct {
	// OwnNetworks leaves it its own bridges, firewall rules and default network.
	// Without, it has none of these and can only use others'.
	OwnNetworks bool
	// Flags are further ones of dockerd's.
	Flags []string
}

// Docker is a dockerd with a containerd of its own, in a place. Several, of any
// generation, may run in one.
type Docker struct {
	Generation Generation
	Containerd *place.Process
	Dockerd    *place.Process
	// Socket is that of its API, inside of the place.
	Socket string

	t       testing.TB
	place   *place.Place
	name    string
	options DockerOptions
	bin     string // the folder of its programs; "" is PATH
}

// StartDocker starts a Docker and gives it the [Image]. The name is that of its
// folders in /run and /var/lib: one that was used in the place finds what it
// left there. It ends with the place.
func StartDocker(t testing.TB, p *place.Place, g Generation, o DockerOptions) *Docker {
	t.Helper()
	d := NewDocker(t, p, g, o)
	d.Start()
	d.image()
	return d
}

// NewDocker is a Docker that is not started.
func NewDocker(t testing.TB, p *place.Place, g Generation, o DockerOptions) *Docker {
	t.Helper()
	d := &Docker{Generation: g, t: t, place: p, name: "docker-" + string(g), options: o}
	d.Socket = d.run("docker.sock")
	if g == Current {
		d.bin = filepath.Join(folder(t, enginesVariable), "bin")
	}
	if o.OwnNetworks {
		d.routing()
	}
	return d
}

// run is a path in its folder of what is not kept.
func (d *Docker) run(name string) string { return filepath.Join("/run", d.name, name) }

// state is a path in its folder of what is kept.
func (d *Docker) state(name string) string { return filepath.Join("/var/lib", d.name, name) }

// program is one of its generation's.
func (d *Docker) program(name string) string { return filepath.Join(d.bin, name) }

// env lets its programs find each other.
func (d *Docker) env() []string {
	if d.bin == "" {
		return nil
	}
	return []string{"PATH=" + d.bin + ":/usr/sbin:/usr/bin"}
}

// routing switches routing on, which dockerd with nftables wants to find so.
func (d *Docker) routing() {
	d.t.Helper()
	err := d.place.Host.Do(func() error {
		for _, key := range []string{"net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"} {
			if err := sysctl.Write(key, "1"); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		d.t.Fatal(err)
	}
}

// Start starts containerd, unless it runs, and dockerd, and returns when dockerd
// serves.
func (d *Docker) Start() {
	d.t.Helper()
	if d.Containerd == nil || ended(d.Containerd) {
		d.startContainerd()
	}
	args := []string{
		d.program("dockerd"), "--host", "unix://" + d.Socket, "--containerd", d.run("containerd.sock"),
		"--data-root", d.state("docker"), "--exec-root", d.run("docker"), "--pidfile", d.run("dockerd.pid"),
		"--userland-proxy=false",
	}
	if !d.options.OwnNetworks {
		args = append(args, "--bridge=none", "--iptables=false", "--ip6tables=false")
	}
	if d.Generation == Current {
		// The runc of the release knows no time namespaces.
		args = append(args, "--feature", "containerd-snapshotter=false", "--feature", "time-namespaces=false")
		if d.options.OwnNetworks {
			args = append(args, "--firewall-backend", "nftables")
		}
	}
	d.Dockerd = d.place.Start(d.name+" dockerd", place.Command{Args: append(args, d.options.Flags...), Env: d.env()})
	d.Dockerd.Await("API listen on " + d.Socket)
}

// startContainerd starts the containerd that dockerd is told to use: as on a
// real host it lives on when dockerd ends.
func (d *Docker) startContainerd() {
	d.t.Helper()
	config := fmt.Sprintf("version = 2\nroot = %q\nstate = %q\n"+
		"disabled_plugins = [\"io.containerd.grpc.v1.cri\", \"io.containerd.cri.v1.images\", \"io.containerd.cri.v1.runtime\"]\n"+
		"[grpc]\naddress = %q\n", d.state("containerd"), d.run("containerd"), d.run("containerd.sock"))
	file := d.run("containerd.toml")
	d.place.Write(file, config)
	args := []string{d.program("containerd"), "--config", file}
	d.Containerd = d.place.Start(d.name+" containerd", place.Command{Args: args, Env: d.env()})
	d.Containerd.Await("containerd successfully booted")
}

// image gives it the image, unless it has it.
func (d *Docker) image() {
	d.t.Helper()
	if d.Run("images", "--quiet", Image) != "" {
		return
	}
	d.try(imageArchive(d.t, d.place), "import", "--change", `CMD ["sh"]`, "-", Image).Must(d.t, "docker import")
}

// Try runs the command line of the same generation: docker ARGS.
func (d *Docker) Try(args ...string) place.Result {
	d.t.Helper()
	return d.try(nil, args...)
}

func (d *Docker) try(stdin io.Reader, args ...string) place.Result {
	d.t.Helper()
	c := d.Command(args...)
	c.Stdin = stdin
	return d.place.Run(c)
}

// Command is what Try runs, for what goes on.
func (d *Docker) Command(args ...string) place.Command {
	return place.Command{Args: append([]string{d.program("docker"), "--host", "unix://" + d.Socket}, args...), Env: d.env()}
}

// Run is [Docker.Try] for what has to succeed. It gives what was printed without
// the space around it.
func (d *Docker) Run(args ...string) string {
	d.t.Helper()
	return d.Try(args...).Must(d.t, "docker", strings.Join(args, " "))
}

// Compose runs docker-compose on the docker-compose.yml in a folder of the
// place: docker-compose ARGS.
func (d *Docker) Compose(dir string, args ...string) place.Result {
	d.t.Helper()
	return d.place.Run(place.Command{
		Args: append([]string{"docker-compose"}, args...), Dir: dir, Env: []string{"DOCKER_HOST=unix://" + d.Socket},
	})
}

// Stop asks dockerd to end, as a service manager does, and waits. Containers
// end with it unless they are to live on. Containerd is left.
func (d *Docker) Stop() {
	d.t.Helper()
	d.Dockerd.End(syscall.SIGTERM)
}

// Kill ends dockerd at once. Containers and containerd live on.
func (d *Docker) Kill() {
	d.t.Helper()
	d.Dockerd.End(syscall.SIGKILL)
}

// Restart is Stop and Start.
func (d *Docker) Restart() {
	d.t.Helper()
	d.Stop()
	d.Start()
}

// End ends dockerd and containerd, both well.
func (d *Docker) End() {
	d.t.Helper()
	d.Stop()
	d.Containerd.End(syscall.SIGTERM)
}

// ended tells whether a program has ended.
func ended(p *place.Process) bool {
	select {
	case <-p.Done():
		return true
	default:
		return false
	}
}
