// SPDX-License-Identifier: Apache-2.0

//go:build interop

package interop_test

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/libnetwork/cnm/kernel/netns"
	"github.com/libnetwork/cnm/test/interop/engine"
	"github.com/libnetwork/cnm/test/interop/place"
)

// The tests wait for their engines most of the time: four at once take two processors, unless the command line says otherwise.
func TestMain(m *testing.M) {
	if err := flag.Set("test.parallel", "4"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	place.Main(m)
}

// look takes a picture of the machine.
func look(t *testing.T) place.Picture {
	t.Helper()
	p, err := place.Look(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestDockerRunsWithoutNetworksOfItsOwn(t *testing.T) {
	t.Parallel()
	for _, g := range engine.Generations() {
		t.Run(string(g), func(t *testing.T) {
			t.Parallel()
			d := engine.StartDocker(t, engine.NewPlace(t), g, engine.DockerOptions{})
			if got := d.Run("run", "--rm", "--network", "none", engine.Image, "echo", "hi"); got != "hi" {
				t.Errorf("it printed %q, want hi", got)
			}
			if got := d.Run("network", "ls", "--format", "{{.Name}}"); got != "host\nnone" {
				t.Errorf("its networks are %q, want host and none", got)
			}
		})
	}
}

func TestDockerSurvivesEnds(t *testing.T) {
	t.Parallel()
	for _, g := range engine.Generations() {
		t.Run(string(g), func(t *testing.T) {
			t.Parallel()
			p := engine.NewPlace(t)
			d := engine.StartDocker(t, p, g, engine.DockerOptions{Flags: []string{"--live-restore"}})
			d.Run("run", "--detach", "--name", "c1", "--network", "none", engine.Image, "sleep", "1000")
			state := func() string { return d.Run("inspect", "--format", "{{.State.Status}} {{.State.Pid}}", "c1") }
			before := state()
			for name, end := range map[string]func(){"stop": d.Stop, "kill": d.Kill} {
				end()
				d.Start()
				if after := state(); after != before || !strings.HasPrefix(after, "running ") {
					t.Errorf("after a %s the container is %q, was %q", name, after, before)
				}
			}
			pid, _ := strconv.Atoi(strings.TrimPrefix(before, "running "))
			err := p.In(pid, func() error {
				links, err := net.Interfaces()
				if err == nil && len(links) != 1 {
					return fmt.Errorf("its links are %v, want lo", links)
				}
				return err
			})
			if err != nil {
				t.Errorf("in the container's namespace: %v", err)
			}
			d.End()
			d.Start()
			d.Run("rm", "--force", "c1")
		})
	}
}

// Both Dockers in one place, each with networks of its own, are reached from the LAN.
func TestDockersPublishToTheLAN(t *testing.T) {
	t.Parallel()
	p := engine.NewPlace(t)
	for i, g := range engine.Generations() {
		d := engine.StartDocker(t, p, g, engine.DockerOptions{OwnNetworks: true, Flags: []string{fmt.Sprintf("--bip=10.201.%d.1/24", i)}})
		port := strconv.Itoa(8080 + i)
		d.Run("run", "--detach", "--publish", port+":80", engine.Image, "sh", "-c", "echo "+string(g)+" >/tmp/index.html; exec httpd -f -h /tmp")
		if got := fetch(t, p.Neighbour, "http://"+net.JoinHostPort(place.Host4, port)); got != string(g)+"\n" {
			t.Errorf("%s answers %q", g, got)
		}
	}
}

func TestComposeRuns(t *testing.T) {
	t.Parallel()
	for _, g := range engine.Generations() {
		t.Run(string(g), func(t *testing.T) {
			t.Parallel()
			p := engine.NewPlace(t)
			d := engine.StartDocker(t, p, g, engine.DockerOptions{OwnNetworks: true})
			p.Write("/run/shop/docker-compose.yml", `
version: "2.4"
services:
  web: {image: busybox, command: sleep 1000, networks: [front]}
networks: {front: {}}
`)
			d.Compose("/run/shop", "up", "--detach").Must(t, "docker-compose up")
			if got := d.Run("ps", "--format", "{{.Names}} {{.Networks}}"); !strings.HasSuffix(got, " shop_front") {
				t.Errorf("what runs is %q, want one container on shop_front", got)
			}
			d.Compose("/run/shop", "down", "--timeout", "0").Must(t, "docker-compose down")
			if got := d.Run("ps", "--all", "--quiet"); got != "" {
				t.Errorf("after down there is still %s", got)
			}
		})
	}
}

// fetch gets a page from a place's stack. The server may not listen yet: what is refused is asked again.
func fetch(t *testing.T, from stack, address string) string {
	t.Helper()
	at, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	end := time.After(10 * time.Second)
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		var body []byte
		err := from.Do(func() error {
			conn, err := net.Dial("tcp", at.Host)
			if err != nil {
				return err
			}
			cl := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(context.Context, string, string) (net.Conn, error) { return conn, nil }}}
			resp, err := cl.Get(address)
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			body, err = io.ReadAll(resp.Body)
			return err
		})
		if err == nil {
			return string(body)
		}
		select {
		case <-again.C:
		case <-end:
			t.Fatalf("fetch %s: %v", address, err)
		}
	}
}

