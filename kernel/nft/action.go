// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// NATFlags choose how a port is taken when an address is translated.
type NATFlags uint8

// The flags of translation.
const (
	Random      NATFlags = 1 << iota // any free port
	FullyRandom                      // the same, hard to guess
	Persistent                       // the same address for a client's every connection
)

// String writes the flags as nft does, with a space before them.
func (f NATFlags) String() string {
	var names []string
	for _, flag := range []struct {
		bit  NATFlags
		name string
	}{{Random, "random"}, {FullyRandom, "fully-random"}, {Persistent, "persistent"}} {
		if f&flag.bit != 0 {
			names = append(names, flag.name)
		}
	}
	if len(names) == 0 {
		return ""
	}
	return " " + strings.Join(names, ",")
}

// Masquerade gives the packet the address of the interface it leaves by.
func Masquerade(flags NATFlags) Statement {
	return statement(func(c *compiler) {
		c.expr(&expr.Masq{
			Random: flags&Random != 0, FullyRandom: flags&FullyRandom != 0,
			Persistent: flags&Persistent != 0,
		})
		c.say("masquerade" + flags.String())
	})
}

// DNATMap sends packets of an address family on to the address and port that
// the map of that name has for the key. The map's data is `ipv4_addr .
// inet_service`, or the same with IPv6. A key that is not in it goes on.
func DNATMap(family Family, key Concatenation, name string) Statement {
	return statement(func(c *compiler) {
		size, ok := addrSize(family)
		if !ok {
			c.fail("dnat of family %s", family)
			return
		}
		c.lookup(key, expr.Lookup{SetName: name, IsDestRegSet: true, DestRegister: unix.NFT_REG_1})
		c.expr(&expr.NAT{
			Type: expr.NATTypeDestNAT, Family: uint32(family),
			RegAddrMin: unix.NFT_REG_1, RegProtoMin: register(size),
		})
		c.say("dnat" + c.natFamily(family) + " to " + key.String() + " map @" + name)
	})
}

// SNATMap gives packets of an address family the source address that the map of
// that name has for the key. A key that is not in it goes on.
func SNATMap(family Family, key Concatenation, name string) Statement {
	return statement(func(c *compiler) {
		if _, ok := addrSize(family); !ok {
			c.fail("snat of family %s", family)
			return
		}
		c.lookup(key, expr.Lookup{SetName: name, IsDestRegSet: true, DestRegister: unix.NFT_REG_1})
		c.expr(&expr.NAT{Type: expr.NATTypeSourceNAT, Family: uint32(family), RegAddrMin: unix.NFT_REG_1})
		c.say("snat" + c.natFamily(family) + " to " + key.String() + " map @" + name)
	})
}

// DNATTo sends packets on to one address and port; port 0 keeps theirs. With a
// port the rule must have matched a transport protocol.
func DNATTo(to netip.AddrPort) Statement {
	return statement(func(c *compiler) {
		nat, text := c.natAddr(expr.NATTypeDestNAT, to.Addr())
		if to.Port() != 0 {
			port := Port(to.Port())
			reg := register(16)
			c.expr(&expr.Immediate{Register: reg, Data: port.bytes()})
			nat.RegProtoMin, nat.Specified = reg, true
			text = netip.AddrPortFrom(to.Addr().Unmap(), to.Port()).String()
		}
		c.expr(nat)
		c.say("dnat" + c.natFamily(Family(nat.Family)) + " to " + text)
	})
}

// SNATTo gives packets one source address.
func SNATTo(a netip.Addr, flags NATFlags) Statement {
	return statement(func(c *compiler) {
		nat, text := c.natAddr(expr.NATTypeSourceNAT, a)
		nat.Random, nat.FullyRandom = flags&Random != 0, flags&FullyRandom != 0
		nat.Persistent = flags&Persistent != 0
		c.expr(nat)
		c.say("snat" + c.natFamily(Family(nat.Family)) + " to " + text + flags.String())
	})
}

// natAddr loads an address into register 1 and prepares the translation to it.
func (c *compiler) natAddr(typ expr.NATType, a netip.Addr) (*expr.NAT, string) {
	t := Addr(a)
	if err := t.Err(); err != nil {
		c.fail("translation to %s: %w", a, err)
	}
	family := IPv6
	if a.Unmap().Is4() {
		family = IPv4
	}
	c.expr(&expr.Immediate{Register: unix.NFT_REG_1, Data: t.bytes()})
	return &expr.NAT{Type: typ, Family: uint32(family), RegAddrMin: unix.NFT_REG_1}, a.Unmap().String()
}

// natFamily writes the family of a translation where the table does not tell it.
func (c *compiler) natFamily(f Family) string {
	if c.family == f {
		return ""
	}
	return " " + f.String()
}

// addrSize gives the length of an address of a family.
func addrSize(f Family) (int, bool) {
	switch f { //nolint:exhaustive // other families have no addresses to translate
	case IPv4:
		return 4, true
	case IPv6:
		return 16, true
	default:
		return 0, false
	}
}

