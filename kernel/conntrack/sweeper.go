// SPDX-License-Identifier: Apache-2.0

package conntrack

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"
)

// DefaultInterval is the least time between sweeps that nobody waits for. A sweep
// of an empty table takes 10 ms, since the kernel looks into each of its buckets.
const DefaultInterval = 250 * time.Millisecond

// gatherFor is how long the first mark after a while waits for others: whoever
// wants the address again waits out what is left of the sweep.
const gatherFor = 5 * time.Millisecond

// ErrStopped is the answer of [Sweeper.Wait] when the sweeper no longer runs.
var ErrStopped = errors.New("the connection table is no longer swept")

// Table is what is swept, one pass a call; [Conn] is the kernel's.
type Table interface {
	// DeleteFunc deletes the entries that match and tells how many. Every entry that
	// matches passes one of the filters in cover.
	DeleteFunc(ctx context.Context, cover []Filter, match func(e *Entry) bool) (int, error)
	// Close ends the use of the table.
	Close() error
}

// Config configures a [Sweeper]. The zero value sweeps the table of the network
// namespace that Run is called in.
type Config struct {
	// Dial opens the table for one sweep; nil: [Dial].
	Dial func() (Table, error)
	// Local gives the host's own addresses; nil: those of the interfaces of the
	// network namespace that Run is called in.
	Local func() ([]netip.Addr, error)
	// Interval is the least time between two sweeps that nobody waits for; 0: [DefaultInterval].
	Interval time.Duration
	// Log hears of sweeps that were refused; nil: nobody does.
	Log *slog.Logger
}

// Sweeper deletes what the connection table still says of freed addresses and
// ports, in passes that serve many at once.
//
// Passes are numbered. The mark of something freed is the number of passes
// begun by then, and it is clear once a pass with a higher number is done. A
// pass that was refused is not done; what it looked for is looked for again by
// the next one. Where the kernel has no ctnetlink every pass counts as done:
// that nothing old gets through is then left to the rules alone.
//
// All methods may be called concurrently. None but Run talks to the kernel.
type Sweeper struct {
	cfg  Config
	wake chan struct{} // has one place: something to do came up
	done chan struct{} // closed when Run has returned

	mu      sync.Mutex // guards what follows; never held across a pass
	pending targets
	begun   uint64
	cleared uint64 // the highest pass done
	running bool   // a pass is under way, the one numbered begun
	urgent  bool   // somebody waits for a pass not begun yet
	over    *pass  // the next pass to end, for those who wait
}

// pass is how one pass ended; number and err are set before ended is closed.
type pass struct {
	ended  chan struct{}
	number uint64
	err    error
}

// NewSweeper makes a sweeper, which does nothing until [Sweeper.Run].
func NewSweeper(cfg Config) *Sweeper {
	if cfg.Dial == nil {
		cfg.Dial = func() (Table, error) { return Dial() }
	}
	if cfg.Local == nil {
		cfg.Local = interfaceAddresses
	}
	if cfg.Interval <= 0 {
		cfg.Interval = DefaultInterval
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Sweeper{
		cfg:  cfg,
		wake: make(chan struct{}, 1),
		done: make(chan struct{}),
		over: &pass{ended: make(chan struct{})},
	}
}

// Mark notes that at is freed now and has it swept within the interval. With
// port 0 it is an address: every entry that names it goes, whatever the
// protocol. With a port it is a host port of the protocol (IANA number): every
// flow sent to it goes. An unspecified address means all of the host's own of
// that family.
//
// Mark is to be called after the rules that let such flows through are gone.
func (s *Sweeper) Mark(proto uint8, at netip.AddrPort) uint64 {
	return s.note(func(t *targets) { t.add(proto, at) })
}

// MarkTranslated notes that a host port is now translated to somewhere else and
// has the flows forgotten that reached the host itself before, and that would
// go on to do so as long as their packets come: a client that kept sending
// datagrams while the port led nowhere. Flows that are translated stay.
//
// MarkTranslated is to be called after the rules are in place.
func (s *Sweeper) MarkTranslated(proto uint8, at netip.AddrPort) uint64 {
	return s.note(func(t *targets) { t.addFresh(proto, at) })
}

// note adds a target and gives its mark.
func (s *Sweeper) note(add func(t *targets)) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	first := s.pending.empty()
	add(&s.pending)
	if first {
		s.rouse()
	}
	return s.begun
}

