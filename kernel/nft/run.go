// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// Run makes the change in the kernel, as a whole or not at all, with one message
// there and one back. A refusal is an [*Error]. The context bounds the wait for
// the turn of the transaction; one that has been sent is not called back.
func (c *Conn) Run(ctx context.Context, tx *Tx) error {
	if tx.err != nil {
		return tx.err
	}
	if len(tx.ops) == 0 {
		return nil
	}
	if err := c.acquire(ctx); err != nil {
		return err
	}
	defer c.release()
	defer c.batch.trim()
	return c.commit(tx)
}

// commit sends a transaction; the caller holds the turn. If the kernel refuses
// one of several elements without telling which, as older kernels do, the
// transaction is sent once more with each element in a message of its own.
func (c *Conn) commit(tx *Tx) error {
	err := c.exchange(tx, maxElements)
	var refused *Error
	if !errors.As(err, &refused) || refused.Index < 0 || refused.Element >= 0 {
		return err
	}
	if o := &tx.ops[refused.Index]; len(o.elements) == 0 || o.anonymous() {
		return err
	}
	if again := c.exchange(tx, 1); !errors.Is(again, ErrTooLarge) {
		return again
	}
	return err
}

// exchange sends a transaction and reads what became of it.
func (c *Conn) exchange(tx *Tx, per int) error {
	first := c.seq
	c.seq = c.batch.encode(tx, first, per)
	if n := len(c.batch.b); n > c.limit {
		return fmt.Errorf("%w: %d bytes of at most %d; raise net.core.wmem_max to %d or split it",
			ErrTooLarge, n, c.limit, (n+sndbufReserve+1)/2)
	}
	if err := c.send(c.batch.b); err != nil {
		return err
	}
	a, err := c.answers(first, uint32(len(c.batch.marks)))
	if err != nil {
		return fmt.Errorf("transaction of %d operations: %w", len(tx.ops), err)
	}
	if a.errno != 0 {
		return c.batch.refusal(tx, &a)
	}
	return nil
}

// answers reads the kernel's answers to the count operations of a batch that
// begins with sequence number first, and gives the one that tells what became of
// it: that to the first operation that was refused, else that to the whole, else
// that to the last operation.
func (c *Conn) answers(first, count uint32) (answer, error) {
	var worst, last answer
	done, refused := false, false
	for {
		b, err := c.receive()
		switch {
		case errors.Is(err, unix.ENOBUFS):
			continue // some answers were lost, not the first
		case errors.Is(err, errDrained) && refused:
			return worst, nil
		case errors.Is(err, errDrained):
			return last, ErrNoAnswer
		case err != nil:
			return last, err
		}
		for m := range messages(b) {
			if m.typ != unix.NLMSG_ERROR || m.seq-first > count {
				continue // of an earlier call
			}
			a, err := decodeAnswer(&m)
			if err != nil {
				return last, err
			}
			switch {
			case a.errno != 0 && (!refused || precedes(&a, &worst, first)):
				worst, refused = a, true
			case a.errno == 0 && a.seq == first+count:
				last, done = a, true
			}
		}
		if done && !refused {
			return last, nil
		}
	}
}

// precedes tells whether a is nearer to the cause of a refusal than b: that of an
// operation before that of the batch, and an earlier one before a later one.
func precedes(a, b *answer, first uint32) bool {
	return a.seq != first && (b.seq == first || a.seq-first < b.seq-first)
}
