// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"context"
	"net/netip"
	"sync"
	"testing"

	"go.uber.org/goleak"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/ipam/ipamtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConformance(t *testing.T) {
	t.Parallel()
	for name, q := range map[string]func() cnm.Quarantine{
		"no quarantine": func() cnm.Quarantine { return nil },
		"quarantine":    func() cnm.Quarantine { return &sweeps{} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ipamtest.Run(t, func(t *testing.T) cnm.Allocator { return open(t, Config{Quarantine: q()}) }, ipamtest.Options{})
		})
	}
}

func open(tb testing.TB, c Config) *Allocator {
	tb.Helper()
	a, err := New(c)
	if err != nil {
		tb.Fatal(err)
	}
	return a
}

// sweeps is a quarantine whose sweeps are done when told, or when waited for.
type sweeps struct {
	mu     sync.Mutex
	marked uint64
	swept  uint64
	waits  int
	names  []netip.AddrPort
	// before is called at the begin of Wait, with nothing held.
	before func(ctx context.Context) error
}

func (s *sweeps) Mark(_ cnm.Protocol, a netip.AddrPort) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.marked++
	s.names = append(s.names, a)
	return s.marked
}

func (s *sweeps) Clear(mark uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return mark <= s.swept
}

func (s *sweeps) Wait(ctx context.Context, mark uint64) error {
	if s.before != nil {
		if err := s.before(ctx); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waits++
	s.swept = max(s.swept, mark)
	return nil
}

// sweep makes everything marked so far clear.
func (s *sweeps) sweep() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.swept = s.marked
}

func (s *sweeps) waited() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.waits
}
