// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"encoding/binary"
	"time"

	"github.com/google/nftables/userdata"
	"golang.org/x/sys/unix"
)

// The most that goes into one message with elements: their list is one
// attribute, which 64 KiB bound, and an element stays below maxElement bytes.
const (
	maxElements = 500
	maxElement  = 1024
)

// Numbers of the kernel that x/sys lacks.
const (
	msgDestroyTable   = 26 // NFT_MSG_DESTROYTABLE, Linux 6.3
	msgDestroySetElem = 30 // NFT_MSG_DESTROYSETELEM

	setConcat = 0x80 // NFT_SET_CONCAT

	tableUserdata  = 6  // NFTA_TABLE_USERDATA
	tableOwner     = 7  // NFTA_TABLE_OWNER
	tableHandle    = 4  // NFTA_TABLE_HANDLE
	setHandle      = 16 // NFTA_SET_HANDLE
	chainUserdata  = 12 // NFTA_CHAIN_USERDATA
	setDescConcat  = 2  // NFTA_SET_DESC_CONCAT
	setFieldLen    = 1  // NFTA_SET_FIELD_LEN
	elemKeyEnd     = 10 // NFTA_SET_ELEM_KEY_END
	verdictMapType = 0xffffff00

	udataComment = 0 // of tables and chains
)

// batch is a transaction as one message for the kernel. Its memory is used
// again for the next one.
type batch struct {
	wire
	first uint32 // sequence number of the message that begins it
	marks []mark // one for every message between begin and end
	last  int    // where the last of those starts
	per   int    // the most elements in a message
}

// mark tells what a message of a batch does.
type mark struct {
	op    int // of the transaction
	elem  int // first element of that operation
	start int // of the message
}

// encode fills the batch with a transaction, from sequence number seq on, with
// at most per elements in a message. It returns the next sequence number.
func (b *batch) encode(tx *Tx, seq uint32, per int) uint32 {
	b.b, b.marks, b.first, b.per = b.b[:0], b.marks[:0], seq, per
	b.frame(unix.NFNL_MSG_BATCH_BEGIN, seq)
	for i := range tx.ops {
		b.op(i, &tx.ops[i])
	}
	// The kernel answers the last operation, and every one it refuses.
	flags := b.b[b.last+6:]
	binary.NativeEndian.PutUint16(flags, binary.NativeEndian.Uint16(flags)|unix.NLM_F_ACK)
	end := b.first + uint32(len(b.marks)) + 1
	b.frame(unix.NFNL_MSG_BATCH_END, end)
	return end + 1
}

// length gives the length of the message that starts at start.
func (b *batch) length(start int) int {
	return int(binary.NativeEndian.Uint32(b.b[start:]))
}

// maxKept is how much memory a batch keeps for the next one.
const maxKept = 1 << 20

// trim lets the memory of a large batch go.
func (b *batch) trim() {
	if cap(b.b) > maxKept {
		b.b = nil
	}
}

// frame appends the message that begins or ends a batch.
func (b *batch) frame(typ uint16, seq uint32) {
	start := b.begin(typ, 0, seq, unix.NFPROTO_UNSPEC)
	binary.BigEndian.PutUint16(b.b[len(b.b)-2:], unix.NFNL_SUBSYS_NFTABLES)
	b.end(start)
}

// message starts the message of an operation.
func (b *batch) message(i, elem int, msg int, flags uint16, f Family) int {
	seq := b.first + uint32(len(b.marks)) + 1
	b.last = b.begin(nfType(msg), flags, seq, f)
	b.marks = append(b.marks, mark{op: i, elem: elem, start: b.last})
	return b.last
}

