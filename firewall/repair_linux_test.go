// SPDX-License-Identifier: Apache-2.0

package firewall_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/firewall"
	"github.com/libnetwork/cnm/kernel/kerneltest"
	"github.com/libnetwork/cnm/kernel/nft"
)

func tableID(f nft.Family) nft.TableID { return nft.TableID{Family: f, Name: "cnm"} }

// damages are what others do to plain tables, and a word of what Audit says of it.
func damages() map[string]func(tx *nft.Tx) {
	inet, bridge := tableID(nft.Inet), tableID(nft.Bridge)
	ports := &nft.Set{Table: bridge, Name: "ports", Key: []nft.Type{nft.TypeIfname}}
	pub := &nft.Set{Table: inet, Name: "pub4any", Key: []nft.Type{nft.TypeProto, nft.TypePort}, Data: []nft.Type{nft.TypeIPv4, nft.TypePort}}
	key := nft.Tuple{}.Proto(nft.TCP).Port(2)
	return map[string]func(tx *nft.Tx){
		"table inet cnm: missing":                        func(tx *nft.Tx) { tx.DeleteTable(inet) },
		"table bridge cnm: missing":                      func(tx *nft.Tx) { tx.DeleteTable(bridge) },
		"element inet cnm pub4any tcp . 2":               func(tx *nft.Tx) { tx.DeleteElements(pub, nft.Key(key)) },
		`element bridge cnm ports "evil": foreign`:       func(tx *nft.Tx) { tx.AddElements(ports, nft.Key(nft.Ifname("evil"))) },
		`element bridge cnm ports "cnv1": missing`:       func(tx *nft.Tx) { tx.FlushSet(ports) },
		"table inet cnm: altered: rule 0 of chain":       func(tx *nft.Tx) { tx.FlushChain(&nft.Chain{Table: inet, Name: "ours"}) },
		"table bridge cnm: altered: chain bridge cnm x ": func(tx *nft.Tx) { tx.AddChain(&nft.Chain{Table: bridge, Name: "x"}) },
		"table inet cnm: altered: rule 29": func(tx *nft.Tx) {
			tx.AddRule(&nft.Chain{Table: inet, Name: "ours"}, nft.NewRule("", nft.Accept()))
		},
	}
}

func TestAuditAndRepair(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		fw := openFirewall(t, firewall.Config{Shared: true})
		if drifts, err := fw.Repair(t.Context()); err != nil || len(drifts) != 0 {
			t.Errorf("before the first transaction: %v, %v", drifts, err)
		}
		must(t, fw.Set(t.Context(), owner(1), attach(1)))
		evil := other(t)
		for what, damage := range damages() {
			var tx nft.Tx
			damage(&tx)
			must(t, evil.Run(t.Context(), &tx))
			lines, err := fw.Audit(t.Context())
			must(t, err)
			if !slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, what) }) {
				t.Errorf("audit after %q says %q", what, lines)
			}
			drifts, err := fw.Repair(t.Context())
			must(t, err)
			if len(drifts) != len(lines) || slices.ContainsFunc(drifts, func(d cnm.Drift) bool { return !d.Repaired }) {
				t.Errorf("repaired %v after %q", drifts, lines)
			}
			sound(t, fw)
		}

		// A change that meets the damage repairs it.
		for _, damage := range damages() {
			var tx nft.Tx
			damage(&tx)
			must(t, evil.Run(t.Context(), &tx))
			must(t, fw.Drop(t.Context(), owner(1)))
			must(t, fw.Set(t.Context(), owner(1), attach(1)))
			_, err := fw.Repair(t.Context())
			must(t, err)
		}
		sound(t, fw)
	})
}

// TestRun puts back at once what others do, and is not woken by our own changes.
func TestRun(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		repaired := make(chan []cnm.Drift, 16)
		fw := openFirewall(t, firewall.Config{Shared: true, Repaired: func(d []cnm.Drift) { repaired <- d }})
		must(t, fw.Set(t.Context(), owner(1), attach(1)))
		evil := other(t)
		var tx nft.Tx
		tx.DeleteTable(tableID(nft.Bridge))
		must(t, evil.Run(t.Context(), &tx))

		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- fw.Run(ctx) }()
		if d := <-repaired; len(d) != 1 || d[0].What != "missing" {
			t.Errorf("what was changed before Run: %v", d)
		}
		for i := range 20 {
			must(t, fw.Set(t.Context(), owner(2), attach(2+i)))
		}
		var slowest time.Duration
		for range 10 {
			began := time.Now()
			flushRuleset(t)
			<-repaired
			slowest = max(slowest, time.Since(began))
			sound(t, fw)
		}
		t.Logf("flushed and back: at most %v", slowest)
		select {
		case d := <-repaired:
			t.Errorf("repaired what nobody had changed: %v", d)
		default:
		}
		stop()
		if err := <-ended; !errors.Is(err, context.Canceled) && !errors.Is(err, cnm.Unavailable) {
			t.Errorf("Run ended with %v", err)
		}
	})
}
