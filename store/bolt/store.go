// SPDX-License-Identifier: Apache-2.0

package bolt

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"

	"github.com/libnetwork/cnm"
)

var _ cnm.Store = (*Store)(nil)

// Store is made by [Open]. It has one process; another one that opens the same files is refused as [cnm.Busy]. Methods are safe for
// concurrent use. A change of the durable file waits for the disk, and changes of it are made one after the
// other; changes of the boot file alone wait for neither.
type Store struct {
	durable, boot *file

	// mu guards lifetimes. Nothing blocks while it is held.
	mu sync.Mutex
	// lifetimes says in which file each endpoint is, or is just being put.
	lifetimes map[cnm.EndpointID]placement
}

// placement is where an endpoint belongs while it is recorded or calls of Put that name it are under way.
type placement struct {
	keep bool
	puts int
}

// Open opens the store, making its files where there are none. A file that is damaged, unreadable, written by a newer
// release or in use is refused with an error that names it and the way out, and is not changed; damage is [ErrDamaged] too.
// A file of an older release is migrated.
func Open(c Config) (*Store, error) { return openWith(c, currentSchema()) }

// openWith is Open with another schema.
func openWith(c Config, s schema) (*Store, error) {
	bootPath, err := c.bootPath()
	if err != nil {
		return nil, err
	}
	durableFile, err := (&opening{path: filepath.Join(c.StateDir, "cnm.db"), holds: durable, schema: s, writer: c.Version}).open()
	if err != nil {
		return nil, err
	}
	if err := c.sweep(bootPath); err != nil {
		return nil, errors.Join(err, durableFile.close())
	}
	bootFile, err := (&opening{path: bootPath, holds: boot, schema: s, writer: c.Version}).open()
	if err != nil {
		return nil, errors.Join(err, durableFile.close())
	}
	st := &Store{durable: durableFile, boot: bootFile, lifetimes: map[cnm.EndpointID]placement{}}
	for _, f := range []*file{durableFile, bootFile} {
		for k := range f.sums {
			if k.kind == endpoint {
				st.lifetimes[cnm.EndpointID(k.id)] = placement{keep: f.holds == durable}
			}
		}
	}
	return st, nil
}

// Load returns everything, each slice in the order of its identifiers.
func (s *Store) Load(ctx context.Context) (cnm.Records, error) {
	r := cnm.Records{Boot: cnm.Boot{Fresh: s.boot.fresh, Group: s.boot.group}}
	for _, f := range []*file{s.durable, s.boot} {
		if err := f.loadInto(ctx, &r); err != nil {
			return cnm.Records{}, err
		}
	}
	slices.SortFunc(r.Endpoints, func(a, b cnm.Endpoint) int { return cmp.Compare(a.ID, b.ID) })
	return r, nil
}

// loadInto appends the file's records to r.
func (f *file) loadInto(ctx context.Context, r *cnm.Records) error {
	if err := f.enter(ctx); err != nil {
		return err
	}
	defer f.exit()
	err := f.each(func(k key, value []byte) error {
		switch {
		case k.kind == endpoint:
			return read(k, value, &r.Endpoints)
		case k.kind == network && f.holds == durable:
			return read(k, value, &r.Networks)
		case k.kind == sandbox && f.holds == boot:
			return read(k, value, &r.Sandboxes)
		case k.kind == join && f.holds == boot:
			return read(k, value, &r.Joins)
		default:
			return fmt.Errorf("%s does not belong here", k)
		}
	})
	if err != nil {
		return diskError("read store file", f.path, damaged(f.holds, err))
	}
	return nil
}

// read decodes a record and appends it to list.
func read[T any](k key, value []byte, list *[]T) error {
	var record T
	if err := decode(k, value, &record); err != nil {
		return err
	}
	*list = append(*list, record)
	return nil
}

// Put inserts or replaces the records, all or none. A record without identifier and an endpoint whose Keep differs from that of its record are
// refused as [cnm.Invalid].
func (s *Store) Put(ctx context.Context, r cnm.Records) error {
	if err := s.claim(r.Endpoints); err != nil {
		return err
	}
	defer s.unclaim(r.Endpoints)
	b, err := encodeAll(r)
	if err != nil {
		return err
	}
	return s.put(ctx, b)
}