// Redirect sends packets to this machine; port 0 keeps theirs. With a port the
// rule must have matched a transport protocol.
func Redirect(port uint16) Statement {
	return statement(func(c *compiler) {
		if port == 0 {
			c.expr(&expr.Redir{})
			c.say("redirect")
			return
		}
		value := Port(port)
		c.expr(&expr.Immediate{Register: unix.NFT_REG_1, Data: value.bytes()})
		c.expr(&expr.Redir{RegisterProtoMin: unix.NFT_REG_1, Flags: unix.NF_NAT_RANGE_PROTO_SPECIFIED})
		c.say(fmt.Sprintf("redirect to :%d", port))
	})
}

// Reject drops the packet and says so to its sender: port unreachable. Not for
// bridge tables.
func Reject() Statement {
	return statement(func(c *compiler) {
		switch c.family { //nolint:exhaustive // the kernel refuses the others
		case IPv4:
			c.reject(unix.NFT_REJECT_ICMP_UNREACH, 3)
		case IPv6:
			c.reject(unix.NFT_REJECT_ICMP_UNREACH, 4)
		default:
			c.reject(unix.NFT_REJECT_ICMPX_UNREACH, unix.NFT_REJECT_ICMPX_PORT_UNREACH)
		}
		c.say("reject")
	})
}

// RejectAdmin drops the packet and says so to its sender: administratively
// prohibited. Not for bridge tables.
func RejectAdmin() Statement {
	return statement(func(c *compiler) {
		switch c.family { //nolint:exhaustive // the kernel refuses the others
		case IPv4:
			c.reject(unix.NFT_REJECT_ICMP_UNREACH, 13)
			c.say("reject with icmp admin-prohibited")
		case IPv6:
			c.reject(unix.NFT_REJECT_ICMP_UNREACH, 1)
			c.say("reject with icmpv6 admin-prohibited")
		default:
			c.reject(unix.NFT_REJECT_ICMPX_UNREACH, unix.NFT_REJECT_ICMPX_ADMIN_PROHIBITED)
			c.say("reject with icmpx admin-prohibited")
		}
	})
}

// RejectTCP drops the packet and resets its connection. It matches TCP.
func RejectTCP() Statement {
	return statement(func(c *compiler) {
		if c.proto.value == 0 {
			L4Proto.Proto(TCP).compile(c)
		} else if c.proto.value != uint64(TCP) {
			c.fail("reject with tcp reset after a match of %s", Protocol(c.proto.value))
		}
		c.reject(unix.NFT_REJECT_TCP_RST, 0)
		c.say("reject with tcp reset")
	})
}

func (c *compiler) reject(typ uint32, code uint8) {
	c.expr(&expr.Reject{Type: typ, Code: code})
}

// Counter counts packets and bytes.
func Counter() Statement {
	return statement(func(c *compiler) {
		c.expr(&expr.Counter{})
		c.say("counter")
	})
}

// NoTrack keeps the packet out of connection tracking. For chains at priority
// raw.
func NoTrack() Statement {
	return statement(func(c *compiler) {
		c.expr(&expr.Notrack{})
		c.say("notrack")
	})
}

// Per is a unit of time that a rate is given in.
type Per uint64

// The units of rates, in seconds.
const (
	Second Per = 1
	Minute Per = 60
	Hour   Per = 60 * 60
	Day    Per = 24 * 60 * 60
)

// String writes the unit as nft does.
func (p Per) String() string {
	switch p {
	case Second:
		return "second"
	case Minute:
		return "minute"
	case Hour:
		return "hour"
	case Day:
		return "day"
	default:
		return "invalid unit"
	}
}

// DefaultBurst is the burst that nft gives a rate without one.
const DefaultBurst = 5

// Limit matches as long as packets come no faster than rate, once burst packets
// have passed.
func Limit(rate uint64, per Per, burst uint32) Statement { return limit(rate, per, burst, false) }

// LimitOver matches the packets that come faster than rate, once burst packets
// have passed.
func LimitOver(rate uint64, per Per, burst uint32) Statement { return limit(rate, per, burst, true) }

func limit(rate uint64, per Per, burst uint32, over bool) Statement {
	return statement(func(c *compiler) {
		if rate == 0 || burst == 0 {
			c.fail("limit rate %d/%s burst %d packets: neither may be 0", rate, per, burst)
			return
		}
		c.expr(&expr.Limit{Type: expr.LimitTypePkts, Rate: rate, Unit: expr.LimitTime(per), Burst: burst, Over: over})
		text := "limit rate "
		if over {
			text += "over "
		}
		text += fmt.Sprintf("%d/%s", rate, per)
		if burst != DefaultBurst {
			text += fmt.Sprintf(" burst %d packets", burst)
		}
		c.say(text)
	})
}
