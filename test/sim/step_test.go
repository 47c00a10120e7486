// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"

	cnm "github.com/libnetwork/cnm"
)

// step is one thing that is asked of the daemon.
type step struct {
	text string
	// next is what the model is afterwards, unless the daemon refuses, as it must where refusal says so.
	next    model
	refusal error // a cnm.Kind, or nil
	do      func(ctx context.Context, h *history) error
}

// spec is how a port of the model is written: each number has one endpoint's port and protocol.
func spec(port int) cnm.PortSpec {
	s := cnm.PortSpec{Proto: cnm.TCP, HostPort: uint16(port), HostPortEnd: uint16(port), Port: uint16(port - 20000 + 80)}
	if port%2 == 1 {
		s.Proto = cnm.UDP
	}
	return s
}

func specs(ports []int) []cnm.PortSpec {
	var all []cnm.PortSpec
	for _, p := range ports {
		all = append(all, spec(p))
	}
	return all
}

// dice draws what a step is about. Names are few, so that steps meet.
type dice struct{ *rand.Rand }

func (d dice) one(of ...string) string { return of[d.IntN(len(of))] }
func (d dice) network() string         { return d.one("red", "blue", "green") }
func (d dice) sandbox() string         { return d.one("s0", "s1", "s2", "s3") }
func (d dice) chance(percent int) bool { return d.IntN(100) < percent }

func (d dice) ports() []int {
	var ports []int
	for d.chance(30) && len(ports) < 2 {
		if p := 20000 + d.IntN(6); !slices.Contains(ports, p) {
			ports = append(ports, p)
		}
	}
	return ports
}

func (d dice) endpoint(m model) name {
	if len(m.endpoints) > 0 && d.chance(85) { // one that there is
		all := make([]name, 0, len(m.endpoints))
		for n := range m.endpoints {
			all = append(all, n)
		}
		slices.SortFunc(all, func(a, b name) int { return slices.Compare([]byte(a.String()), []byte(b.String())) })
		return all[d.IntN(len(all))]
	}
	return name{d.network(), d.one("e0", "e1", "e2")}
}

// draw draws the next step, more often than not one that will not be refused.
func (d dice) draw(m model) step {
	s := d.any(m)
	for range 8 {
		if s.refusal == nil || d.chance(10) {
			break
		}
		s = d.any(m)
	}
	return s
}

// any draws a step.
func (d dice) any(m model) step {
	makers := []struct {
		weight int
		make   func(m model) step
	}{
		{10, d.createNetwork},
		{2, d.deleteNetwork},
		{10, d.createSandbox},
		{2, d.deleteSandbox},
		{8, d.createEndpoint},
		{3, d.deleteEndpoint},
		{10, d.join},
		{6, d.leave},
		{24, d.attach},
		{7, d.detach},
		{18, d.publish},
	}
	total := 0
	for _, x := range makers {
		total += x.weight
	}
	n := d.IntN(total)
	for _, x := range makers {
		if n -= x.weight; n < 0 {
			return x.make(m)
		}
	}
	return d.attach(m)
}

func (d dice) createNetwork(m model) step {
	n := d.network()
	x := network{internal: d.chance(20), isolate: d.chance(20), noIPv6: d.chance(15)}
	if d.chance(10) {
		x = network{null: true}
	}
	s := step{text: fmt.Sprintf("create network %s %+v", n, x), next: m.clone()}
	if _, ok := m.networks[n]; ok {
		s.refusal = cnm.Exists
	}
	s.next.networks[n] = x
	s.do = func(ctx context.Context, h *history) error {
		spec := cnm.NetworkSpec{Name: n, Internal: x.internal, IsolateEndpoints: x.isolate}
		if on := false; x.noIPv6 {
			spec.IPv6 = &on
		}
		if x.null {
			spec.Driver = "null"
		}
		_, err := h.CreateNetwork(ctx, spec)
		return err
	}
	return s
}

