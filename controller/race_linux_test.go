// SPDX-License-Identifier: Apache-2.0

package controller_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/kernel/kerneltest"
	"github.com/libnetwork/cnm/kernel/link"
	"github.com/libnetwork/cnm/kernel/netns"
)

// together calls fn n times at once and gives how many succeeded; the others must fail with the kind.
func (r *rig) together(n int, kind cnm.Kind, fn func(i int) error) int {
	r.t.Helper()
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { errs[i] = fn(i) })
	}
	wg.Wait()
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
		} else if !errors.Is(err, kind) {
			r.t.Errorf("the error is %v, want one that is %v", err, kind)
		}
	}
	return won
}

func TestOneOfManyWins(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		r := newRig(t)
		red := r.network("red")
		path := filepath.Join(foreignDir, "box")
		_, err := netns.Make(path, nil)
		r.ok(err)
		defer func() { r.ok(netns.Unpin(path)) }()
		var box cnm.SandboxID
		var mu sync.Mutex
		contests := map[string]func(i int) error{
			"one namespace": func(i int) error {
				sb, err := r.CreateSandbox(t.Context(), cnm.SandboxSpec{Name: fmt.Sprint("box", i), Path: path})
				if err == nil {
					mu.Lock()
					defer mu.Unlock()
					box = sb.ID
				}
				return err
			},
			"one mac": func(i int) error {
				_, err := r.CreateEndpoint(t.Context(), red.ID, cnm.EndpointSpec{Name: fmt.Sprint("mac", i), MAC: cnm.MAC{2, 0, 0, 0, 0, 1}})
				return err
			},
			"one name": func(int) error {
				_, err := r.CreateNetwork(t.Context(), cnm.NetworkSpec{Name: "blue"})
				return err
			},
			"one bridge": func(i int) error {
				_, err := r.CreateNetwork(t.Context(), cnm.NetworkSpec{Name: fmt.Sprint("br", i), Options: map[string]string{"bridge": "mine0"}})
				return err
			},
			"one adopted bridge": func(i int) error {
				_, err := r.CreateNetwork(t.Context(), cnm.NetworkSpec{
					Name: fmt.Sprint("ad", i), IPv6: new(bool), Options: map[string]string{"adopt": "lan0", "allow-overlap": "true"},
					Subnets: []cnm.Subnet{{Prefix: prefix(fmt.Sprintf("198.51.%d.0/24", i)), Gateway: prefix(fmt.Sprintf("198.51.%d.1/24", i)).Addr()}},
				})
				return err
			},
		}
		for name, fn := range contests {
			if won := r.together(8, cnm.Exists, fn); won != 1 {
				t.Errorf("%s: %d have it", name, won)
			}
		}
		won := r.together(8, cnm.Exists, func(i int) error {
			_, err := r.Attach(t.Context(), cnm.AttachSpec{Sandbox: box, Network: red.ID, Endpoint: cnm.EndpointSpec{Name: fmt.Sprint("at", i)}})
			return err
		})
		if won != 1 {
			t.Errorf("the sandbox is %d times on the network", won)
		}
		r.quiet()
		r.check()
		r.ok(r.DeleteSandbox(t.Context(), box))
	})
}

// TestPruneLeavesWhatIsJoined prunes a sandbox while an endpoint is attached to it: one of the two comes too late.
func TestPruneLeavesWhatIsJoined(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		r := newRig(t)
		red, used := r.network("red"), r.sandbox("used")
		r.attach(used, red)
		r.is(r.PruneSandbox(t.Context(), used.ID), cnm.Busy)
		r.is(r.PruneSandbox(t.Context(), "nobody"), cnm.NotFound)
		r.check()
		for i := range 20 {
			web := r.sandbox(fmt.Sprint("web", i))
			errs := make([]error, 2)
			var wg sync.WaitGroup
			wg.Go(func() { errs[0] = r.PruneSandbox(t.Context(), web.ID) })
			wg.Go(func() { _, errs[1] = r.Attach(t.Context(), cnm.AttachSpec{Sandbox: web.ID, Network: red.ID}) })
			wg.Wait()
			_, err := r.LookupSandbox(web.Name)
			switch {
			case errs[0] == nil && (errors.Is(errs[1], cnm.NotFound) || errors.Is(errs[1], cnm.Busy)):
				r.is(err, cnm.NotFound)
			case errors.Is(errs[0], cnm.Busy) && errs[1] == nil:
				r.ok(err)
				_, err = r.LookupEndpoint("red", web.Name)
				r.ok(err)
			default:
				t.Errorf("pruned: %v, attached: %v", errs[0], errs[1])
			}
		}
		r.check()
	})
}

// TestCrowd lets everything happen at once, with links to the outside that come and go and repairs at every moment.
func TestCrowd(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		r := newRig(t)
		r.run()
		var shared []cnm.Network
		for i := range 3 {
			shared = append(shared, r.network(fmt.Sprint("shared", i)))
		}
		ctx := t.Context()
		var wg sync.WaitGroup
		for i := range 6 {
			wg.Go(func() {
				for round := range 2 {
					r.live(ctx, fmt.Sprintf("w%d-%d", i, round), shared[(i+round)%3], shared[(i+round+1)%3])
				}
			})
		}
		stop := make(chan struct{})
		var flapping sync.WaitGroup
		flapping.Go(func() { r.flap(stop) })
		wg.Wait()
		close(stop)
		flapping.Wait()
		r.restart() // what happened last may not have been looked at yet
		r.quiet()
		r.check()
		if all := r.Records(ctx); len(all.Sandboxes)+len(all.Endpoints)+len(all.Joins) > 0 || len(all.Networks) != 3 {
			t.Errorf("what is left: %+v", all)
		}
	})
}

