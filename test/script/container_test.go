// SPDX-License-Identifier: Apache-2.0

package script

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

// inside is the environment variable that makes this program the process of a container, and names its bundle.
const inside = "CNM_SCRIPT_BUNDLE"

// ociConfig is what of a config.json a runtime this small understands.
type ociConfig struct {
	Process struct {
		Args []string `json:"args"`
		Env  []string `json:"env"`
	} `json:"process"`
	Mounts []struct {
		Destination string `json:"destination"`
		Type        string `json:"type"`
		Source      string `json:"source"`
	} `json:"mounts"`
	Hooks       map[string][]ociHook `json:"hooks"`
	Annotations map[string]string    `json:"annotations"`
	Linux       struct {
		Namespaces []struct {
			Type string `json:"type"`
			Path string `json:"path"`
		} `json:"namespaces"`
	} `json:"linux"`
}

type ociHook struct {
	Path string   `json:"path"`
	Args []string `json:"args"`
	Env  []string `json:"env"`
}

func readConfig(bundle string) (*ociConfig, error) {
	data, err := os.ReadFile(filepath.Join(bundle, "config.json"))
	if err != nil {
		return nil, err
	}
	var c ociConfig
	return &c, json.Unmarshal(data, &c)
}

// network is the path of the network namespace to join, and whether there is one at all.
func (c *ociConfig) network() (path string, own bool) {
	for _, ns := range c.Linux.Namespaces {
		if ns.Type == "network" {
			return ns.Path, true
		}
	}
	return "", false
}

// containers are those of a script, run as the OCI runtime specification says: namespaces and mounts, then createRuntime in the
// runtime's own namespaces, then the process; at the end, when the process is gone, poststop.
type containers struct{ of map[string]*container }

type container struct {
	id, bundle string
	config     *ociConfig
	cmd        *exec.Cmd
	begin      *os.File // closed or written to: the process may begin
}

// command is `container start ID BUNDLE`, `container end ID` (killed, and poststop), `container kill ID` (killed by whoever never runs
// the hooks), `container hook ID STAGE`, and `container read ID FILE`, which prints a file as the process sees it.
func (cs *containers) command(ts *testscript.TestScript, neg bool, args []string) {
	usage := "usage: container start ID BUNDLE | end ID | kill ID | hook ID STAGE | read ID FILE"
	if len(args) < 2 {
		ts.Fatalf("%s", usage)
	}
	c := cs.of[args[1]]
	var err error
	switch {
	case args[0] == "start" && len(args) == 3 && c == nil:
		c = &container{id: args[1], bundle: ts.MkAbs(args[2])}
		if err = c.start(ts.Stderr()); err == nil {
			cs.of[c.id] = c
		}
	case c == nil:
		ts.Fatalf("no container %s; %s", args[1], usage)
	case args[0] == "end":
		c.kill()
		delete(cs.of, c.id)
		err = c.hooks("poststop", ts.Stderr())
	case args[0] == "kill":
		c.kill()
		delete(cs.of, c.id)
	case args[0] == "hook" && len(args) == 3:
		err = c.hooks(args[2], ts.Stderr())
	case args[0] == "read" && len(args) == 3:
		var data []byte
		data, err = os.ReadFile(fmt.Sprintf("/proc/%d/root%s", c.cmd.Process.Pid, args[2]))
		_, _ = ts.Stdout().Write(data)
	default:
		ts.Fatalf("%s", usage)
	}
	if neg == (err == nil) {
		ts.Fatalf("container %s: %v", strings.Join(args, " "), err)
	}
}

// end ends what runs still.
func (cs *containers) end() {
	for _, c := range cs.of {
		c.kill()
	}
}