// op appends the messages of an operation.
func (b *batch) op(i int, o *op) {
	switch o.verb {
	case addTable:
		b.table(i, o)
	case deleteTable:
		b.simple(i, o, unix.NFT_MSG_DELTABLE)
	case destroyTable:
		b.simple(i, o, msgDestroyTable)
	case addChain:
		b.chain(i, o)
	case deleteChain:
		b.named(i, o, unix.NFT_MSG_DELCHAIN, unix.NFTA_CHAIN_NAME, o.chain.Name)
	case flushChain:
		b.named(i, o, unix.NFT_MSG_DELRULE, unix.NFTA_RULE_CHAIN, o.chain.Name)
	case addRule:
		b.rule(i, o)
	case addSet:
		b.set(i, o)
	case deleteSet:
		b.named(i, o, unix.NFT_MSG_DELSET, unix.NFTA_SET_NAME, o.set.Name)
	case flushSet:
		b.named(i, o, unix.NFT_MSG_DELSETELEM, unix.NFTA_SET_ELEM_LIST_SET, o.set.Name)
	case addElements:
		b.elements(i, o, unix.NFT_MSG_NEWSETELEM, unix.NLM_F_CREATE)
	case deleteElements:
		b.elements(i, o, unix.NFT_MSG_DELSETELEM, 0)
	case destroyElements:
		b.elements(i, o, msgDestroySetElem, 0)
	}
}

// simple appends a message that has the name of a table and nothing else.
func (b *batch) simple(i int, o *op, msg int) {
	start := b.message(i, 0, msg, 0, o.table.Family)
	b.str(unix.NFTA_TABLE_NAME, o.table.Name)
	b.end(start)
}

// named appends a message that has the names of a table, which is attribute 1
// everywhere, and of an object in it.
func (b *batch) named(i int, o *op, msg int, attr uint16, name string) {
	start := b.message(i, 0, msg, 0, o.table.Family)
	b.str(unix.NFTA_TABLE_NAME, o.table.Name)
	b.str(attr, name)
	b.end(start)
}

func (b *batch) table(i int, o *op) {
	start := b.message(i, 0, unix.NFT_MSG_NEWTABLE, unix.NLM_F_CREATE, o.table.Family)
	b.str(unix.NFTA_TABLE_NAME, o.table.Name)
	b.u32(unix.NFTA_TABLE_FLAGS, uint32(o.flags))
	b.comment(tableUserdata, o.comment)
	b.end(start)
}

// comment appends a comment as user data of an object; of all kinds it is the first that nft has.
func (b *batch) comment(attr uint16, text string) {
	if text == "" {
		return
	}
	b.bytes(attr, userdata.AppendString(nil, udataComment, text))
}

func (b *batch) chain(i int, o *op) {
	c := o.chain
	start := b.message(i, 0, unix.NFT_MSG_NEWCHAIN, unix.NLM_F_CREATE, c.Table.Family)
	b.str(unix.NFTA_CHAIN_TABLE, c.Table.Name)
	b.str(unix.NFTA_CHAIN_NAME, c.Name)
	if c.Hook != NoHook {
		hook := b.nest(unix.NFTA_CHAIN_HOOK)
		b.u32(unix.NFTA_HOOK_HOOKNUM, uint32(c.Hook-Prerouting))
		b.u32(unix.NFTA_HOOK_PRIORITY, uint32(c.Priority))
		b.unnest(hook)
		b.u32(unix.NFTA_CHAIN_POLICY, policyCode(c.Policy))
		b.str(unix.NFTA_CHAIN_TYPE, c.Type.String())
	}
	b.comment(chainUserdata, c.Comment)
	b.end(start)
}

// policyCode gives the kernel's number of a policy: NF_DROP or NF_ACCEPT.
func policyCode(p Policy) uint32 {
	if p == PolicyDrop {
		return 0
	}
	return 1
}

func (b *batch) rule(i int, o *op) {
	start := b.message(i, 0, unix.NFT_MSG_NEWRULE, unix.NLM_F_CREATE|unix.NLM_F_APPEND, o.table.Family)
	b.str(unix.NFTA_RULE_TABLE, o.table.Name)
	b.str(unix.NFTA_RULE_CHAIN, o.chain.Name)
	exprs := b.nest(unix.NFTA_RULE_EXPRESSIONS)
	b.b = append(b.b, o.rule.exprs...)
	b.unnest(exprs)
	b.comment(unix.NFTA_RULE_USERDATA, o.comment)
	b.end(start)
}

