// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"net/netip"
	"time"
)

// TableID names a table.
type TableID struct {
	Family Family
	Name   string
}

// String gives the name as nft writes it: "inet cnm".
func (t TableID) String() string { return t.Family.String() + " " + t.Name }

// Table is a table without its content.
type Table struct {
	TableID
	Flags   TableFlags
	Comment string // at most 127 bytes
}

// Chain is a list of rules. With a Hook it is a base chain, which packets enter
// there; without one it is reached by jump and goto, and Type, Priority and
// Policy mean nothing.
type Chain struct {
	Table    TableID
	Name     string
	Hook     Hook
	Type     ChainType
	Priority int32 // lower runs earlier
	Policy   Policy
	Comment  string // at most 127 bytes
	Rules    []Rule // in order; used by [Tx.Load], not by [Tx.AddChain]
}

// Rule is a list of statements, run from left to right until one does not match.
type Rule struct {
	Comment    string // at most 127 bytes
	Statements []Statement
}

// NewRule makes a rule. The comment may be empty.
func NewRule(comment string, statements ...Statement) Rule {
	return Rule{Comment: comment, Statements: statements}
}

// Set holds elements: keys alone, or a map from keys to data or to verdicts.
type Set struct {
	Table    TableID
	Name     string
	Key      []Type        // more than one is a concatenation
	Data     []Type        // of a map to data; else empty
	Verdicts bool          // a map to verdicts
	Interval bool          // elements may be intervals: see [Element]
	Timeout  time.Duration // elements vanish after it; 0 = they stay
	// Hashed holds keys of one or two bytes in a hash table. Left to itself the
	// kernel takes a bitmap, which is quicker to look up, but in which every change
	// walks all elements: of 10,000 ports it takes 0.15 ms a port. To the kernel it
	// is a set whose elements could have timeouts.
	Hashed   bool
	Comment  string    // at most 127 bytes
	Elements []Element // used by [Tx.Load], not by [Tx.AddSet]
}

// Element is one entry of a set. It is a comparable value.
type Element struct { //nolint:recvcheck // a value to its users; within, 280 bytes need not be copied to be looked at
	Key     Tuple
	End     Tuple         // last key of an interval, inclusive; zero = only Key
	Data    Tuple         // of a map to data
	Verdict Verdict       // of a map to verdicts
	Timeout time.Duration // overrides that of the set, which must have one
	Comment string        // at most 127 bytes
}

// Key is an element of a set: a key and nothing else.
func Key(key Tuple) Element { return Element{Key: key} }

// KeyData is an element of a map to data.
func KeyData(key, data Tuple) Element { return Element{Key: key, Data: data} }

// KeyVerdict is an element of a map to verdicts.
func KeyVerdict(key Tuple, v Verdict) Element { return Element{Key: key, Verdict: v} }

// Interval is the first and the last key of an interval, built field by field
// as a [Tuple] is:
//
//	nft.Interval{}.Prefix(lan).Ports(80, 90).Element()
type Interval struct{ First, Last Tuple }

// Ifname appends one interface name.
func (i Interval) Ifname(name string) Interval {
	return Interval{i.First.Ifname(name), i.Last.Ifname(name)}
}

// IfnamePrefix appends all interface names that begin with prefix; nft writes
// them "prefix*".
func (i Interval) IfnamePrefix(prefix string) Interval {
	if prefix == "" || len(prefix) >= ifnameSize {
		return Interval{i.First.invalid(badIfname), i.Last.invalid(badIfname)}
	}
	var last [ifnameSize]byte
	for n := copy(last[:], prefix); n < ifnameSize; n++ {
		last[n] = 0xff
	}
	return Interval{i.First.Ifname(prefix), i.Last.field(TypeIfname, last[:])}
}

// Prefix appends the addresses of a prefix.
func (i Interval) Prefix(p netip.Prefix) Interval {
	p = p.Masked()
	return Interval{i.First.Addr(p.Addr()), i.Last.Addr(lastAddr(p))}
}

// Addrs appends the addresses from first to last, inclusive.
func (i Interval) Addrs(first, last netip.Addr) Interval {
	return Interval{i.First.Addr(first), i.Last.Addr(last)}
}

// Proto appends one transport protocol.
func (i Interval) Proto(p Protocol) Interval {
	return Interval{i.First.Proto(p), i.Last.Proto(p)}
}

// Ports appends the ports from first to last, inclusive.
func (i Interval) Ports(first, last uint16) Interval {
	return Interval{i.First.Port(first), i.Last.Port(last)}
}

// Element makes an element of the interval, without data.
func (i Interval) Element() Element { return Element{Key: i.First, End: i.Last} }

// Within is an element that spans the addresses of a prefix.
func Within(p netip.Prefix) Element { return Interval{}.Prefix(p).Element() }

// lastAddr gives the highest address of a masked prefix; the zero Addr if p is
// not valid.
func lastAddr(p netip.Prefix) netip.Addr {
	if !p.IsValid() {
		return netip.Addr{}
	}
	b := p.Addr().AsSlice()
	for bit := p.Bits(); bit < 8*len(b); bit++ {
		b[bit/8] |= 0x80 >> (bit % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// Layout is a table with everything in it. Its [Layout.String] is what
// `nft list table` prints.
type Layout struct {
	Table  Table
	Sets   []*Set
	Chains []*Chain
}

// RuleCount gives the number of rules in all chains.
func (l *Layout) RuleCount() int {
	n := 0
	for _, c := range l.Chains {
		n += len(c.Rules)
	}
	return n
}
