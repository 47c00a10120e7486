// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Statement is one part of a rule: a match, an action or a verdict.
type Statement interface {
	compile(c *compiler)
}

// compiled is a rule as the kernel takes it and as nft prints it.
type compiled struct {
	exprs []byte // expressions, each an NFTA_LIST_ELEM
	text  string
	anon  []anonSet
}

// anonSet is a set that belongs to one rule, of the values written in it.
type anonSet struct {
	id     uint32 // by which the rule names it in its transaction
	set    Set
	values []Element
}

// anonymousName is what the set of one rule is called until the kernel numbers
// it.
const anonymousName = "__set%d"

// need is what a field needs to be known of the packet before it is read.
type need uint8

const (
	needNothing need = iota
	needEther
	needIPv4
	needIPv6
	needARP
	needICMP
	needICMPv6
	needTCP
	needUDP
)

// known is a match that the rule already has on what packet this is.
type known struct {
	value uint64
	word  int // which word of the text says so; -1 if none does
}

// compiler turns the statements of one rule into expressions and text. The
// first error sticks.
type compiler struct {
	family Family
	nextID func() uint32
	out    wire
	words  []string
	net    known // EtherType of what the rule matches, 0 = any
	proto  known // transport protocol of what the rule matches, 0 = any
	ether  bool  // frames are known to be Ethernet's
	anon   []anonSet
	err    error
}

// compileRule compiles a rule of a table of family; nextID numbers its sets.
func compileRule(family Family, r *Rule, nextID func() uint32) (compiled, error) {
	c := compiler{family: family, nextID: nextID}
	switch family { //nolint:exhaustive // the others see packets of any kind
	case IPv4:
		c.net = known{EtherIPv4, -1}
	case IPv6:
		c.net = known{EtherIPv6, -1}
	case ARP:
		c.net = known{EtherARP, -1}
	case Bridge:
		c.ether = true
	}
	for _, s := range r.Statements {
		if s == nil {
			c.fail("a rule has a nil statement")
			break
		}
		s.compile(&c)
	}
	words := make([]string, 0, len(c.words))
	for _, w := range c.words {
		if w != "" {
			words = append(words, w)
		}
	}
	return compiled{exprs: c.out.b, text: strings.Join(words, " "), anon: c.anon}, c.err
}

// fail records an error, unless there is one.
func (c *compiler) fail(format string, args ...any) {
	if c.err == nil {
		c.err = fmt.Errorf(format, args...)
	}
}

// say appends text and returns its place, for [known.word].
func (c *compiler) say(text string) int {
	c.words = append(c.words, text)
	return len(c.words) - 1
}

// expr appends an expression.
func (c *compiler) expr(e expr.Any) {
	b, err := expr.Marshal(byte(c.family), e)
	if err != nil {
		c.fail("expression %T: %w", e, err)
		return
	}
	c.out.bytes(unix.NFTA_LIST_ELEM|unix.NLA_F_NESTED, b)
}

// rawExpr appends an expression that package expr cannot encode.
func (c *compiler) rawExpr(name string, attrs func(w *wire)) {
	elem := c.out.nest(unix.NFTA_LIST_ELEM)
	c.out.str(unix.NFTA_EXPR_NAME, name)
	data := c.out.nest(unix.NFTA_EXPR_DATA)
	attrs(&c.out)
	c.out.unnest(data)
	c.out.unnest(elem)
}

// register gives the kernel's number of the register that begins off bytes into
// the 64 that a rule has, as the kernel itself writes it.
func register(off int) uint32 {
	if off%16 == 0 {
		return unix.NFT_REG_1 + uint32(off/16)
	}
	return unix.NFT_REG32_00 + uint32(off/4)
}

// require adds the matches without which a field must not be read.
func (c *compiler) require(n need) {
	switch n {
	case needNothing:
	case needEther:
		c.requireEther()
	case needIPv4:
		c.requireNet(EtherIPv4)
	case needIPv6:
		c.requireNet(EtherIPv6)
	case needARP:
		c.requireNet(EtherARP)
	case needICMP:
		c.requireNet(EtherIPv4)
		c.requireProto(ICMP)
	case needICMPv6:
		c.requireNet(EtherIPv6)
		c.requireProto(ICMPv6)
	case needTCP:
		c.requireProto(TCP)
	case needUDP:
		c.requireProto(UDP)
	}
}

// requireEther sees to it that there is an Ethernet header.
func (c *compiler) requireEther() {
	if c.ether {
		return
	}
	c.ether = true
	c.expr(&expr.Meta{Key: expr.MetaKeyIIFTYPE, Register: unix.NFT_REG_1})
	c.equals(binary.NativeEndian.AppendUint16(nil, unix.ARPHRD_ETHER))
}

