// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libnetwork/cnm/kernel/kerneltest"
	"github.com/libnetwork/cnm/test/lab/stage"
)

// traffic runs until it is stopped, and counts what was lost.
type traffic struct {
	t      *testing.T
	stop   context.CancelFunc
	ctx    context.Context
	wg     sync.WaitGroup
	mu     sync.Mutex // guards counts
	counts map[string]*count

	hearing sync.WaitGroup // the wires that are listened to, until they are closed
	wires   []*stage.Wire
}

// count is of one conversation.
type count struct{ said, lost atomic.Int64 }

func newTraffic(t *testing.T) *traffic {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	f := &traffic{t: t, ctx: ctx, stop: stop, counts: map[string]*count{}}
	t.Cleanup(f.end)
	return f
}

// end ends it all. It may be repeated.
func (f *traffic) end() {
	f.stop()
	f.wg.Wait()
	for _, w := range f.wires {
		w.Close()
	}
	f.hearing.Wait()
}

// run says words and waits for each answer, over one connection for all its life. gap bounds how long an answer may take.
func (f *traffic) run(s *stream, gap time.Duration) {
	c := &count{}
	f.mu.Lock()
	f.counts[s.name] = c
	f.mu.Unlock()
	for end := time.Now().Add(stage.Patience); !s.say("hello", stage.Silence); { // what counts is what comes after
		if time.Now().After(end) {
			f.t.Errorf("%s: no answer", s.name)
			return
		}
	}
	f.wg.Go(func() {
		for n := 0; f.ctx.Err() == nil; n++ {
			c.said.Add(1)
			if !s.say(fmt.Sprintf("%s %d", s.name, n), gap) {
				c.lost.Add(1)
			}
		}
	})
}

// ended stops the traffic and fails the test for every word that was lost.
func (f *traffic) ended() {
	f.t.Helper()
	f.end()
	for name, c := range f.counts {
		if c.lost.Load() > 0 || c.said.Load() < 2 {
			f.t.Errorf("%s: %d of %d words were lost", name, c.lost.Load(), c.said.Load())
		}
	}
}

// tripwire sends from one place to addresses that must not be reached, a thousand times a second, and counts what comes through by any
// of the given wires.
type tripwire struct {
	word    string
	crossed atomic.Int64
	sent    atomic.Int64
}

func (f *traffic) tripwire(from stage.Place, at *stage.Wire, to ...netip.AddrPort) *tripwire {
	w := &tripwire{word: "tripwire of " + from.Name}
	var conns []net.Conn
	for _, a := range to {
		c, err := from.Dial(f.ctx, "udp", netip.Addr{}, a)
		if err != nil {
			f.t.Fatal(err)
		}
		f.t.Cleanup(func() { c.Close() })
		conns = append(conns, c)
	}
	f.wg.Go(func() {
		pace := time.NewTicker(time.Millisecond)
		defer pace.Stop()
		for f.ctx.Err() == nil {
			for _, c := range conns {
				if _, err := c.Write([]byte(w.word)); err == nil {
					w.sent.Add(1)
				}
			}
			<-pace.C
		}
	})
	f.hearing.Go(func() { w.crossed.Add(at.Count(w.word)) })
	f.wires = append(f.wires, at)
	return w
}

// TestKillUnderTraffic kills the daemon by SIGKILL and starts it again, several times, while everybody talks.
func TestKillUnderTraffic(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		host := stage.New(t, 0)
		d := stage.StartAway(t)
		w := stage.On(t, host, d)
		w.Neighbour.Serve(t, stage.EchoPort)
		red, blue, shut := w.Network("red"), w.Network("blue"), w.Network("shut", stage.Internal)
		a, b, c, s := w.Sandbox("a"), w.Server("b", red), w.Server("c", blue), w.Server("s", shut)
		w.Plug(a, red, w.Publishing("8007:7/tcp", "8007:7/udp", "[::1]:8008:7/tcp"))
		a.Serve(t, stage.EchoPort)
		f := newTraffic(t)
		for _, proto := range []string{"tcp", "udp"} {
			for i, at := range a.Addresses(red) {
				f.run(converse(t, b.Place, proto, netip.AddrPortFrom(at, stage.EchoPort)), stage.Patience)
				f.run(converse(t, w.Neighbour, proto, netip.AddrPortFrom(host4and6()[i], 8007)), stage.Patience)
				f.run(converse(t, a.Place, proto, netip.AddrPortFrom(neighbour4and6()[i], stage.EchoPort)), stage.Patience)
			}
		}
		breakOut(t, s, shut)
		wires := []*tripwire{
			f.tripwire(b.Place, c.Wire(t, "eth0"), both16(c.Addresses(blue))...),
			f.tripwire(c.Place, b.Wire(t, "eth0"), both16(b.Addresses(red))...),
			f.tripwire(s.Place, c.Wire(t, "eth0"), both16(c.Addresses(blue))...),
			f.tripwire(b.Place, s.Wire(t, "eth0"), both16(s.Addresses(shut))...),
		}
		before := w.Picture()
		for range 3 {
			d.Kill()
			if lines := w.Picture().Diff(before); len(withoutSockets(lines)) > 0 {
				t.Errorf("the kernel has changed with the daemon's death:\n%s", strings.Join(lines, "\n"))
			}
			d.Start()
			if lines := w.Picture().Diff(before); len(lines) > 0 {
				t.Errorf("a restart has changed the kernel:\n%s", strings.Join(lines, "\n"))
			}
			w.Audit()
		}
		f.ended()
		for _, x := range wires {
			if x.crossed.Load() > 0 || x.sent.Load() < 100 {
				t.Errorf("%s: %d of %d packets crossed", x.word, x.crossed.Load(), x.sent.Load())
			}
		}
		stage.Answered(t, stage.Probe{From: w.Place, Proto: "tcp", To: netip.MustParseAddrPort("[::1]:8008")})
	})
}

