// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// attempts is how often something is read that changes meanwhile.
const attempts = 32

// Tables gives all tables of the network namespace, those of others too.
func (c *Conn) Tables(ctx context.Context) ([]TableState, error) {
	return settled(ctx, c, func() ([]TableState, error) {
		var tables []TableState
		err := c.dump(unix.NFT_MSG_GETTABLE, unix.NFPROTO_UNSPEC, nil, func(m *message) error {
			t, err := decodeTable(m)
			tables = append(tables, t)
			return err
		})
		return tables, err
	})
}

// Generation gives the number of the last transaction in the network namespace.
func (c *Conn) Generation(ctx context.Context) (uint32, error) {
	if err := c.acquire(ctx); err != nil {
		return 0, err
	}
	defer c.release()
	return c.generation()
}

// Snapshot reads a table with everything in it, as it is at one moment. Without
// such a table the error is unix.ENOENT. Transactions of this Conn wait
// meanwhile: where tables are large, read through a Conn of its own.
func (c *Conn) Snapshot(ctx context.Context, t TableID) (*Snapshot, error) {
	return settled(ctx, c, func() (*Snapshot, error) { return c.snapshot(t) })
}

// Elements reads the elements of a set, in the order of their keys. Name, Table
// and types of the set must be given.
func (c *Conn) Elements(ctx context.Context, s *Set) ([]Element, error) {
	return settled(ctx, c, func() ([]Element, error) { return c.elementsOf(s) })
}

// settled reads until nothing was changed meanwhile.
func settled[T any](ctx context.Context, c *Conn, read func() (T, error)) (T, error) {
	var none T
	if err := c.acquire(ctx); err != nil {
		return none, err
	}
	defer c.release()
	for range attempts {
		if err := ctx.Err(); err != nil {
			return none, err
		}
		before, err := c.generation()
		if err != nil {
			return none, err
		}
		v, err := read()
		if errors.Is(err, errInterrupted) {
			continue
		}
		after, gerr := c.generation()
		if gerr != nil {
			return none, gerr
		}
		if before == after {
			return v, err
		}
	}
	return none, ErrUnsettled
}

// errInterrupted is that the kernel says of a dump that it does not fit together.
var errInterrupted = errors.New("dump interrupted")

// generation asks for the number of the last transaction.
func (c *Conn) generation() (uint32, error) {
	var gen uint32
	err := c.get(unix.NFT_MSG_GETGEN, 0, unix.NFPROTO_UNSPEC, nil, func(m *message) error {
		gen = decodeGen(m).id
		return nil
	})
	return gen, err
}

// dump asks for all objects of a kind.
func (c *Conn) dump(msg int, f Family, fill func(w *wire), each func(m *message) error) error {
	return c.get(msg, unix.NLM_F_DUMP, f, fill, each)
}

// get asks for objects and gives each answer to a function; the caller holds the
// turn. A message is valid until the function returns.
func (c *Conn) get(msg int, flags uint16, f Family, fill func(w *wire), each func(m *message) error) error {
	w := &c.batch.wire
	w.b = w.b[:0]
	seq := c.seq
	c.seq++
	start := w.begin(nfType(msg), flags|unix.NLM_F_ACK, seq, f)
	if fill != nil {
		fill(w)
	}
	w.end(start)
	if err := c.send(w.b); err != nil {
		return err
	}
	var failed error
	for {
		b, err := c.receive()
		if errors.Is(err, errDrained) {
			return errors.Join(failed, ErrNoAnswer)
		}
		if err != nil {
			return errors.Join(failed, err)
		}
		for m := range messages(b) {
			if m.seq != seq {
				continue
			}
			if m.flags&unix.NLM_F_DUMP_INTR != 0 {
				failed = errInterrupted
			}
			end, err := ending(&m)
			switch {
			case end:
				return errors.Join(failed, err)
			case failed == nil:
				failed = each(&m)
			}
		}
	}
}

