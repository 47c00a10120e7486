// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// Errors that callers tell apart. Others are the kernel's own, found by
// errors.Is with unix.EEXIST, unix.ENOENT and so on.
var (
	// ErrOwned is that another socket owns the table.
	ErrOwned = errors.New("the table is owned by another socket")
	// ErrNotPermitted is that the process may not change nf_tables in the network
	// namespace of the socket: it lacks CAP_NET_ADMIN there.
	ErrNotPermitted = errors.New("changing nf_tables needs CAP_NET_ADMIN in this network namespace")
	// ErrTooLarge is that a transaction is larger than the socket may send. A
	// process with CAP_NET_ADMIN in the first user namespace has no such limit;
	// for others it is twice net.core.wmem_max.
	ErrTooLarge = errors.New("the transaction is larger than the socket may send")
	// ErrNoAnswer is that the kernel did not say what became of a transaction.
	ErrNoAnswer = errors.New("the kernel gave no answer")
	// ErrUnsettled is that what was read kept changing while it was read.
	ErrUnsettled = errors.New("nf_tables kept changing while it was read")
)

// Error is the kernel's refusal of a transaction, of which nothing was done.
type Error struct {
	// Op is the refused operation as an nft command; of elements only the refused
	// one: "add element inet cnm pub4any tcp . 8080".
	Op string
	// Index is the operation's place in the transaction; -1 if the refusal is of
	// the transaction as a whole.
	Index int
	// Element is the place of the refused element in its operation; -1 if it is
	// not known, or if the operation is not on elements.
	Element int
	// Errno is the kernel's error.
	Errno unix.Errno
	// Message is what the kernel says beside; mostly empty.
	Message string
}

// Error writes the refused operation and the reason.
func (e *Error) Error() string {
	parts := []string{e.Op}
	for _, kind := range []error{ErrOwned, ErrNotPermitted} {
		if e.Is(kind) {
			parts = append(parts, kind.Error())
		}
	}
	text := strings.Join(append(parts, e.Errno.Error()), ": ")
	if e.Message != "" {
		text += " (" + e.Message + ")"
	}
	return text
}

// Unwrap gives the kernel's error.
func (e *Error) Unwrap() error { return e.Errno }

// Is tells whether the refusal is one of [ErrOwned] and [ErrNotPermitted]. The
// kernel says EPERM for both: of an operation for the one, of the transaction
// for the other.
func (e *Error) Is(target error) bool {
	switch {
	case e.Errno != unix.EPERM:
		return false
	case e.Index >= 0:
		return target == ErrOwned
	default:
		return target == ErrNotPermitted
	}
}

// refusal names what the kernel refused: the operation and, as far as the answer
// tells, the element.
func (b *batch) refusal(tx *Tx, a *answer) *Error {
	e := &Error{Op: "transaction", Index: -1, Element: -1, Errno: a.errno, Message: a.message}
	i := int(a.seq-b.first) - 1
	if i < 0 || i >= len(b.marks) {
		return e
	}
	m := b.marks[i]
	o := &tx.ops[m.op]
	e.Index = m.op
	if o.anonymous() || len(o.elements) == 0 {
		e.Op = b.ruleOf(tx, m.op)
		return e
	}
	count := len(o.elements) - m.elem
	if i+1 < len(b.marks) && b.marks[i+1].op == m.op {
		count = b.marks[i+1].elem - m.elem
	}
	switch n := b.elementAt(m.start, a.offset); {
	case count == 1:
		e.Element = m.elem
	case n >= 0 && n < count:
		e.Element = m.elem + n
	default:
		e.Op = fmt.Sprintf("%s to %s", o.text(m.elem), rangeText(&o.elements[m.elem+count-1].Key, o.elements[m.elem+count-1].last()))
		return e
	}
	e.Op = o.text(e.Element)
	return e
}

// ruleOf writes the operation; for the set of a rule, the rule that follows it.
func (b *batch) ruleOf(tx *Tx, i int) string {
	for i < len(tx.ops)-1 && tx.ops[i].anonymous() {
		i++
	}
	return tx.ops[i].text(-1)
}

// elementAt gives which element of the message that starts at start lies at an
// offset into it; -1 if none does.
func (b *batch) elementAt(start int, offset uint32) int {
	if offset < messageSize {
		return -1
	}
	n := -1
	for list := range attrs(b.b[start+messageSize : start+b.length(start)]) {
		if list.typ != unix.NFTA_SET_ELEM_LIST_ELEMENTS {
			continue
		}
		base := start + messageSize + list.off + attrSize
		for elem := range attrs(list.val) {
			if !isIntervalEnd(elem.val) {
				n++
			}
			from := base + elem.off - start
			if int(offset) >= from && int(offset) < from+attrSize+len(elem.val) {
				return n
			}
		}
	}
	return -1
}

// isIntervalEnd tells whether an element on the wire only ends an interval.
func isIntervalEnd(elem []byte) bool {
	for a := range attrs(elem) {
		if a.typ == unix.NFTA_SET_ELEM_FLAGS {
			return be32(a.val)&unix.NFT_SET_ELEM_INTERVAL_END != 0
		}
	}
	return false
}
