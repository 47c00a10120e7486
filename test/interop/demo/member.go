// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/libnetwork/cnm/kernel/link"
	"github.com/libnetwork/cnm/kernel/netns"
	"github.com/libnetwork/cnm/test/interop/engine"
	"github.com/libnetwork/cnm/test/interop/place"
	"github.com/libnetwork/cnm/test/probe"
)

// servedPort is where every member serves a page: its name, and the address of
// who asks.
const servedPort = 80

// member is a container or process on a network. Of each kind there is one on
// each network; its name is the kind and the network's number.
type member struct {
	name    string
	kind    string // docker, runc or process
	network string // its own one, which decides its addresses
	at      probe.Place
	// exec runs a program beside it, with its files and in its network.
	exec func(args ...string) place.Result
	// remove ends it.
	remove func()
}

func kinds() []string { return []string{"docker", "runc", "process"} }

// of are the names of a network's members.
func of(network string) (all []string) {
	number := map[string]string{red: "1", blue: "2"}[network]
	for _, kind := range kinds() {
		all = append(all, kind+number)
	}
	return all
}

// plan is a member that is not made.
func plan(name string) *member {
	m := &member{name: name, kind: strings.TrimRight(name, "12"), network: red}
	if strings.HasSuffix(name, "2") {
		m.network = blue
	}
	return m
}

// address is the member's on its network.
func (m *member) address(f link.Family) netip.Addr {
	a := subnet(m.network, f).Addr().AsSlice()
	a[len(a)-1] = byte(11 + slices.Index(kinds(), m.kind))
	address, _ := netip.AddrFromSlice(a)
	return address
}

// hostPort is the host's port by which the member's is published.
func (m *member) hostPort() uint16 {
	return 8081 + uint16(slices.Index(kinds(), m.kind))
}

// join makes a member and puts it on its network, which is there, if it is not
// there yet. It serves when this returns.
func (w *world) join(name string) {
	if w.members[name] != nil {
		return
	}
	m := plan(name)
	run := map[string]func(*member){"docker": w.runDocker, "runc": w.runBundle, "process": w.runProcess}
	run[m.kind](m)
	w.members[name] = m
	w.awaitServer(m)
}

// on is the network that the member is put on.
func (w *world) on(m *member) string {
	if elsewhere := w.elsewhere[m.name]; elsewhere != "" {
		return elsewhere
	}
	return m.network
}

// addresses are those of the member that the networks allow.
func (w *world) addresses(m *member) (all []netip.Addr) {
	for _, f := range families() {
		if w.has(f) && w.on(m) == m.network {
			all = append(all, m.address(f))
		}
	}
	return all
}

// told are flags with the names and addresses of the others on its network,
// the same ones of docker and cnm.
func (w *world) told(m *member) (flags []string) {
	if w.nameless {
		return nil
	}
	for _, name := range of(m.network) {
		for _, a := range w.addresses(plan(name)) {
			if name != m.name {
				flags = append(flags, "--add-host", name+":"+a.String())
			}
		}
	}
	return flags
}

// publishes are flags for its port, the same ones of docker and cnm. Only the
// members of the first network publish.
func (w *world) publishes(m *member) []string {
	if m.network != red {
		return nil
	}
	spec, sabotaged := w.published[m.name]
	if !sabotaged {
		spec = fmt.Sprintf("%d:%d", m.hostPort(), servedPort)
	}
	if spec == "" {
		return nil
	}
	return []string{"--publish", spec}
}

// serve is the program that serves the page. It is the same in a container and
// outside, where a folder of its own is in the place's /run.
func (m *member) serve() []string {
	dir := "/run/" + m.name
	return []string{"sh", "-c", "mkdir -p " + dir + "/cgi-bin && cd " + dir + "/cgi-bin && " +
		`printf '#!/bin/sh\necho; echo ` + m.name + ` $REMOTE_ADDR\n' >who && chmod +x who && exec busybox httpd -f -h ` + dir}
}

