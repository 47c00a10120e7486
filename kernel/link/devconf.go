// SPDX-License-Identifier: Apache-2.0

package link

import (
	"strconv"

	"golang.org/x/sys/unix"
)

// ConfKey is one IPv4 setting of a link, as in net.ipv4.conf.LINK.
type ConfKey uint16

// The settings that are worth sending with a link, numbered as IPV4_DEVCONF_* in
// linux/ip.h.
const (
	Forwarding        ConfKey = 1
	ProxyARP          ConfKey = 3
	AcceptRedirects   ConfKey = 4
	SecureRedirects   ConfKey = 5
	SendRedirects     ConfKey = 6
	RPFilter          ConfKey = 8
	AcceptSourceRoute ConfKey = 9
	LogMartians       ConfKey = 11
	ARPFilter         ConfKey = 13
	ARPAnnounce       ConfKey = 18
	ARPIgnore         ConfKey = 19
	PromoteSecondary  ConfKey = 20
	ARPAccept         ConfKey = 21
	ARPNotify         ConfKey = 22
	AcceptLocal       ConfKey = 23
	ProxyARPPrivate   ConfKey = 25
	RouteLocalnet     ConfKey = 26
	DropGratuitousARP ConfKey = 31
)

// String returns the setting's name as in net.ipv4.conf, or its number.
func (k ConfKey) String() string {
	switch k {
	case Forwarding:
		return "forwarding"
	case ProxyARP:
		return "proxy_arp"
	case AcceptRedirects:
		return "accept_redirects"
	case SecureRedirects:
		return "secure_redirects"
	case SendRedirects:
		return "send_redirects"
	case RPFilter:
		return "rp_filter"
	case AcceptSourceRoute:
		return "accept_source_route"
	case LogMartians:
		return "log_martians"
	case ARPFilter:
		return "arp_filter"
	case ARPAnnounce:
		return "arp_announce"
	case ARPIgnore:
		return "arp_ignore"
	case PromoteSecondary:
		return "promote_secondaries"
	case ARPAccept:
		return "arp_accept"
	case ARPNotify:
		return "arp_notify"
	case AcceptLocal:
		return "accept_local"
	case ProxyARPPrivate:
		return "proxy_arp_pvlan"
	case RouteLocalnet:
		return "route_localnet"
	case DropGratuitousARP:
		return "drop_gratuitous_arp"
	default:
		return "conf" + strconv.Itoa(int(k))
	}
}

// Conf is one IPv4 setting of a link and its value.
type Conf struct {
	Key   ConfKey
	Value int32
}

// Confs are all IPv4 settings of a link as the kernel reports them, in the order
// of their numbers.
type Confs []int32

// Value returns one setting, and whether the kernel reported it.
func (c Confs) Value(k ConfKey) (int32, bool) {
	if k < 1 || int(k) > len(c) {
		return 0, false
	}
	return c[k-1], true
}

func decodeConfs(b []byte) Confs {
	out := make(Confs, 0, len(b)/4)
	for ; len(b) >= 4; b = b[4:] {
		out = append(out, int32(u32(b)))
	}
	return out
}

// encodeSpec appends the per-family settings of a link.
func encodeSpec(e *encoder, conf []Conf, mode AddrGenMode) {
	if len(conf) == 0 && mode == AddrGenKeep {
		return
	}
	spec := e.nest(unix.IFLA_AF_SPEC)
	if len(conf) > 0 {
		inet := e.nest(unix.AF_INET)
		list := e.nest(unix.IFLA_INET_CONF)
		for _, c := range conf {
			e.u32(uint16(c.Key), uint32(c.Value))
		}
		e.shut(list)
		e.shut(inet)
	}
	if mode != AddrGenKeep {
		inet6 := e.nest(unix.AF_INET6)
		e.u8(unix.IFLA_INET6_ADDR_GEN_MODE, uint8(mode)-1)
		e.shut(inet6)
	}
	e.shut(spec)
}

// decodeSpec reads what encodeSpec writes, in the form of a dump.
func decodeSpec(b []byte) (conf Confs, mode AddrGenMode) {
	for family := attrsOf(b); family.next(); {
		for a := attrsOf(family.val); a.next(); {
			switch {
			case family.typ == unix.AF_INET && a.typ == unix.IFLA_INET_CONF:
				conf = decodeConfs(a.val)
			case family.typ == unix.AF_INET6 && a.typ == unix.IFLA_INET6_ADDR_GEN_MODE:
				mode = AddrGenMode(u8(a.val) + 1)
			}
		}
	}
	return conf, mode
}
