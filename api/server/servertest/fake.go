// SPDX-License-Identifier: Apache-2.0

package servertest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	cnm "github.com/libnetwork/cnm"
)

// Fake is a controller in memory. It keeps records as the real one does and touches nothing. IDs and times are the same
// in every run. It is safe for concurrent use.
type Fake struct {
	mu     sync.Mutex // guards everything below; never held while a caller's function runs
	count  int
	recs   cnm.Records
	feeds  []chan cnm.Event
	ports  uint16
	failed map[string]error
	heard  chan struct{} // gets a token at each Events, if there is room

	// Health is what Ready answers.
	Health []struct {
		Name string
		Err  error
	}
	// FileSet is what Files answers.
	FileSet cnm.NameFiles
}

// New is an empty one.
func New() *Fake {
	return &Fake{
		failed: map[string]error{}, heard: make(chan struct{}, 1), ports: 49152,
		FileSet: cnm.NameFiles{Hosts: "/run/cnm/hosts", ResolvConf: "/run/cnm/resolv.conf", Hostname: "/run/cnm/hostname"},
	}
}

// Fail makes the named method answer err from now on; nil makes it work again.
func (f *Fake) Fail(method string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failed[method] = err
}

// begin locks and tells whether the method has to fail.
func (f *Fake) begin(ctx context.Context, method string) error {
	f.mu.Lock()
	if err := f.failed[method]; err != nil {
		return err
	}
	return ctx.Err()
}

// id is the next identifier.
func (f *Fake) id() string {
	f.count++
	sum := sha256.Sum256(fmt.Append(nil, f.count))
	return hex.EncodeToString(sum[:16])
}

// now is a second later at each identifier.
func (f *Fake) now() time.Time {
	return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC).Add(time.Duration(f.count) * time.Second)
}

// tell sends an event to all that listen. One that does not read loses it.
func (f *Fake) tell(e cnm.Event) {
	e.Time = f.now()
	for _, feed := range f.feeds {
		select {
		case feed <- e:
		default:
		}
	}
}

// Events implements the server's contract.
func (f *Fake) Events(ctx context.Context) <-chan cnm.Event {
	f.mu.Lock()
	defer f.mu.Unlock()
	feed := make(chan cnm.Event, 64)
	f.feeds = append(f.feeds, feed)
	select {
	case f.heard <- struct{}{}:
	default:
	}
	context.AfterFunc(ctx, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.feeds = slices.DeleteFunc(f.feeds, func(c chan cnm.Event) bool { return c == feed })
		close(feed)
	})
	return feed
}

// Ready implements the server's contract.
func (f *Fake) Ready(context.Context) []struct {
	Name string
	Err  error
} {
	return f.Health
}

// Records implements the server's contract.
func (f *Fake) Records(context.Context) cnm.Records {
	f.mu.Lock()
	defer f.mu.Unlock()
	return cnm.Records{
		Networks: slices.Clone(f.recs.Networks), Endpoints: slices.Clone(f.recs.Endpoints),
		Sandboxes: slices.Clone(f.recs.Sandboxes), Joins: slices.Clone(f.recs.Joins),
	}
}

// Drivers implements the server's contract.
func (f *Fake) Drivers(context.Context) map[string]cnm.Description {
	return map[string]cnm.Description{
		"bridge": {Addresses: true, Publishes: true, Options: []cnm.Option{
			{Key: "bridge", On: "network", Type: "name", Meaning: "the bridge's name"},
			{Key: "masquerade", On: "network", Type: "bool", Default: "true", Meaning: "translate sources on the way out"},
		}},
		"host": {HostStack: true},
		"null": {Unfit: []string{"nothing, Linux 2.6"}},
	}
}

// Files implements the server's contract.
func (f *Fake) Files(ctx context.Context, id cnm.SandboxID) (cnm.NameFiles, error) {
	err := f.begin(ctx, "Files")
	defer f.mu.Unlock()
	return f.FileSet, err
}

// resolve finds a reference among things with an ID and a name.
func resolve[T any](noun, ref string, all []T, key func(*T) (id, name string)) (T, error) {
	var hits []T
	var names []string
	for i := range all {
		id, name := key(&all[i])
		if id == ref || cnm.FoldName(name) == cnm.FoldName(ref) {
			return all[i], nil
		}
		if len(ref) >= 4 && strings.HasPrefix(id, ref) {
			hits, names = append(hits, all[i]), append(names, fmt.Sprintf("%s (%.12s)", name, id))
		}
	}
	var none T
	switch len(hits) {
	case 0:
		return none, cnm.FieldErrorf(cnm.NotFound, noun, "there is no %s %q", noun, ref)
	case 1:
		return hits[0], nil
	default:
		return none, cnm.FieldErrorf(cnm.Invalid, noun, "%s %q is ambiguous: %s", noun, ref, strings.Join(names, ", "))
	}
}

// addressOf is the n-th address of a prefix.
func addressOf(p netip.Prefix, n int) netip.Addr {
	a := p.Addr()
	for range n {
		a = a.Next()
	}
	return a
}

// Listening waits until somebody has asked for events.
func (f *Fake) Listening(ctx context.Context) error {
	select {
	case <-f.heard:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
