// SPDX-License-Identifier: Apache-2.0

package place

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/libnetwork/cnm/kernel/link"
)

// build makes the place around this process, the first one in its namespaces,
// which then becomes the steward by executing itself: only so are all of its
// threads in the namespace of control groups that one of them has made.
func (p plan) build() error {
	runtime.LockOSThread()
	for _, step := range []func() error{p.enterGroups, p.mountKernel, p.mountGroups, p.mountFiles, p.name, raiseLoopback} {
		if err := step(); err != nil {
			return err
		}
	}
	p.Role = asSteward
	env, err := p.environment()
	if err != nil {
		return err
	}
	return fmt.Errorf("become the steward: %w", unix.Exec("/proc/self/exe", []string{"steward"}, env))
}

// enterGroups makes the place's control groups the roots that are seen from here.
func (p plan) enterGroups() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make every mount private: %w", err)
	}
	for _, g := range p.Groups {
		if err := g.join(); err != nil {
			return err
		}
	}
	if err := unix.Unshare(unix.CLONE_NEWCGROUP); err != nil {
		return fmt.Errorf("make a namespace of control groups: %w", err)
	}
	return nil
}

// mountKernel mounts what shows this namespace's processes and links.
func (p plan) mountKernel() error {
	const flags = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	if err := mount("proc", "/proc", "proc", flags, ""); err != nil {
		return err
	}
	return mount("sysfs", "/sys", "sysfs", flags, "")
}

// mountGroups mounts the hierarchies where the machine has them. In a version 2
// hierarchy the daemons move to a leaf, so that the root can hand controllers
// down to containers.
func (p plan) mountGroups() error {
	const top = "/sys/fs/cgroup"
	if !slices.ContainsFunc(p.Groups, func(g group) bool { return g.Point == top }) {
		if err := mount("tmpfs", top, "tmpfs", 0, "mode=0755"); err != nil {
			return err
		}
	}
	for _, g := range p.Groups {
		kind, options := "cgroup2", ""
		if g.Controllers != nil {
			kind, options = "cgroup", strings.Join(g.Controllers, ",")
			if strings.HasPrefix(options, "name=") {
				options = "none," + options
			}
		}
		if err := os.MkdirAll(g.Point, 0o755); err != nil {
			return err
		}
		if err := mount("cgroup", g.Point, kind, 0, options); err != nil {
			return err
		}
		if g.Controllers == nil {
			if err := makeLeaf(g.Point); err != nil {
				return err
			}
		}
	}
	return nil
}

// makeLeaf moves this process from the root of a version 2 hierarchy to a leaf
// and hands all controllers down.
func makeLeaf(point string) error {
	leaf := group{Dir: filepath.Join(point, "daemons")}
	if err := os.Mkdir(leaf.Dir, 0o755); err != nil {
		return err
	}
	if err := leaf.join(); err != nil {
		return err
	}
	names, err := os.ReadFile(filepath.Join(point, "cgroup.controllers"))
	if err != nil {
		return err
	}
	for name := range strings.FieldsSeq(string(names)) {
		if err := os.WriteFile(filepath.Join(point, "cgroup.subtree_control"), []byte("+"+name), 0o644); err != nil {
			return fmt.Errorf("hand the controller %s down: %w", name, err)
		}
	}
	return nil
}

// mountFiles gives the place its own state, settings and programs: empty /run,
// /var/lib and /opt, /etc with changes of its own, /usr with the unpacked
// packages.
func (p plan) mountFiles() error {
	for _, dir := range []string{"/run", "/var/lib", "/opt"} {
		if err := mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID, "mode=0755"); err != nil {
			return err
		}
	}
	upper := filepath.Join(p.Dir, "changes")
	if err := mount("tmpfs", p.Dir, "tmpfs", unix.MS_NOSUID, "mode=0755"); err != nil {
		return err
	}
	lower := func(dir string) string {
		over := filepath.Join(p.Unpacked, dir)
		if _, err := os.Stat(over); p.Unpacked == "" || err != nil {
			return dir
		}
		return over + ":" + dir
	}
	for _, dir := range []string{upper, filepath.Join(p.Dir, "scratch"), "/run/home"} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
	}
	options := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", lower("/etc"), upper, filepath.Join(p.Dir, "scratch"))
	if err := mount("overlay", "/etc", "overlay", 0, options); err != nil {
		return err
	}
	if lower("/usr") == "/usr" {
		return nil
	}
	return mount("overlay", "/usr", "overlay", unix.MS_RDONLY, "lowerdir="+lower("/usr"))
}

func mount(source, target, kind string, flags uintptr, options string) error {
	if err := unix.Mount(source, target, kind, flags, options); err != nil {
		return fmt.Errorf("mount %s on %s with options %q: %w", kind, target, options, err)
	}
	return nil
}

// name makes the place's name that of the host.
func (p plan) name() error { return unix.Sethostname([]byte(p.Name)) }

func raiseLoopback() error {
	conn, err := link.Dial(link.Here)
	if err != nil {
		return err
	}
	defer conn.Close()
	var b link.Batch
	b.SetLink(link.Change{Link: link.Named("lo"), Up: link.On})
	return conn.Do(&b)
}