func (d dice) deleteNetwork(m model) step {
	n, force := d.network(), d.chance(50)
	s := step{text: fmt.Sprintf("delete network %s, force %t", n, force), next: m.clone()}
	for e := range m.endpoints {
		if e.network == n {
			if !force {
				s.refusal = cnm.Busy
			}
			delete(s.next.endpoints, e)
		}
	}
	if _, ok := m.networks[n]; !ok {
		s.refusal = cnm.NotFound
	}
	delete(s.next.networks, n)
	s.do = func(ctx context.Context, h *history) error { return h.DeleteNetwork(ctx, h.networkID(n), force) }
	return s
}

func (d dice) createSandbox(m model) step {
	n, owned := d.sandbox(), d.chance(75)
	s := step{text: fmt.Sprintf("create sandbox %s, owned %t", n, owned), next: m.clone()}
	if _, ok := m.sandboxes[n]; ok {
		s.refusal = cnm.Exists
	}
	s.next.sandboxes[n] = owned
	s.do = func(ctx context.Context, h *history) error {
		spec := cnm.SandboxSpec{Name: n}
		if !owned {
			spec.Path = h.foreign(n)
		}
		_, err := h.CreateSandbox(ctx, spec)
		return err
	}
	return s
}

// withoutSandbox is the model after a sandbox has ended: what was made to be kept stays.
func (m model) withoutSandbox(n string) model {
	next := m.clone()
	for e, x := range m.endpoints {
		if x.sandbox != n {
			continue
		}
		if !x.keep {
			delete(next.endpoints, e)
			continue
		}
		x.sandbox = ""
		next.endpoints[e] = x
	}
	delete(next.sandboxes, n)
	return next
}

func (d dice) deleteSandbox(m model) step {
	n := d.sandbox()
	s := step{text: "delete sandbox " + n, next: m.withoutSandbox(n)}
	if _, ok := m.sandboxes[n]; !ok {
		s.refusal = cnm.NotFound
	}
	s.do = func(ctx context.Context, h *history) error { return h.DeleteSandbox(ctx, h.sandboxID(n)) }
	return s
}

func (d dice) createEndpoint(m model) step {
	n, keep, ports := name{d.network(), d.one("e0", "e1", "e2")}, d.chance(50), d.ports()
	s := step{text: fmt.Sprintf("create endpoint %s, keep %t, ports %v", n, keep, ports), next: m.clone()}
	s.next.endpoints[n] = endpoint{keep: keep, ports: ports}
	nw, ok := m.networks[n.network]
	_, there := m.endpoints[n]
	switch {
	case !ok:
		s.refusal = cnm.NotFound
	case nw.null && len(ports) > 0:
		s.refusal = cnm.Unsupported
	case there:
		s.refusal = cnm.Exists
	}
	s.do = func(ctx context.Context, h *history) error {
		_, err := h.CreateEndpoint(ctx, h.networkID(n.network), cnm.EndpointSpec{Name: n.endpoint, Keep: keep, Publish: specs(ports)})
		return err
	}
	return s
}

func (d dice) deleteEndpoint(m model) step {
	n, force := d.endpoint(m), d.chance(50)
	s := step{text: fmt.Sprintf("delete endpoint %s, force %t", n, force), next: m.clone()}
	x, ok := m.endpoints[n]
	switch {
	case !ok:
		s.refusal = cnm.NotFound
	case x.sandbox != "" && !force:
		s.refusal = cnm.Busy
	}
	delete(s.next.endpoints, n)
	s.do = func(ctx context.Context, h *history) error { return h.DeleteEndpoint(ctx, h.endpointID(n), force) }
	return s
}

func (d dice) join(m model) step {
	n, box, priority := d.endpoint(m), d.sandbox(), d.IntN(3)
	s := step{text: fmt.Sprintf("join %s to %s with priority %d", n, box, priority), next: m.clone()}
	x, ok := m.endpoints[n]
	_, there := m.sandboxes[box]
	_, on := m.on(box, n.network)
	switch {
	case !ok:
		s.refusal = cnm.NotFound
	case x.sandbox != "":
		s.refusal = cnm.Exists
	case !there:
		s.refusal = cnm.NotFound
	case on, m.taken(x.ports, n):
		s.refusal = cnm.Exists
	}
	x.sandbox = box
	s.next.endpoints[n] = x
	s.do = func(ctx context.Context, h *history) error {
		_, err := h.Join(ctx, h.endpointID(n), h.sandboxID(box), cnm.JoinSpec{GatewayPriority: priority})
		return err
	}
	return s
}

