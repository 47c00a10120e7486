// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
)

// Tx is a change that the kernel makes as a whole or not at all. Its verbs
// append operations, which are done in that order; the first invalid one sticks
// and is what [Conn.Run] returns. The zero Tx is empty and ready.
//
// Sets, chains and slices of elements that are handed in are not copied: they
// must not be changed before Run has returned. A Tx is for one goroutine.
type Tx struct {
	ops   []op
	setID uint32
	err   error
}

// verb is what an operation does.
type verb uint8

const (
	addTable verb = iota
	deleteTable
	destroyTable
	addChain
	deleteChain
	flushChain
	addRule
	addSet
	deleteSet
	flushSet
	addElements
	deleteElements
	destroyElements
)

// op is one operation of a transaction.
type op struct {
	verb     verb
	id       uint32 // of a set that is added, or of an anonymous one
	table    TableID
	flags    TableFlags
	comment  string
	chain    *Chain
	rule     compiled
	set      *Set
	elements []Element
}

// Err gives the first invalid operation; nil if there is none.
func (tx *Tx) Err() error { return tx.err }

// Len gives the number of operations; any number of elements that is added or
// deleted by one call is one.
func (tx *Tx) Len() int { return len(tx.ops) }

// Size gives how many bytes the transaction is for the kernel.
func (tx *Tx) Size() int {
	if len(tx.ops) == 0 {
		return 0
	}
	var b batch
	b.encode(tx, 0, maxElements)
	return len(b.b)
}

// Reset empties the transaction and keeps its memory.
func (tx *Tx) Reset() {
	clear(tx.ops)
	*tx = Tx{ops: tx.ops[:0]}
}

// add appends an operation, unless the transaction is invalid.
func (tx *Tx) add(o op, err error) {
	if tx.err != nil {
		return
	}
	if err != nil {
		tx.err = fmt.Errorf("%s: %w", o.text(-1), err)
		return
	}
	tx.ops = append(tx.ops, o)
}

// AddTable makes a table. One that is there already stays, if it has the same
// flags; a persistent one that has lost its owner is adopted if flags are Owner
// and Persist.
func (tx *Tx) AddTable(t Table) {
	tx.add(op{verb: addTable, table: t.TableID, flags: t.Flags, comment: t.Comment},
		errors.Join(checkName(t.Name), checkComment(t.Comment)))
}

// DeleteTable deletes a table with all that is in it. It must be there.
func (tx *Tx) DeleteTable(t TableID) {
	tx.add(op{verb: deleteTable, table: t}, checkName(t.Name))
}

// DestroyTable deletes a table if it is there (Linux 6.3, see [Features]).
func (tx *Tx) DestroyTable(t TableID) {
	tx.add(op{verb: destroyTable, table: t}, checkName(t.Name))
}

// AddChain makes a chain, without its rules. One that is there already stays
// and gets the policy.
func (tx *Tx) AddChain(c *Chain) {
	tx.add(op{verb: addChain, table: c.Table, chain: c}, errors.Join(checkName(c.Name), checkComment(c.Comment)))
}

// DeleteChain deletes a chain, which must be there and without references.
func (tx *Tx) DeleteChain(c *Chain) { tx.add(op{verb: deleteChain, table: c.Table, chain: c}, nil) }

// FlushChain deletes all rules of a chain.
func (tx *Tx) FlushChain(c *Chain) { tx.add(op{verb: flushChain, table: c.Table, chain: c}, nil) }

// AddRule appends a rule to a chain. Sets and chains that it names must be
// there, from before or from earlier in the transaction.
func (tx *Tx) AddRule(c *Chain, r Rule) {
	if tx.err != nil {
		return
	}
	rule, err := compileRule(c.Table.Family, &r, tx.nextID)
	for i := range rule.anon {
		anon := &rule.anon[i]
		anon.set.Table = c.Table
		tx.ops = append(tx.ops,
			op{verb: addSet, table: c.Table, id: anon.id, set: &anon.set, elements: anon.values},
			op{verb: addElements, table: c.Table, id: anon.id, set: &anon.set, elements: anon.values})
	}
	tx.add(op{verb: addRule, table: c.Table, chain: c, rule: rule, comment: r.Comment},
		errors.Join(err, checkComment(r.Comment)))
}

// nextID gives a number by which a set is known within the transaction.
func (tx *Tx) nextID() uint32 {
	tx.setID++
	return tx.setID
}

// AddSet makes a set, without its elements. One that is there already stays.
func (tx *Tx) AddSet(s *Set) {
	tx.add(op{verb: addSet, table: s.Table, id: tx.nextID(), set: s}, s.check())
}

// DeleteSet deletes a set, which must be there and used by no rule.
func (tx *Tx) DeleteSet(s *Set) { tx.add(op{verb: deleteSet, table: s.Table, set: s}, nil) }

// FlushSet deletes all elements of a set.
func (tx *Tx) FlushSet(s *Set) { tx.add(op{verb: flushSet, table: s.Table, set: s}, nil) }

// AddElements adds elements to a set. One that is there already with the same
// data stays; with other data it is refused as unix.EEXIST.
func (tx *Tx) AddElements(s *Set, elements ...Element) { tx.elements(addElements, s, elements) }

// DeleteElements deletes elements from a set. One that is not there is refused
// as unix.ENOENT. Data and comments of the elements are not looked at.
func (tx *Tx) DeleteElements(s *Set, elements ...Element) { tx.elements(deleteElements, s, elements) }

