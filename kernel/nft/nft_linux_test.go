// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"testing"

	"github.com/libnetwork/cnm/kernel/kerneltest"
)

// dial makes a socket for a test, whose tables are cleared when it ends.
func dial(tb testing.TB) *Conn {
	tb.Helper()
	kerneltest.Clear(tb)
	c, err := Dial(Config{})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := c.Close(); err != nil {
			tb.Error(err)
		}
	})
	return c
}

// run makes a change that must succeed.
func run(tb testing.TB, c *Conn, fill func(tx *Tx)) {
	tb.Helper()
	var tx Tx
	fill(&tx)
	if err := c.Run(tb.Context(), &tx); err != nil {
		tb.Fatal(err)
	}
}

// mustMatch fails the test if a table is not as wanted.
func mustMatch(tb testing.TB, c *Conn, want *Layout) {
	tb.Helper()
	have, err := c.Snapshot(tb.Context(), want.Table.TableID)
	if err != nil {
		tb.Fatal(err)
	}
	if drift := Compare(want, have); !drift.None() {
		tb.Errorf("table %s:\n%s", want.Table.TableID, drift.String())
	}
	if have.RuleCount() != want.RuleCount() {
		tb.Errorf("table %s has %d rules, not %d", want.Table.TableID, have.RuleCount(), want.RuleCount())
	}
}

func TestLoad(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		c := dial(t)
		layouts := []*Layout{&newRouted(0).Layout, newFrames(0), newRewrite(), newVocabulary()}
		before := c.RoundTrips()
		run(t, c, func(tx *Tx) {
			for _, l := range layouts {
				tx.Load(l)
			}
		})
		if n := c.RoundTrips() - before; n != 1 {
			t.Errorf("%d messages were sent for one transaction", n)
		}
		for _, l := range layouts {
			mustMatch(t, c, l)
		}
	})
}

// TestBeyondNft loads what the kernel takes and nft 1.0.6 cannot write.
func TestBeyondNft(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		inet, bridge := TableID{Inet, "t"}, TableID{Bridge, "t"}
		published := &Set{Table: inet, Name: "published", Key: []Type{TypeProto, TypePort}}
		hosts := &Set{Table: inet, Name: "hosts", Key: []Type{TypeProto, TypeIPv6, TypePort}}
		targets := &Set{Table: bridge, Name: "targets", Key: []Type{TypeIfname, TypeIPv6}}
		layouts := []*Layout{
			{Table: Table{TableID: inet}, Sets: []*Set{published, hosts}, Chains: []*Chain{
				{Table: inet, Name: "c", Hook: Forward, Rules: []Rule{
					NewRule("", CTStatus.Has(CTDNAT), Concat(L4Proto, CTOrigProtDst).NotIn("published"), Drop()),
					NewRule("", Concat(L4Proto, CTOrigIP6Daddr, CTOrigProtDst).In("hosts"), Accept()),
					NewRule("", CTOrigIPSaddr.In("hosts4"), CTOrigIP6Saddr.In("hosts6"), Accept()),
				}},
			}},
			{Table: Table{TableID: bridge}, Sets: []*Set{targets}, Chains: []*Chain{
				{Table: bridge, Name: "c", Hook: Prerouting, Rules: []Rule{
					NewRule("", ICMPv6Type.Num(NDNeighborSolicit, NDNeighborAdvert), Concat(IIfName, ICMPv6Target).NotIn("targets"), Drop()),
					NewRule("", Raw(TransportHeader, 0, 2).Is(Tuple{}.Bytes([]byte{0, 1}), Tuple{}.Bytes([]byte{0, 2})), Drop()),
					NewRule("", Concat(IIfName, Raw(TransportHeader, 8, 16)).In("targets"), Accept()),
				}},
			}},
		}
		layouts[0].Sets = append(layouts[0].Sets, &Set{Table: inet, Name: "hosts4", Key: []Type{TypeIPv4}},
			&Set{Table: inet, Name: "hosts6", Key: []Type{TypeIPv6}})
		c := dial(t)
		run(t, c, func(tx *Tx) {
			for _, l := range layouts {
				tx.Load(l)
			}
		})
		for _, l := range layouts {
			mustMatch(t, c, l)
		}
	})
}
