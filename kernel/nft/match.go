// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// statement is a [Statement] made of a function.
type statement func(c *compiler)

func (s statement) compile(c *compiler) { s(c) }

// Is matches if the field has one of the values.
func (f Field) Is(values ...Tuple) Statement { return f.among(expr.CmpOpEq, values) }

// Not matches if the field has none of the values.
func (f Field) Not(values ...Tuple) Statement { return f.among(expr.CmpOpNeq, values) }

// Num matches if the field has one of the numbers.
func (f Field) Num(values ...uint64) Statement { return f.among(expr.CmpOpEq, f.tuples(values)) }

// NotNum matches if the field has none of the numbers.
func (f Field) NotNum(values ...uint64) Statement { return f.among(expr.CmpOpNeq, f.tuples(values)) }

// Proto matches if the field, one of a protocol, has one of the values.
func (f Field) Proto(values ...Protocol) Statement {
	tuples := make([]Tuple, len(values))
	for i, v := range values {
		tuples[i] = Tuple{}.Proto(v)
	}
	return f.among(expr.CmpOpEq, tuples)
}

// tuples makes values of f of numbers.
func (f Field) tuples(values []uint64) []Tuple {
	typ := f.spec().typ
	tuples := make([]Tuple, len(values))
	for i, v := range values {
		tuples[i] = Tuple{}.Num(typ, v)
	}
	return tuples
}

// among makes the match of a field with one or several values.
func (f Field) among(op expr.CmpOp, values []Tuple) Statement {
	return statement(func(c *compiler) {
		spec := f.spec()
		c.require(spec.needs)
		c.load(f, 0)
		for i := range values {
			c.check(f, &spec, &values[i])
		}
		switch {
		case c.err != nil:
		case len(values) == 0:
			c.fail("%s is compared with nothing", spec.text)
		case len(values) == 1:
			c.compare(op, values[0].bytes())
			word := c.say(spec.text + notEqual(op) + values[0].String())
			if op == expr.CmpOpEq && len(values[0].bytes()) <= 2 {
				c.learn(f, numberOf(spec.typ, values[0].bytes()), word)
			}
		default:
			c.lookupAnonymous(spec, op, values)
		}
	})
}

// check refuses a value that is not of the field's type and size.
func (c *compiler) check(f Field, spec *fieldSpec, v *Tuple) {
	if err := v.Err(); err != nil {
		c.fail("%s: %w", spec.text, err)
	} else if v.fields != 1 || Type(v.types) != spec.typ || v.size() != spec.size() {
		c.fail("%s is compared with %s, which is no %s of %d bytes", f, v, spec.typ, spec.size())
	}
}

// notEqual gives the operator between a field and a value.
func notEqual(op expr.CmpOp) string {
	if op == expr.CmpOpNeq {
		return " != "
	}
	return " "
}

// lookupAnonymous appends the lookup of register 1 in a set of the values, which
// belongs to this rule.
func (c *compiler) lookupAnonymous(spec fieldSpec, op expr.CmpOp, values []Tuple) {
	values = slices.Clone(values)
	slices.SortFunc(values, func(a, b Tuple) int { return compareValues(spec.typ, &a, &b) })
	set := anonSet{id: c.nextID(), set: Set{Name: anonymousName, Key: []Type{spec.typ}}}
	texts := make([]string, len(values))
	for i, v := range values {
		texts[i] = v.String()
		set.values = append(set.values, Key(v))
	}
	c.expr(&expr.Lookup{
		SourceRegister: unix.NFT_REG_1, SetName: set.set.Name, SetID: set.id,
		Invert: op == expr.CmpOpNeq,
	})
	c.anon = append(c.anon, set)
	c.say(spec.text + notEqual(op) + "{ " + strings.Join(texts, ", ") + " }")
}

// compareValues orders two values of a type as nft prints them.
func compareValues(typ Type, a, b *Tuple) int {
	x, y := a.bytes(), b.bytes()
	if typ.spec().order == orderHost && typ != TypeIfname && len(x) <= 4 {
		switch nx, ny := numberOf(typ, x), numberOf(typ, y); {
		case nx < ny:
			return -1
		case nx > ny:
			return 1
		default:
			return 0
		}
	}
	return slices.Compare(x, y)
}

