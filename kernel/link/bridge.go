// SPDX-License-Identifier: Apache-2.0

package link

import (
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// Bridge is a bridge to create.
type Bridge struct {
	// Name in the namespace of the socket.
	Name string
	// Index wanted; 0 lets the kernel choose.
	Index int
	// MAC; zero lets the kernel choose. A bridge without one of its own changes it
	// with its ports, so set it.
	MAC MAC
	// MTU in bytes; 0 follows the ports, any other value is fixed.
	MTU int
	// Group is the link group; 0 is the default group.
	Group uint32
	// Options are the bridge's own settings.
	Options BridgeOptions
}

// BridgeOptions are the settings of a bridge. Zero values keep the kernel's
// defaults; read back from the kernel every value is set.
type BridgeOptions struct {
	// STP is the kernel's spanning tree protocol, off by default.
	STP Switch
	// Ageing is how long a learned address is kept, 300 s by default, in steps of 10 ms.
	Ageing time.Duration
	// ForwardDelay is the time in the listening and in the learning state, 15 s by
	// default, in steps of 10 ms. Without STP 0 is what the kernel acts on.
	ForwardDelay time.Duration
	// MulticastSnooping is IGMP and MLD snooping, on by default.
	MulticastSnooping Switch
	// MulticastRouter says whether the bridge itself wants all multicast.
	MulticastRouter MulticastRouter
	// VLANFiltering is off by default. A kernel without CONFIG_BRIDGE_VLAN_FILTERING
	// refuses On and Off alike (EOPNOTSUPP).
	VLANFiltering Switch
	// NFCallIPTables, NFCallIP6Tables and NFCallARPTables hand bridged packets to
	// the network layer's hooks of this family on this bridge alone. They add to the
	// namespace's net.bridge.bridge-nf-call-* settings and cannot switch those off.
	NFCallIPTables  Switch
	NFCallIP6Tables Switch
	NFCallARPTables Switch
}

// MulticastRouter says whether multicast goes to a bridge or port that no
// listener announced itself on.
type MulticastRouter uint8

// The values of IFLA_BR_MCAST_ROUTER, one up, so that zero changes nothing.
const (
	MulticastRouterKeep MulticastRouter = iota
	MulticastRouterOff
	MulticastRouterLearned
	MulticastRouterAlways
)

// String returns "keep", "off", "learned" or "always".
func (r MulticastRouter) String() string {
	return nameOf([]string{"keep", "off", "learned", "always"}, int(r))
}

// CreateBridge appends the message that creates a bridge, down. EEXIST if the
// name is taken. Its IPv4 settings, address mode, alias and up go into a SetLink
// behind it, in the same batch.
func (b *Batch) CreateBridge(v Bridge) { b.add(createBridge(v)) }

type createBridge Bridge

func (v createBridge) subject() subject { return subject{op: "create bridge", name: v.Name} }

func (v createBridge) check() error {
	if err := checkName(v.Name); err != nil {
		return err
	}
	if v.Options.Ageing < 0 || v.Options.ForwardDelay < 0 {
		return invalid("negative time %v: use 0 for the default", min(v.Options.Ageing, v.Options.ForwardDelay))
	}
	if v.Options.MulticastRouter > MulticastRouterAlways {
		return invalid("multicast router %d: use off, learned or always", v.Options.MulticastRouter)
	}
	return checkRange(v.Index, v.MTU)
}

func (v createBridge) encode(e *encoder) (uint16, uint16) {
	e.ifinfo(v.Index, 0, 0)
	e.text(unix.IFLA_IFNAME, v.Name)
	e.mac(unix.IFLA_ADDRESS, v.MAC)
	e.index(unix.IFLA_MTU, v.MTU)
	e.some(unix.IFLA_GROUP, v.Group)
	info, data := e.openKind("bridge")
	v.Options.encode(e)
	e.shut(data)
	e.shut(info)
	return unix.RTM_NEWLINK, unix.NLM_F_CREATE | unix.NLM_F_EXCL
}

func (o *BridgeOptions) encode(e *encoder) {
	if o.STP != Keep {
		e.u32(unix.IFLA_BR_STP_STATE, uint32(o.STP.bit()))
	}
	e.index(unix.IFLA_BR_AGEING_TIME, ticks(o.Ageing))
	e.index(unix.IFLA_BR_FORWARD_DELAY, ticks(o.ForwardDelay))
	e.toggle(unix.IFLA_BR_MCAST_SNOOPING, o.MulticastSnooping)
	if o.MulticastRouter != MulticastRouterKeep {
		e.u8(unix.IFLA_BR_MCAST_ROUTER, uint8(o.MulticastRouter)-1)
	}
	e.toggle(unix.IFLA_BR_VLAN_FILTERING, o.VLANFiltering)
	e.toggle(unix.IFLA_BR_NF_CALL_IPTABLES, o.NFCallIPTables)
	e.toggle(unix.IFLA_BR_NF_CALL_IP6TABLES, o.NFCallIP6Tables)
	e.toggle(unix.IFLA_BR_NF_CALL_ARPTABLES, o.NFCallARPTables)
}

func (v createBridge) print(l *line) {
	l.number("index", v.Index)
	l.mac("mac", v.MAC)
	l.number("mtu", v.MTU)
	l.unsigned("group", v.Group)
	v.Options.describe(l)
}

func (o *BridgeOptions) describe(l *line) {
	l.toggle("stp", o.STP)
	l.duration("ageing", o.Ageing)
	l.duration("forward-delay", o.ForwardDelay)
	l.toggle("multicast-snooping", o.MulticastSnooping)
	if o.MulticastRouter != MulticastRouterKeep {
		l.word("multicast-router", o.MulticastRouter.String())
	}
	l.toggle("vlan-filtering", o.VLANFiltering)
	l.toggle("nf-call-iptables", o.NFCallIPTables)
	l.toggle("nf-call-ip6tables", o.NFCallIP6Tables)
	l.toggle("nf-call-arptables", o.NFCallARPTables)
}

func decodeBridge(b []byte) BridgeOptions {
	var o BridgeOptions
	for a := attrsOf(b); a.next(); {
		switch a.typ {
		case unix.IFLA_BR_STP_STATE:
			o.STP = switchOf32(a.val)
		case unix.IFLA_BR_AGEING_TIME:
			o.Ageing = ticksOf(a.val)
		case unix.IFLA_BR_FORWARD_DELAY:
			o.ForwardDelay = ticksOf(a.val)
		case unix.IFLA_BR_MCAST_SNOOPING:
			o.MulticastSnooping = switchOf(a.val)
		case unix.IFLA_BR_MCAST_ROUTER:
			o.MulticastRouter = MulticastRouter(u8(a.val) + 1)
		case unix.IFLA_BR_VLAN_FILTERING:
			o.VLANFiltering = switchOf(a.val)
		case unix.IFLA_BR_NF_CALL_IPTABLES:
			o.NFCallIPTables = switchOf(a.val)
		case unix.IFLA_BR_NF_CALL_IP6TABLES:
			o.NFCallIP6Tables = switchOf(a.val)
		case unix.IFLA_BR_NF_CALL_ARPTABLES:
			o.NFCallARPTables = switchOf(a.val)
		}
	}
	return o
}

func ticks(d time.Duration) int { return int(d * userHZ / time.Second) }

func ticksOf(b []byte) time.Duration { return time.Duration(u32(b)) * (time.Second / userHZ) }

func switchOf32(b []byte) Switch {
	if u32(b) != 0 {
		return On
	}
	return Off
}

func (l *line) duration(key string, d time.Duration) {
	if d != 0 {
		l.word(key, strconv.FormatInt(d.Milliseconds(), 10)+"ms")
	}
}
