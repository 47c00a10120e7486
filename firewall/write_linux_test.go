// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/libnetwork/cnm/kernel/kerneltest"
	"github.com/libnetwork/cnm/kernel/nft"
)

// TestRefusedAlone: of changes that are made in one transaction, the kernel's refusal reaches only the one that it is of.
func TestRefusedAlone(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		f, err := Open(t.Context(), Config{})
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := f.Close(); err != nil {
				t.Error(err)
			}
		}()
		if err := f.Set(t.Context(), "first", Rules{}); err != nil {
			t.Fatal(err)
		}
		// Spans that lie across each other, for which no checks of ours look.
		span := func(first, last string) item {
			return item{set: setCnet4, elem: nft.Element{Key: nft.Addr(netip.MustParseAddr(first)), End: nft.Addr(netip.MustParseAddr(last))}}
		}
		poison, more := span("192.0.2.0", "192.0.2.9"), span("192.0.2.5", "192.0.2.12")
		var batch []*request
		for _, c := range []change{
			{"one": {{set: setIfs, elem: nft.Key(nft.Ifname("one"))}}},
			{"two": {{set: setIfs, elem: nft.Key(nft.Ifname("two"))}, poison, more}},
			{"three": {{set: setIfs, elem: nft.Key(nft.Ifname("three"))}}},
		} {
			batch = append(batch, &request{change: c, done: make(chan error, 1)})
		}
		gate, held := make(chan struct{}), make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() {
			err := f.submit(t.Context(), &request{do: func(context.Context) error { close(held); <-gate; return nil }})
			if err != nil {
				t.Error(err)
			}
		})
		<-held // the writing goroutine waits, so that the three come together
		for _, r := range batch {
			f.queue <- r
		}
		close(gate)
		wg.Wait()
		for i, refused := range []bool{false, true, false} {
			if err := <-batch[i].done; errors.Is(err, unix.EEXIST) != refused {
				t.Errorf("change %d: %v", i, err)
			}
		}
		lines, err := f.Audit(t.Context())
		if err != nil || len(lines) != 0 {
			t.Errorf("audit: %q, %v", lines, err)
		}
		elements, err := f.conn.Elements(t.Context(), f.layout.sets[setIfs])
		if err != nil || len(elements) != 2 {
			t.Errorf("bridges %v, %v", elements, err)
		}
	})
}
