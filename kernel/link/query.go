// SPDX-License-Identifier: Apache-2.0

package link

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// query is a request for records.
type query struct {
	subject
	typ  uint16 // an RTM_GET message; its answers are two below
	body func(e *encoder)
}

// reply is the message type of the answers to a query.
func (q query) reply() uint16 { return q.typ - 2 }

// dumpTries bounds how often a table is read that never holds still. A change runs into nearly every dump of thousands of links where
// hundreds are made and deleted each second.
const dumpTries = 4

// dump reads a whole table, in the kernel's order. A dump that a change ran into is read again; where a change runs into each one, the
// answer is the last dump and, before it, what only those before it have: a record that stands all the while is in the answer, since it
// would have to be passed over each time, and one that comes or goes meanwhile may be. key is what tells one record from the others.
func dump[T any, K comparable](ctx context.Context, c *Conn, q query, decode func([]byte) (T, error), key func(*T) K) ([]T, error) {
	var before []T
	for range dumpTries {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("%s %s: %w", q.op, q.name, err)
		}
		var out []T
		consistent, err := c.ask(q, unix.NLM_F_DUMP, func(b []byte) error {
			v, err := decode(b)
			out = append(out, v)
			return err
		})
		if err != nil {
			return nil, err
		}
		if consistent {
			return out, nil
		}
		before = append(absent(before, out, key), out...)
	}
	return before, nil
}

// absent are the records of before that now has none of the keys of.
func absent[T any, K comparable](before, now []T, key func(*T) K) []T {
	if len(before) == 0 {
		return nil
	}
	there := make(map[K]bool, len(now))
	for i := range now {
		there[key(&now[i])] = true
	}
	return slices.DeleteFunc(before, func(v T) bool { return there[key(&v)] })
}

// one reads a single record.
func one[T any](c *Conn, q query, decode func([]byte) (T, error)) (T, error) {
	var out T
	_, err := c.ask(q, unix.NLM_F_ACK, func(b []byte) (err error) {
		out, err = decode(b)
		return err
	})
	return out, err
}

// ask sends a query and hands each answer to record. It reads to the end in any
// case: a dump that is left half read would spoil the next request.
func (c *Conn) ask(q query, flags uint16, record func([]byte) error) (consistent bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.in) < largeReply {
		c.in = make([]byte, largeReply)
	}
	c.seq++
	c.enc.b = c.enc.b[:0]
	at := c.enc.openMessage()
	q.body(&c.enc)
	c.enc.closeMessage(at, q.typ, flags|unix.NLM_F_REQUEST, c.seq)
	if err := c.transmit(); err != nil {
		return false, fmt.Errorf("%s %s: %w", q.op, q.name, err)
	}
	a := answers{query: q, seq: c.seq, record: record, other: c.aside}
	for !a.done {
		b, err := c.next()
		if err != nil {
			return false, fmt.Errorf("%s %s: %w", q.op, q.name, err)
		}
		a.take(b)
	}
	return !a.interrupted, errors.Join(a.errs...)
}

// answers collects what comes back for one query.
type answers struct {
	query
	seq               uint32
	record            func([]byte) error
	other             func(typ uint16, body []byte) // takes what is no answer
	done, interrupted bool
	errs              []error
}

// take reads one datagram.
func (a *answers) take(b []byte) {
	for m := (messages{rest: b}); m.next(); {
		if m.seq != a.seq {
			a.other(m.typ, m.body)
			continue
		}
		a.interrupted = a.interrupted || m.flags&unix.NLM_F_DUMP_INTR != 0
		switch m.typ {
		case unix.NLMSG_ERROR, unix.NLMSG_DONE:
			a.done = true
			if code, text, ok := parseAck(m.typ, m.flags, m.body); ok && code != 0 {
				a.errs = append(a.errs, a.refused(0, code, text))
			}
		case a.reply():
			if err := a.record(m.body); err != nil {
				a.errs = append(a.errs, fmt.Errorf("%s %s: %w", a.op, a.name, err))
			}
		}
	}
}
