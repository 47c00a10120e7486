// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// update rewrites the goldens; the difference must be explained.
var update = flag.Bool("update", false, "rewrite testdata")

// TestGolden compares layouts with their text, as `nft list table` prints it.
func TestGolden(t *testing.T) {
	t.Parallel()
	for name, l := range map[string]*Layout{
		"routed": &newRouted(Owner | Persist).Layout, "frames": newFrames(Owner | Persist),
		"rewrite": newRewrite(), "words": newVocabulary(),
	} {
		golden(t, name+".nft", l.String())
		var tx Tx
		tx.Replace(l)
		if tx.Err() != nil {
			t.Error(tx.Err())
		}
		golden(t, name+".tx", tx.String())
	}
}

func golden(tb testing.TB, name, got string) {
	tb.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			tb.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		tb.Fatal(err)
	}
	if got != string(want) {
		tb.Errorf("%s differs; it is now\n%s", file, got)
	}
}

func TestTxText(t *testing.T) {
	t.Parallel()
	r := newRouted(0)
	var tx Tx
	tx.AddElements(r.pub4any, r.pub4any.Elements...)
	tx.DeleteElements(r.pub4any, r.pub4any.Elements...)
	tx.DestroyElements(r.ifs, Key(Ifname("cnv9")))
	tx.FlushSet(r.pair)
	tx.FlushChain(r.Chains[0])
	tx.DeleteChain(r.Chains[0])
	tx.DeleteSet(r.ifs)
	tx.DestroyTable(r.Table.TableID)
	tx.DeleteTable(r.Table.TableID)
	tx.AddTable(Table{TableID: TableID{IPv6, "t"}})
	tx.AddElements(r.ifs, Key(Ifname("an interface name")))
	tx.AddElements(r.ifs, Key(Ifname("never reached")))
	want := `add element inet cnm pub4any { tcp . 8080 comment "web" : 192.0.2.2 . 80 }
delete element inet cnm pub4any { tcp . 8080 }
destroy element inet cnm ifs { "cnv9" }
flush map inet cnm pair
flush chain inet cnm est_only
delete chain inet cnm est_only
delete set inet cnm ifs
destroy table inet cnm
delete table inet cnm
add table ip6 t
# add element inet cnm ifs: an interface name has 1 to 15 bytes and no zero byte
`
	if got := tx.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if tx.Len() != 10 || tx.Err() == nil {
		t.Errorf("%d operations, error %v", tx.Len(), tx.Err())
	}
	tx.Reset()
	if tx.Len() != 0 || tx.Err() != nil || tx.String() != "" {
		t.Errorf("after reset: %d operations, error %v, %q", tx.Len(), tx.Err(), tx.String())
	}
}

// TestInvalid goes over what a transaction refuses before the kernel sees it.
func TestInvalid(t *testing.T) {
	t.Parallel()
	r := newRouted(0)
	id := r.Table.TableID
	chain := &Chain{Table: id, Name: "c"}
	rule := func(s ...Statement) func(*Tx) {
		return func(tx *Tx) { tx.AddRule(chain, NewRule("", s...)) }
	}
	add := func(s *Set, e Element) func(*Tx) { return func(tx *Tx) { tx.AddElements(s, e) } }
	set := func(s *Set) func(*Tx) { s.Table = id; return func(tx *Tx) { tx.AddSet(s) } }
	for want, fill := range map[string]func(*Tx){
		"name \"\"":                     func(tx *Tx) { tx.AddTable(Table{TableID: TableID{Inet, ""}}) },
		"comment":                       func(tx *Tx) { tx.AddTable(Table{TableID: id, Comment: strings.Repeat("x", 128)}) },
		"key is not of type ifname":     add(r.ifs, Key(Port(1))),
		"data is not of type":           add(r.pub4any, Key(Tuple{}.Proto(TCP).Port(1))),
		"has a verdict exactly":         add(r.pair, Key(Ifname("a").Ifname("b"))),
		"no intervals":                  add(r.ptcp, Element{Key: Port(1), End: Port(2)}),
		"ends before it begins":         add(r.cnet4, Element{Key: Addr(addr("192.0.2.2")), End: Addr(addr("192.0.2.1"))}),
		"of different types":            add(r.cnet4, Element{Key: Addr(addr("192.0.2.2")), End: Addr(addr("2001:db8::"))}),
		"timeout and its set has none":  add(r.ptcp, Element{Key: Port(1), Timeout: 1}),
		"without a key type":            set(&Set{Name: "s"}),
		"not both":                      set(&Set{Name: "s", Key: []Type{TypePort}, Data: []Type{TypePort}, Verdicts: true}),
		"cannot be in a set":            set(&Set{Name: "s", Key: []Type{TypeInteger}}),
		"has more than":                 set(&Set{Name: "s", Key: []Type{TypeIfname, TypeIfname, TypeIfname, TypeIfname}}),
		"neither timeout nor":           set(&Set{Name: "s", Key: []Type{TypePort}, Interval: true, Hashed: true}),
		"not in the order":              set(&Set{Name: "s", Key: []Type{TypeMark}, Interval: true}),
		"can never match":               rule(IPSaddr.In("a"), IP6Daddr.In("b")),
		"tcp after a match of udp":      rule(UDPDport.Num(1), TCPDport.Num(1)),
		"tcp reset after":               rule(UDPDport.Num(1), RejectTCP()),
		"sees no arp":                   rule(ARPOperation.Num(1)),
		"is no ipv4_addr of 4 bytes":    rule(IPSaddr.Is(Addr(addr("2001:db8::1")))),
		"a number does not fit":         rule(TCPDport.Num(65536)),
		"compared with nothing":         rule(TCPDport.Num()),
		"does not exist":                rule(Field(0).Is(Port(1))),
		"field 2147483647":              rule(Field(1<<31 - 1).In("x")),
		"nil statement":                 rule(nil),
		"empty verdict":                 rule(Verdict{}),
		"cannot be within":              rule(IPSaddr.Within(prefix("0.0.0.0/0"))),
		"ip6 saddr cannot be within":    rule(IP6Saddr.Within(prefix("10.0.0.0/8"))),
		"has no flags":                  rule(MetaMark.Has(1)),
		"is no interface name of which": rule(IIfName.Prefix("")),
		"cannot be written":             rule(IPSaddr.SetTo(Addr(addr("192.0.2.1")))),
		"is no mark":                    rule(TCPDport.SetBits(1)),
		"neither may be 0":              rule(Limit(0, Second, 1)),
		"dnat of family inet":           rule(DNATMap(Inet, Concat(L4Proto), "x")),
		"key of 0 fields":               rule(Concat().In("x")),
		"translation to":                rule(SNATTo(addr("fe80::1%eth0"), 0)),
		"in the layout of table": func(tx *Tx) {
			tx.Load(&Layout{Table: Table{TableID: TableID{IPv4, "other"}}, Chains: []*Chain{chain}})
		},
	} {
		var tx Tx
		fill(&tx)
		if tx.Err() == nil || !strings.Contains(tx.Err().Error(), want) {
			t.Errorf("want an error with %q, got %v", want, tx.Err())
		}
		if tx.Err() != nil && !strings.Contains(tx.Err().Error(), "inet") && want != "in the layout of table" {
			t.Errorf("error does not name the object: %v", tx.Err())
		}
	}
}
