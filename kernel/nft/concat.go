// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"strings"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Concatenation is several fields looked up as one key.
type Concatenation struct{ fields []Field }

// Concat joins fields to one key, in the order of the set's key types.
func Concat(fields ...Field) Concatenation { return Concatenation{fields} }

// String writes the fields as nft does: "iifname . oifname".
func (k Concatenation) String() string {
	texts := make([]string, len(k.fields))
	for i, f := range k.fields {
		texts[i] = f.String()
	}
	return strings.Join(texts, " . ")
}

// In matches if the key is in the set of that name.
func (k Concatenation) In(set string) Statement {
	return statement(func(c *compiler) {
		c.lookup(k, expr.Lookup{SetName: set})
		c.say(k.String() + " @" + set)
	})
}

// NotIn matches if the key is not in the set of that name.
func (k Concatenation) NotIn(set string) Statement {
	return statement(func(c *compiler) {
		c.lookup(k, expr.Lookup{SetName: set, Invert: true})
		c.say(k.String() + " != @" + set)
	})
}

// VMap runs the verdict that the map of that name has for the key; a key that
// is not in it goes on with the next statement.
func (k Concatenation) VMap(name string) Statement {
	return statement(func(c *compiler) {
		c.lookup(k, expr.Lookup{SetName: name, IsDestRegSet: true, DestRegister: unix.NFT_REG_VERDICT})
		c.say(k.String() + " vmap @" + name)
	})
}

// lookup appends the lookup of a key, whose fields lie side by side from
// register 1 on.
func (c *compiler) lookup(k Concatenation, l expr.Lookup) {
	if len(k.fields) == 0 || len(k.fields) > maxFields {
		c.fail("a key of %d fields is looked up in %s: 1 to %d can be", len(k.fields), l.SetName, maxFields)
		return
	}
	for _, f := range k.fields {
		c.require(f.spec().needs)
	}
	off := 0
	for _, f := range k.fields {
		spec := c.load(f, off)
		off += pad4(spec.size())
	}
	l.SourceRegister = unix.NFT_REG_1
	c.expr(&l)
}
