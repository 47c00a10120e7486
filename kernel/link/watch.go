// SPDX-License-Identifier: Apache-2.0

package link

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Topics are the kinds of changes to watch, as a set of bits.
type Topics uint

// The topics. Neighbours includes forwarding entries.
const (
	Links Topics = 1 << iota
	Addresses
	Routes
	Rules
	Neighbours
	Namespaces
	AllTopics = Links | Addresses | Routes | Rules | Neighbours | Namespaces
)

// groups are the multicast groups of the topics.
func (t Topics) groups() []uint32 {
	var out []uint32
	add := func(topic Topics, groups ...uint32) {
		if t&topic != 0 {
			out = append(out, groups...)
		}
	}
	add(Links, unix.RTNLGRP_LINK)
	add(Addresses, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR)
	add(Routes, unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE)
	add(Rules, unix.RTNLGRP_IPV4_RULE, unix.RTNLGRP_IPV6_RULE)
	add(Neighbours, unix.RTNLGRP_NEIGH)
	add(Namespaces, unix.RTNLGRP_NSID)
	return out
}

// WatchOptions say what to watch.
type WatchOptions struct {
	// Namespace is an open descriptor of the namespace to watch from, or Here.
	Namespace int
	// Topics to watch; zero means AllTopics.
	Topics Topics
	// Removals are those of the topics Addresses, Routes and Rules of which only the end is told. Of routes additions are told still
	// that may have taken another's place, since the kernel announces that as an addition: those of another protocol than Own that
	// lead to everywhere or are in a table above 255.
	Removals Topics
	// Own is the protocol of routes whose additions are not told, see Removals.
	Own uint8
	// AllNamespaces adds the events of every namespace that has an id in the watching
	// one and belongs to the same user namespace or one below it.
	AllNamespaces bool
	// Gather is how long the watcher waits for more when something was announced, before it reads. Whoever makes changes in a row
	// is held up by the reader once, and not by each of them: about 5 µs each, as long as many a change itself.
	Gather time.Duration
	// Buffer is the receive buffer in bytes, 8 MiB where zero. Without CAP_NET_ADMIN
	// in the first user namespace the kernel caps it at net.core.rmem_max.
	Buffer int
}

const (
	defaultBuffer = 8 << 20
	eventSize     = 64 << 10 // no announcement comes near it
)

// Watcher delivers the changes that the kernel announces.
type Watcher struct {
	bell   *bell
	gather time.Duration
	events chan Event
	err    error // written before events is closed

	// The buffers of one read and what it left behind; only run uses them.
	in, oob []byte
	n, noob int
	flags   int
	from    unix.Sockaddr
	io      error
	// lost is set from the kernel's word that the buffer was full until it is empty:
	// all that time the kernel goes on dropping changes and says so no second time.
	// What is read meanwhile is dropped too, so that the Overrun comes after all of it.
	lost bool
}

// Watch starts watching until ctx ends. Every change that happens after Watch
// returned is delivered, or an Overrun in its stead. Nothing is read ahead: a slow
// receiver fills the kernel's buffer, not ours.
//
// The caller must receive from Events, or end ctx, for the watcher to end.
func Watch(ctx context.Context, o WatchOptions) (*Watcher, error) {
	socket, err := open(o.Namespace)
	if err != nil {
		return nil, fmt.Errorf("watch rtnetlink: %w", err)
	}
	if err := subscribe(socket, o); err != nil {
		return nil, errors.Join(fmt.Errorf("watch rtnetlink: %w", err), unix.Close(socket))
	}
	bell, err := newBell(socket)
	if err != nil {
		return nil, fmt.Errorf("watch rtnetlink: %w", err)
	}
	w := &Watcher{bell: bell, gather: o.Gather, events: make(chan Event)}
	w.in, w.oob = make([]byte, eventSize), make([]byte, unix.CmsgSpace(4))
	go w.run(ctx)
	return w, nil
}