func TestBundlesRun(t *testing.T) {
	t.Parallel()
	for _, r := range engine.Runtimes() {
		t.Run(string(r), func(t *testing.T) {
			t.Parallel()
			p := engine.NewPlace(t)
			state := filepath.Join(t.TempDir(), "state")
			b := engine.NewBundle(t, p, r, engine.BundleOptions{
				Args:  []string{"sh", "-c", "ip -o link | wc -l"},
				Hooks: map[string][]engine.Hook{"createRuntime": {{Path: "/bin/sh", Args: []string{"sh", "-c", "cat >" + state}}}},
			})
			if got := b.Try("b1", "run").Must(t, string(r), "run"); got != "1" {
				t.Errorf("the container has %q links, want lo", got)
			}
			if text, err := os.ReadFile(state); err != nil || !strings.Contains(string(text), `"id":"b1"`) && !strings.Contains(string(text), `"id": "b1"`) {
				t.Errorf("the hook was told %q (%v)", text, err)
			}
		})
	}
}

func TestDaemonRuns(t *testing.T) {
	t.Parallel()
	p := engine.NewPlace(t)
	c := engine.StartCNM(t, p)
	c.Run("network", "create", "blue")
	c.Restart()
	var networks []struct{ Name string }
	if c.Read(&networks, "network", "ls"); len(networks) != 1 || networks[0].Name != "blue" {
		t.Errorf("after a restart the networks are %+v", networks)
	}
	if got := c.Try("network", "rm", "green").Status; got != 3 {
		t.Errorf("removal of a network that is not there ends with %d, want 3", got)
	}
}

// nothingLeft fails the test if a place that has ended left something.
func nothingLeft(t *testing.T, name string, before place.Picture) {
	t.Helper()
	if now := look(t).Since(before); now != "" {
		t.Errorf("after all the machine has\n%s", now)
	}
	if groups, err := place.Groups(name); err != nil || len(groups) > 0 {
		t.Errorf("after all there are the control groups %q (%v)", groups, err)
	}
}

// The machine is after everything as it was before.
func TestNothingIsLeft(t *testing.T) {
	t.Parallel()
	before := look(t)
	p := engine.NewPlace(t)
	c := engine.StartCNM(t, p)
	c.Run("network", "create", "blue")
	for _, g := range engine.Generations() {
		d := engine.StartDocker(t, p, g, engine.DockerOptions{OwnNetworks: true})
		d.Run("network", "create", "own")
		d.Run("run", "--detach", "--network", "own", "--publish", "80", engine.Image, "sleep", "1000")
	}
	if now := look(t).Since(before); now != "" {
		t.Errorf("while engines run the machine has\n%s", now)
	}
	if groups, err := place.Groups(p.Name); err != nil || len(groups) == 0 {
		t.Errorf("while engines run they have the control groups %q (%v)", groups, err)
	}
	p.End()
	nothingLeft(t, p.Name, before)
}

const victimVariable = "CNM_INTEROP_VICTIM"

// A test that is killed leaves nothing either.
func TestNothingIsLeftByAKilledTest(t *testing.T) {
	t.Parallel()
	if os.Getenv(victimVariable) != "" {
		p := engine.NewPlace(t)
		d := engine.StartDocker(t, p, engine.Debian, engine.DockerOptions{OwnNetworks: true})
		d.Run("run", "--detach", engine.Image, "sleep", "1000")
		fmt.Printf("\nplace %s keeper %d\n", p.Name, p.Keeper())
		select {} // until it is killed
	}
	before := look(t)
	victim := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$")
	victim.Env = append(os.Environ(), victimVariable+"=1")
	stdout, err := victim.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := victim.Start(); err != nil {
		t.Fatal(err)
	}
	name, keeper := "", 0
	for lines := bufio.NewScanner(stdout); keeper == 0 && lines.Scan(); {
		_, _ = fmt.Sscanf(lines.Text(), "place %s keeper %d", &name, &keeper) // most lines say other things
	}
	if keeper == 0 {
		t.Fatalf("the victim ended by itself: %v", victim.Wait())
	}
	gone, err := netns.WatchProcess(t.Context(), keeper)
	if err != nil {
		t.Fatal(err)
	}
	if err := victim.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = victim.Wait() // killed
	select {
	case <-gone:
	case <-time.After(time.Minute):
		t.Fatal("the keeper has not ended after a minute")
	}
	nothingLeft(t, name, before)
}
