// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Kind is what a change was about.
type Kind uint8

// The kinds of objects.
const (
	KindOther Kind = iota // an object that this package has no word for
	KindTable
	KindChain
	KindRule
	KindSet
	KindElement
)

// String gives nft's word for the kind.
func (k Kind) String() string {
	switch k {
	case KindOther:
		return "object"
	case KindTable:
		return "table"
	case KindChain:
		return "chain"
	case KindRule:
		return "rule"
	case KindSet:
		return "set"
	case KindElement:
		return "element"
	default:
		return "invalid kind"
	}
}

// Event is that objects of a kind were made, changed or deleted.
type Event struct {
	Kind    Kind
	Deleted bool
	Table   TableID
	Name    string // of the chain, of the set; empty for a table
}

// String writes the event: "delete rule inet cnm forw".
func (e Event) String() string {
	verb := "add "
	if e.Deleted {
		verb = "delete "
	}
	text := verb + e.Kind.String() + " " + e.Table.String()
	if e.Name != "" {
		text += " " + e.Name
	}
	return text
}

// Change is one transaction that somebody made.
type Change struct {
	// Overrun is that changes came faster than they were read and some were lost:
	// everything may have changed. All else is empty then.
	Overrun bool
	// Events tells what was changed, each thing once.
	Events []Event
	// Generation is the number of the transaction.
	Generation uint32
	// Port is the socket it came by: see [Conn.PortID]. PID and Process are the
	// thread that sent it, as numbered in the first PID namespace.
	Port    uint32
	PID     uint32
	Process string
}

// Touches tells whether the change is about a table, or may be.
func (c *Change) Touches(t TableID) bool {
	return c.Overrun || slices.ContainsFunc(c.Events, func(e Event) bool { return e.Table == t })
}

// Watcher reports the changes of nf_tables in one network namespace, one's own
// too. It is for one goroutine.
type Watcher struct {
	nl      *netlink.Conn
	pending Change
	ready   []Change
}

// watchBuffer holds what comes while the reader is busy: some thousand changes.
const watchBuffer = 4 << 20

// Watch makes a Watcher. Changes made after it has returned are reported.
func Watch(cfg Config) (*Watcher, error) {
	nl, err := netlink.Dial(unix.NETLINK_NETFILTER, &netlink.Config{NetNS: cfg.NetNS})
	if err != nil {
		return nil, fmt.Errorf("nftables events: %w", err)
	}
	raw, err := nl.SyscallConn()
	if err == nil {
		cerr := raw.Control(func(fd uintptr) {
			if unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, watchBuffer) != nil {
				err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, watchBuffer)
			}
		})
		err = errors.Join(err, cerr)
	}
	if err == nil {
		err = nl.JoinGroup(unix.NFNLGRP_NFTABLES)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("nftables events: %w", err), nl.Close())
	}
	return &Watcher{nl: nl}, nil
}

// Close ends the Watcher and a call of Next that waits.
func (w *Watcher) Close() error { return w.nl.Close() }

// Next waits for a change. It ends with the context's error, after which it may
// be called again.
func (w *Watcher) Next(ctx context.Context) (Change, error) {
	for len(w.ready) == 0 {
		if err := w.read(ctx); err != nil {
			return Change{}, err
		}
	}
	c := w.ready[0]
	w.ready = w.ready[1:]
	return c, nil
}

// read waits for messages and takes them in.
func (w *Watcher) read(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := w.nl.SetReadDeadline(time.Time{}); err != nil {
		return fmt.Errorf("nftables events: %w", err)
	}
	wake := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(wake)
		_ = w.nl.SetReadDeadline(time.Unix(1, 0)) // fails only if closed, which wakes too
	})
	msgs, err := w.nl.Receive()
	if !stop() {
		<-wake // the deadline must not be set after this call
	}
	switch {
	case errors.Is(err, unix.ENOBUFS):
		w.pending = Change{}
		w.ready = append(w.ready, Change{Overrun: true})
		return nil
	case err != nil && ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return fmt.Errorf("nftables events: %w", err)
	}
	for _, m := range msgs {
		w.take(&message{
			typ: uint16(m.Header.Type), flags: uint16(m.Header.Flags), seq: m.Header.Sequence,
			pid: m.Header.PID, body: m.Data,
		})
	}
	return nil
}

// take notes one message. The last one of a transaction is about its generation.
func (w *Watcher) take(m *message) {
	msg, ok := m.nft()
	if !ok {
		return
	}
	if msg != unix.NFT_MSG_NEWGEN {
		e := decodeEvent(msg, m)
		if !slices.Contains(w.pending.Events, e) {
			w.pending.Events = append(w.pending.Events, e)
		}
		return
	}
	g := decodeGen(m)
	c := w.pending
	c.Generation, c.PID, c.Process, c.Port = g.id, g.pid, g.name, m.pid
	w.pending = Change{}
	w.ready = append(w.ready, c)
}

// decodeEvent reads what a notification is about. Table and name of an object
// have the same place in all kinds but rules, tables and lists of elements.
func decodeEvent(msg int, m *message) Event {
	e := Event{Table: TableID{Family: m.family()}}
	nameAttr := uint16(0)
	switch msg {
	case unix.NFT_MSG_NEWTABLE, unix.NFT_MSG_DELTABLE:
		e.Kind, e.Deleted = KindTable, msg == unix.NFT_MSG_DELTABLE
	case unix.NFT_MSG_NEWCHAIN, unix.NFT_MSG_DELCHAIN:
		e.Kind, e.Deleted, nameAttr = KindChain, msg == unix.NFT_MSG_DELCHAIN, unix.NFTA_CHAIN_NAME
	case unix.NFT_MSG_NEWRULE, unix.NFT_MSG_DELRULE:
		e.Kind, e.Deleted, nameAttr = KindRule, msg == unix.NFT_MSG_DELRULE, unix.NFTA_RULE_CHAIN
	case unix.NFT_MSG_NEWSET, unix.NFT_MSG_DELSET:
		e.Kind, e.Deleted, nameAttr = KindSet, msg == unix.NFT_MSG_DELSET, unix.NFTA_SET_NAME
	case unix.NFT_MSG_NEWSETELEM, unix.NFT_MSG_DELSETELEM:
		e.Kind, e.Deleted, nameAttr = KindElement, msg == unix.NFT_MSG_DELSETELEM, unix.NFTA_SET_ELEM_LIST_SET
	case unix.NFT_MSG_DELOBJ, unix.NFT_MSG_DELFLOWTABLE:
		e.Deleted = true
	}
	for a := range m.attrs() {
		switch {
		case a.typ == unix.NFTA_TABLE_NAME:
			e.Table.Name = cstring(a.val)
		case nameAttr != 0 && a.typ == nameAttr:
			e.Name = cstring(a.val)
		}
	}
	return e
}
