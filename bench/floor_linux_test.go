// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"net/netip"
	"slices"
	"testing"
	"time"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/kernel/kerneltest"
	"github.com/libnetwork/cnm/kernel/netns"
	"github.com/libnetwork/cnm/kernel/nft"
)

// newBench is a bench in the calling test's namespaces.
func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{options: options{short: true}, log: logger(), dir: "/run/bench", progress: t.Output()}
	t.Cleanup(func() {
		if err := b.close(); err != nil {
			t.Error(err)
		}
		for _, part := range []string{"product", "floor"} {
			if err := netns.ReleaseDir(daemonConfig(b.dir+"/"+part).RunDir + "/netns"); err != nil {
				t.Error(err)
			}
		}
	})
	return b
}

// spotOf is the product's attachment as a spot.
func spotOf(h *hub, at cnm.Attachment) *spot {
	s := &spot{hub: h, link: at.Join.Result.Link.Host, index: uint32(at.Join.Result.Link.Index), mac: at.Endpoint.MAC, pin: at.Sandbox.Namespace.Path}
	s.addresses = [3]netip.Addr{at.Endpoint.Address(cnm.IPv4), at.Endpoint.Address(cnm.IPv6), linkLocal(s.mac)}
	return s
}

// hubNames are the names of hubs.
func hubNames(hubs []*hub) []string {
	var all []string
	for _, h := range hubs {
		all = append(all, h.name)
	}
	return all
}

// productAttachment attaches a new sandbox to the first network.
func productAttachment(t *testing.T, b *bench) *made {
	t.Helper()
	p := must(b.product(t.Context()))(t)
	sb := must(p.sandbox(t.Context()))(t)
	at := must(p.ctl.Attach(t.Context(), cnm.AttachSpec{Sandbox: sb.ID, Network: p.nets[0].ID}))(t)
	p.live = append(p.live, attached{sandbox: sb.ID, network: p.nets[0].ID})
	look := floorHost{conn: p.conn}
	h := must(look.hubOf(p.nets[0]))(t)
	var names []string
	for _, nw := range p.nets {
		names = append(names, bridgeName(nw))
	}
	return &made{h, names, spotOf(h, at)}
}

// TestFloorMakesWhatTheProductMakes compares everything in the kernel that belongs to an endpoint.
func TestFloorMakesWhatTheProductMakes(t *testing.T) {
	t.Parallel()
	for name, attach := range map[string]func(h *floorHost, f *floor, s *spot) error{
		"new": func(_ *floorHost, f *floor, s *spot) error { return f.attachNew(s) },
		"existing": func(h *floorHost, f *floor, s *spot) error {
			if err := h.sandbox(s); err != nil {
				return err
			}
			return f.attachExisting(s)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			kerneltest.Run(t, func(t *testing.T) {
				kerneltest.Clear(t)
				b := newBench(t)
				want := productAttachment(t, b)
				h, w := must(b.floor(t.Context()))(t), must(b.worker(t.Context(), 0))(t)
				got := &made{h.hubs[0], hubNames(h.hubs), h.spot(0)}
				must(w.time(func(f *floor) error { return attach(h, f, got.spot) }))(t)
				rules := must(nft.Dial(nft.Config{}))(t)
				defer rules.Close()
				compare(t, "outside", func() []string { return want.outside(t, b.inProcess.conn, rules) }, func() []string { return got.outside(t, h.conn, h.nft) })
				compare(t, "inside", func() []string { return want.inside(t) }, func() []string { return got.inside(t) })
				if err := h.clear(t.Context(), []*spot{got.spot}); err != nil {
					t.Error(err)
				}
				if err := b.inProcess.clear(t.Context()); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// compare tells what only one of two has. The kernel notices a carrier, and completes what depends on it, a moment after
// the last call has returned.
func compare(t *testing.T, where string, ofProduct, ofFloor func() []string) {
	t.Helper()
	var product, floor []string
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	_ = until(ctx, "both are equal", func() (bool, error) { // if not, it is told below in what
		product, floor = ofProduct(), ofFloor()
		return slices.Equal(product, floor), nil
	})
	for _, line := range product {
		if !slices.Contains(floor, line) {
			t.Errorf("%s, of the product alone: %s", where, line)
		}
	}
	for _, line := range floor {
		if !slices.Contains(product, line) {
			t.Errorf("%s, of the floor alone:   %s", where, line)
		}
	}
	if len(product) != len(floor) || len(product) < 8 {
		t.Errorf("%s: the product has %d objects, the floor %d", where, len(product), len(floor))
	}
}

// TestFloorCountsItsTrips holds the floor to its three messages.
func TestFloorCountsItsTrips(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		kerneltest.Clear(t)
		b := newBench(t)
		h, w := must(b.floor(t.Context()))(t), must(b.worker(t.Context(), 0))(t)
		s := h.spot(1)
		must(w.time(func(f *floor) error {
			err := f.attachNew(s)
			if f.trips != 3 {
				t.Errorf("%d round trips, not 3", f.trips)
			}
			return err
		}))(t)
		if err := h.clear(t.Context(), []*spot{s}); err != nil {
			t.Error(err)
		}
	})
}

// TestFloorRefused sees that what the kernel refuses is not passed over.
func TestFloorRefused(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		kerneltest.Clear(t)
		b := newBench(t)
		h, w := must(b.floor(t.Context()))(t), must(b.worker(t.Context(), 0))(t)
		s, twin := h.spot(0), h.spot(0)
		twin.link = s.link
		for _, x := range []*spot{s, twin} {
			if err := h.sandbox(x); err != nil {
				t.Fatal(err)
			}
		}
		must(w.time(func(f *floor) error { return f.attachExisting(s) }))(t)
		if _, err := w.time(func(f *floor) error { return f.attachExisting(twin) }); err == nil {
			t.Error("a second link of the same name was made")
		}
		if err := netns.Unpin(twin.pin); err != nil {
			t.Error(err)
		}
		if err := h.clear(t.Context(), []*spot{s}); err != nil {
			t.Error(err)
		}
	})
}
