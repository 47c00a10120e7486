// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// String writes the transaction as nft commands, one a line; what is invalid is
// told in a comment at the end.
func (tx *Tx) String() string {
	var out strings.Builder
	for i := range tx.ops {
		if o := &tx.ops[i]; !o.anonymous() {
			out.WriteString(o.text(-1))
			out.WriteByte('\n')
		}
	}
	if tx.err != nil {
		fmt.Fprintf(&out, "# %s\n", tx.err)
	}
	return out.String()
}

// anonymous tells whether the operation is about the set of one rule.
func (o *op) anonymous() bool { return o.set != nil && o.set.Name == anonymousName }

// text writes the operation as an nft command; of elements only the one of that
// index, or all if it is negative.
func (o *op) text(elem int) string {
	switch o.verb {
	case addTable:
		return "add table " + o.table.String() + braces(lines(line("flags ", o.flags.String()), commentText("comment ", o.comment)))
	case deleteTable:
		return "delete table " + o.table.String()
	case destroyTable:
		return "destroy table " + o.table.String()
	case addChain:
		return "add chain " + o.object(o.chain.Name) + braces(lines(o.chain.hookText(), commentText("comment ", o.chain.Comment)))
	case deleteChain:
		return "delete chain " + o.object(o.chain.Name)
	case flushChain:
		return "flush chain " + o.object(o.chain.Name)
	case addRule:
		return "add rule " + o.object(o.chain.Name) + " " + o.rule.text + commentText(" comment ", o.comment)
	case addSet:
		return "add " + o.set.kind() + " " + o.object(o.set.Name) + braces(lines(o.set.lines()...))
	case deleteSet:
		return "delete " + o.set.kind() + " " + o.object(o.set.Name)
	case flushSet:
		return "flush " + o.set.kind() + " " + o.object(o.set.Name)
	case addElements:
		return o.elementsText("add", elem)
	case deleteElements:
		return o.elementsText("delete", elem)
	case destroyElements:
		return o.elementsText("destroy", elem)
	default:
		return "invalid operation"
	}
}

// object writes the full name of an object in the operation's table.
func (o *op) object(name string) string { return o.table.String() + " " + name }

// elementsText writes an operation on elements. One element is written without
// braces and data, to name it in an error.
func (o *op) elementsText(verb string, elem int) string {
	head := verb + " element " + o.object(o.set.Name) + " "
	if elem >= 0 {
		return strings.TrimSuffix(head+rangeText(&o.elements[elem].Key, o.elements[elem].last()), " ")
	}
	texts := make([]string, len(o.elements))
	for i := range o.elements {
		texts[i] = o.elements[i].text(o.verb == addElements)
	}
	return head + "{ " + strings.Join(texts, ", ") + " }"
}

// braces puts text in braces behind a name; empty text stays empty.
func braces(text string) string {
	if text == "" {
		return ""
	}
	return " { " + text + " }"
}

// lines joins the lines of a block to one, without the empty ones.
func lines(list ...string) string {
	var out strings.Builder
	for _, l := range list {
		if l != "" {
			out.WriteString(strings.TrimSuffix(l, ";") + "; ")
		}
	}
	return strings.TrimSuffix(out.String(), " ")
}

// line gives a word and its value; "" if the value is empty.
func line(word, value string) string {
	if value == "" {
		return ""
	}
	return word + value
}

// commentText writes a comment, in nft's quotes, if there is one.
func commentText(word, comment string) string {
	if comment == "" {
		return ""
	}
	return word + `"` + comment + `"`
}

// hookText writes what makes a chain a base chain.
func (c *Chain) hookText() string {
	if c.Hook == NoHook {
		return ""
	}
	return fmt.Sprintf("type %s hook %s priority %s; policy %s;",
		c.Type, c.Hook, priority(c.Table.Family, c.Hook, c.Priority), c.Policy)
}

// kind gives nft's word for the set.
func (s *Set) kind() string {
	if s.isMap() {
		return "map"
	}
	return "set"
}

