// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	cnm "github.com/libnetwork/cnm"
)

// model is what should be there, by names. It is a value: a step makes a new one.
type model struct {
	networks  map[string]network
	sandboxes map[string]bool // owned
	endpoints map[name]endpoint
}

// name is that of an endpoint.
type name struct{ network, endpoint string }

func (n name) String() string { return n.network + "/" + n.endpoint }

type network struct {
	null, internal, isolate, noIPv6 bool
}

type endpoint struct {
	keep    bool
	sandbox string // "" while it is in none
	ports   []int  // of the host, wanted; see spec
}

func newModel() model {
	return model{map[string]network{}, map[string]bool{}, map[name]endpoint{}}
}

func (m model) clone() model {
	return model{maps.Clone(m.networks), maps.Clone(m.sandboxes), maps.Clone(m.endpoints)}
}

// String has one line for each thing, sorted.
func (m model) String() string {
	var lines []string
	for n, x := range m.networks {
		lines = append(lines, fmt.Sprintf("network %s %+v", n, x))
	}
	for n, owned := range m.sandboxes {
		lines = append(lines, fmt.Sprintf("sandbox %s owned %t", n, owned))
	}
	for n, x := range m.endpoints {
		lines = append(lines, fmt.Sprintf("endpoint %s keep %t in %q ports %v", n, x.keep, x.sandbox, x.ports))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// on gives the endpoint by which a sandbox is on a network.
func (m model) on(sandbox, network string) (name, bool) {
	for n, e := range m.endpoints {
		if n.network == network && e.sandbox == sandbox {
			return n, true
		}
	}
	return name{}, false
}

// taken tells whether one of the ports is bound for another endpoint.
func (m model) taken(ports []int, but name) bool {
	for n, e := range m.endpoints {
		if n != but && e.sandbox != "" && slices.ContainsFunc(ports, func(p int) bool { return slices.Contains(e.ports, p) }) {
			return true
		}
	}
	return false
}

// seen is the model that records show.
func seen(r cnm.Records) (model, error) {
	m := newModel()
	networks, sandboxes, joined := map[cnm.NetworkID]string{}, map[cnm.SandboxID]string{}, map[cnm.EndpointID]cnm.Join{}
	for _, nw := range r.Networks {
		if nw.State != cnm.Ready {
			return m, fmt.Errorf("network %s is %s", nw.Name, nw.State)
		}
		networks[nw.ID] = nw.Name
		m.networks[nw.Name] = network{null: nw.Driver == "null", internal: nw.Internal, isolate: nw.IsolateEndpoints, noIPv6: nw.Driver == "bridge" && !nw.IPv6}
	}
	for _, sb := range r.Sandboxes {
		if sb.State != cnm.Ready {
			return m, fmt.Errorf("sandbox %s is %s", sb.Name, sb.State)
		}
		sandboxes[sb.ID], m.sandboxes[sb.Name] = sb.Name, sb.Owned
	}
	for _, j := range r.Joins {
		if j.State != cnm.Joined {
			return m, fmt.Errorf("join of endpoint %s is %s", j.Endpoint, j.State)
		}
		joined[j.Endpoint] = j
	}
	addresses := map[string]string{}
	for _, ep := range r.Endpoints {
		n := name{networks[ep.Network], ep.Name}
		j, in := joined[ep.ID]
		if want := map[bool]cnm.State{true: cnm.Joined, false: cnm.Ready}[in]; ep.State != want {
			return m, fmt.Errorf("endpoint %s is %s, want %s", n, ep.State, want)
		}
		for _, a := range ep.Addresses {
			if other := addresses[a.String()]; other != "" {
				return m, fmt.Errorf("endpoints %s and %s both have address %s", other, n, a)
			}
			addresses[a.String()] = n.String()
		}
		e := endpoint{keep: ep.Keep, sandbox: sandboxes[j.Sandbox]}
		for _, p := range ep.Publish {
			e.ports = append(e.ports, int(p.HostPort))
		}
		m.endpoints[n] = e
	}
	return m, nil
}
