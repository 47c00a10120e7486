// SPDX-License-Identifier: Apache-2.0

package controller_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/kernel/kerneltest"
	"github.com/libnetwork/cnm/kernel/link"
	"github.com/libnetwork/cnm/kernel/netns"
	"github.com/libnetwork/cnm/kernel/sysctl"
)

func TestDriftIsRepaired(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		r := newRig(t)
		at := r.attach(r.sandbox("web"), r.network("red"), publish(t, "8080:80"))
		r.run()
		hub, port := at.Join.Result.Link.Bridge, at.Join.Result.Link.Host
		index := func(name string) int {
			conn, err := link.Dial(link.Here)
			r.ok(err)
			defer conn.Close()
			l, err := conn.Link(link.Named(name))
			r.ok(err)
			return l.Index
		}
		damage := map[string]func(b *link.Batch){
			"port deleted":   func(b *link.Batch) { b.DeleteLink(link.Named(port)) },
			"port down":      func(b *link.Batch) { b.SetLink(link.Change{Link: link.Named(port), Up: link.Off}) },
			"port elsewhere": func(b *link.Batch) { b.SetLink(link.Change{Link: link.Named(port), Master: index("lan0")}) },
			"bridge deleted": func(b *link.Batch) { b.DeleteLink(link.Named(hub)) },
			"bridge down":    func(b *link.Batch) { b.SetLink(link.Change{Link: link.Named(hub), Up: link.Off}) },
			"bridge's mac":   func(b *link.Batch) { b.SetLink(link.Change{Link: link.Named(hub), MAC: link.MAC{2, 0, 0, 0, 0, 9}}) },
			"neighbour deleted": func(b *link.Batch) {
				b.DeleteNeighbour(link.Neighbour{Link: index(hub), Addr: at.Endpoint.Address(cnm.IPv4)})
			},
			"forwarding deleted": func(b *link.Batch) {
				b.DeleteFDB(link.FDBEntry{Link: index(port), MAC: link.MAC(at.Endpoint.MAC), Master: true})
			},
			"address deleted": func(b *link.Batch) {
				b.DeleteAddress(link.Address{Link: index(hub), Prefix: prefix("172.17.0.1/16")})
			},
			"forwarding off": func(*link.Batch) { r.ok(alter("net/ipv4/conf/"+hub+"/forwarding", "0")) },
			"uplink off":     func(*link.Batch) { r.ok(alter("net/ipv6/conf/lan0/force_forwarding", "0")) },
		}
		for name, do := range damage {
			events := r.Events(t.Context())
			var b link.Batch
			do(&b)
			if b.Len() > 0 {
				r.change(&b)
			}
			r.awaitSound(name, events)
		}
		r.stop()
	})
}

// alter writes a setting and does not read it back: by then it may have been put right.
func alter(key, value string) error { return os.WriteFile("/proc/sys/"+key, []byte(value), 0) }

// awaitSound waits until events tell of a repair and the host is as the records say.
func (r *rig) awaitSound(what string, events <-chan cnm.Event) {
	r.t.Helper()
	late := time.After(patience)
	for repaired := false; ; {
		select {
		case e := <-events:
			repaired = repaired || e.Object == "drift" && e.Action == "repair"
			if repaired && len(r.findings()) == 0 {
				return
			}
		case <-late:
			r.t.Fatalf("%s: repaired %t, and the host is not as the records say: %q", what, repaired, r.findings())
		}
	}
}

func TestVanishedNamespaceIsCollected(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		r := newRig(t)
		red, blue := r.network("red"), r.network("blue")
		box := r.adopted("box")
		short := r.attach(box, red, publish(t, "8080:80"))
		long := r.attach(box, blue, keep)
		other := r.attach(r.sandbox("other"), red)
		r.run()
		events := r.Events(t.Context())
		r.ok(netns.Unpin(filepath.Join(foreignDir, "box")))
		r.await(events, "sandbox", "collect")
		r.stop()
		r.quiet()
		r.check()
		if _, _, exists, _ := r.now(short.Endpoint.ID); exists {
			t.Error("the endpoint is still there")
		}
		if ep, _, exists, joined := r.now(long.Endpoint.ID); !exists || joined || ep.State != cnm.Ready {
			t.Errorf("the endpoint that is kept is %+v, joined %t", ep, joined)
		}
		if _, _, _, joined := r.now(other.Endpoint.ID); !joined {
			t.Error("another's endpoint was taken apart")
		}
		if drifts := r.drifts(); len(drifts) > 0 {
			t.Errorf("the end of a namespace is told as drifts: %q", drifts)
		}
	})
}

// awaitLook waits until everything was looked at n times more.
func (r *rig) awaitLook(n int64) {
	r.t.Helper()
	late := time.After(patience)
	for until := r.looks.Load() + n; r.looks.Load() < until; {
		select {
		case <-r.looked:
		case <-late:
			r.t.Fatal("nothing was looked at")
		}
	}
}