func subscribe(socket int, o WatchOptions) error {
	if o.Buffer == 0 {
		o.Buffer = defaultBuffer
	}
	if unix.SetsockoptInt(socket, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, o.Buffer) != nil {
		if err := unix.SetsockoptInt(socket, unix.SOL_SOCKET, unix.SO_RCVBUF, o.Buffer); err != nil {
			return os.NewSyscallError("setsockopt", err)
		}
	}
	if o.AllNamespaces {
		if err := setOption(socket, unix.NETLINK_LISTEN_ALL_NSID, 1); err != nil {
			return err
		}
	}
	if o.Topics == 0 {
		o.Topics = AllTopics
	}
	if err := filter(socket, o); err != nil { // before the first group, so that nothing gets past it
		return err
	}
	for _, g := range o.Topics.groups() {
		if err := setOption(socket, unix.NETLINK_ADD_MEMBERSHIP, int(g)); err != nil {
			return fmt.Errorf("group %d: %w", g, err)
		}
	}
	return nil
}

// Events delivers the changes, in the order the kernel announced them. It is
// closed when the context has ended or the socket has failed.
func (w *Watcher) Events() <-chan Event { return w.events }

// Err returns why Events was closed: nil where the context ended. It may be
// called once Events is closed.
func (w *Watcher) Err() error { return w.err }

func (w *Watcher) run(ctx context.Context) {
	defer close(w.events)
	interrupted := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(interrupted)
		w.bell.hurry()
	})
	err := w.read(ctx)
	if !stop() {
		<-interrupted
	}
	if cerr := w.bell.close(); err == nil {
		err = cerr
	}
	w.err = err
}

// read delivers datagrams until the context ends, which gives nil.
func (w *Watcher) read(ctx context.Context) error {
	for {
		err := w.bell.wait()
		if err == nil && w.more(ctx) {
			err = w.drain(ctx)
		}
		if err == nil && ctx.Err() == nil {
			err = w.bell.set()
		}
		switch {
		case ctx.Err() != nil, errors.Is(err, os.ErrDeadlineExceeded):
			return nil //nolint:nilerr // the end that was asked for; nobody hurries it for another reason
		case err != nil:
			return fmt.Errorf("watch rtnetlink: %w", err)
		}
	}
}

// more waits for what else is announced; false means that the context has ended.
func (w *Watcher) more(ctx context.Context) bool {
	if w.gather <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(w.gather)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// drain delivers all datagrams that are there.
func (w *Watcher) drain(ctx context.Context) error {
	for {
		w.receive()
		delivered := true
		switch {
		case errors.Is(w.io, unix.ENOBUFS):
			w.lost = true
		case errors.Is(w.io, unix.EAGAIN) && w.lost: // the buffer is empty after a loss
			w.lost = false
			delivered = w.deliver(ctx, Overrun{})
		case errors.Is(w.io, unix.EAGAIN):
			return nil
		case w.io != nil:
			return w.io
		case !w.lost:
			delivered = w.deliverAll(ctx)
		}
		if !delivered {
			return nil
		}
	}
}

// receive reads one datagram, if there is one.
func (w *Watcher) receive() {
	for {
		w.n, w.noob, w.flags, w.from, w.io = unix.Recvmsg(w.bell.socket, w.in, w.oob, unix.MSG_DONTWAIT)
		if !errors.Is(w.io, unix.EINTR) {
			return
		}
	}
}

func (w *Watcher) deliverAll(ctx context.Context) bool {
	if !fromKernel(w.from) {
		return true
	}
	if w.flags&unix.MSG_TRUNC != 0 {
		return w.deliver(ctx, Overrun{})
	}
	ns := namespaceOf(w.oob[:w.noob])
	for m := (messages{rest: w.in[:w.n]}); m.next(); {
		if e := decodeEvent(ns, m.typ, m.body); e != nil && !w.deliver(ctx, e) {
			return false
		}
	}
	return true
}

func (w *Watcher) deliver(ctx context.Context, e Event) bool {
	select {
	case w.events <- e:
		return true
	case <-ctx.Done():
		return false
	}
}

// namespaceOf reads the namespace id that the kernel puts beside a datagram from
// another namespace.
func namespaceOf(oob []byte) int {
	if len(oob) == 0 {
		return OwnNamespace
	}
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return OwnNamespace
	}
	for _, m := range msgs {
		if m.Header.Level == unix.SOL_NETLINK && m.Header.Type == unix.NETLINK_LISTEN_ALL_NSID && len(m.Data) >= 4 {
			return number(m.Data)
		}
	}
	return OwnNamespace
}
