// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/kernel/kerneltest"
	"github.com/libnetwork/cnm/kernel/netns"
	"github.com/libnetwork/cnm/test/lab/stage"
)

var seed = flag.Uint64("seed", 0, "the seed of the one history to run; 0 runs several")

var steps = flag.Int("steps", 200, "the length of a history")

func TestMain(m *testing.M) { stage.Main(m) }

func TestHistory(t *testing.T) {
	t.Parallel()
	histories := map[string]uint64{"one": 1, "two": 2, "random": 0}
	if *seed != 0 {
		histories = map[string]uint64{"given": *seed}
	}
	for name, s := range histories {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			kerneltest.Run(t, func(t *testing.T) {
				if s == 0 {
					s = rand.Uint64()
				}
				t.Logf("run it again with -seed %d -steps %d", s, *steps)
				h := newHistory(t, s)
				for h.length < *steps && !t.Failed() {
					h.step()
				}
				t.Logf("%d verbs of %d steps did something", h.done, h.length)
				h.end()
			})
		})
	}
}

// history is one under way.
type history struct {
	*stage.World
	t      *testing.T
	dice   dice
	daemon *stage.Away
	model  model
	length int
	done   int      // verbs that were not refused
	told   []string // the steps so far
}

// foreignDir has the namespaces of others.
const foreignDir = "/run/theirs"

func newHistory(t *testing.T, seed uint64) *history {
	t.Helper()
	host := stage.New(t, 0)
	if err := os.MkdirAll(foreignDir, 0o755); err != nil {
		t.Fatal(err)
	}
	d := stage.StartAway(t)
	h := &history{World: stage.On(t, host, d), t: t, dice: dice{rand.New(rand.NewPCG(seed, seed))}, daemon: d, model: newModel()}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the history:\n%s\nthe model:\n%s", strings.Join(h.told, "\n"), h.model)
		}
		h.dropForeign()
	})
	return h
}

func (h *history) tell(format string, args ...any) {
	h.told = append(h.told, fmt.Sprintf("%4d %s", h.length, fmt.Sprintf(format, args...)))
}

// The IDs of what there is; of what there is not, one that is nobody's.

func (h *history) networkID(n string) cnm.NetworkID {
	for _, x := range h.Records(h.t.Context()).Networks {
		if x.Name == n {
			return x.ID
		}
	}
	return "ffffffffffffffffffffffffffffffff"
}

func (h *history) sandboxID(n string) cnm.SandboxID {
	for _, x := range h.Records(h.t.Context()).Sandboxes {
		if x.Name == n {
			return x.ID
		}
	}
	return "ffffffffffffffffffffffffffffffff"
}

func (h *history) endpointID(n name) cnm.EndpointID {
	nw := h.networkID(n.network)
	for _, x := range h.Records(h.t.Context()).Endpoints {
		if x.Network == nw && x.Name == n.endpoint {
			return x.ID
		}
	}
	return "ffffffffffffffffffffffffffffffff"
}

// step does the next step and looks at what came of it.
func (h *history) step() {
	h.length++
	switch n := h.dice.IntN(100); {
	case n < 3:
		h.tell("the daemon is killed")
		h.daemon.Kill()
		h.daemon.Start()
	case n < 5:
		h.tell("the daemon is stopped")
		h.daemon.Stop()
		h.daemon.Start()
	case n < 11:
		h.killed(h.dice.draw(h.model))
	case n < 13:
		h.namespaceGone()
	case n < 20:
		h.reach()
	default:
		h.verb(h.dice.draw(h.model))
	}
	h.look()
}

// verb does a step in peace.
func (h *history) verb(s step) {
	err := s.do(h.t.Context(), h)
	h.tell("%s: %v", s.text, err)
	switch {
	case s.refusal == nil && err != nil:
		h.t.Errorf("step %d, %s: %v", h.length, s.text, err)
	case s.refusal != nil && !errors.Is(err, s.refusal):
		h.t.Errorf("step %d, %s: %v, want a refusal: %v", h.length, s.text, err, s.refusal)
	case err == nil:
		h.model = s.next
		h.done++
	}
}