// rouse has Run look at what there is to do.
func (s *Sweeper) rouse() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Clear tells whether a pass that began after the mark was given is done.
func (s *Sweeper) Clear(mark uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cleared > mark
}

// Wait returns when the mark is clear, having a pass begun at once if none that
// would do is under way. It returns the error of the first such pass that was
// refused, ctx's error when ctx ends, and [ErrStopped] when Run has returned.
// Before Run is called it waits. A mark that was never given counts as given
// now.
func (s *Sweeper) Wait(ctx context.Context, mark uint64) error {
	s.mu.Lock()
	mark = min(mark, s.begun)
	s.mu.Unlock()
	for {
		s.mu.Lock()
		if s.cleared > mark {
			s.mu.Unlock()
			return nil
		}
		waited := s.over
		if !(s.running && s.begun > mark) && !s.urgent {
			s.urgent = true
			s.rouse()
		}
		s.mu.Unlock()
		select {
		case <-waited.ended:
			if waited.err != nil && waited.number > mark {
				return waited.err
			}
		case <-ctx.Done():
			return fmt.Errorf("wait for the connection table to be swept: %w", ctx.Err())
		case <-s.done:
			return ErrStopped
		}
	}
}

// Run sweeps until ctx ends, and then returns nil. It is called once.
func (s *Sweeper) Run(ctx context.Context) error {
	defer close(s.done)
	var last time.Time // the end of a sweep
	delay := time.NewTimer(s.cfg.Interval)
	delay.Stop()
	defer delay.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.wake:
			if !s.due(false) {
				delay.Reset(max(gatherFor, s.cfg.Interval-time.Since(last)))
				continue
			}
		case <-delay.C:
			if !s.due(true) {
				continue
			}
		}
		delay.Stop()
		done := s.sweep(ctx)
		last = time.Now()
		if done {
			continue
		}
		delay.Reset(s.cfg.Interval) // refused: again after a while
	}
}

// due tells whether a pass is to begin now: somebody waits for one, or the
// interval has passed and there is something to look for.
func (s *Sweeper) due(passed bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.urgent || passed && !s.pending.empty()
}

// sweep makes one pass and tells whether it was done.
func (s *Sweeper) sweep(ctx context.Context) bool {
	s.mu.Lock()
	s.begun++
	s.running = true
	number, wanted := s.begun, s.pending
	s.pending, s.urgent = targets{}, false
	s.mu.Unlock()

	err := s.pass(ctx, &wanted)
	if errors.Is(err, errors.ErrUnsupported) {
		s.cfg.Log.Debug("the connection table cannot be swept, the rules alone keep old flows out", "error", err)
		err = nil
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	s.running = false
	ended := s.over
	s.over = &pass{ended: make(chan struct{})}
	if err != nil {
		wanted.merge(s.pending)
		s.pending = wanted
		if ctx.Err() == nil {
			s.cfg.Log.Warn("sweeping the connection table was refused", "error", err)
		}
	} else {
		s.cleared = number
	}
	ended.number, ended.err = number, err
	close(ended.ended)
	return err == nil
}

// pass opens the table, deletes what is wanted and closes it. A connection is
// not kept from one pass to the next: opening it costs nothing beside the walk.
func (s *Sweeper) pass(ctx context.Context, wanted *targets) error {
	if wanted.empty() {
		return nil
	}
	local := map[netip.Addr]struct{}{}
	if wanted.wide() {
		addrs, err := s.cfg.Local()
		if err != nil {
			return fmt.Errorf("list the host's addresses: %w", err)
		}
		for _, a := range addrs {
			local[a.Unmap().WithZone("")] = struct{}{}
		}
	}
	table, err := s.cfg.Dial()
	if err != nil {
		return err
	}
	_, err = table.DeleteFunc(ctx, wanted.cover(), func(e *Entry) bool { return wanted.match(e, local) })
	return errors.Join(err, table.Close())
}

// interfaceAddresses lists the addresses of all interfaces.
func interfaceAddresses() ([]netip.Addr, error) {
	found, err := net.InterfaceAddrs()
	if err != nil {
		return nil, err
	}
	var addrs []netip.Addr
	for _, f := range found {
		if p, err := netip.ParsePrefix(f.String()); err == nil {
			addrs = append(addrs, p.Addr())
		}
	}
	return addrs, nil
}
