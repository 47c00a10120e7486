// SPDX-License-Identifier: Apache-2.0

package link

import (
	"errors"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Batch is a list of changes to send together, in order. Its methods only
// append: nothing is checked before [Batch.Err], and nothing is sent before
// [Conn.Do]. The zero value is an empty batch. A batch may be sent more than once
// and through more than one Conn, but it is not safe for use while it is built.
//
// Namespace descriptors inside it belong to the caller and must be open when it
// is sent.
type Batch struct {
	msgs []message
}

// message is one request of a batch.
type message interface {
	// subject names the message in errors.
	subject() subject
	// check finds what cannot be sent or would mean something else to the kernel.
	check() error
	// encode appends the body and returns the message's type and flags, beside NLM_F_REQUEST.
	encode(e *encoder) (typ, flags uint16)
	// print appends what the message carries beside its subject.
	print(l *line)
}

func (b *Batch) add(m message) { b.msgs = append(b.msgs, m) }

// Append adds the messages of another batch behind those of b.
func (b *Batch) Append(other *Batch) { b.msgs = append(b.msgs, other.msgs...) }

// Clone returns a batch of the same messages that can be extended on its own.
func (b *Batch) Clone() *Batch { return &Batch{msgs: slices.Clone(b.msgs)} }

// Len returns the number of messages.
func (b *Batch) Len() int { return len(b.msgs) }

// Reset empties the batch and keeps its memory.
func (b *Batch) Reset() {
	clear(b.msgs)
	b.msgs = b.msgs[:0]
}

// Err returns what is wrong with the batch's messages, one *Error with EINVAL for
// each, joined; nil if all can be sent. Conn.Do asks the same before it sends.
func (b *Batch) Err() error {
	var errs []error
	for i, m := range b.msgs {
		if err := m.check(); err != nil {
			errs = append(errs, m.subject().refused(i, unix.EINVAL, err.Error()))
		}
	}
	return errors.Join(errs...)
}

// String renders one line for each message, in order: what it does, to what, and
// every value it carries. Values that change nothing are left out, and namespace
// descriptors are shown as "in namespace", so that equal plans print equally.
func (b *Batch) String() string {
	var l line
	for _, m := range b.msgs {
		s := m.subject()
		l.WriteString(s.op)
		l.word("", s.name)
		m.print(&l)
		l.word("", s.where)
		l.WriteByte('\n')
	}
	return l.String()
}

// line collects the words of String.
type line struct {
	strings.Builder
}

// word appends a key and its value, or nothing where the value is empty.
func (l *line) word(key, value string) {
	if value == "" {
		return
	}
	l.flag(key != "", key)
	l.flag(true, value)
}

func (l *line) flag(on bool, name string) {
	if on {
		l.WriteByte(' ')
		l.WriteString(name)
	}
}

func (l *line) number(key string, v int) {
	if v != 0 {
		l.word(key, strconv.Itoa(v))
	}
}

func (l *line) unsigned(key string, v uint32) {
	if v != 0 {
		l.word(key, strconv.FormatUint(uint64(v), 10))
	}
}

func (l *line) quoted(key, value string) {
	if value != "" {
		l.word(key, strconv.Quote(value))
	}
}

func (l *line) mac(key string, m MAC) {
	if !m.IsZero() {
		l.word(key, m.String())
	}
}

func (l *line) addr(key string, a netip.Addr) {
	if a.IsValid() {
		l.word(key, a.String())
	}
}

func (l *line) prefix(key string, p netip.Prefix) {
	if p.IsValid() {
		l.word(key, p.String())
	}
}

func (l *line) toggle(key string, s Switch) {
	if s != Keep {
		l.word(key, s.String())
	}
}
