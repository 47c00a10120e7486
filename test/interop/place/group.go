// SPDX-License-Identifier: Apache-2.0

package place

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// group is a place's control group in one of the machine's hierarchies.
type group struct {
	Dir         string   // the group, where the machine mounts the hierarchy
	Point       string   // where that is mounted
	Controllers []string // of version 1; none is version 2
}

// makeGroups makes a group in every hierarchy that is mounted: of version 1
// below our own, so that our limits hold there too, and of version 2 below the
// root, because a group with processes cannot hand controllers down. What was
// made is returned with an error too.
func makeGroups(name string) ([]group, error) {
	ours, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil, err
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	var groups []group
	for line := range strings.Lines(string(ours)) {
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(fields) != 3 {
			return groups, fmt.Errorf("/proc/self/cgroup line %q has no three fields", line)
		}
		var controllers []string
		if fields[1] != "" {
			controllers = strings.Split(fields[1], ",")
		}
		root, point, found := hierarchy(string(mounts), controllers)
		if !found {
			continue
		}
		parent := point
		if controllers != nil {
			if parent, err = filepath.Rel(root, fields[2]); err != nil || strings.HasPrefix(parent, "..") {
				return groups, fmt.Errorf("our control group %s is not below %s, which is mounted on %s", fields[2], root, point)
			}
			parent = filepath.Join(point, parent)
		}
		g := group{Dir: filepath.Join(parent, name), Point: point, Controllers: controllers}
		if err := os.Mkdir(g.Dir, 0o755); err != nil {
			return groups, err
		}
		groups = append(groups, g)
		if slices.Contains(controllers, "cpuset") {
			if err := inheritSets(parent, g.Dir); err != nil {
				return groups, err
			}
		}
	}
	return groups, nil
}

// hierarchy finds what of a hierarchy is mounted, and where.
func hierarchy(mountinfo string, controllers []string) (root, point string, found bool) {
	for line := range strings.Lines(mountinfo) {
		fields := strings.Fields(line)
		dash := slices.Index(fields, "-")
		if dash < 0 || dash+3 >= len(fields) {
			continue
		}
		kind, options := fields[dash+1], strings.Split(fields[dash+3], ",")
		switch {
		case kind == "cgroup2" && controllers == nil:
			return fields[3], fields[4], true
		case kind == "cgroup" && controllers != nil && contains(options, controllers):
			return fields[3], fields[4], true
		}
	}
	return "", "", false
}

// contains tells whether all of the wanted are there.
func contains(all, wanted []string) bool {
	return !slices.ContainsFunc(wanted, func(w string) bool { return !slices.Contains(all, w) })
}

// inheritSets gives a new group the processors and memory of its parent, without
// which it takes no process.
func inheritSets(parent, dir string) error {
	for _, name := range []string{"cpuset.cpus", "cpuset.mems"} {
		b, err := os.ReadFile(filepath.Join(parent, name))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// join moves this process into the group.
func (g group) join() error {
	return os.WriteFile(filepath.Join(g.Dir, "cgroup.procs"), []byte("0"), 0o644)
}

// removeGroups removes the groups and all below them. No process may be left in
// any.
func removeGroups(groups []group) error {
	var errs []error
	for _, g := range groups {
		var dirs []string
		errs = append(errs, filepath.WalkDir(g.Dir, func(name string, e fs.DirEntry, err error) error {
			if err == nil && e.IsDir() {
				dirs = append(dirs, name)
			}
			return err
		}))
		for _, dir := range slices.Backward(dirs) {
			errs = append(errs, os.Remove(dir))
		}
	}
	return errors.Join(errs...)
}
