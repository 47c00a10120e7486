// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"fmt"
	"slices"
	"strings"
)

// Drift is how a table in the kernel differs from what is wanted.
type Drift struct {
	// Structure tells, one difference a line, where tables, chains, rules or sets
	// differ. Such a table is put right by [Tx.Replace] only.
	Structure []string
	// Missing and Extra are the elements that differ, by set. One with other data
	// or another comment is in both.
	Missing, Extra []SetElements
}

// SetElements are elements of one set.
type SetElements struct {
	Set      *Set
	Elements []Element
}

// None tells whether nothing differs.
func (d *Drift) None() bool {
	return len(d.Structure) == 0 && len(d.Missing) == 0 && len(d.Extra) == 0
}

// String writes the differences, one a line.
func (d *Drift) String() string {
	lines := slices.Clone(d.Structure)
	for _, side := range []struct {
		word string
		sets []SetElements
	}{{"missing", d.Missing}, {"extra", d.Extra}} {
		for _, s := range side.sets {
			for i := range s.Elements {
				lines = append(lines, fmt.Sprintf("%s element %s %s %s", side.word, s.Set.Table, s.Set.Name, s.Elements[i].text(true)))
			}
		}
	}
	return strings.Join(lines, "\n")
}

// Repair appends what puts the elements right: first what is too much, then what
// is missing. It does nothing about the structure.
func (d *Drift) Repair(tx *Tx) {
	for _, s := range d.Extra {
		tx.DeleteElements(s.Set, s.Elements...)
	}
	for _, s := range d.Missing {
		tx.AddElements(s.Set, s.Elements...)
	}
}

// differ notes a difference of structure.
func (d *Drift) differ(format string, args ...any) {
	d.Structure = append(d.Structure, fmt.Sprintf(format, args...))
}

// Compare tells how a table as it is differs from the one that is wanted. Rules
// are compared by their expressions and comments, in order; handles, counters and
// the time that elements have left do not count, and neither does whether the
// table has lost its owner.
func Compare(want *Layout, have *Snapshot) Drift {
	var d Drift
	t := &have.Table
	if t.TableID != want.Table.TableID {
		d.differ("table %s instead of %s", t.TableID, want.Table.TableID)
		return d
	}
	if flags := want.Table.Flags &^ Owner; t.Flags&^Owner != flags || t.Comment != want.Table.Comment {
		d.differ("table %s: flags %q comment %q instead of %q %q", t.TableID, t.Flags, t.Comment, want.Table.Flags, want.Table.Comment)
	}
	d.chains(want, have)
	d.sets(want, have)
	return d
}

// chains compares the chains and their rules.
func (d *Drift) chains(want *Layout, have *Snapshot) {
	wanted := make(map[string]bool, len(want.Chains))
	for _, w := range want.Chains {
		wanted[w.Name] = true
		h := have.Chain(w.Name)
		if h == nil {
			d.differ("chain %s %s is missing", w.Table, w.Name)
			continue
		}
		if w.hookText() != h.hookText() || w.Comment != h.Comment {
			d.differ("chain %s %s: %q comment %q instead of %q %q", w.Table, w.Name, h.hookText(), h.Comment, w.hookText(), w.Comment)
		}
		d.rules(w, h, have.anonymous)
	}
	for i := range have.Chains {
		if c := &have.Chains[i]; !wanted[c.Name] {
			d.differ("chain %s %s is not ours", c.Table, c.Name)
		}
	}
}

// rules compares the rules of a chain.
func (d *Drift) rules(want *Chain, have *ChainState, anonymous []anonState) {
	values := make(map[string]string, len(anonymous))
	for _, a := range anonymous {
		values[`"`+a.name+`"`] = valuesText(a.values)
	}
	for i := range max(len(want.Rules), len(have.Rules)) {
		name := fmt.Sprintf("rule %d of chain %s %s", i, want.Table, want.Name)
		if i >= len(want.Rules) {
			d.differ("%s is not ours: %s", name, strings.Join(have.Rules[i].Exprs, "; "))
			continue
		}
		w, err := compileRule(want.Table.Family, &want.Rules[i], func() uint32 { return 0 })
		switch {
		case err != nil:
			d.differ("%s cannot be compiled: %v", name, err)
		case i >= len(have.Rules):
			d.differ("%s is missing: %s", name, w.text)
		case want.Rules[i].Comment != have.Rules[i].Comment:
			d.differ("%s: comment %q instead of %q", name, have.Rules[i].Comment, want.Rules[i].Comment)
		default:
			is, should := resolve(have.Rules[i].Exprs, values), w.resolved()
			if !slices.Equal(is, should) {
				d.differ("%s is no longer %q: %s", name, w.text, strings.Join(is, "; "))
			}
		}
	}
}

// resolved gives the expressions of a rule with the values of its own sets
// instead of their names.
func (r *compiled) resolved() []string {
	list := canonical(r.exprs)
	next := 0
	for i, e := range list {
		if strings.Contains(e, `"`+anonymousName+`"`) && next < len(r.anon) {
			list[i] = strings.ReplaceAll(e, `"`+anonymousName+`"`, valuesText(r.anon[next].values))
			next++
		}
	}
	return list
}

// resolve puts the values of sets of one rule in the place of their names.
func resolve(list []string, values map[string]string) []string {
	list = slices.Clone(list)
	for i, e := range list {
		if !strings.HasPrefix(e, "lookup ") {
			continue
		}
		for name, text := range values {
			list[i] = strings.ReplaceAll(list[i], name, text)
		}
	}
	return list
}

// valuesText writes the values of a set of one rule, in order.
func valuesText(values []Element) string {
	texts := make([]string, len(values))
	for i := range values {
		texts[i] = values[i].text(true)
	}
	slices.Sort(texts)
	return "{" + strings.Join(texts, ",") + "}"
}

// sets compares the sets and their elements.
func (d *Drift) sets(want *Layout, have *Snapshot) {
	wanted := make(map[string]bool, len(want.Sets))
	for _, w := range want.Sets {
		wanted[w.Name] = true
		h := have.Set(w.Name)
		if h == nil {
			d.differ("%s %s %s is missing", w.kind(), w.Table, w.Name)
			continue
		}
		if is, should := lines(h.lines()...), lines(w.lines()...); is != should {
			d.differ("%s %s %s: %q instead of %q", w.kind(), w.Table, w.Name, is, should)
			continue
		}
		d.elements(w, h)
	}
	for i := range have.Sets {
		if s := &have.Sets[i]; !wanted[s.Name] {
			d.differ("%s %s %s is not ours", s.kind(), s.Table, s.Name)
		}
	}
}

// elements compares the elements of a set.
func (d *Drift) elements(want *Set, have *SetState) {
	left := make(map[Element]bool, len(have.Elements))
	for i := range have.Elements {
		left[have.Elements[i]] = true
	}
	var missing, extra []Element
	for i := range want.Elements {
		e := want.Elements[i]
		if e.End == e.Key {
			e.End = Tuple{}
		}
		if left[e] {
			delete(left, e)
			continue
		}
		missing = append(missing, e)
	}
	for i := range have.Elements {
		if left[have.Elements[i]] {
			extra = append(extra, have.Elements[i])
		}
	}
	if len(missing) > 0 {
		d.Missing = append(d.Missing, SetElements{want, missing})
	}
	if len(extra) > 0 {
		d.Extra = append(d.Extra, SetElements{want, extra})
	}
}