// In matches if the field is in the set of that name. A map will not do: Linux
// 6.1 refuses it.
func (f Field) In(set string) Statement { return Concat(f).In(set) }

// NotIn matches if the field is not in the set of that name.
func (f Field) NotIn(set string) Statement { return Concat(f).NotIn(set) }

// VMap runs the verdict that the map of that name has for the field; a field
// that is not in it goes on with the next statement.
func (f Field) VMap(name string) Statement { return Concat(f).VMap(name) }

// Prefix matches the interface names that begin with prefix.
func (f Field) Prefix(prefix string) Statement { return f.namePrefix(expr.CmpOpEq, prefix) }

// NotPrefix matches the interface names that do not begin with prefix.
func (f Field) NotPrefix(prefix string) Statement { return f.namePrefix(expr.CmpOpNeq, prefix) }

func (f Field) namePrefix(op expr.CmpOp, prefix string) Statement {
	return statement(func(c *compiler) {
		spec := c.load(f, 0)
		if spec.typ != TypeIfname || prefix == "" || len(prefix) >= ifnameSize {
			c.fail("%s is no interface name of which %q can be a prefix", spec.text, prefix)
			return
		}
		c.compare(op, []byte(prefix))
		c.say(spec.text + notEqual(op) + strconv.Quote(prefix+"*"))
	})
}

// Within matches the addresses of a prefix.
func (f Field) Within(p netip.Prefix) Statement { return f.within(expr.CmpOpEq, p) }

// NotWithin matches the addresses that are not of a prefix.
func (f Field) NotWithin(p netip.Prefix) Statement { return f.within(expr.CmpOpNeq, p) }

func (f Field) within(op expr.CmpOp, p netip.Prefix) Statement {
	return statement(func(c *compiler) {
		spec := f.spec()
		p := p.Masked()
		lo := Addr(p.Addr())
		if !p.IsValid() || p.Bits() == 0 || Type(lo.types) != spec.typ {
			c.fail("%s cannot be within %s", spec.text, p)
			return
		}
		c.require(spec.needs)
		want := lo.bytes()
		if n := p.Bits() / 8; p.Bits()%8 == 0 && spec.load.from == fromPacket {
			spec.load.size = uint32(n)
			want = want[:n]
			c.read(&spec.load, unix.NFT_REG_1)
		} else {
			c.load(f, 0)
			if !p.IsSingleIP() {
				c.mask(prefixMask(p))
			}
		}
		c.compare(op, want)
		text := p.String()
		if p.IsSingleIP() {
			text = p.Addr().String()
		}
		c.say(spec.text + notEqual(op) + text)
	})
}

// prefixMask gives the network mask of a prefix.
func prefixMask(p netip.Prefix) []byte {
	mask := make([]byte, p.Addr().BitLen()/8)
	for bit := range p.Bits() {
		mask[bit/8] |= 0x80 >> (bit % 8)
	}
	return mask
}

// mask appends the masking of register 1.
func (c *compiler) mask(mask []byte) { c.bitwise(mask, make([]byte, len(mask))) }

// bitwise appends register 1 = register 1 & mask ^ xor.
func (c *compiler) bitwise(mask, xor []byte) {
	c.expr(&expr.Bitwise{
		SourceRegister: unix.NFT_REG_1, DestRegister: unix.NFT_REG_1,
		Len: uint32(len(mask)), Mask: mask, Xor: xor,
	})
}

// Has matches if the field, one of flags, has at least one of the bits.
func (f Field) Has(bits uint64) Statement { return f.bits(expr.CmpOpNeq, " ", bits) }

// HasNone matches if the field, one of flags, has none of the bits.
func (f Field) HasNone(bits uint64) Statement { return f.bits(expr.CmpOpEq, " ! ", bits) }

