// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/libnetwork/cnm/kernel/kerneltest"
)

// TestDrift alters a table in every way and looks at what Compare tells.
func TestDrift(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		c, r := dial(t), newRouted(0)
		np, forw := r.Chains[2], r.Chains[6]
		rules := func(chain *Chain, change func([]Rule) []Rule) func(tx *Tx) {
			return func(tx *Tx) {
				tx.FlushChain(chain)
				for _, rule := range change(slices.Clone(chain.Rules)) {
					tx.AddRule(chain, rule)
				}
			}
		}
		dropping, web := *forw, r.pub4any.Elements[0]
		dropping.Policy = PolicyDrop
		web.Comment = ""
		for _, alter := range []struct {
			want string // a part of the first line
			fill func(tx *Tx)
		}{
			{"rule 0 of chain inet cnm np is no longer", rules(np, func(l []Rule) []Rule { l[0], l[1] = l[1], l[0]; return l })},
			{"rule 1 of chain inet cnm np is no longer \"meta l4proto { tcp, udp, sctp } jump np_l4\"", rules(np, func(l []Rule) []Rule {
				l[1] = NewRule("", L4Proto.Proto(TCP, UDP, ICMP), Jump("np_l4"))
				return l
			})},
			{"rule 8 of chain inet cnm forw is no longer", rules(forw, func(l []Rule) []Rule {
				l[8] = NewRule("", Concat(OIfName, IIfName).VMap("pair"))
				return l
			})},
			{"rule 9 of chain inet cnm forw is no longer", rules(forw, func(l []Rule) []Rule {
				l[9] = NewRule("", IIfName.In("ifs"), OIfName.NotIn("ifs"), Drop())
				return l
			})},
			{"rule 13 of chain inet cnm forw is missing: oifname @ifs drop", rules(forw, func(l []Rule) []Rule { return l[:13] })},
			{"rule 14 of chain inet cnm forw is not ours: immediate 02=accept", func(tx *Tx) { tx.AddRule(forw, NewRule("", Accept())) }},
			{"rule 0 of chain inet cnm forw: comment \"\" instead of", rules(forw, func(l []Rule) []Rule { l[0].Comment = ""; return l })},
			{"chain inet cnm extra is not ours", func(tx *Tx) { tx.AddChain(&Chain{Table: forw.Table, Name: "extra"}) }},
			{"set inet cnm extra is not ours", func(tx *Tx) {
				tx.AddSet(&Set{Table: forw.Table, Name: "extra", Key: []Type{TypePort}})
			}},
			{"chain inet cnm forw: ", func(tx *Tx) { tx.AddChain(&dropping) }},
			{"table inet cnm: flags \"dormant\"", func(tx *Tx) { tx.AddTable(Table{TableID: forw.Table, Flags: Dormant}) }},
			{"missing element inet cnm ifs \"cnv1\"", func(tx *Tx) { tx.DeleteElements(r.ifs, Key(Ifname("cnv1"))) }},
			{"extra element inet cnm ptcp 81", func(tx *Tx) { tx.AddElements(r.ptcp, Key(Port(81))) }},
			{"missing element inet cnm cnet4 192.0.2.0/25", func(tx *Tx) {
				tx.FlushSet(r.cnet4)
				tx.AddElements(r.cnet4, Within(prefix("192.0.2.0/24")))
			}},
			{"missing element inet cnm pub4any tcp . 8080 comment \"web\"", func(tx *Tx) {
				tx.DeleteElements(r.pub4any, web)
				tx.AddElements(r.pub4any, web)
			}},
		} {
			run(t, c, func(tx *Tx) { tx.Replace(&r.Layout) })
			mustMatch(t, c, &r.Layout)
			run(t, c, alter.fill)
			mustDrift(t, c, &r.Layout, alter.want)
		}
	})
}

// mustDrift fails the test if a table does not differ as told, or if its elements
// cannot be repaired.
func mustDrift(t *testing.T, c *Conn, want *Layout, text string) {
	t.Helper()
	have, err := c.Snapshot(t.Context(), want.Table.TableID)
	if err != nil {
		t.Fatal(err)
	}
	drift := Compare(want, have)
	if drift.None() || !strings.HasPrefix(drift.String(), text) {
		t.Errorf("want %q, got %q", text, drift.String())
	}
	if len(drift.Structure) == 0 {
		run(t, c, drift.Repair)
		mustMatch(t, c, want)
	}
}

// TestCompareMissing compares with a table of which parts are not there.
func TestCompareMissing(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		c, r := dial(t), newRouted(0)
		if _, err := c.Snapshot(t.Context(), r.Table.TableID); !errors.Is(err, unix.ENOENT) {
			t.Errorf("got %v, want %v", err, unix.ENOENT)
		}
		other := *r.ptcp
		other.Key = []Type{TypeMark}
		run(t, c, func(tx *Tx) { tx.AddTable(r.Table); tx.AddSet(&other) })
		have, err := c.Snapshot(t.Context(), r.Table.TableID)
		if err != nil {
			t.Fatal(err)
		}
		drift := Compare(&r.Layout, have)
		for _, line := range []string{
			"chain inet cnm forw is missing", "map inet cnm pair is missing",
			`set inet cnm ptcp: "type mark; flags timeout; gc-interval 1d;" instead of ` +
				`"type inet_service; flags timeout; gc-interval 1d;"`,
		} {
			if !slices.Contains(drift.Structure, line) {
				t.Errorf("%q is not in\n%s", line, drift.String())
			}
		}
		if d := Compare(newRewrite(), have); len(d.Structure) != 1 {
			t.Errorf("another table: %s", d.String())
		}
	})
}

// TestForeign reads tables that are not made by us: it must not stumble.
func TestForeign(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, func(t *testing.T) {
		c := dial(t)
		id := TableID{Inet, "foreign"}
		unknown := &Set{Table: id, Name: "s", Key: []Type{TypePort}}
		run(t, c, func(tx *Tx) {
			tx.AddTable(Table{TableID: id})
			tx.AddSet(unknown)
			tx.AddElements(unknown, Key(Port(7)))
		})
		wrong := *unknown
		wrong.Key = []Type{TypeIfname, 63}
		elements, err := c.Elements(t.Context(), &wrong)
		if err != nil || len(elements) != 1 || elements[0].String() != "0x0007" {
			t.Errorf("elements %v, error %v", elements, err)
		}
		tables, err := c.Tables(t.Context())
		if err != nil || len(tables) != 1 || tables[0].TableID != id || tables[0].Handle == 0 {
			t.Errorf("tables %+v, error %v", tables, err)
		}
	})
}