// requireNet sees to it that the packet is of a network protocol. Where the rule
// says so itself, its words become superfluous.
func (c *compiler) requireNet(etherType uint64) {
	if c.net.value != 0 {
		if c.net.value != etherType {
			c.fail("a field of %s after a match of %s can never match",
				number(TypeEtherType, etherType), number(TypeEtherType, c.net.value))
		}
		c.hush(&c.net)
		return
	}
	c.net = known{etherType, -1}
	if c.family == Bridge || c.family == Netdev {
		c.expr(&expr.Meta{Key: expr.MetaKeyPROTOCOL, Register: unix.NFT_REG_1})
		c.equals(binary.BigEndian.AppendUint16(nil, uint16(etherType)))
		return
	}
	family := map[uint64]Family{EtherIPv4: IPv4, EtherIPv6: IPv6}[etherType]
	if family == 0 {
		c.fail("a table of family %s sees no %s", c.family, number(TypeEtherType, etherType))
		return
	}
	c.expr(&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: unix.NFT_REG_1})
	c.equals([]byte{byte(family)})
}

// requireProto sees to it that the packet is of a transport protocol.
func (c *compiler) requireProto(p Protocol) {
	if c.proto.value != 0 {
		if c.proto.value != uint64(p) {
			c.fail("a field of %s after a match of %s can never match", p, Protocol(c.proto.value))
		}
		c.hush(&c.proto)
		return
	}
	c.proto = known{uint64(p), -1}
	c.expr(&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: unix.NFT_REG_1})
	c.equals([]byte{byte(p)})
}

// hush takes back the words that say what a later field implies: nft does not
// print them.
func (c *compiler) hush(k *known) {
	if k.word >= 0 {
		c.words[k.word] = ""
		k.word = -1
	}
}

// learn notes that the rule has just said that f is v.
func (c *compiler) learn(f Field, v uint64, word int) {
	switch f { //nolint:exhaustive // no other field tells what packet it is
	case L4Proto:
		c.proto = known{v, word}
	case MetaProtocol, EtherType:
		c.net = known{v, word}
	case NFProto:
		switch Family(v) { //nolint:exhaustive // packets are of these two
		case IPv4:
			c.net = known{EtherIPv4, word}
		case IPv6:
			c.net = known{EtherIPv6, word}
		}
	}
}

// equals appends the comparison of register 1 with b.
func (c *compiler) equals(b []byte) { c.compare(expr.CmpOpEq, b) }

// compare appends a comparison of register 1 with b.
func (c *compiler) compare(op expr.CmpOp, b []byte) {
	c.expr(&expr.Cmp{Op: op, Register: unix.NFT_REG_1, Data: b})
}

// load appends what reads a field into the register off bytes in, and returns
// its spec.
func (c *compiler) load(f Field, off int) fieldSpec {
	spec := f.spec()
	if spec.text == "" {
		c.fail("field %d does not exist", uint32(f))
		return spec
	}
	if off+pad4(spec.size()) > maxTuple+8 {
		c.fail("a concatenation that ends with %s is longer than %d bytes", spec.text, maxTuple+8)
		return spec
	}
	c.read(&spec.load, register(off))
	return spec
}

// read appends the expression that reads into a register.
func (c *compiler) read(l *load, reg uint32) {
	switch l.from {
	case fromMeta:
		c.expr(&expr.Meta{Key: expr.MetaKey(l.key), Register: reg})
	case fromPacket:
		c.expr(&expr.Payload{DestRegister: reg, Base: expr.PayloadBase(l.base), Offset: l.off, Len: l.size})
	case fromCT:
		c.expr(&expr.Ct{Key: expr.CtKey(l.key), Register: reg})
	case fromCTTuple:
		// Package expr knows no direction for the newer keys, and writes it in
		// four bytes where the kernel reads one.
		c.rawExpr("ct", func(w *wire) {
			w.u32(unix.NFTA_CT_DREG, reg)
			w.u32(unix.NFTA_CT_KEY, l.key)
			w.u8(unix.NFTA_CT_DIRECTION, Original)
		})
	case fromFib:
		c.rawExpr("fib", func(w *wire) {
			w.u32(unix.NFTA_FIB_DREG, reg)
			w.u32(unix.NFTA_FIB_RESULT, l.key)
			w.u32(unix.NFTA_FIB_FLAGS, l.flags)
		})
	case fromNothing:
		c.fail("a field has no source")
	}
}
