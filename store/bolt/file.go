// SPDX-License-Identifier: Apache-2.0

package bolt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"sync"
	"syscall"

	"go.etcd.io/bbolt"

	"github.com/libnetwork/cnm"
)

// file is one open database.
type file struct {
	path  string
	holds lifetime
	db    *bbolt.DB
	disk  *os.File // the descriptor db works with and owns
	group uint32
	fresh bool // made when it was opened

	// commit ends a write transaction; a test lets it fail.
	commit func(*bbolt.Tx) error

	// turn admits one writer, or the one reader that loads. It is held across the disk, which for the durable file means a
	// flush; so waiting for it ends with the caller's context.
	turn   chan struct{}
	total  uint64 // of all sums, modulo 2^64
	unfit  error  // why the file is not used any more
	jammed bool   // bbolt panicked and may hold its own locks for ever

	// mu guards sums: what the file holds, and the sum of each. Only who has the turn writes it. Nothing blocks while mu is held.
	mu   sync.Mutex
	sums map[key]uint64
}

// enter waits for the file's turn.
func (f *file) enter(ctx context.Context) error {
	if ctx.Err() != nil {
		return cnm.Errorf(cnm.Unavailable, "store file %s was not touched: %w", f.path, context.Cause(ctx))
	}
	select {
	case f.turn <- struct{}{}:
	case <-ctx.Done():
		return cnm.Errorf(cnm.Unavailable, "store file %s was not touched, since the disk had not taken an earlier change of it yet: %w", f.path, context.Cause(ctx))
	}
	if f.unfit != nil {
		f.exit()
		return f.unfit
	}
	return nil
}

// exit gives the turn back.
func (f *file) exit() { <-f.turn }

// has tells whether there is a record under k.
func (f *file) has(k key) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, ok := f.sums[k]
	return ok
}

// apply makes all changes in one transaction, or none, and returns the changes that undo them. What is to be removed
// and is not there costs nothing. The caller has the turn.
func (f *file) apply(changes []change) (undo []change, err error) {
	changes, after := f.effective(changes)
	if len(changes) == 0 {
		return nil, nil
	}
	if undo, err = f.write(changes, after); err != nil {
		return nil, f.settle(undo, err)
	}
	f.total = after
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range changes {
		if c.value == nil {
			delete(f.sums, c.key)
		} else {
			f.sums[c.key] = c.sum
		}
	}
	return undo, nil
}

// effective leaves out the removals of what is not there, and computes the total after the rest.
func (f *file) effective(changes []change) ([]change, uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	left, after := changes[:0:0], f.total
	for _, c := range changes {
		old, there := f.sums[c.key]
		if c.value == nil && !there {
			continue
		}
		after += c.sum - old // both are 0 where there is nothing
		left = append(left, c)
	}
	return left, after
}

// write makes the changes in one transaction. Where it fails, the file has them all or none; undo is then what was to be changed.
func (f *file) write(changes []change, after uint64) (undo []change, err error) {
	err = f.guard(func() error {
		tx, err := f.db.Begin(true)
		if err != nil {
			return err
		}
		if undo, err = stage(tx, changes, after); err != nil {
			return errors.Join(err, tx.Rollback())
		}
		return f.commit(tx)
	})
	return undo, err
}

// stage puts the changes and the total into tx, and returns what undoes them.
func stage(tx *bbolt.Tx, changes []change, after uint64) ([]change, error) {
	undo := make([]change, 0, len(changes))
	b := tx.Bucket([]byte(recordsBucket))
	for _, c := range changes {
		id := c.bytes()
		old := change{key: c.key, value: bytes.Clone(b.Get(id))}
		var err error
		if c.value == nil {
			err = b.Delete(id)
		} else {
			err = b.Put(id, c.value)
		}
		if err != nil {
			return nil, err
		}
		undo = append(undo, old)
	}
	return undo, b.SetSequence(after)
}

// settle makes file and memory agree after a transaction that ended with err. A write that failed late may be in the file
// all the same; then it is taken back. Where that fails too, nobody knows what the file holds, and it is used no more.
func (f *file) settle(undo []change, err error) error {
	err = diskError("write to", f.path, err)
	if f.jammed {
		return f.retire(err)
	}
	var found uint64
	readErr := f.guard(func() error {
		return f.db.View(func(tx *bbolt.Tx) error {
			found = tx.Bucket([]byte(recordsBucket)).Sequence()
			return nil
		})
	})
	if readErr == nil && found == f.total {
		return err
	}
	if readErr == nil {
		_, readErr = f.write(undo, f.total)
	}
	if readErr != nil {
		return f.retire(fmt.Errorf("%w; taking it back: %w", err, readErr))
	}
	return err
}

// retire ends the use of the file until the store is opened again, and returns err.
func (f *file) retire(err error) error {
	f.unfit = cnm.Errorf(cnm.Internal, "store file %s is not used any more, since it may differ from what is in memory: %w; see to the disk and restart the daemon", f.path, err)
	return err
}

// undo takes changes back that apply had made, because the other file could not follow. The caller has the turn.
func (f *file) undo(changes []change) error {
	for i, c := range changes {
		if c.value != nil {
			e, err := open(c.key, c.value)
			if err != nil {
				return f.retire(err)
			}
			changes[i].sum = e.sum
		}
	}
	if _, err := f.apply(changes); err != nil {
		return f.retire(err)
	}
	return nil
}

// each gives every record to fn. The caller has the turn.
func (f *file) each(fn func(key, []byte) error) error {
	return f.guard(func() error {
		return f.db.View(func(tx *bbolt.Tx) error {
			return tx.Bucket([]byte(recordsBucket)).ForEach(func(id, value []byte) error {
				k, err := parseKey(id)
				if err != nil {
					return err
				}
				return fn(k, value)
			})
		})
	})
}

// close ends the use of the file, once.
func (f *file) close() error {
	f.turn <- struct{}{}
	defer f.exit()
	if f.db == nil {
		return nil
	}
	db := f.db
	f.db, f.unfit = nil, cnm.Errorf(cnm.Unavailable, "the store is closed")
	if f.jammed { // its Close would wait for its own lock; and its mapping, which stays, would keep the file's
		return errors.Join(syscall.Flock(int(f.disk.Fd()), syscall.LOCK_UN), f.disk.Close())
	}
	if err := db.Close(); err != nil {
		return diskError("close", f.path, err)
	}
	return nil
}

// guard runs fn, which calls bbolt, and makes errors of what bbolt panics about and of faults in its mapping, which come from a
// file that another program shortened meanwhile, or from a disk that cannot be read. After one, bbolt's state is unknown.
func (f *file) guard(fn func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			f.jammed = true
			err = fmt.Errorf("%w: %v", ErrDamaged, p)
		}
	}()
	return fn()
}
