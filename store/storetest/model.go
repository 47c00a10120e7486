// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/libnetwork/cnm"
)

// model is what a store should hold: maps, and the rule for each lifetime.
type model struct {
	networks  map[cnm.NetworkID]cnm.Network
	endpoints map[cnm.EndpointID]cnm.Endpoint
	sandboxes map[cnm.SandboxID]cnm.Sandbox
	joins     map[cnm.EndpointID]cnm.Join
}

func newModel() *model {
	return &model{map[cnm.NetworkID]cnm.Network{}, map[cnm.EndpointID]cnm.Endpoint{}, map[cnm.SandboxID]cnm.Sandbox{}, map[cnm.EndpointID]cnm.Join{}}
}

// admits tells whether no endpoint of r would change its lifetime.
func (m *model) admits(r cnm.Records) bool {
	keep := map[cnm.EndpointID]bool{}
	for id, ep := range m.endpoints {
		keep[id] = ep.Keep
	}
	for _, ep := range r.Endpoints {
		if k, known := keep[ep.ID]; known && k != ep.Keep {
			return false
		}
		keep[ep.ID] = ep.Keep
	}
	return true
}

func (m *model) put(r cnm.Records) {
	for _, x := range r.Networks {
		m.networks[x.ID] = x
	}
	for _, x := range r.Endpoints {
		m.endpoints[x.ID] = x
	}
	for _, x := range r.Sandboxes {
		m.sandboxes[x.ID] = x
	}
	for _, x := range r.Joins {
		m.joins[x.Endpoint] = x
	}
}

func (m *model) drop(k cnm.Keys) {
	for _, id := range k.Networks {
		delete(m.networks, id)
	}
	for _, id := range k.Endpoints {
		delete(m.endpoints, id)
	}
	for _, id := range k.Sandboxes {
		delete(m.sandboxes, id)
	}
	for _, id := range k.Joins {
		delete(m.joins, id)
	}
}

// reboot forgets what lives no longer than a boot.
func (m *model) reboot() {
	clear(m.sandboxes)
	clear(m.joins)
	maps.DeleteFunc(m.endpoints, func(_ cnm.EndpointID, ep cnm.Endpoint) bool { return !ep.Keep })
}

func (m *model) records() cnm.Records {
	var r cnm.Records
	for _, id := range slices.Sorted(maps.Keys(m.networks)) {
		r.Networks = append(r.Networks, m.networks[id])
	}
	for _, id := range slices.Sorted(maps.Keys(m.endpoints)) {
		r.Endpoints = append(r.Endpoints, m.endpoints[id])
	}
	for _, id := range slices.Sorted(maps.Keys(m.sandboxes)) {
		r.Sandboxes = append(r.Sandboxes, m.sandboxes[id])
	}
	for _, id := range slices.Sorted(maps.Keys(m.joins)) {
		r.Joins = append(r.Joins, m.joins[id])
	}
	return r
}

// testModel compares random histories with the model.
func testModel(t *testing.T, subject Subject) {
	rapid.Check(t, func(rt *rapid.T) {
		s, m := subject.Open(t), newModel()
		defer func() {
			if err := s.Close(); err != nil {
				rt.Errorf("close: %v", err)
			}
		}()
		for range rapid.IntRange(1, 25).Draw(rt, "steps") {
			s = step(t, rt, subject, s, m)
		}
		expect(t, s, m.records())
	})
}

// step does one random thing to both, and returns the store, which may be another one now.
func step(t *testing.T, rt *rapid.T, subject Subject, s cnm.Store, m *model) cnm.Store {
	switch rapid.SampledFrom([]string{"put", "put", "put", "drop", "drop", "load", "reopen", "reboot"}).Draw(rt, "verb") {
	case "put":
		r := randomRecords(rt)
		err := s.Put(t.Context(), r)
		if admitted := m.admits(r); admitted != (err == nil) {
			rt.Fatalf("put %+v gives %v; it should be taken: %t", r, err, admitted)
		}
		if err == nil {
			m.put(r)
		}
	case "drop":
		k := keysOf(randomRecords(rt))
		if err := s.Drop(t.Context(), k); err != nil {
			rt.Fatalf("drop %+v: %v", k, err)
		}
		m.drop(k)
	case "load":
		expect(t, s, m.records())
	case "reopen":
		if subject.Reopen != nil {
			return subject.Reopen(t, s)
		}
	case "reboot":
		if subject.Reboot != nil {
			m.reboot()
			return subject.Reboot(t, s)
		}
	}
	return s
}

// randomRecords draws some records of a small population, large and small.
func randomRecords(rt *rapid.T) cnm.Records {
	var r cnm.Records
	for range rapid.IntRange(0, 6).Draw(rt, "count") {
		n := rapid.IntRange(0, 20).Draw(rt, "n")
		one := Sample(n, rapid.Bool().Draw(rt, "keep"))
		if rapid.IntRange(0, 19).Draw(rt, "large") == 0 {
			one.Networks[0].Labels = map[string]string{"large": string(make([]byte, 9000))}
		}
		parts := rapid.IntRange(1, 15).Draw(rt, "parts")
		for bit, leave := range []func(){
			func() { one.Networks = nil }, func() { one.Endpoints = nil }, func() { one.Sandboxes = nil }, func() { one.Joins = nil },
		} {
			if parts&(1<<bit) == 0 {
				leave()
			}
		}
		r = merge(r, one)
	}
	return r
}