func (f Field) bits(op expr.CmpOp, sign string, bits uint64) Statement {
	return statement(func(c *compiler) {
		spec := f.spec()
		if spec.typ != TypeCTState && spec.typ != TypeCTStatus && spec.typ != TypeTCPFlags {
			c.fail("%s has no flags", spec.text)
			return
		}
		c.require(spec.needs)
		c.load(f, 0)
		mask := Tuple{}.Num(spec.typ, bits)
		c.check(f, &spec, &mask)
		if c.err != nil {
			return
		}
		c.mask(mask.bytes())
		c.compare(op, make([]byte, spec.size()))
		c.say(spec.text + sign + mask.String())
	})
}

// Masked matches if the bits of mask are as in value.
func (f Field) Masked(mask, value uint64) Statement {
	typ := f.spec().typ
	return f.masked(expr.CmpOpEq, Tuple{}.Num(typ, mask), Tuple{}.Num(typ, value))
}

// NotMasked matches if the bits of mask are not as in value.
func (f Field) NotMasked(mask, value uint64) Statement {
	typ := f.spec().typ
	return f.masked(expr.CmpOpNeq, Tuple{}.Num(typ, mask), Tuple{}.Num(typ, value))
}

// Multicast matches if the field, an Ethernet address, is one of a group;
// broadcast is such a group.
func (f Field) Multicast() Statement {
	group := MAC([]byte{1, 0, 0, 0, 0, 0})
	return f.masked(expr.CmpOpEq, group, group)
}

func (f Field) masked(op expr.CmpOp, mask, value Tuple) Statement {
	return statement(func(c *compiler) {
		spec := f.spec()
		c.check(f, &spec, &mask)
		c.check(f, &spec, &value)
		if c.err != nil {
			return
		}
		c.require(spec.needs)
		c.load(f, 0)
		c.mask(mask.bytes())
		c.compare(op, value.bytes())
		if spec.typ == TypeTCPFlags {
			c.say(spec.text + notEqual(op) + value.String() + " / " + mask.String())
			return
		}
		sign := " == "
		if op == expr.CmpOpNeq {
			sign = " != "
		}
		c.say(spec.text + " & " + mask.String() + sign + value.String())
	})
}

// SetTo writes the field: a port of TCP or UDP, whose checksum is mended, or a
// mark.
func (f Field) SetTo(value Tuple) Statement {
	return statement(func(c *compiler) {
		spec := f.spec()
		c.check(f, &spec, &value)
		if c.err != nil {
			return
		}
		c.require(spec.needs)
		c.expr(&expr.Immediate{Register: unix.NFT_REG_1, Data: value.bytes()})
		c.write(&spec)
		c.say(spec.text + " set " + value.String())
	})
}

// SetBits sets bits of a mark.
func (f Field) SetBits(bits uint32) Statement { return f.change(" | ", bits, ^bits, bits) }

// ClearBits clears bits of a mark.
func (f Field) ClearBits(bits uint32) Statement { return f.change(" & ", ^bits, ^bits, 0) }

func (f Field) change(sign string, operand, mask, xor uint32) Statement {
	return statement(func(c *compiler) {
		spec := c.load(f, 0)
		if spec.typ != TypeMark {
			c.fail("%s is no mark", spec.text)
			return
		}
		c.bitwise(binary.NativeEndian.AppendUint32(nil, mask), binary.NativeEndian.AppendUint32(nil, xor))
		c.write(&spec)
		c.say(spec.text + " set " + spec.text + sign + number(TypeMark, uint64(operand)))
	})
}

// write appends what writes register 1 to a field.
func (c *compiler) write(spec *fieldSpec) {
	l := spec.load
	switch {
	case l.from == fromMeta && spec.typ == TypeMark:
		c.expr(&expr.Meta{Key: expr.MetaKey(l.key), SourceRegister: true, Register: unix.NFT_REG_1})
	case l.from == fromCT && spec.typ == TypeMark:
		c.expr(&expr.Ct{Key: expr.CtKey(l.key), SourceRegister: true, Register: unix.NFT_REG_1})
	case l.csumOff != 0:
		c.expr(&expr.Payload{
			OperationType: expr.PayloadWrite, SourceRegister: unix.NFT_REG_1,
			Base: expr.PayloadBase(l.base), Offset: l.off, Len: l.size,
			CsumType: expr.CsumTypeInet, CsumOffset: l.csumOff,
		})
	default:
		c.fail("%s cannot be written", spec.text)
	}
}
