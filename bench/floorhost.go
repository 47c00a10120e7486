// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"runtime"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/internal/daemon"
	"github.com/libnetwork/cnm/kernel/link"
	"github.com/libnetwork/cnm/kernel/netns"
	"github.com/libnetwork/cnm/kernel/nft"
)

// deadGroup is the link group in which the floor's links are deleted.
const deadGroup = 0x466c6f72

// floorHost is the host that the floor works on: a namespace with the very networks and rules that the product makes,
// from which the product has gone.
type floorHost struct {
	ns   *netns.NS
	conn *link.Conn
	nft  *nft.Conn
	pins string
	hubs []*hub
	made atomic.Uint32 // spots so far
}

// newFloorHost has the product make the networks in a new namespace and leave.
func newFloorHost(ctx context.Context, dir string, log *slog.Logger) (*floorHost, error) {
	ns, err := netns.New()
	if err != nil {
		return nil, err
	}
	h := &floorHost{ns: ns, pins: filepath.Join(daemonConfig(dir).RunDir, "netns")}
	if h.conn, err = link.Dial(ns.Fd()); err != nil {
		return nil, errors.Join(err, h.close())
	}
	if err = h.conn.RaiseLoopback(); err == nil {
		err = ns.Do(func() error { return h.furnish(ctx, dir, log) })
	}
	if err == nil {
		h.nft, err = nft.Dial(nft.Config{NetNS: ns.Fd()})
	}
	if err != nil {
		return nil, errors.Join(err, h.close())
	}
	return h, nil
}

func (h *floorHost) close() error {
	var errs []error
	if h.nft != nil {
		errs = append(errs, h.nft.Close())
	}
	if h.conn != nil {
		errs = append(errs, h.conn.Close())
	}
	return errors.Join(append(errs, h.ns.Close())...)
}

// furnish runs on a thread in the namespace: what the product opens stays there.
func (h *floorHost) furnish(ctx context.Context, dir string, log *slog.Logger) error {
	d, err := daemon.Start(ctx, daemonConfig(dir), log)
	if err != nil {
		return fmt.Errorf("start the product for the floor's networks: %w", err)
	}
	for i := range networks {
		nw, err := d.Controller().CreateNetwork(ctx, networkSpec(i))
		if err != nil {
			return errors.Join(fmt.Errorf("make the floor's networks: %w", err), d.Close())
		}
		hb, err := h.hubOf(nw)
		if err != nil {
			return errors.Join(err, d.Close())
		}
		h.hubs = append(h.hubs, hb)
	}
	return d.Close()
}

// bridgeName is what the product calls the bridge of a network.
func bridgeName(nw cnm.Network) string { return "cn-" + string(nw.ID)[:12] }

// hubOf finds a network's bridge.
func (h *floorHost) hubOf(nw cnm.Network) (*hub, error) {
	l, err := h.conn.Link(link.Named(bridgeName(nw)))
	if err != nil {
		return nil, fmt.Errorf("bridge of network %s: %w", nw.Name, err)
	}
	hb := &hub{name: bridgeName(nw), index: uint32(l.Index), mac: l.MAC}
	for _, s := range nw.Subnets {
		i := 0
		if s.Prefix.Addr().Is6() {
			i = 1
		}
		hb.gateways[i], hb.bits[i] = s.Gateway, s.Prefix.Bits()
	}
	return hb, nil
}

// spot is an endpoint on network i that was not there before, in a sandbox of its own.
func (h *floorHost) spot(i int) *spot {
	n := h.made.Add(1)
	hb := h.hubs[i]
	s := &spot{
		hub: hb, link: portPrefix + fmt.Sprintf("%012d", n), index: 1<<20 + n,
		pin: filepath.Join(h.pins, "floor"+strconv.Itoa(int(n))),
	}
	s.mac = [6]byte{0x02, 0xf1}
	binary.BigEndian.PutUint32(s.mac[2:], n)
	four := hb.gateways[0].As4()
	binary.BigEndian.PutUint16(four[2:], uint16(2+n%65000))
	six := hb.gateways[1].As16()
	binary.BigEndian.PutUint32(six[12:], 2+n)
	s.addresses = [3]netip.Addr{netip.AddrFrom4(four), netip.AddrFrom16(six), linkLocal(s.mac)}
	return s
}

// linkLocal is the fe80:: address of a MAC by EUI-64 (RFC 4291, appendix A).
func linkLocal(m [6]byte) netip.Addr {
	return netip.AddrFrom16([16]byte{0xfe, 0x80, 8: m[0] ^ 2, 9: m[1], 10: m[2], 11: 0xff, 12: 0xfe, 13: m[3], 14: m[4], 15: m[5]})
}

// sandbox makes and pins the namespace of a spot as the floor does, for what is measured into an existing one.
func (h *floorHost) sandbox(s *spot) error {
	_, err := netns.Make(s.pin, nil)
	return err
}

// clear takes spots apart and waits until the kernel is quiet.
func (h *floorHost) clear(ctx context.Context, spots []*spot) error {
	if len(spots) == 0 {
		return nil
	}
	var b link.Batch
	for _, s := range spots {
		b.SetLink(link.Change{Link: link.Numbered(int(s.index)), Up: link.Off, Group: deadGroup})
		for _, a := range s.addresses[:2] {
			b.DeleteNeighbour(link.Neighbour{Link: int(s.hub.index), Addr: a})
		}
	}
	b.DeleteGroup(deadGroup)
	errs := []error{h.conn.Do(&b), h.flush(ctx)}
	for _, s := range spots {
		errs = append(errs, netns.Unpin(s.pin))
	}
	return errors.Join(append(errs, quiet(ctx, h.conn, 0))...)
}

// flush empties the sets that the floor fills; nobody else has elements in them.
func (h *floorHost) flush(ctx context.Context) error {
	var tx nft.Tx
	for family, names := range map[nft.Family][]string{nft.Inet: {"home4", "home6"}, nft.Bridge: {"ports", "self", "macs", "bound4", "bound6"}} { //nolint:exhaustive // the families that the floor fills
		for _, name := range names {
			tx.FlushSet(&nft.Set{Table: nft.TableID{Family: family, Name: "cnm"}, Name: name})
		}
	}
	return h.nft.Run(ctx, &tx)
}

// worker is a locked thread with a floor of its own.
type worker struct {
	jobs chan func(*floor)
	done chan error
}

// worker starts one.
func (h *floorHost) worker() (*worker, error) {
	w := &worker{jobs: make(chan func(*floor)), done: make(chan error, 1)}
	started := make(chan error)
	go w.run(h.ns.Fd(), started)
	return w, <-started
}

// run serves jobs. The thread is never given back: it ends with the goroutine.
func (w *worker) run(home int, started chan<- error) {
	runtime.LockOSThread()
	if unix.Gettid() == unix.Getpid() { // the main thread would not end
		defer runtime.UnlockOSThread()
		other := make(chan struct{})
		go func() { defer close(other); w.run(home, started) }()
		<-other
		return
	}
	f, err := newFloor(home)
	started <- err
	if err != nil {
		return
	}
	for job := range w.jobs {
		job(f)
	}
	w.done <- f.close()
}

// time runs a job and tells how long the thread was at it.
func (w *worker) time(job func(*floor) error) (took time.Duration, err error) {
	finished := make(chan struct{})
	w.jobs <- func(f *floor) {
		start := time.Now()
		err = job(f)
		took = time.Since(start)
		close(finished)
	}
	<-finished
	return took, err
}

// end ends the thread.
func (w *worker) end() error {
	close(w.jobs)
	return <-w.done
}