// TestLooksEnd sees to it that a look at everything does not bring the next one about: a bridge that we named ourselves is
// announced like a link to the outside.
func TestLooksEnd(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		r := newRig(t)
		r.attach(r.sandbox("web"), r.network("own", func(s *cnm.NetworkSpec) { s.Options = map[string]string{"bridge": "mine0"} }))
		r.run()
		r.awaitLook(1)
		looks := r.looks.Load()
		w, err := link.Watch(t.Context(), link.WatchOptions{Topics: link.Links})
		r.ok(err)
		var b link.Batch
		b.CreateBridge(link.Bridge{Name: "new0"})
		b.SetLink(link.Change{Link: link.Named("new0"), Up: link.On})
		r.change(&b)
		// A look follows within milliseconds, and would follow itself.
		quiet := time.After(500 * time.Millisecond)
		for waiting := true; waiting; {
			select {
			case <-w.Events():
			case <-quiet:
				waiting = false
			}
		}
		if n := r.looks.Load() - looks; n > 2 {
			t.Errorf("%d looks at everything followed one new link", n)
		}
		r.stop()
		if v, err := sysctl.Read("net/ipv4/conf/new0/forwarding"); err != nil || v != "1" {
			t.Errorf("forwarding of a new link to the outside is %q (%v)", v, err)
		}
		r.check()
		b = link.Batch{}
		b.DeleteLink(link.Named("new0"))
		r.change(&b)
		r.restart()
	})
}

func TestHostIsLeftAsItWas(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		r := newRig(t)
		reads := func(key, want string) {
			t.Helper()
			if v, err := sysctl.Read(key); err != nil || v != want {
				t.Errorf("%s is %q (%v), want %s", key, v, err, want)
			}
		}
		const four, six = "net/ipv4/conf/lan0/forwarding", "net/ipv6/conf/lan0/force_forwarding"
		red := r.network("red")
		reads(four, "1")
		reads(six, "1")
		if !r.closed("lan0") {
			t.Error("the host routes between links to the outside")
		}
		r.restart()
		if !r.closed("lan0") {
			t.Error("after a restart the host routes between links to the outside")
		}
		r.restart() // it must not take for the host's own what an earlier run opened
		r.ok(r.DeleteNetwork(t.Context(), red.ID, false))
		reads(four, "0")
		reads(six, "0")
		// What the host forwards by itself stays open, for others too.
		r.ok(sysctl.Write("net/ipv4/conf/all/forwarding", "1"))
		red = r.network("red")
		if r.closed("lan0") {
			t.Error("what the host routes by itself is closed")
		}
		r.ok(r.DeleteNetwork(t.Context(), red.ID, false))
		reads(four, "1")
		r.ok(sysctl.Write("net/ipv4/conf/all/forwarding", "0"))
		for _, key := range []string{"net/ipv6/conf/all/forwarding", "net/ipv4/ip_forward"} {
			reads(key, "0")
		}
	})
}

// TestSmallLinkMakesNoRouter has a link whose packets are too small for IPv6, which has no settings of IPv6 then.
func TestSmallLinkMakesNoRouter(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		r := newRig(t)
		var b link.Batch
		b.CreateBridge(link.Bridge{Name: "small0", MTU: 1000})
		b.SetLink(link.Change{Link: link.Named("small0"), Up: link.On})
		r.change(&b)
		r.network("red")
		if v, err := sysctl.Read("net/ipv6/conf/all/forwarding"); err != nil || v != "0" {
			t.Errorf("the host forwards IPv6 everywhere: %q (%v)", v, err)
		}
		b = link.Batch{}
		b.DeleteLink(link.Named("small0"))
		r.change(&b)
		r.restart()
	})
}

// TestHalfDoneIsFinished has each step of what takes apart fail once: it is finished unasked, long before the next look at everything.
func TestHalfDoneIsFinished(t *testing.T) {
	t.Parallel()
	for name, object := range map[string]string{"delete endpoint": "endpoint", "delete sandbox": "sandbox", "delete network by force": "network"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			kerneltest.Run(t, func(t *testing.T) {
				r, s := newRig(t), scenes()[name]
				r.run()
				<-r.looked
				seen := map[string]int{}
				for _, step := range r.steps(s) {
					if strings.HasSuffix(step, " rules") {
						continue // which repairs set too
					}
					verb, events := s.build(r), r.Events(t.Context())
					r.fuse.setAmong(step, seen[step])
					seen[step]++
					if verb(t.Context()) == nil {
						t.Fatalf("%s failed and nobody was told", step)
					}
					r.awaitDone(step, events, object)
					r.fuse.mend()
					r.sweep()
					r.quiet()
				}
				r.stop()
			})
		})
	}
}

// awaitDone waits until an object is deleted, if it is to be.
func (r *rig) awaitDone(failed string, events <-chan cnm.Event, object string) {
	r.t.Helper()
	late := time.After(patience)
	for !settled(r.Records(r.t.Context())) {
		select {
		case e := <-events:
			if e.Object == object && e.Action == "delete" {
				return
			}
		case <-late:
			r.t.Fatalf("after %s failed, nobody finishes %v", failed, states(r.Records(r.t.Context())))
		}
	}
}

// settled tells whether no record is in the middle of a change.
func settled(r cnm.Records) bool {
	for _, state := range states(r) {
		if !state.Settled() {
			return false
		}
	}
	return true
}