// live is the life of a sandbox on two networks and one of its own.
func (r *rig) live(ctx context.Context, name string, a, b cnm.Network) {
	fail := func(err error) bool {
		if err != nil {
			r.t.Errorf("%s: %v", name, err)
		}
		return err != nil
	}
	sb, err := r.CreateSandbox(ctx, cnm.SandboxSpec{Name: name})
	if fail(err) {
		return
	}
	own, err := r.CreateNetwork(ctx, cnm.NetworkSpec{Name: "own-" + name})
	if fail(err) {
		return
	}
	var last cnm.Attachment
	for i, nw := range []cnm.Network{a, b, own} {
		last, err = r.Attach(ctx, cnm.AttachSpec{Sandbox: sb.ID, Network: nw.ID, Join: cnm.JoinSpec{GatewayPriority: i}, Endpoint: cnm.EndpointSpec{Publish: []cnm.PortSpec{{Proto: cnm.TCP, Port: 80}}}})
		if fail(err) {
			return
		}
	}
	_, err = r.Publish(ctx, last.Endpoint.ID, []cnm.PortSpec{{Proto: cnm.UDP, Port: 53}}, []cnm.PortSpec{{Proto: cnm.TCP, Port: 80}})
	if fail(err) || fail(r.Detach(ctx, sb.ID, a.ID)) {
		return
	}
	// Both take the last endpoint away, and neither minds that the other was faster.
	var wg sync.WaitGroup
	wg.Go(func() { fail(r.DeleteNetwork(ctx, own.ID, true)) })
	wg.Go(func() { fail(r.DeleteSandbox(ctx, sb.ID)) })
	wg.Wait()
}

// flap makes and deletes links to the outside until stop.
func (r *rig) flap(stop <-chan struct{}) {
	conn, err := link.Dial(link.Here)
	if err != nil {
		r.t.Error(err)
		return
	}
	defer conn.Close()
	for {
		for _, change := range []func(*link.Batch){
			func(b *link.Batch) {
				b.CreateBridge(link.Bridge{Name: "flap0"})
				b.SetLink(link.Change{Link: link.Named("flap0"), Up: link.On})
			},
			func(b *link.Batch) { b.DeleteLink(link.Named("flap0")) },
		} {
			var b link.Batch
			change(&b)
			if err := conn.Do(&b); err != nil {
				r.t.Error(err)
				return
			}
		}
		select {
		case <-stop:
			return
		default:
		}
	}
}

// TestRepairLeavesWhatIsBeingMade has everything looked at while a network and a sandbox are made.
func TestRepairLeavesWhatIsBeingMade(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		r := newRig(t)
		r.run()
		for i := range 20 {
			r.together(2, cnm.Internal, func(k int) (err error) {
				if k == 0 {
					// A bridge that we name ourselves is announced like one to the outside.
					_, err = r.CreateNetwork(t.Context(), cnm.NetworkSpec{Name: fmt.Sprint("n", i), Options: map[string]string{"bridge": fmt.Sprint("mine", i)}})
				} else {
					_, err = r.CreateSandbox(t.Context(), cnm.SandboxSpec{Name: fmt.Sprint("s", i)})
				}
				return err
			})
		}
		r.stop()
		if all := r.Records(t.Context()); len(all.Networks) != 20 || len(all.Sandboxes) != 20 {
			t.Errorf("%d networks and %d sandboxes are there, want 20 of each", len(all.Networks), len(all.Sandboxes))
		}
		r.check()
	})
}

// TestNameOfOneThatIsCollected takes the name of a sandbox whose namespace is gone and which is collected just now: it waits for the end of that.
func TestNameOfOneThatIsCollected(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		r := newRig(t)
		old := r.adopted("box")
		r.ok(netns.Unpin(old.Namespace.Path))
		r.pins = nil
		atIt, goOn := make(chan struct{}), make(chan struct{})
		var first sync.Once
		r.fuse.watch(func(name string) {
			if name == "delete namespace" {
				first.Do(func() { close(atIt); <-goOn })
			}
		})
		defer r.fuse.watch(nil)
		ended, made := make(chan error, 1), make(chan error, 1)
		go func() { ended <- r.DeleteSandbox(t.Context(), old.ID) }()
		<-atIt
		go func() {
			_, err := r.CreateSandbox(t.Context(), cnm.SandboxSpec{Name: "box"})
			made <- err
		}()
		select {
		case err := <-made:
			made <- err // it did not wait
		case <-time.After(50 * time.Millisecond):
		}
		close(goOn)
		r.ok(<-ended)
		r.ok(<-made)
	})
}

// TestShards attaches more endpoints at once than a bridge takes.
func TestShards(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		r := newRig(t)
		red := r.network("red")
		const n = 110
		if won := r.together(n, cnm.Internal, func(i int) error {
			sb, err := r.CreateSandbox(t.Context(), cnm.SandboxSpec{Name: fmt.Sprint("s", i)})
			if err == nil {
				_, err = r.Attach(t.Context(), cnm.AttachSpec{Sandbox: sb.ID, Network: red.ID})
			}
			return err
		}); won != n {
			t.Fatalf("%d of %d are attached", won, n)
		}
		bridges := map[string]int{}
		for _, j := range r.Records(t.Context()).Joins {
			bridges[j.Result.Link.Bridge]++
		}
		if len(bridges) != 2 {
			t.Errorf("the endpoints are on %v, want two bridges", bridges)
		}
		r.check()
		r.restart()
		r.check()
		r.attach(r.sandbox("late"), red)
		r.check()
	})
}
