// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/kernel/nft"
)

// Audit compares everything in our tables with what the owners want and gives one line for each difference: a
// rule, chain or set that is missing, altered or foreign, an element that is missing or foreign. It changes nothing.
// Changes wait meanwhile, about a millisecond for a thousand elements.
func (f *Firewall) Audit(ctx context.Context) ([]string, error) {
	var lines []string
	err := f.submit(ctx, &request{do: func(ctx context.Context) error {
		drifts, err := f.compare(ctx)
		for _, t := range drifts {
			for _, d := range t.drifts() {
				lines = append(lines, d.Object+": "+d.What)
			}
		}
		return err
	}})
	return lines, err
}

// Repair compares and puts right what differs, in one transaction: elements one by one, or all of both tables where
// a table, chain, set or rule differs. It returns what differed. Before the first transaction it does nothing.
func (f *Firewall) Repair(ctx context.Context) ([]cnm.Drift, error) {
	var drifts []cnm.Drift
	err := f.submit(ctx, &request{do: func(ctx context.Context) error {
		if !f.loaded {
			return nil
		}
		var err error
		drifts, err = f.mend(ctx)
		return err
	}})
	return drifts, err
}

// mend is Repair for who has the turn.
func (f *Firewall) mend(ctx context.Context) ([]cnm.Drift, error) {
	tables, err := f.compare(ctx)
	if err != nil {
		return nil, err
	}
	var found []cnm.Drift
	whole := false
	var all nft.Drift
	for _, t := range tables {
		found = append(found, t.drifts()...)
		whole = whole || t.gone || len(t.drift.Structure) > 0
		all.Extra = append(all.Extra, t.drift.Extra...)
		all.Missing = append(all.Missing, t.drift.Missing...)
	}
	switch {
	case len(found) == 0:
	case whole:
		err = f.replace(ctx)
	default:
		err = f.exchange(ctx, &all)
	}
	for i := range found {
		found[i].Repaired = err == nil
	}
	return found, err
}

// tableDrift is how one table differs from what is wanted.
type tableDrift struct {
	table nft.TableID
	gone  bool
	drift nft.Drift
}

// compare reads both tables.
func (f *Firewall) compare(ctx context.Context) ([]tableDrift, error) {
	f.mirror.fill(&f.layout.sets, func(setID) bool { return true })
	defer empty(&f.layout.sets)
	var tables []tableDrift
	for _, l := range []*nft.Layout{f.layout.routes, f.layout.frames} {
		t := tableDrift{table: l.Table.TableID}
		snapshot, err := f.conn.Snapshot(ctx, t.table)
		switch {
		case errors.Is(err, unix.ENOENT):
			t.gone = true
		case err != nil:
			return nil, fmt.Errorf("reading %w", err)
		default:
			t.drift = nft.Compare(l, snapshot)
		}
		tables = append(tables, t)
	}
	return tables, nil
}

// drifts lists the differences.
func (t *tableDrift) drifts() []cnm.Drift {
	if t.gone {
		return []cnm.Drift{{Object: "table " + t.table.String(), What: "missing"}}
	}
	var list []cnm.Drift
	for _, line := range t.drift.Structure {
		list = append(list, cnm.Drift{Object: "table " + t.table.String(), What: "altered: " + line})
	}
	for _, side := range []struct {
		what string
		sets []nft.SetElements
	}{{"missing", t.drift.Missing}, {"foreign", t.drift.Extra}} {
		for _, s := range side.sets {
			for _, e := range s.Elements {
				list = append(list, cnm.Drift{Object: fmt.Sprintf("element %s %s %s", t.table, s.Set.Name, e), What: side.what})
			}
		}
	}
	return list
}

// Run puts back at once what other processes change in our tables, and tells the log and [Config.Repaired], until ctx
// ends, whose error it returns. Tables that are owned cannot be changed, so that there it only waits.
func (f *Firewall) Run(ctx context.Context) error {
	if f.Owned() {
		<-ctx.Done()
		return ctx.Err()
	}
	w, err := nft.Watch(nft.Config{})
	if err != nil {
		return kindly(err)
	}
	err = f.watch(ctx, w)
	return errors.Join(kindly(err), w.Close())
}

func (f *Firewall) watch(ctx context.Context, w *nft.Watcher) error {
	for {
		if err := f.restore(ctx); err != nil {
			return err
		}
		for {
			c, err := w.Next(ctx)
			if err != nil {
				return err
			}
			if c.Port != f.conn.PortID() && (c.Touches(routesTable()) || c.Touches(framesTable())) {
				break
			}
		}
	}
}

// restore repairs and tells. What cannot be repaired is tried again at the next change.
func (f *Firewall) restore(ctx context.Context) error {
	drifts, err := f.Repair(ctx)
	if ctx.Err() != nil || errors.Is(err, errClosed) {
		return err
	}
	if err != nil {
		f.log.ErrorContext(ctx, "rules that another process changed could not be put back", "error", err)
	}
	if len(drifts) > 0 {
		f.log.WarnContext(ctx, "another process changed our rules", "differences", len(drifts), "first", drifts[0].Object, "what", drifts[0].What, "repaired", drifts[0].Repaired)
		if f.cfg.Repaired != nil {
			f.cfg.Repaired(drifts)
		}
	}
	return nil
}