// killed kills the daemon in the middle of a step: after the next start it is done, or it is not.
func (h *history) killed(s step) {
	after := time.NewTimer(time.Duration(h.dice.IntN(5000)) * time.Microsecond)
	defer after.Stop()
	answer := make(chan error, 1)
	go func() { answer <- s.do(h.t.Context(), h) }()
	var err error
	select {
	case <-after.C:
		h.daemon.Kill()
		err = <-answer
	case err = <-answer:
		h.daemon.Kill()
	}
	h.tell("%s, and the daemon is killed: %v", s.text, err)
	h.daemon.Start()
	now, bad := seen(h.Records(h.t.Context()))
	switch {
	case bad != nil:
		h.t.Errorf("step %d, %s, killed: after the restart %v", h.length, s.text, bad)
	case err == nil, s.refusal == nil && now.String() == s.next.String():
		h.model = s.next
	}
}

// namespaceGone deletes the namespace of a sandbox behind the daemon's back, and waits until that is noticed.
func (h *history) namespaceGone() {
	n := h.dice.sandbox()
	if _, ok := h.model.sandboxes[n]; !ok {
		return
	}
	h.tell("the namespace of sandbox %s is gone", n)
	ctx, stop := context.WithCancel(h.t.Context())
	defer stop()
	events := h.Events(ctx)
	for _, sb := range h.Records(h.t.Context()).Sandboxes {
		if sb.Name != n {
			continue
		}
		if err := netns.Unpin(sb.Namespace.Path); err != nil {
			h.t.Fatal(err)
		}
	}
	stage.Await(h.t, events, stage.Patience, func(e cnm.Event) bool {
		return e.Object == "sandbox" && e.Action == "collect" && e.Name == n
	})
	h.model = h.model.withoutSandbox(n)
}

// reach asks of two sandboxes whether they reach each other as the model says.
func (h *history) reach() {
	r := h.Records(h.t.Context())
	boxes := map[cnm.SandboxID]cnm.Sandbox{}
	for _, sb := range r.Sandboxes {
		boxes[sb.ID] = sb
	}
	var joined []cnm.Endpoint
	in := map[cnm.EndpointID]cnm.SandboxID{}
	for _, j := range r.Joins {
		in[j.Endpoint] = j.Sandbox
	}
	for _, ep := range r.Endpoints {
		if in[ep.ID] != "" && len(ep.Addresses) > 0 {
			joined = append(joined, ep)
		}
	}
	if len(joined) < 2 {
		return
	}
	a, b := joined[h.dice.IntN(len(joined))], joined[h.dice.IntN(len(joined))]
	isolated := slices.ContainsFunc(r.Networks, func(nw cnm.Network) bool { return nw.ID == b.Network && nw.IsolateEndpoints })
	from, to := boxes[in[a.ID]], boxes[in[b.ID]]
	onIt := slices.ContainsFunc(r.Joins, func(j cnm.Join) bool { return j.Sandbox == from.ID && j.Network == b.Network })
	var probes []stage.Probe
	for _, p := range b.Addresses {
		probes = append(probes, stage.Every(stage.In(from), p.Addr())[0])
	}
	answered := from.ID == to.ID || onIt && !isolated
	h.tell("sandbox %s reaches %s at %v: %t", from.Name, to.Name, b.Addresses, answered)
	if answered {
		stage.Answered(h.t, probes...)
		return
	}
	stage.Silent(h.t, probes...)
}

// look compares the records with the model, and the kernel with the records.
func (h *history) look() {
	now, err := seen(h.Records(h.t.Context()))
	if err != nil {
		h.t.Errorf("step %d: %v", h.length, err)
	}
	if err == nil && now.String() != h.model.String() {
		h.t.Errorf("step %d: the records have\n%s\nand the model\n%s", h.length, now, h.model)
	}
	if found := h.Findings(); len(found) > 0 {
		h.t.Errorf("step %d: the host is not as the records say:\n%s", h.length, strings.Join(found, "\n"))
	}
}

// end takes everything down by the verbs; the world then looks for what is left.
func (h *history) end() {
	if h.t.Failed() {
		return
	}
	h.Clear()
	h.dropForeign()
}

// foreign makes a namespace that is not ours.
func (h *history) foreign(n string) string {
	pin := filepath.Join(foreignDir, n)
	if _, err := os.Stat(pin); err == nil {
		return pin
	}
	if _, err := netns.Make(pin, nil); err != nil {
		h.t.Error(err)
	}
	return pin
}

// dropForeign ends them.
func (h *history) dropForeign() {
	entries, err := os.ReadDir(foreignDir)
	if err != nil {
		h.t.Error(err)
	}
	for _, e := range entries {
		if err := netns.Unpin(filepath.Join(foreignDir, e.Name())); err != nil {
			h.t.Error(err)
		}
	}
}