func both16(all []netip.Addr) []netip.AddrPort {
	var to []netip.AddrPort
	for _, a := range all {
		to = append(to, netip.AddrPortFrom(a, stage.EchoPort))
	}
	return to
}

// withoutSockets leaves out what dies with a process.
func withoutSockets(lines []string) []string {
	var rest []string
	for _, l := range lines {
		if !strings.Contains(l, " socket on ") {
			rest = append(rest, l)
		}
	}
	return rest
}

// TestStop stops the daemon as a service manager does: nothing changes either.
func TestStop(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		host := stage.New(t, 0)
		d := stage.StartAway(t)
		w := stage.On(t, host, d)
		red := w.Network("red")
		a, b := w.Server("a", red), w.Server("b", red)
		before := w.Picture()
		d.Stop()
		stage.Answered(t, stage.Every(a.Place, b.Addresses(red)...)...)
		d.Start()
		if lines := w.Picture().Diff(before); len(lines) > 0 {
			t.Errorf("a stop and a start have changed the kernel:\n%s", strings.Join(lines, "\n"))
		}
	})
}

// TestHarmWhileDead does to a host with a dead daemon what the next one has to put right.
func TestHarmWhileDead(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		host := stage.New(t, 0)
		d := stage.StartAway(t)
		w := stage.On(t, host, d)
		nw := w.Network("red", stage.Subnets("10.1.0.0/24", "fd00:1::/64"))
		box, peer := w.Sandbox("box"), w.Server("peer", nw)
		w.Plug(box, nw, w.Publishing("8080:80/tcp"))
		box.Serve(t, stage.EchoPort)
		records := w.Records(t.Context())
		if len(records.Joins) != 2 {
			t.Fatalf("%d joins", len(records.Joins))
		}
		d.Kill()
		for _, h := range harms(t, nw, box.At[nw.ID], box.Place) {
			if !strings.HasPrefix(h.name, "foreign") {
				h.do()
			}
		}
		d.Start()
		w.Audit()
		stage.Answered(t, append(stage.Every(box.Place, peer.Addresses(nw)...), stage.Every(peer.Place, box.Addresses(nw)...)...)...)
	})
}

// TestStolenPort has somebody else take a published port while the daemon is dead.
func TestStolenPort(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		host := stage.New(t, 0)
		d := stage.StartAway(t)
		w := stage.On(t, host, d)
		red := w.Network("red")
		box := w.Sandbox("box")
		at := w.Plug(box, red, w.Publishing("8007:7/tcp", "8008:7/tcp"))
		d.Kill()
		var lc net.ListenConfig
		thief, err := lc.Listen(t.Context(), "tcp", "[::]:8007")
		if err != nil {
			t.Fatal(err)
		}
		d.Start()
		found := w.Findings()
		if len(found) == 0 || !strings.Contains(found[0], "8007->7/tcp is held by no socket") {
			t.Errorf("findings %q", found)
		}
		if log := d.Log(); !strings.Contains(log, "8007") {
			t.Errorf("the daemon does not tell of the stolen port:\n%s", log)
		}
		if err := thief.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Publish(t.Context(), at.Endpoint.ID, nil, stage.Ports(t, "8007:7/tcp")); err != nil {
			t.Errorf("withdraw a stolen port: %v", err)
		}
		if _, err := w.Publish(t.Context(), at.Endpoint.ID, stage.Ports(t, "8007:7/tcp"), nil); err != nil {
			t.Errorf("publish it again: %v", err)
		}
	})
}