// DestroyElements deletes those of the elements that are there (Linux 6.3, see
// [Features]).
func (tx *Tx) DestroyElements(s *Set, elements ...Element) { tx.elements(destroyElements, s, elements) }

func (tx *Tx) elements(v verb, s *Set, elements []Element) {
	if len(elements) == 0 || tx.err != nil {
		return
	}
	o := op{verb: v, table: s.Table, set: s, elements: elements}
	code := typeCode(s.Key)
	for i := range elements {
		if err := s.checkElement(&elements[i], code, v == addElements); err != nil {
			tx.err = fmt.Errorf("%s: %w", o.text(i), err)
			return
		}
	}
	tx.ops = append(tx.ops, o)
}

// Load makes a table with everything in it. Chains come before sets, because
// elements may jump to them.
func (tx *Tx) Load(l *Layout) {
	tx.AddTable(l.Table)
	for _, c := range l.Chains {
		tx.inTable(l, c.Table, c.Name)
		tx.AddChain(c)
	}
	for _, s := range l.Sets {
		tx.inTable(l, s.Table, s.Name)
		tx.AddSet(s)
	}
	for _, s := range l.Sets {
		tx.AddElements(s, s.Elements...)
	}
	for _, c := range l.Chains {
		for _, r := range c.Rules {
			tx.AddRule(c, r)
		}
	}
}

// inTable refuses an object of a layout that names another table.
func (tx *Tx) inTable(l *Layout, t TableID, name string) {
	if t != l.Table.TableID && tx.err == nil {
		tx.err = fmt.Errorf("%s of table %s is in the layout of table %s", name, t, l.Table.TableID)
	}
}

// Replace puts a table with everything in it in the place of the one of that
// name, if there is one. An owned or once owned one must have the same flags.
func (tx *Tx) Replace(l *Layout) {
	tx.AddTable(l.Table)
	tx.DeleteTable(l.Table.TableID)
	tx.Load(l)
}

// check refuses a set that the kernel could not hold or nft could not print.
func (s *Set) check() error {
	if err := errors.Join(checkName(s.Name), checkComment(s.Comment)); err != nil {
		return err
	}
	if s.Verdicts && len(s.Data) > 0 {
		return fmt.Errorf("a map has data or verdicts, not both")
	}
	if len(s.Key) == 0 {
		return fmt.Errorf("a set without a key type")
	}
	for _, types := range [][]Type{s.Key, s.Data} {
		for _, t := range types {
			if t.spec().size == 0 {
				return fmt.Errorf("type %d cannot be in a set", t)
			}
		}
		if len(types) > maxFields || sizeOf(types) > maxTuple {
			return fmt.Errorf("%s has more than %d fields or %d bytes", typeList(types), maxFields, maxTuple)
		}
	}
	if s.Hashed && (s.Timeout != 0 || s.Interval) {
		return fmt.Errorf("a hashed set has neither timeout nor intervals")
	}
	if s.Interval && orderOf(s.Key) == orderHost && s.Key[0] != TypeIfname {
		return fmt.Errorf("intervals of %s are not in the order that the kernel compares them", s.Key[0])
	}
	return nil
}

// checkElement refuses an element that does not fit the set, whose key types
// are packed in code. An element that is deleted needs its key only.
func (s *Set) checkElement(e *Element, code uint32, whole bool) error {
	if err := e.Key.Err(); err != nil {
		return err
	}
	if e.Key.types != code {
		return fmt.Errorf("the key is not of type %s", typeList(s.Key))
	}
	if !e.End.IsZero() {
		if err := s.checkEnd(e); err != nil {
			return err
		}
	}
	if !whole {
		return nil
	}
	if err := errors.Join(e.Data.Err(), checkComment(e.Comment)); err != nil {
		return err
	}
	if e.Data.types != typeCode(s.Data) {
		return fmt.Errorf("the data is not of type %s", typeList(s.Data))
	}
	if e.Verdict.IsZero() == s.Verdicts {
		return fmt.Errorf("an element has a verdict exactly if its map is one to verdicts")
	}
	if e.Timeout != 0 && s.Timeout == 0 {
		return fmt.Errorf("an element has a timeout and its set has none")
	}
	return nil
}

// checkEnd refuses an interval that does not fit the set.
func (s *Set) checkEnd(e *Element) error {
	switch {
	case e.End.Err() != nil:
		return e.End.Err()
	case !s.Interval:
		return fmt.Errorf("the set has no intervals")
	case e.End.types != e.Key.types:
		return fmt.Errorf("the ends of the interval are of different types")
	case !ordered(&e.Key, &e.End):
		return fmt.Errorf("the interval ends before it begins")
	default:
		return nil
	}
}

// ordered tells whether every field of lo is at most that of hi.
func ordered(lo, hi *Tuple) bool {
	off := 0
	for _, t := range lo.Types() {
		next := off + pad4(t.spec().size)
		if bytes.Compare(lo.b[off:next], hi.b[off:next]) > 0 {
			return false
		}
		off = next
	}
	return true
}

// The longest names and comments that the kernel and nft take.
const (
	maxName    = 255
	maxComment = 127
)

func checkName(name string) error {
	if name == "" || len(name) > maxName || strings.IndexByte(name, 0) >= 0 {
		return fmt.Errorf("name %q does not have 1 to %d bytes without a zero byte", name, maxName)
	}
	return nil
}

func checkComment(comment string) error {
	if len(comment) > maxComment || strings.ContainsAny(comment, "\x00\"\n") {
		return fmt.Errorf("comment %q has more than %d bytes, a zero byte, a quote or a line break", comment, maxComment)
	}
	return nil
}
