// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"context"
	"maps"
	"sync"

	cnm "github.com/libnetwork/cnm"
)

// Set makes r the whole state of an owner; only what differs is sent. It may be repeated. A [*ConflictError] names
// another owner who has one of the elements with other data; nothing was sent then. When Set returns without
// an error, the rules are in force, unless it was called inside [Firewall.Together].
func (f *Firewall) Set(ctx context.Context, owner Owner, r Rules) error {
	items, err := itemsOf(&r)
	if err != nil {
		return err
	}
	return f.change(ctx, change{owner: items})
}

// Drop takes everything of an owner away. Flows that only it allowed are dead when Drop returns. It may be repeated.
func (f *Firewall) Drop(ctx context.Context, owner Owner) error {
	return f.change(ctx, change{owner: nil})
}

// change makes a change now, or adds it to those of Together.
func (f *Firewall) change(ctx context.Context, c change) error {
	if g, ok := ctx.Value(gatherKey{f}).(*gathered); ok {
		return g.add(c)
	}
	return f.submit(ctx, &request{change: c})
}

// gatherKey finds the changes that are gathered for a firewall.
type gatherKey struct{ f *Firewall }

// gathered are the changes inside Together.
type gathered struct {
	mu     sync.Mutex // guards both below
	change change
	over   bool
}

func (g *gathered) add(c change) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.over {
		return cnm.Errorf(cnm.Internal, "firewall: a change came after the end of the transaction that it belongs to")
	}
	maps.Copy(g.change, c)
	return nil
}

// Together runs fn and makes all changes inside it, those with the context that fn is given, as one transaction: when
// fn returns nil. If it returns an error, that is returned and nothing changes. The last change of an owner
// counts. Inside another Together it is a part of that. fn may make changes concurrently, but they must have
// returned before it does.
//
// The first transaction of a firewall removes everything else that the tables had before.
func (f *Firewall) Together(ctx context.Context, fn func(ctx context.Context) error) error {
	if ctx.Value(gatherKey{f}) != nil {
		return fn(ctx)
	}
	g := &gathered{change: change{}}
	err := fn(context.WithValue(ctx, gatherKey{f}, g))
	g.mu.Lock()
	g.over = true
	g.mu.Unlock()
	if err != nil {
		return err
	}
	return f.submit(ctx, &request{change: g.change})
}