// start makes the container and begins its process.
func (c *container) start(out io.Writer) (err error) {
	if c.config, err = readConfig(c.bundle); err != nil {
		return err
	}
	ready, readyIn, err := os.Pipe()
	if err != nil {
		return err
	}
	defer ready.Close()
	wait, begin, err := os.Pipe()
	if err != nil {
		return errors.Join(err, readyIn.Close())
	}
	self, err := os.Executable()
	if err != nil {
		return errors.Join(err, readyIn.Close(), wait.Close(), begin.Close())
	}
	c.begin = begin
	c.cmd = &exec.Cmd{
		Path: self, Dir: c.bundle, Env: []string{inside + "=" + c.bundle, "PATH=" + os.Getenv(binaries)}, ExtraFiles: []*os.File{readyIn, wait},
		SysProcAttr: &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS, Pdeathsig: unix.SIGKILL},
	}
	c.cmd.Stderr = os.Stderr
	if path, own := c.config.network(); own && path == "" {
		c.cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWNET
	}
	err = c.cmd.Start()
	readyIn.Close()
	wait.Close()
	if err != nil {
		return errors.Join(err, begin.Close())
	}
	word, err := io.ReadAll(ready)
	if err == nil && string(word) != "ready" {
		err = fmt.Errorf("the container was not made: %s", word)
	}
	if err == nil {
		err = c.hooks("createRuntime", out)
	}
	if err == nil {
		_, err = begin.WriteString("begin")
	}
	if err != nil {
		c.kill()
		_ = c.hooks("poststop", out) // a runtime only warns
		return err
	}
	return begin.Close()
}

// kill ends the process and waits for its end.
func (c *container) kill() {
	_ = c.begin.Close()
	_ = c.cmd.Process.Kill()
	_ = c.cmd.Wait()
}

// hooks runs the hooks of a stage until one fails.
func (c *container) hooks(stage string, out io.Writer) error {
	state := map[string]any{"ociVersion": "1.0.2", "id": c.id, "bundle": c.bundle, "annotations": c.config.Annotations, "status": "creating", "pid": c.cmd.Process.Pid}
	if stage == "poststop" {
		state["status"] = "stopped"
		delete(state, "pid")
	}
	data, err := json.Marshal(state)
	if err != nil {
		return err
	}
	for _, h := range c.config.Hooks[stage] {
		cmd := &exec.Cmd{Path: h.Path, Args: h.Args, Env: h.Env, Dir: "/", Stdin: bytes.NewReader(data), Stdout: out, Stderr: out}
		if cmd.Env == nil {
			cmd.Env = []string{} // not ours
		}
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("hook %s: %w", stage, err)
		}
	}
	return nil
}

// contain is the container's process from its first moment. It returns only with a failure.
func contain(bundle string) int {
	runtime.LockOSThread()
	ready, wait := os.NewFile(3, "ready"), os.NewFile(4, "wait")
	c, err := readConfig(bundle)
	if err == nil {
		err = furnish(c, bundle)
	}
	word := "ready"
	if err != nil {
		word = err.Error()
	}
	if _, err := ready.WriteString(word); err != nil || word != "ready" {
		return 1
	}
	ready.Close()
	if begin, err := io.ReadAll(wait); err != nil || string(begin) != "begin" {
		return 1
	}
	wait.Close()
	path, err := exec.LookPath(c.Process.Args[0])
	if err == nil {
		err = syscall.Exec(path, c.Process.Args, c.Process.Env)
	}
	fmt.Fprintln(os.Stderr, err)
	return 1
}

// furnish joins the namespace and makes the mounts over the host's files.
func furnish(c *ociConfig, bundle string) error {
	if path, _ := c.network(); path != "" {
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
			return err
		}
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	for _, m := range c.Mounts {
		if m.Type != "bind" {
			continue
		}
		if !filepath.IsAbs(m.Source) {
			m.Source = filepath.Join(bundle, m.Source)
		}
		// The root file system is the host's: what is not there cannot be made.
		if err := unix.Mount(m.Source, m.Destination, "", unix.MS_BIND, ""); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("mount %s: %w", cmp.Or(m.Source, m.Destination), err)
		}
	}
	return nil
}