func (d dice) leave(m model) step {
	n := d.endpoint(m)
	s := step{text: fmt.Sprintf("leave %s", n), next: m.clone()}
	x, ok := m.endpoints[n]
	if !ok || x.sandbox == "" {
		s.refusal = cnm.NotFound
	}
	x.sandbox = ""
	s.next.endpoints[n] = x
	s.do = func(ctx context.Context, h *history) error { return h.Leave(ctx, h.endpointID(n)) }
	return s
}

func (d dice) attach(m model) step {
	nw, box, keep, ports, priority := d.network(), d.sandbox(), d.chance(20), d.ports(), d.IntN(3)
	n := name{nw, box}
	s := step{text: fmt.Sprintf("attach %s to %s, keep %t, ports %v, priority %d", box, nw, keep, ports, priority), next: m.clone()}
	x, ok := m.networks[nw]
	_, there := m.sandboxes[box]
	_, named := m.endpoints[n]
	_, on := m.on(box, nw)
	switch {
	case !ok, !there:
		s.refusal = cnm.NotFound
	case on:
		s.refusal = cnm.Exists
	case x.null && len(ports) > 0:
		s.refusal = cnm.Unsupported
	case named, m.taken(ports, n):
		s.refusal = cnm.Exists
	}
	s.next.endpoints[n] = endpoint{keep: keep, sandbox: box, ports: ports}
	s.do = func(ctx context.Context, h *history) error {
		_, err := h.Attach(ctx, cnm.AttachSpec{
			Sandbox: h.sandboxID(box), Network: h.networkID(nw),
			Endpoint: cnm.EndpointSpec{Keep: keep, Publish: specs(ports)}, Join: cnm.JoinSpec{GatewayPriority: priority},
		})
		return err
	}
	return s
}

func (d dice) detach(m model) step {
	nw, box := d.network(), d.sandbox()
	s := step{text: fmt.Sprintf("detach %s from %s", box, nw), next: m.clone()}
	n, on := m.on(box, nw)
	if !on {
		s.refusal = cnm.NotFound
	}
	if x := m.endpoints[n]; x.keep {
		x.sandbox = ""
		s.next.endpoints[n] = x
	} else {
		delete(s.next.endpoints, n)
	}
	s.do = func(ctx context.Context, h *history) error { return h.Detach(ctx, h.sandboxID(box), h.networkID(nw)) }
	return s
}

// publish adds some ports and removes others.
func (d dice) publish(m model) step {
	n, add := d.endpoint(m), d.ports()
	x, ok := m.endpoints[n]
	var remove []int
	for _, p := range x.ports {
		if d.chance(40) {
			remove = append(remove, p)
		}
	}
	s := step{text: fmt.Sprintf("publish %v of %s, no longer %v", add, n, remove), next: m.clone()}
	rest := slices.DeleteFunc(slices.Clone(x.ports), func(p int) bool { return slices.Contains(remove, p) })
	twice := slices.ContainsFunc(add, func(p int) bool { return slices.Contains(rest, p) })
	list := append(rest, add...)
	if len(list) == 0 {
		list = nil
	}
	switch {
	case !ok:
		s.refusal = cnm.NotFound
	case twice:
		s.refusal = cnm.Exists
	case m.networks[n.network].null:
		return d.attach(m) // such a network has nothing to publish
	case x.sandbox != "" && m.taken(list, n):
		s.refusal = cnm.Exists
	}
	x.ports = list
	s.next.endpoints[n] = x
	s.do = func(ctx context.Context, h *history) error {
		_, err := h.Publish(ctx, h.endpointID(n), specs(add), specs(remove))
		return err
	}
	return s
}