// runDocker is docker run. Its first process is one that ends when it is told to.
func (w *world) runDocker(m *member) {
	args := slices.Concat([]string{"run", "--detach", "--init", "--name", m.name, "--network", w.on(m)}, w.told(m), w.publishes(m))
	for _, a := range w.addresses(m) {
		flag := "--ip"
		if a.Is6() {
			flag = "--ip6"
		}
		args = append(args, flag, a.String())
	}
	w.docker.Run(append(append(args, engine.Image), m.serve()...)...)
	w.events.Await("sandbox rename " + m.name)
	pid, err := strconv.Atoi(w.docker.Run("inspect", "--format", "{{.State.Pid}}", m.name))
	if err != nil {
		w.Fatal(err)
	}
	m.at = probe.Place{Name: m.name, Inside: func(fn func() error) error { return w.place.In(pid, fn) }}
	m.exec = func(args ...string) place.Result { return w.docker.Try(append([]string{"exec", m.name}, args...)...) }
	m.remove = func() { w.docker.Run("rm", "--force", m.name) }
}

// runBundle is cnm oci bundle, which adds hooks, and runc run.
func (w *world) runBundle(m *member) {
	b := engine.NewBundle(w, w.place, engine.Runc, engine.BundleOptions{Args: m.serve()})
	args := slices.Concat([]string{"oci", "bundle", b.Dir, "--network", w.on(m)}, w.told(m), w.publishes(m))
	for _, a := range w.addresses(m) {
		args = append(args, "--ip", a.String())
	}
	w.cnm.Run(args...)
	b.Try(m.name, "run", "--detach").Must(w, "runc run")
	var state struct {
		PID int `json:"pid"`
	}
	if err := json.Unmarshal([]byte(b.Try(m.name, "state").Must(w, "runc state")), &state); err != nil {
		w.Fatal(err)
	}
	m.at = probe.Place{Name: m.name, Inside: func(fn func() error) error { return w.place.In(state.PID, fn) }}
	m.exec = func(args ...string) place.Result {
		cmd := b.Command(m.name, "exec")
		cmd.Args = append(cmd.Args, args...)
		return w.place.Run(cmd)
	}
	m.remove = func() {
		b.Try(m.name, "delete", "--force").Must(w, "runc delete")
		w.events.Await("sandbox collect " + m.name)
	}
}

// runProcess is cnm run.
func (w *world) runProcess(m *member) {
	args := slices.Concat([]string{"run", "--name", m.name, "--network", w.on(m)}, w.told(m), w.publishes(m))
	for _, a := range w.addresses(m) {
		args = append(args, "--ip", a.String())
	}
	process := w.cnm.Begin(m.name, append(append(args, "--"), m.serve()...)...)
	w.events.Await("endpoint join " + w.on(m) + "/" + m.name)
	path := w.place.Path(w.cnm.Run("sandbox", "inspect", m.name, "--format", "{{.namespace}}"))
	m.at = probe.Place{Name: m.name, Inside: func(fn func() error) error {
		ns, err := netns.Open(path)
		if err != nil {
			return err
		}
		defer ns.Close()
		return ns.Do(fn)
	}}
	m.exec = func(args ...string) place.Result {
		return w.cnm.Try(append([]string{"sandbox", "exec", m.name, "--", "busybox"}, args...)...)
	}
	m.remove = func() { process.End(syscall.SIGTERM) }
}

// servePause is between two questions whether a member serves.
const servePause = 10 * time.Millisecond

// awaitServer waits until a member takes connections from itself. Nothing tells
// when a server of somebody else's begins to listen.
func (w *world) awaitServer(m *member) {
	again := time.NewTicker(servePause)
	defer again.Stop()
	for {
		conn, err := m.at.DialTCP(w.Context(), netip.AddrPortFrom(loopback(link.IPv4), servedPort))
		if err == nil {
			conn.Close()
			return
		}
		select {
		case <-again.C:
		case <-w.Context().Done():
			w.Fatalf("%s does not serve: %v", m.name, err)
		}
	}
}

// page is what a member serves.
type page struct {
	by   string     // its name
	from netip.Addr // who asked
}

// fetch gets a member's page.
func (w *world) fetch(from probe.Place, at netip.AddrPort) (page, error) {
	text, err := from.Fetch(w.Context(), at, "/cgi-bin/who")
	if err != nil {
		return page{}, err
	}
	by, address, _ := strings.Cut(strings.TrimSpace(text), " ")
	a, err := netip.ParseAddr(strings.Trim(address, "[]"))
	if err != nil {
		return page{}, fmt.Errorf("%s fetches from %s: the page is %q: %w", from.Name, at, text, err)
	}
	return page{by: by, from: a.Unmap()}, nil
}
