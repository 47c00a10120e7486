// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"context"
	"errors"
	"iter"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/libnetwork/cnm/kernel/nft"
)

// commit makes changes in one transaction. If the kernel refuses it, each is tried alone, so that the
// refusal reaches its cause only.
func (f *Firewall) commit(ctx context.Context, batch []*request) {
	applied := make([]*request, 0, len(batch))
	olds := make([]change, 0, len(batch))
	for _, r := range batch {
		old, err := f.mirror.apply(r.change)
		if err != nil {
			r.done <- err
			continue
		}
		applied, olds = append(applied, r), append(olds, old)
	}
	if len(applied) == 0 {
		f.mirror.commit()
		return
	}
	err := f.send(ctx)
	if err != nil {
		for i, r := range slices.Backward(applied) {
			f.mirror.revert(r.change, olds[i])
		}
	}
	f.mirror.commit()
	if errors.Is(err, errPartial) {
		_, mending := f.mend(ctx)
		err = errors.Join(err, mending)
	}
	if err != nil && len(applied) > 1 {
		for _, r := range applied {
			f.commit(ctx, []*request{r})
		}
		return
	}
	for _, r := range applied {
		r.done <- err
	}
}

// send brings what is wanted into the kernel. Where others have changed the tables meanwhile, that is put right too.
func (f *Firewall) send(ctx context.Context) error {
	if !f.loaded {
		return f.begin(ctx)
	}
	err := f.exchange(ctx, f.mirror.pending(&f.layout.sets))
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EEXIST) {
		f.log.WarnContext(ctx, "our rules in the kernel are not as they were left; comparing all", "error", err)
		_, err = f.mend(ctx)
	}
	return err
}

// begin makes the tables this firewall's own. Where both are there with these very rules, only elements that differ
// are sent: rules that stay in force throughout lose no packet. Otherwise they are replaced.
func (f *Firewall) begin(ctx context.Context) error {
	there, err := f.tables(ctx)
	if err != nil {
		return err
	}
	if !f.continues(there) || f.adopt(ctx) != nil {
		return f.replace(ctx)
	}
	f.loaded = true
	if _, err := f.mend(ctx); err != nil {
		f.log.WarnContext(ctx, "the rules in the kernel cannot be taken over; replacing all", "error", err)
		return f.replace(ctx)
	}
	return nil
}

// continues tells whether both tables are there, with this version's rules and nobody's but ours.
func (f *Firewall) continues(there []nft.TableState) bool {
	for _, l := range []*nft.Layout{f.layout.routes, f.layout.frames} {
		if !slices.ContainsFunc(there, func(t nft.TableState) bool {
			return t.TableID == l.Table.TableID && t.Comment == l.Table.Comment && (t.Owner == 0 || t.Owner == f.conn.PortID())
		}) {
			return false
		}
	}
	return true
}

// adopt makes this socket the owner of the tables that an earlier one left.
func (f *Firewall) adopt(ctx context.Context) error {
	f.tx.Reset()
	defer f.tx.Reset()
	f.tx.AddTable(f.layout.routes.Table)
	f.tx.AddTable(f.layout.frames.Table)
	return f.conn.Run(ctx, &f.tx)
}

// pieceSize is how many elements go into one transaction where one for all of them is more than the socket may send.
const pieceSize = 500

// exchange deletes and adds elements in one transaction. Only a process without privilege over the first user namespace
// has a limit to what it may send; beyond that it is several, and first what is deleted.
func (f *Firewall) exchange(ctx context.Context, d *nft.Drift) error {
	err := f.runDelta(ctx, d)
	if !errors.Is(err, nft.ErrTooLarge) {
		return err
	}
	sent := false
	for piece := range pieces(d) {
		if err := f.runDelta(ctx, piece); err != nil {
			if sent {
				err = errors.Join(errPartial, err)
			}
			return err
		}
		sent = true
	}
	return nil
}

func (f *Firewall) runDelta(ctx context.Context, d *nft.Drift) error {
	f.tx.Reset()
	defer f.tx.Reset()
	d.Repair(&f.tx)
	return f.conn.Run(ctx, &f.tx)
}

// pieces cuts what there is to do into small transactions.
func pieces(d *nft.Drift) iter.Seq[*nft.Drift] {
	return func(yield func(*nft.Drift) bool) {
		for _, s := range d.Extra {
			for part := range slices.Chunk(s.Elements, pieceSize) {
				if !yield(&nft.Drift{Extra: []nft.SetElements{{Set: s.Set, Elements: part}}}) {
					return
				}
			}
		}
		for _, s := range d.Missing {
			for part := range slices.Chunk(s.Elements, pieceSize) {
				if !yield(&nft.Drift{Missing: []nft.SetElements{{Set: s.Set, Elements: part}}}) {
					return
				}
			}
		}
	}
}

// replace puts our tables, with everything that is wanted, in the place of those that are there, in one transaction. Where
// that is more than the socket may send, it begins with what closes, and what opens follows.
func (f *Firewall) replace(ctx context.Context) error {
	err := f.replaceOnce(ctx, func(setID) bool { return true })
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EEXIST) {
		// Somebody made or deleted them in between.
		err = f.replaceOnce(ctx, func(setID) bool { return true })
	}
	if !errors.Is(err, nft.ErrTooLarge) {
		return err
	}
	if err := f.replaceOnce(ctx, setID.closes); err != nil {
		return err
	}
	if _, err := f.mend(ctx); err != nil {
		return errors.Join(errPartial, err)
	}
	return nil
}

// closes tells whether the elements of a set only forbid, or tell what is ours at all.
func (s setID) closes() bool {
	switch {
	case s >= setTrust4 && s <= setOpen6, s >= setPub4 && s <= setLiveAny6, s >= setPorts && s <= setBound6:
		return false
	default:
		return true
	}
}

func (f *Firewall) replaceOnce(ctx context.Context, with func(setID) bool) error {
	there, err := f.tables(ctx)
	if err != nil {
		return err
	}
	f.mirror.fill(&f.layout.sets, with)
	defer empty(&f.layout.sets)
	f.tx.Reset()
	defer f.tx.Reset()
	for _, t := range there {
		f.tx.DeleteTable(t.TableID)
	}
	f.tx.Load(f.layout.routes)
	f.tx.Load(f.layout.frames)
	if err := f.conn.Run(ctx, &f.tx); err != nil {
		return err
	}
	f.loaded = true
	return nil
}