// ending tells whether a message is the last answer, and of which error.
func ending(m *message) (bool, error) {
	switch m.typ {
	case unix.NLMSG_ERROR:
		a, err := decodeAnswer(m)
		if err == nil && a.errno != 0 {
			err = a.errno
		}
		return true, err
	case unix.NLMSG_DONE:
		if len(m.body) >= 4 {
			if code := int32(binary.NativeEndian.Uint32(m.body)); code < 0 && code >= -maxErrnoCode {
				return true, unix.Errno(-code)
			}
		}
		return true, nil
	default:
		return false, nil
	}
}

// snapshot reads a table; the caller sees to it that nothing changed meanwhile.
func (c *Conn) snapshot(t TableID) (*Snapshot, error) {
	s := &Snapshot{}
	var err error
	if s.Generation, err = c.generation(); err != nil {
		return nil, err
	}
	inTable := func(w *wire) { w.str(unix.NFTA_TABLE_NAME, t.Name) } // attribute 1 of every kind
	err = c.get(unix.NFT_MSG_GETTABLE, 0, t.Family, inTable, func(m *message) error {
		s.Table, err = decodeTable(m)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("table %s: %w", t, err)
	}
	if err := c.readChains(s, t, inTable); err != nil {
		return nil, fmt.Errorf("chains of table %s: %w", t, err)
	}
	if err := c.readSets(s, t, inTable); err != nil {
		return nil, fmt.Errorf("sets of table %s: %w", t, err)
	}
	return s, nil
}

// readChains reads the chains of a table and their rules.
func (c *Conn) readChains(s *Snapshot, t TableID, inTable func(w *wire)) error {
	err := c.dump(unix.NFT_MSG_GETCHAIN, t.Family, inTable, func(m *message) error {
		chain, err := decodeChain(m)
		if err == nil && chain.Table == t {
			s.Chains = append(s.Chains, chain)
		}
		return err
	})
	if err != nil {
		return err
	}
	return c.dump(unix.NFT_MSG_GETRULE, t.Family, inTable, func(m *message) error {
		table, name, rule, err := decodeRule(m)
		if err != nil || table != t {
			return err
		}
		chain := s.Chain(name)
		if chain == nil {
			return errInterrupted
		}
		chain.Rules = append(chain.Rules, rule)
		return nil
	})
}

// readSets reads the sets of a table and their elements.
func (c *Conn) readSets(s *Snapshot, t TableID, inTable func(w *wire)) error {
	var anonymous []SetState
	err := c.dump(unix.NFT_MSG_GETSET, t.Family, inTable, func(m *message) error {
		set, flags, err := decodeSet(m)
		switch {
		case err != nil || set.Table != t:
		case flags&unix.NFT_SET_ANONYMOUS != 0:
			anonymous = append(anonymous, set)
		default:
			s.Sets = append(s.Sets, set)
		}
		return err
	})
	if err != nil {
		return err
	}
	for i := range s.Sets {
		if s.Sets[i].Elements, err = c.elementsOf(&s.Sets[i].Set); err != nil {
			return err
		}
	}
	for i := range anonymous {
		values, err := c.elementsOf(&anonymous[i].Set)
		if err != nil {
			return err
		}
		s.anonymous = append(s.anonymous, anonState{name: anonymous[i].Name, values: values})
	}
	return nil
}

// elementsOf reads the elements of a set.
func (c *Conn) elementsOf(s *Set) ([]Element, error) {
	var raw []rawElement
	err := c.dump(unix.NFT_MSG_GETSETELEM, s.Table.Family, func(w *wire) {
		w.str(unix.NFTA_SET_ELEM_LIST_TABLE, s.Table.Name)
		w.str(unix.NFTA_SET_ELEM_LIST_SET, s.Name)
	}, func(m *message) error {
		var err error
		raw, err = decodeElements(raw, s, m)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("elements of %s %s: %w", s.Table, s.Name, err)
	}
	slices.SortFunc(raw, func(a, b rawElement) int { return a.compare(&b) })
	return joinIntervals(s, raw)
}
