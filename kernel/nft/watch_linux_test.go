// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/libnetwork/cnm/kernel/kerneltest"
)

// watch makes a watcher for a test.
func watch(t *testing.T) *Watcher {
	t.Helper()
	w, err := Watch(Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

func TestWatch(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		w, c, r := watch(t), dial(t), newRouted(0)
		id := r.Table.TableID
		for _, step := range []struct {
			fill func(tx *Tx)
			want []string
		}{
			{func(tx *Tx) { tx.AddTable(r.Table) }, []string{"add table inet cnm"}},
			{func(tx *Tx) { tx.AddSet(r.ifs); tx.AddSet(r.ptcp) }, []string{"add set inet cnm ifs", "add set inet cnm ptcp"}},
			{func(tx *Tx) { tx.AddElements(r.ifs, r.ifs.Elements...) }, []string{"add element inet cnm ifs"}},
			{func(tx *Tx) {
				tx.AddChain(r.Chains[0])
				tx.AddRule(r.Chains[0], NewRule("", Drop()))
				tx.AddRule(r.Chains[0], NewRule("", Accept()))
			}, []string{"add chain inet cnm est_only", "add rule inet cnm est_only"}},
			{func(tx *Tx) { tx.FlushSet(r.ifs) }, []string{"delete element inet cnm ifs"}},
			{
				func(tx *Tx) { tx.FlushChain(r.Chains[0]); tx.DeleteSet(r.ptcp) },
				[]string{"delete rule inet cnm est_only", "delete set inet cnm ptcp"},
			},
			{
				func(tx *Tx) { tx.DeleteTable(id) },
				[]string{"delete chain inet cnm est_only", "delete set inet cnm ifs", "delete table inet cnm"},
			},
		} {
			run(t, c, step.fill)
			change, err := w.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, e := range change.Events {
				got = append(got, e.String())
			}
			slices.Sort(got)
			if !slices.Equal(got, step.want) {
				t.Errorf("events %q, want %q", got, step.want)
			}
			gen, err := c.Generation(t.Context())
			if err != nil || change.Generation != gen {
				t.Errorf("generation %d of the change, %d now, %v", change.Generation, gen, err)
			}
			if change.Port != c.PortID() || change.PID == 0 || change.Process == "" {
				t.Errorf("port %d (ours is %d), thread %d %q", change.Port, c.PortID(), change.PID, change.Process)
			}
			if !change.Touches(id) || change.Touches(TableID{IPv4, "cnm"}) {
				t.Errorf("%v does not touch what it should", change.Events)
			}
		}
		// What is refused is no change.
		var refused Tx
		refused.DeleteTable(id)
		if err := c.Run(t.Context(), &refused); !errors.Is(err, unix.ENOENT) {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		go cancel()
		if change, err := w.Next(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("change %+v, error %v", change, err)
		}
		// After a cancelled wait the watcher goes on.
		run(t, c, func(tx *Tx) { tx.AddTable(r.Table) })
		if change, err := w.Next(t.Context()); err != nil || !change.Touches(id) {
			t.Errorf("change %+v, error %v", change, err)
		}
	})
}

// TestWatchOverrun makes more changes than the watcher's buffer holds.
func TestWatchOverrun(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		w, c, r := watch(t), dial(t), newRouted(0)
		raw, err := w.nl.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		if cerr := raw.Control(func(fd uintptr) {
			err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 1)
		}); err != nil || cerr != nil {
			t.Fatal(err, cerr)
		}
		for range 20 {
			run(t, c, func(tx *Tx) { tx.Replace(&r.Layout) })
		}
		for {
			change, err := w.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if change.Overrun {
				if !change.Touches(TableID{Bridge, "any"}) {
					t.Error("after an overrun everything may have changed")
				}
				return
			}
		}
	})
}

// TestWatchClose ends a watcher that waits.
func TestWatchClose(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		w, err := Watch(Config{})
		if err != nil {
			t.Fatal(err)
		}
		failed := make(chan error, 1)
		go func() {
			_, err := w.Next(context.Background())
			failed <- err
		}()
		if err := w.Close(); err != nil {
			t.Error(err)
		}
		if err := <-failed; err == nil {
			t.Error("a closed watcher reported a change")
		}
	})
}

// TestNamespace speaks to another network namespace than the caller's.
func TestNamespace(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		ns := kerneltest.NewNS(t)
		here, r := dial(t), newRewrite()
		kerneltest.InNS(t, ns, func() {
			f, err := os.Open(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()))
			if err != nil {
				t.Error(err)
				return
			}
			defer func() {
				if err := f.Close(); err != nil {
					t.Error(err)
				}
			}()
			there, err := Dial(Config{NetNS: int(f.Fd())})
			if err != nil {
				t.Error(err)
				return
			}
			run(t, there, func(tx *Tx) { tx.Load(r) })
			mustMatch(t, there, r)
			if err := there.Close(); err != nil {
				t.Error(err)
			}
		})
		if tables, err := here.Tables(t.Context()); err != nil || len(tables) != 0 {
			t.Errorf("tables %v, error %v", tables, err)
		}
	})
}