// setFlags gives the kernel's flags of a set.
func (s *Set) flags() uint32 {
	var flags uint32
	if s.Interval {
		flags |= unix.NFT_SET_INTERVAL
		if len(s.Key) > 1 {
			flags |= setConcat
		}
	}
	if s.isMap() {
		flags |= unix.NFT_SET_MAP
	}
	if s.Timeout != 0 || s.Hashed {
		flags |= unix.NFT_SET_TIMEOUT
	}
	return flags
}

// hashedGC is how often the kernel looks for elements of a hashed set that have
// timed out, which none does.
const hashedGC = 24 * time.Hour

// isMap tells whether the set's elements have data or verdicts.
func (s *Set) isMap() bool { return s.Verdicts || len(s.Data) > 0 }

func (b *batch) set(i int, o *op) {
	s, flags := o.set, o.set.flags()
	start := b.message(i, 0, unix.NFT_MSG_NEWSET, unix.NLM_F_CREATE, o.table.Family)
	b.str(unix.NFTA_SET_TABLE, o.table.Name)
	b.str(unix.NFTA_SET_NAME, s.Name)
	if len(o.elements) > 0 { // the set of one rule
		flags |= unix.NFT_SET_ANONYMOUS | unix.NFT_SET_CONSTANT
	}
	b.u32(unix.NFTA_SET_FLAGS, flags)
	b.u32(unix.NFTA_SET_KEY_TYPE, typeCode(s.Key))
	b.u32(unix.NFTA_SET_KEY_LEN, uint32(b.keyLen(o)))
	switch {
	case s.Verdicts:
		b.u32(unix.NFTA_SET_DATA_TYPE, verdictMapType)
		b.u32(unix.NFTA_SET_DATA_LEN, 0)
	case len(s.Data) > 0:
		b.u32(unix.NFTA_SET_DATA_TYPE, typeCode(s.Data))
		b.u32(unix.NFTA_SET_DATA_LEN, uint32(sizeOf(s.Data)))
	}
	b.describe(o, flags)
	b.u32(unix.NFTA_SET_ID, o.id)
	if s.Timeout != 0 {
		b.u64(unix.NFTA_SET_TIMEOUT, uint64(s.Timeout.Milliseconds()))
	}
	if s.Hashed {
		b.u32(unix.NFTA_SET_GC_INTERVAL, uint32(hashedGC.Milliseconds()))
	}
	b.bytes(unix.NFTA_SET_USERDATA, s.userdata())
	b.end(start)
}

// keyLen gives the length of a set's key. A raw field's is that of its values.
func (b *batch) keyLen(o *op) int {
	if n := sizeOf(o.set.Key); n > 0 || len(o.elements) == 0 {
		return n
	}
	return o.elements[0].Key.size()
}

// describe appends what helps the kernel choose how to hold a set: the number
// of elements if it is final, and the fields of intervals of concatenations.
func (b *batch) describe(o *op, flags uint32) {
	anonymous := flags&unix.NFT_SET_ANONYMOUS != 0
	if !anonymous && flags&setConcat == 0 {
		return
	}
	desc := b.nest(unix.NFTA_SET_DESC)
	if anonymous {
		b.u32(unix.NFTA_SET_DESC_SIZE, uint32(len(o.elements)))
	}
	if flags&setConcat != 0 {
		fields := b.nest(setDescConcat)
		for _, t := range o.set.Key {
			field := b.nest(unix.NFTA_LIST_ELEM)
			b.u32(setFieldLen, uint32(t.spec().size))
			b.unnest(field)
		}
		b.unnest(fields)
	}
	b.unnest(desc)
}

// userdata gives what nft wants to know of a set that the kernel does not.
func (s *Set) userdata() []byte {
	u := userdata.AppendUint32(nil, userdata.NFTNL_UDATA_SET_KEYBYTEORDER, uint32(orderOf(s.Key)))
	if len(s.Data) > 0 {
		u = userdata.AppendUint32(u, userdata.NFTNL_UDATA_SET_DATABYTEORDER, uint32(orderOf(s.Data)))
	}
	if s.Comment != "" {
		u = userdata.AppendString(u, userdata.NFTNL_UDATA_SET_COMMENT, s.Comment)
	}
	return u
}
