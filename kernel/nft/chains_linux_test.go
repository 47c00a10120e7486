// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"slices"
	"testing"

	"github.com/libnetwork/cnm/kernel/kerneltest"
)

// TestChains lists chains of several tables and families, with hook and policy.
func TestChains(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		c := dial(t)
		want := []Chain{
			{Table: TableID{IPv4, "filter"}, Name: "FORWARD", Hook: Forward, Type: Filter, Policy: PolicyDrop},
			{Table: TableID{Inet, "other"}, Name: "in", Hook: Input, Type: Filter, Priority: -5},
			{Table: TableID{IPv6, "filter"}, Name: "plain"},
		}
		run(t, c, func(tx *Tx) {
			for i := range want {
				tx.AddTable(Table{TableID: want[i].Table})
				tx.AddChain(&want[i])
			}
		})
		have, err := c.Chains(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		same := func(a, b *Chain) bool {
			return a.Table == b.Table && a.Name == b.Name && a.Hook == b.Hook && a.Policy == b.Policy && a.Priority == b.Priority
		}
		for i := range want {
			if !slices.ContainsFunc(have, func(h Chain) bool { return same(&h, &want[i]) }) {
				t.Errorf("%+v is not among %+v", want[i], have)
			}
		}
		if len(have) != len(want) {
			t.Errorf("there are %d chains, want %d", len(have), len(want))
		}
	})
}