// put is the durable half first, then the other one.
func (s *Store) put(ctx context.Context, b batch) error {
	if len(b.durable) == 0 {
		return s.boot.change(ctx, b.boot)
	}
	if err := s.durable.enter(ctx); err != nil {
		return err
	}
	defer s.durable.exit()
	undo, err := s.durable.apply(b.durable)
	if err != nil {
		return err
	}
	// From here on the change is made or undone, whatever becomes of the caller.
	if err := s.boot.change(context.WithoutCancel(ctx), b.boot); err != nil {
		return withUndo(err, s.durable.undo(undo))
	}
	return nil
}

// withUndo is err, and that the other file could not be brought back either, where that is so.
func withUndo(err, undoErr error) error {
	if undoErr == nil {
		return err
	}
	return cnm.Errorf(cnm.KindOf(err), "%w; taking back what had been done: %w", err, undoErr)
}

// Drop removes what k names, all or nothing; what is not there is no error.
func (s *Store) Drop(ctx context.Context, k cnm.Keys) error {
	b := s.removals(k)
	defer s.forget(k.Endpoints)
	if len(b.durable) == 0 {
		return s.boot.change(ctx, b.boot)
	}
	if err := s.durable.enter(ctx); err != nil {
		return err
	}
	defer s.durable.exit()
	undo, err := s.boot.changeUndoably(ctx, b.boot)
	if err != nil {
		return err
	}
	if _, err := s.durable.apply(b.durable); err != nil {
		return withUndo(err, s.boot.revert(ctx, undo))
	}
	return nil
}

// change makes changes in the file's turn.
func (f *file) change(ctx context.Context, changes []change) error {
	_, err := f.changeUndoably(ctx, changes)
	return err
}

// changeUndoably is change, and returns what undoes it.
func (f *file) changeUndoably(ctx context.Context, changes []change) ([]change, error) {
	if err := f.enter(ctx); err != nil {
		return nil, err
	}
	defer f.exit()
	return f.apply(changes)
}

// revert undoes changes in the file's turn, whatever becomes of the caller.
func (f *file) revert(ctx context.Context, undo []change) error {
	if err := f.enter(context.WithoutCancel(ctx)); err != nil {
		return err
	}
	defer f.exit()
	return f.undo(undo)
}

// Close closes both files. Closing again does nothing.
func (s *Store) Close() error { return errors.Join(s.boot.close(), s.durable.close()) }

// claim notes in which file the endpoints belong, or tells which one is in the other file.
func (s *Store) claim(list []cnm.Endpoint) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, ep := range list {
		p, known := s.lifetimes[ep.ID]
		if known && p.keep != ep.Keep {
			s.releaseClaims(list[:i])
			return cnm.FieldErrorf(cnm.Invalid, "keep", "endpoint %s (%s) was recorded with keep=%t and cannot become keep=%t; delete it and create it again", ep.ID, ep.Name, p.keep, ep.Keep)
		}
		s.lifetimes[ep.ID] = placement{keep: ep.Keep, puts: p.puts + 1}
	}
	return nil
}

// unclaim ends what claim began, when the call is over.
func (s *Store) unclaim(list []cnm.Endpoint) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.releaseClaims(list)
}

// releaseClaims gives one claim of each endpoint back. mu is held.
func (s *Store) releaseClaims(list []cnm.Endpoint) {
	for _, ep := range list {
		p := s.lifetimes[ep.ID]
		p.puts--
		s.lifetimes[ep.ID] = p
		s.forgetIfGone(ep.ID)
	}
}

// forget drops the placements of endpoints that are gone.
func (s *Store) forget(ids []cnm.EndpointID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range ids {
		s.forgetIfGone(id)
	}
}

// forgetIfGone drops the placement of an endpoint that is in no file and in no call. mu is held.
func (s *Store) forgetIfGone(id cnm.EndpointID) {
	p, known := s.lifetimes[id]
	if known && p.puts == 0 && !s.fileOf(p.keep).has(key{string(id), endpoint}) {
		delete(s.lifetimes, id)
	}
}

// fileOf is the file for endpoints of that Keep.
func (s *Store) fileOf(keep bool) *file {
	if keep {
		return s.durable
	}
	return s.boot
}
