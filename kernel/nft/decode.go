// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"fmt"
	"time"

	"github.com/google/nftables/userdata"
	"golang.org/x/sys/unix"
)

// gen is the number of a transaction and, in a notification, its author.
type gen struct {
	id   uint32
	pid  uint32
	name string
}

// decodeGen reads a message about a generation.
func decodeGen(m *message) gen {
	var g gen
	if _, ok := m.nft(); !ok {
		return g
	}
	for a := range m.attrs() {
		switch a.typ {
		case unix.NFTA_GEN_ID:
			g.id = be32(a.val)
		case unix.NFTA_GEN_PROC_PID:
			g.pid = be32(a.val)
		case unix.NFTA_GEN_PROC_NAME:
			g.name = cstring(a.val)
		}
	}
	return g
}

// expect refuses a message of another kind.
func expect(m *message, msg int, what string) error {
	if got, ok := m.nft(); !ok || got != msg {
		return fmt.Errorf("message of type %#x instead of a %s", m.typ, what)
	}
	return nil
}

// decodeTable reads a message about a table.
func decodeTable(m *message) (TableState, error) {
	var t TableState
	if err := expect(m, unix.NFT_MSG_NEWTABLE, "table"); err != nil {
		return t, err
	}
	t.Family = m.family()
	for a := range m.attrs() {
		switch a.typ {
		case unix.NFTA_TABLE_NAME:
			t.Name = cstring(a.val)
		case unix.NFTA_TABLE_FLAGS:
			t.Flags = TableFlags(be32(a.val))
		case tableHandle:
			t.Handle = be64(a.val)
		case tableOwner:
			t.Owner = be32(a.val)
		case tableUserdata:
			t.Comment = udata(a.val, udataComment)
		}
	}
	return t, nil
}

// decodeChain reads a message about a chain.
func decodeChain(m *message) (ChainState, error) {
	var c ChainState
	if err := expect(m, unix.NFT_MSG_NEWCHAIN, "chain"); err != nil {
		return c, err
	}
	c.Table.Family = m.family()
	for a := range m.attrs() {
		switch a.typ {
		case unix.NFTA_CHAIN_TABLE:
			c.Table.Name = cstring(a.val)
		case unix.NFTA_CHAIN_NAME:
			c.Name = cstring(a.val)
		case unix.NFTA_CHAIN_HANDLE:
			c.Handle = be64(a.val)
		case unix.NFTA_CHAIN_HOOK:
			c.decodeHook(a.val)
		case unix.NFTA_CHAIN_POLICY:
			if be32(a.val) == policyCode(PolicyDrop) {
				c.Policy = PolicyDrop
			}
		case unix.NFTA_CHAIN_TYPE:
			typ, err := chainTypeOf(cstring(a.val))
			if err != nil {
				return c, err
			}
			c.Type = typ
		case chainUserdata:
			c.Comment = udata(a.val, udataComment)
		}
	}
	return c, nil
}

// decodeHook reads where a chain sits.
func (c *Chain) decodeHook(b []byte) {
	for a := range attrs(b) {
		switch a.typ {
		case unix.NFTA_HOOK_HOOKNUM:
			c.Hook = Prerouting + Hook(be32(a.val))
		case unix.NFTA_HOOK_PRIORITY:
			c.Priority = int32(be32(a.val))
		}
	}
}

// decodeRule reads a message about a rule: its table, its chain, and itself.
func decodeRule(m *message) (TableID, string, RuleState, error) {
	var (
		t     TableID
		chain string
		r     RuleState
		err   error
	)
	if err := expect(m, unix.NFT_MSG_NEWRULE, "rule"); err != nil {
		return t, chain, r, err
	}
	t.Family = m.family()
	for a := range m.attrs() {
		switch a.typ {
		case unix.NFTA_RULE_TABLE:
			t.Name = cstring(a.val)
		case unix.NFTA_RULE_CHAIN:
			chain = cstring(a.val)
		case unix.NFTA_RULE_HANDLE:
			r.Handle = be64(a.val)
		case unix.NFTA_RULE_USERDATA:
			r.Comment = udata(a.val, byte(userdata.TypeComment))
		case unix.NFTA_RULE_EXPRESSIONS:
			r.Exprs = canonical(a.val)
		}
	}
	return t, chain, r, err
}

// decodeSet reads a message about a set: itself, and the kernel's flags.
func decodeSet(m *message) (SetState, uint32, error) {
	var (
		s     SetState
		flags uint32
	)
	if err := expect(m, unix.NFT_MSG_NEWSET, "set"); err != nil {
		return s, 0, err
	}
	s.Table.Family = m.family()
	for a := range m.attrs() {
		switch a.typ {
		case unix.NFTA_SET_TABLE:
			s.Table.Name = cstring(a.val)
		case unix.NFTA_SET_NAME:
			s.Name = cstring(a.val)
		case setHandle:
			s.Handle = be64(a.val)
		case unix.NFTA_SET_FLAGS:
			flags = be32(a.val)
			s.Interval = flags&unix.NFT_SET_INTERVAL != 0
		case unix.NFTA_SET_KEY_TYPE:
			s.Key = typesOf(be32(a.val))
		case unix.NFTA_SET_DATA_TYPE:
			if code := be32(a.val); code == verdictMapType {
				s.Verdicts = true
			} else {
				s.Data = typesOf(code)
			}
		case unix.NFTA_SET_TIMEOUT:
			s.Timeout = time.Duration(be64(a.val)) * time.Millisecond
		case unix.NFTA_SET_USERDATA:
			s.Comment = udata(a.val, byte(userdata.NFTNL_UDATA_SET_COMMENT))
		}
	}
	s.Hashed = flags&unix.NFT_SET_TIMEOUT != 0 && s.Timeout == 0
	return s, flags, nil
}