// lines writes the properties of a set.
func (s *Set) lines() []string {
	typ := "type " + typeList(s.Key)
	switch {
	case s.Verdicts:
		typ += " : verdict"
	case len(s.Data) > 0:
		typ += " : " + typeList(s.Data)
	}
	lines := []string{typ}
	switch {
	case s.Interval:
		lines = append(lines, "flags interval")
	case s.Hashed:
		lines = append(lines, "flags timeout", "gc-interval "+duration(hashedGC))
	}
	if s.Timeout != 0 {
		lines = append(lines, "timeout "+duration(s.Timeout))
	}
	if s.Comment != "" {
		lines = append(lines, commentText("comment ", s.Comment))
	}
	return lines
}

// text writes an element, whole or its key only.
func (e *Element) text(whole bool) string {
	text := rangeText(&e.Key, e.last())
	if !whole {
		return text
	}
	if e.Timeout != 0 {
		text += " timeout " + duration(e.Timeout)
	}
	text += commentText(" comment ", e.Comment)
	switch {
	case !e.Verdict.IsZero():
		text += " : " + e.Verdict.String()
	case !e.Data.IsZero():
		text += " : " + e.Data.String()
	}
	return text
}

// String writes the element as nft does.
func (e Element) String() string { return e.text(true) }

// duration writes a duration as nft does: "1h", "1m30s".
func duration(d time.Duration) string {
	var out strings.Builder
	for _, unit := range []struct {
		size time.Duration
		name string
	}{{24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "m"}, {time.Second, "s"}, {time.Millisecond, "ms"}} {
		if n := d / unit.size; n > 0 {
			fmt.Fprintf(&out, "%d%s", n, unit.name)
			d %= unit.size
		}
	}
	return out.String()
}

// String writes the table as `nft list table` prints it, with elements in the
// order of their keys. A rule that cannot be compiled is told in a comment.
func (l *Layout) String() string {
	var out strings.Builder
	fmt.Fprintf(&out, "table %s {\n", l.Table.TableID)
	if l.Table.Flags != 0 {
		fmt.Fprintf(&out, "\tflags %s\n", l.Table.Flags)
	}
	if l.Table.Comment != "" {
		fmt.Fprintf(&out, "\t%s\n", commentText("comment ", l.Table.Comment))
	}
	blocks := make([]string, 0, len(l.Sets)+len(l.Chains))
	for _, s := range l.Sets {
		blocks = append(blocks, s.block())
	}
	for _, c := range l.Chains {
		blocks = append(blocks, c.block())
	}
	out.WriteString(strings.Join(blocks, "\n"))
	out.WriteString("}\n")
	return out.String()
}

// block writes a set with its elements.
func (s *Set) block() string {
	var out strings.Builder
	fmt.Fprintf(&out, "\t%s %s {\n", s.kind(), s.Name)
	for _, line := range s.lines() {
		fmt.Fprintf(&out, "\t\t%s\n", line)
	}
	if len(s.Elements) > 0 {
		sorted := slices.Clone(s.Elements)
		slices.SortFunc(sorted, func(a, b Element) int { return compareKeys(&a.Key, &b.Key) })
		texts := make([]string, len(sorted))
		for i := range sorted {
			texts[i] = sorted[i].text(true)
		}
		fmt.Fprintf(&out, "\t\telements = { %s }\n", strings.Join(texts, ",\n\t\t\t     "))
	}
	out.WriteString("\t}\n")
	return out.String()
}

// compareKeys orders keys of a set as nft prints them.
func compareKeys(a, b *Tuple) int {
	if a.fields == 1 && b.fields == 1 {
		return compareValues(Type(a.types), a, b)
	}
	return slices.Compare(a.bytes(), b.bytes())
}

// block writes a chain with its rules.
func (c *Chain) block() string {
	var out strings.Builder
	fmt.Fprintf(&out, "\tchain %s {\n", c.Name)
	if c.Comment != "" {
		fmt.Fprintf(&out, "\t\t%s\n", commentText("comment ", c.Comment))
	}
	if hook := c.hookText(); hook != "" {
		fmt.Fprintf(&out, "\t\t%s\n", hook)
	}
	var id uint32
	next := func() uint32 { id++; return id }
	for i := range c.Rules {
		rule, err := compileRule(c.Table.Family, &c.Rules[i], next)
		text := rule.text + commentText(" comment ", c.Rules[i].Comment)
		if err != nil {
			text = "# " + err.Error()
		}
		fmt.Fprintf(&out, "\t\t%s\n", strings.TrimSpace(text))
	}
	out.WriteString("\t}\n")
	return out.String()
}
