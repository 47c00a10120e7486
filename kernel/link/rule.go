// SPDX-License-Identifier: Apache-2.0

package link

import (
	"net/netip"
	"strconv"

	"golang.org/x/sys/unix"
)

// Family is an address family.
type Family uint8

// The two families.
const (
	IPv4 Family = unix.AF_INET
	IPv6 Family = unix.AF_INET6
)

// String returns "ipv4" or "ipv6".
func (f Family) String() string {
	switch f {
	case IPv4:
		return "ipv4"
	case IPv6:
		return "ipv6"
	default:
		return "family" + strconv.Itoa(int(f))
	}
}

// RuleAction says what a rule does with a packet that it matches.
type RuleAction uint8

// The actions of linux/fib_rules.h that are of use to add; dumps show others too.
const (
	ToTable         RuleAction = unix.FR_ACT_TO_TBL
	RuleBlackhole   RuleAction = unix.FR_ACT_BLACKHOLE
	RuleUnreachable RuleAction = unix.FR_ACT_UNREACHABLE
	RuleProhibit    RuleAction = unix.FR_ACT_PROHIBIT
)

// String returns the action's name as ip-rule(8) has it.
func (a RuleAction) String() string {
	return nameOf([]string{
		"unspec", "lookup", "goto", "nop", "res3", "res4",
		"blackhole", "unreachable", "prohibit",
	}, int(a))
}

// Rule chooses a routing table for packets. It is what a batch adds and what a
// dump reads.
type Rule struct {
	// Family of the rule; may be left out where From or To is set.
	Family Family
	// Priority orders the rules, lowest first; 0 lets the kernel choose one below
	// the lowest in use, which is seldom meant.
	Priority uint32
	// From and To match addresses; the zero prefix matches all.
	From, To netip.Prefix
	// IIF and OIF match interface names, which need not exist.
	IIF, OIF string
	// Mark matches the packet mark under Mask; a Mask of 0 means all bits where
	// Mark is set.
	Mark, Mask uint32
	// Action is ToTable where zero.
	Action RuleAction
	// Table to look up.
	Table uint32
	// Protocol marks who made the rule, RTPROT_STATIC (4) where zero; in a deletion
	// zero matches every one.
	Protocol uint8
}

// AddRule appends the message that adds a rule: EEXIST if there is an equal one.
func (b *Batch) AddRule(r Rule) {
	b.add(ruleChange{r, "add rule", unix.RTM_NEWRULE, unix.NLM_F_CREATE | unix.NLM_F_EXCL})
}

// DeleteRule appends the message that deletes the first rule that matches every
// field that is set: ENOENT if there is none.
func (b *Batch) DeleteRule(r Rule) { b.add(ruleChange{r, "delete rule", unix.RTM_DELRULE, 0}) }

type ruleChange struct {
	Rule
	op         string
	typ, flags uint16
}

func (r ruleChange) family() Family {
	switch {
	case r.From.IsValid():
		return Family(familyOf(r.From.Addr()))
	case r.To.IsValid():
		return Family(familyOf(r.To.Addr()))
	default:
		return r.Family
	}
}

func (r ruleChange) subject() subject {
	name := r.family().String()
	if r.Priority != 0 {
		name += " priority " + strconv.FormatUint(uint64(r.Priority), 10)
	}
	return subject{op: r.op, name: name}
}

func (r ruleChange) check() error {
	family := r.family()
	if family != IPv4 && family != IPv6 {
		return invalid("family %d: give IPv4 or IPv6, or a prefix to match", r.Family)
	}
	if r.Family != 0 && r.Family != family {
		return invalid("%v rule with a prefix of %v: give one family", r.Family, family)
	}
	for _, p := range []netip.Prefix{r.From, r.To} {
		switch {
		case !p.IsValid():
			continue
		case Family(familyOf(p.Addr())) != family || p.Addr().Is4In6():
			return invalid("prefix %v in an %v rule: give one family", p, family)
		case p.Masked() != p:
			return invalid("prefix %v: has host bits, use %v", p, p.Masked())
		}
	}
	for _, name := range []string{r.IIF, r.OIF} {
		if name == "" {
			continue
		}
		if err := checkName(name); err != nil {
			return err
		}
	}
	if r.typ == unix.RTM_NEWRULE && r.Action <= ToTable && r.Table == 0 {
		return invalid("table 0: name the table to look up")
	}
	return nil
}