// rawElement is an element as the kernel keeps it, which of intervals of a lone
// field is either end.
type rawElement struct {
	Element
	end bool // the key is the first behind an interval
}

// compare orders elements by their keys; where an interval ends and another
// begins, the end comes first.
func (e *rawElement) compare(o *rawElement) int {
	if n := compareBytes(&e.Key, &o.Key); n != 0 {
		return n
	}
	switch {
	case e.end == o.end:
		return 0
	case e.end:
		return -1
	default:
		return 1
	}
}

// decodeElements appends the elements that a message has of a set.
func decodeElements(list []rawElement, s *Set, m *message) ([]rawElement, error) {
	if err := expect(m, unix.NFT_MSG_NEWSETELEM, "set element"); err != nil {
		return list, err
	}
	for a := range m.attrs() {
		if a.typ != unix.NFTA_SET_ELEM_LIST_ELEMENTS {
			continue
		}
		for elem := range attrs(a.val) {
			e, err := decodeElement(s, elem.val)
			if err != nil {
				return list, err
			}
			list = append(list, e)
		}
	}
	return list, nil
}

// decodeElement reads one element of a set.
func decodeElement(s *Set, b []byte) (rawElement, error) {
	var e rawElement
	var err error
	for a := range attrs(b) {
		switch a.typ {
		case unix.NFTA_SET_ELEM_KEY:
			e.Key, err = decodeTuple(s.Key, dataValue(a.val))
		case elemKeyEnd:
			e.End, err = decodeTuple(s.Key, dataValue(a.val))
		case unix.NFTA_SET_ELEM_DATA:
			err = e.decodeData(s, a.val)
		case unix.NFTA_SET_ELEM_FLAGS:
			e.end = be32(a.val)&unix.NFT_SET_ELEM_INTERVAL_END != 0
		case unix.NFTA_SET_ELEM_TIMEOUT:
			e.Timeout = time.Duration(be64(a.val)) * time.Millisecond
		case unix.NFTA_SET_ELEM_USERDATA:
			e.Comment = udata(a.val, byte(userdata.NFTNL_UDATA_SET_ELEM_COMMENT))
		}
		if err != nil {
			return e, err
		}
	}
	if e.Key.IsZero() {
		return e, fmt.Errorf("an element has no key")
	}
	if e.End == e.Key {
		e.End = Tuple{}
	}
	return e, nil
}

// decodeData reads what an element's key is mapped to.
func (e *Element) decodeData(s *Set, b []byte) error {
	var err error
	for a := range attrs(b) {
		switch a.typ {
		case unix.NFTA_DATA_VALUE:
			if len(s.Data) == 0 {
				return fmt.Errorf("an element of a set without data has some")
			}
			e.Data, err = decodeTuple(s.Data, a.val)
		case unix.NFTA_DATA_VERDICT:
			var ok bool
			if e.Verdict, ok = decodeVerdict(a.val); !ok {
				err = fmt.Errorf("an element has an unknown verdict")
			}
		}
	}
	return err
}

// decodeVerdict reads a verdict.
func decodeVerdict(b []byte) (Verdict, bool) {
	var code int32
	var chain string
	for a := range attrs(b) {
		switch a.typ {
		case unix.NFTA_VERDICT_CODE:
			code = int32(be32(a.val))
		case unix.NFTA_VERDICT_CHAIN:
			chain = cstring(a.val)
		}
	}
	return verdictOf(code, chain)
}

// dataValue gives the bytes of a key.
func dataValue(b []byte) []byte {
	for a := range attrs(b) {
		if a.typ == unix.NFTA_DATA_VALUE {
			return a.val
		}
	}
	return nil
}

// joinIntervals makes elements of the ends of intervals, sorted by their keys.
func joinIntervals(s *Set, raw []rawElement) ([]Element, error) {
	list := make([]Element, 0, len(raw))
	open := false
	for i := range raw {
		e := raw[i].Element
		if !s.Interval || len(s.Key) > 1 {
			list = append(list, e)
			continue
		}
		if raw[i].end {
			if !open {
				continue // the gap before the first interval, which nft marks
			}
			last, ok := e.Key.prev()
			if !ok {
				return nil, fmt.Errorf("an interval of %s ends before the lowest key", s.Name)
			}
			list[len(list)-1].setEnd(last)
			open = false
			continue
		}
		if open {
			return nil, fmt.Errorf("an interval of %s does not end before %s", s.Name, e.Key)
		}
		list, open = append(list, e), true
	}
	if open {
		highest := list[len(list)-1].Key
		for i := range highest.bytes() {
			highest.b[i] = 0xff
		}
		list[len(list)-1].setEnd(highest)
	}
	return list, nil
}

// setEnd ends an element's interval; one of a single key has no end.
func (e *Element) setEnd(last Tuple) {
	if last != e.Key {
		e.End = last
	}
}