func (r ruleChange) encode(e *encoder) (uint16, uint16) {
	action, protocol := r.Action, r.Protocol
	if r.typ == unix.RTM_NEWRULE {
		if action == 0 {
			action = ToTable
		}
		if protocol == 0 {
			protocol = unix.RTPROT_STATIC
		}
	}
	short := uint8(unix.RT_TABLE_UNSPEC)
	if r.Table <= 0xff {
		short = uint8(r.Table)
	}
	e.b = append(e.b, uint8(r.family()), bits(r.To), bits(r.From), 0, short, 0, 0, uint8(action))
	e.long(0)
	if bits(r.From) > 0 {
		e.addr(unix.FRA_SRC, r.From.Addr())
	}
	if bits(r.To) > 0 {
		e.addr(unix.FRA_DST, r.To.Addr())
	}
	e.text(unix.FRA_IIFNAME, r.IIF)
	e.text(unix.FRA_OIFNAME, r.OIF)
	e.some(unix.FRA_PRIORITY, r.Priority)
	e.some(unix.FRA_TABLE, r.Table)
	if r.Mark != 0 || r.Mask != 0 {
		e.u32(unix.FRA_FWMARK, r.Mark)
		e.some(unix.FRA_FWMASK, r.Mask)
	}
	if protocol != 0 {
		e.u8(unix.FRA_PROTOCOL, protocol)
	}
	return r.typ, r.flags
}

// bits is the length of a prefix, 0 for the zero prefix, which matches all.
func bits(p netip.Prefix) uint8 {
	if !p.IsValid() {
		return 0
	}
	return uint8(p.Bits())
}

func (r ruleChange) print(l *line) {
	l.prefix("from", r.From)
	l.prefix("to", r.To)
	l.word("iif", r.IIF)
	l.word("oif", r.OIF)
	if r.Mark != 0 || r.Mask != 0 {
		l.word("mark", "0x"+strconv.FormatUint(uint64(r.Mark), 16))
	}
	if r.Mask != 0 {
		l.word("mask", "0x"+strconv.FormatUint(uint64(r.Mask), 16))
	}
	if r.Action > ToTable {
		l.word("action", r.Action.String())
	}
	l.unsigned("table", r.Table)
	l.number("protocol", int(r.Protocol))
}

func decodeRule(b []byte) (Rule, error) {
	h, at, err := split(b, sizeRoute, "rule")
	if err != nil {
		return Rule{}, err
	}
	r := Rule{Family: Family(h[0]), Table: uint32(h[4]), Action: RuleAction(h[7])}
	for at.next() {
		switch at.typ {
		case unix.FRA_SRC:
			r.From = prefixOf(addrOf(at.val), h[2], h[0])
		case unix.FRA_DST:
			r.To = prefixOf(addrOf(at.val), h[1], h[0])
		case unix.FRA_IIFNAME:
			r.IIF = str(at.val)
		case unix.FRA_OIFNAME:
			r.OIF = str(at.val)
		case unix.FRA_PRIORITY:
			r.Priority = u32(at.val)
		case unix.FRA_TABLE:
			r.Table = u32(at.val)
		case unix.FRA_FWMARK:
			r.Mark = u32(at.val)
		case unix.FRA_FWMASK:
			r.Mask = u32(at.val)
		case unix.FRA_PROTOCOL:
			r.Protocol = u8(at.val)
		}
	}
	return r, nil
}
