// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// This file is the floor: the kernel objects of one attached endpoint, made by hand with the fewest round trips we know
// and nothing else: no record, no check, no undo, no lock, no name. What the product takes beyond it is the product's.
//
// Attaching is three netlink round trips: one nf_tables transaction with the endpoint's elements, one send in the
// host's stack for the pair of links, the port, the forwarding entry and the neighbours, and one send in the sandbox
// for everything inside. A sandbox from nothing adds no round trip, but a namespace, its pin and three settings.

// hub is the bridge of a network, made before anything is measured.
type hub struct {
	name     string
	index    uint32
	mac      [6]byte
	gateways [2]netip.Addr // IPv4, IPv6
	bits     [2]int
}

// spot is one endpoint to be: every name and number in it is unused.
type spot struct {
	hub       *hub
	link      string // the host-side link
	index     uint32 // of both ends
	mac       [6]byte
	addresses [3]netip.Addr // IPv4, IPv6, IPv6 link-local
	pin       string        // where the sandbox's namespace is, or is to be, pinned
}

// What marks the product's objects inside a sandbox.
const (
	floorProtocol = 67
	floorPriority = 20000
	floorTableBit = 1 << 31
	threadNetNS   = "/proc/thread-self/ns/net"
	addrGenNone   = 1 // IN6_ADDR_GEN_MODE_NONE
	ndaProtocol   = 12
)

// floor makes attachments. It belongs to one locked thread, whose network namespace is home between calls.
type floor struct {
	home  int // descriptor of the host's namespace
	route int // rtnetlink socket in it
	nft   int // nf_tables socket in it
	trips int // netlink messages sent and answered
	b     []byte
	in    [4096]byte
	seq   uint32
}

// newFloor moves the calling thread, which must be locked, into the namespace that home is open on.
func newFloor(home int) (*floor, error) {
	if err := unix.Setns(home, unix.CLONE_NEWNET); err != nil {
		return nil, fmt.Errorf("enter the floor's host: %w", err)
	}
	f := &floor{home: home, b: make([]byte, 0, 8192)}
	var err error
	if f.route, err = netlinkSocket(unix.NETLINK_ROUTE); err != nil {
		return nil, err
	}
	f.nft, err = netlinkSocket(unix.NETLINK_NETFILTER)
	return f, err
}

func netlinkSocket(protocol int) (int, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return -1, fmt.Errorf("netlink socket: %w", err)
	}
	return fd, nil
}

// close gives the sockets up.
func (f *floor) close() error { return errors.Join(unix.Close(f.route), unix.Close(f.nft)) }

// attachNew makes a namespace, pins it, and attaches it.
func (f *floor) attachNew(s *spot) error {
	file, err := unix.Open(s.pin, unix.O_RDONLY|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("create pin: %w", err)
	}
	_ = unix.Close(file) // an empty file, nothing to lose
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("unshare: %w", err)
	}
	if err := unix.Mount(threadNetNS, s.pin, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("bind mount: %w", err)
	}
	fd, err := unix.Open(threadNetNS, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open the namespace: %w", err)
	}
	return f.finish(fd, s)
}

// attachExisting attaches a namespace that is pinned already.
func (f *floor) attachExisting(s *spot) error {
	fd, err := unix.Open(s.pin, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open the namespace: %w", err)
	}
	if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter the namespace: %w", err)
	}
	return f.finish(fd, s)
}

// finish is what both have in common: fd is open on the namespace that the thread is in, and is closed. Rules come before
// the link, so that no packet passes without them.
func (f *floor) finish(fd int, s *spot) error {
	inside, err := netlinkSocket(unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	if err = unix.SetsockoptInt(inside, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, unix.RTNLGRP_IPV6_IFADDR); err == nil {
		err = f.elements(s)
	}
	if err == nil {
		err = f.outside(fd, s)
	}
	if err == nil {
		err = f.inside(inside, s)
	}
	return errors.Join(err, unix.Setns(f.home, unix.CLONE_NEWNET), unix.Close(inside), unix.Close(fd))
}

// elements commits what binds the port and the bridge to the addresses.
func (f *floor) elements(s *spot) error {
	f.b = f.b[:0]
	at := f.message(unix.NFNL_MSG_BATCH_BEGIN, 0)
	f.b = append(f.b, unix.AF_UNSPEC, 0, 0, unix.NFNL_SUBSYS_NFTABLES)
	f.end(at)
	sender := append(ifname(s.link), s.mac[0], s.mac[1], s.mac[2], s.mac[3], s.mac[4], s.mac[5], 0, 0)
	with := func(a netip.Addr) []byte { return append(slices.Clip(sender), a.AsSlice()...) }
	f.set(unix.NFPROTO_INET, "home4", append(ifname(s.hub.name), s.addresses[0].AsSlice()...))
	f.set(unix.NFPROTO_INET, "home6", append(ifname(s.hub.name), s.addresses[1].AsSlice()...))
	f.set(unix.NFPROTO_BRIDGE, "ports", ifname(s.link))
	f.set(unix.NFPROTO_BRIDGE, "self", append(ifname(s.link), ifname(s.link)...))
	f.set(unix.NFPROTO_BRIDGE, "macs", sender)
	f.set(unix.NFPROTO_BRIDGE, "bound4", with(s.addresses[0]))
	last := f.set(unix.NFPROTO_BRIDGE, "bound6", with(s.addresses[1]), with(s.addresses[2]))
	f.acknowledged(last)
	acked := f.seq
	at = f.message(unix.NFNL_MSG_BATCH_END, 0)
	f.b = append(f.b, unix.AF_UNSPEC, 0, 0, unix.NFNL_SUBSYS_NFTABLES)
	f.end(at)
	return f.exchange(f.nft, acked, "elements of "+s.link)
}

// set appends the message that puts keys into a set of one of the two tables.
func (f *floor) set(family byte, name string, keys ...[]byte) int {
	at := f.message(unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_NEWSETELEM, unix.NLM_F_CREATE)
	f.b = append(f.b, family, 0, 0, 0)
	f.text(unix.NFTA_SET_ELEM_LIST_TABLE, "cnm")
	f.text(unix.NFTA_SET_ELEM_LIST_SET, name)
	list := f.nest(unix.NFTA_SET_ELEM_LIST_ELEMENTS)
	for _, key := range keys {
		elem, value := f.nest(unix.NFTA_LIST_ELEM), f.nest(unix.NFTA_SET_ELEM_KEY)
		f.bytes(unix.NFTA_DATA_VALUE, key)
		f.shut(value)
		f.shut(elem)
	}
	f.shut(list)
	f.end(at)
	return at
}

func ifname(name string) []byte {
	var b [16]byte
	copy(b[:], name)
	return b[:]
}

// outside makes the pair with its far end in the namespace, and what the bridge and the host know of it. The near end is
// born down and gets its attributes before it comes up: in a message of their own, because a link that is up and has no
// carrier makes the kernel look at every IPv6 route of the host for each of them.
func (f *floor) outside(fd int, s *spot) error {
	f.b = f.b[:0]
	f.createPair(fd, s)
	at := f.message(unix.RTM_NEWLINK, 0)
	f.ifinfo(s.index, 0)
	spec, inet6 := f.nest(unix.IFLA_AF_SPEC), f.nest(unix.AF_INET6)
	f.bytes(unix.IFLA_INET6_ADDR_GEN_MODE, []byte{addrGenNone})
	f.shut(inet6)
	f.shut(spec)
	info := f.nest(unix.IFLA_LINKINFO)
	f.text(unix.IFLA_INFO_SLAVE_KIND, "bridge")
	data := f.nest(unix.IFLA_INFO_SLAVE_DATA)
	f.bytes(unix.IFLA_BRPORT_MODE, []byte{1})
	f.bytes(unix.IFLA_BRPORT_LEARNING, []byte{0})
	f.bytes(unix.IFLA_BRPORT_UNICAST_FLOOD, []byte{0})
	f.shut(data)
	f.shut(info)
	f.end(at)
	at = f.message(unix.RTM_NEWLINK, 0)
	f.ifinfo(s.index, unix.IFF_UP)
	f.end(at)
	f.neighbour(unix.AF_BRIDGE, s.index, netip.Addr{}, s.mac, 0)
	f.neighbour(unix.AF_INET, s.hub.index, s.addresses[0], s.mac, floorProtocol)
	last := f.neighbour(unix.AF_INET6, s.hub.index, s.addresses[1], s.mac, floorProtocol)
	f.acknowledged(last)
	return f.exchange(f.route, f.seq, "link "+s.link)
}

func (f *floor) createPair(fd int, s *spot) {
	at := f.message(unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL)
	f.ifinfo(s.index, 0)
	f.text(unix.IFLA_IFNAME, s.link)
	f.u32(unix.IFLA_MASTER, s.hub.index)
	f.oneQueue()
	info := f.nest(unix.IFLA_LINKINFO)
	f.text(unix.IFLA_INFO_KIND, "veth")
	data := f.nest(unix.IFLA_INFO_DATA)
	peer := f.nest(1) // VETH_INFO_PEER
	f.ifinfo(s.index, 0)
	f.text(unix.IFLA_IFNAME, "eth0")
	f.bytes(unix.IFLA_ADDRESS, s.mac[:])
	f.oneQueue()
	f.u32(unix.IFLA_NET_NS_FD, uint32(fd))
	f.shut(peer)
	f.shut(data)
	f.shut(info)
	f.end(at)
}

// oneQueue has a link born with the one queue of each direction that is used: from more the kernel takes the rest back, and waits for
// every reader of the list of links to have seen that.
func (f *floor) oneQueue() {
	f.u32(unix.IFLA_NUM_TX_QUEUES, 1)
	f.u32(unix.IFLA_NUM_RX_QUEUES, 1)
}

// neighbour appends a static forwarding entry (AF_BRIDGE) or a permanent neighbour.
func (f *floor) neighbour(family byte, link uint32, a netip.Addr, mac [6]byte, protocol byte) int {
	at := f.message(unix.RTM_NEWNEIGH, unix.NLM_F_CREATE|unix.NLM_F_REPLACE)
	state, flags := uint16(unix.NUD_PERMANENT), byte(0)
	if family == unix.AF_BRIDGE {
		state, flags = unix.NUD_NOARP, unix.NTF_MASTER
	}
	f.b = append(f.b, family, 0, 0, 0)
	f.b = binary.NativeEndian.AppendUint32(f.b, link)
	f.b = binary.NativeEndian.AppendUint16(f.b, state)
	f.b = append(f.b, flags, 0)
	if a.IsValid() {
		f.bytes(unix.NDA_DST, a.AsSlice())
	}
	f.bytes(unix.NDA_LLADDR, mac[:])
	if protocol != 0 {
		f.bytes(ndaProtocol, []byte{protocol})
	}
	f.end(at)
	return at
}

// inside gives the far end its settings, addresses, neighbours, routes and rules.
func (f *floor) inside(fd int, s *spot) error {
	f.b = f.b[:0]
	f.linksUp(s)
	for i, a := range s.addresses {
		f.address(s, i, a)
	}
	for i, family := range []byte{unix.AF_INET, unix.AF_INET6} {
		f.neighbour(family, s.index, s.hub.gateways[i], s.hub.mac, 0)
	}
	last := 0
	for i := range s.hub.gateways {
		all := netip.PrefixFrom(s.hub.gateways[i], 0).Masked()
		f.defaultRoute(s, all, unix.RT_TABLE_MAIN, i)
		f.connected(s, i)
		f.defaultRoute(s, all, floorTableBit|s.index, i)
		last = f.rule(s, i)
	}
	f.acknowledged(last)
	f.trips++
	if err := unix.Send(fd, f.b, 0); err != nil {
		return fmt.Errorf("inside of %s: send: %w", s.pin, err)
	}
	return f.serviceable(fd, s)
}

// serviceable reads the answer, and the announcements of the IPv6 addresses: until then a worker of the kernel has not made
// their local routes.
func (f *floor) serviceable(fd int, s *spot) error {
	for left := len(s.addresses); left > 0; { // one is IPv4: the answer stands for it
		n, err := unix.Read(fd, f.in[:])
		if err != nil || n < unix.SizeofNlMsghdr+4 {
			return fmt.Errorf("inside of %s: answer of %d bytes: %w", s.pin, n, err)
		}
		typ, errno := binary.NativeEndian.Uint16(f.in[4:]), -int32(binary.NativeEndian.Uint32(f.in[unix.SizeofNlMsghdr:]))
		switch {
		case typ == unix.NLMSG_ERROR && errno != 0:
			return fmt.Errorf("inside of %s: %w", s.pin, unix.Errno(errno))
		case typ == unix.NLMSG_ERROR && binary.NativeEndian.Uint32(f.in[8:]) == f.seq, typ == unix.RTM_NEWADDR:
			left--
		}
	}
	return nil
}

// linksUp raises loopback and the far end, whose settings come before it is up.
func (f *floor) linksUp(s *spot) {
	at := f.message(unix.RTM_NEWLINK, 0)
	f.ifinfo(1, unix.IFF_UP)
	f.end(at)
	at = f.message(unix.RTM_NEWLINK, 0)
	f.ifinfo(s.index, 0)
	spec, inet := f.nest(unix.IFLA_AF_SPEC), f.nest(unix.AF_INET)
	conf := f.nest(unix.IFLA_INET_CONF)
	f.u32(19, 1) // IPV4_DEVCONF_ARP_IGNORE
	f.u32(18, 2) // IPV4_DEVCONF_ARP_ANNOUNCE
	f.shut(conf)
	f.shut(inet)
	inet6 := f.nest(unix.AF_INET6)
	f.bytes(unix.IFLA_INET6_ADDR_GEN_MODE, []byte{addrGenNone})
	f.shut(inet6)
	f.shut(spec)
	f.end(at)
	at = f.message(unix.RTM_NEWLINK, 0)
	f.ifinfo(s.index, unix.IFF_UP)
	f.end(at)
}

func (f *floor) address(s *spot, i int, a netip.Addr) {
	at := f.message(unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_EXCL)
	family, bits, flags, scope := byte(unix.AF_INET6), 64, byte(unix.IFA_F_NODAD), byte(unix.RT_SCOPE_UNIVERSE)
	switch i {
	case 0:
		family, bits, flags = unix.AF_INET, s.hub.bits[0], 0
	case 1:
		bits = s.hub.bits[1]
	default:
		scope = unix.RT_SCOPE_LINK
	}
	f.b = append(f.b, family, byte(bits), flags, scope)
	f.b = binary.NativeEndian.AppendUint32(f.b, s.index)
	f.bytes(unix.IFA_LOCAL, a.AsSlice())
	f.bytes(unix.IFA_ADDRESS, a.AsSlice())
	if i == 0 {
		four := a.As4()
		n := binary.BigEndian.Uint32(four[:]) | (1<<(32-bits) - 1)
		f.bytes(unix.IFA_BROADCAST, binary.BigEndian.AppendUint32(nil, n))
	}
	f.end(at)
}

// openRoute begins a route of ours to dst in a table.
func (f *floor) openRoute(s *spot, dst netip.Prefix, table uint32, scope byte) int {
	at := f.message(unix.RTM_NEWROUTE, unix.NLM_F_CREATE|unix.NLM_F_EXCL)
	family := byte(unix.AF_INET)
	if dst.Addr().Is6() {
		family = unix.AF_INET6
	}
	f.b = append(f.b, family, byte(dst.Bits()), 0, 0, unix.RT_TABLE_UNSPEC, floorProtocol, scope, unix.RTN_UNICAST, 0, 0, 0, 0)
	f.u32(unix.RTA_TABLE, table)
	f.u32(unix.RTA_OIF, s.index)
	if dst.Bits() > 0 {
		f.bytes(unix.RTA_DST, dst.Addr().AsSlice())
	}
	return at
}

func (f *floor) defaultRoute(s *spot, all netip.Prefix, table uint32, i int) {
	at := f.openRoute(s, all, table, unix.RT_SCOPE_UNIVERSE)
	f.bytes(unix.RTA_GATEWAY, s.hub.gateways[i].AsSlice())
	if i == 1 {
		f.u32(unix.RTA_PRIORITY, 1024)
	}
	f.end(at)
}

// connected is the way to the subnet in the endpoint's own table.
func (f *floor) connected(s *spot, i int) {
	subnet := netip.PrefixFrom(s.addresses[i], s.hub.bits[i]).Masked()
	scope := byte(unix.RT_SCOPE_UNIVERSE)
	if i == 0 {
		scope = unix.RT_SCOPE_LINK
	}
	at := f.openRoute(s, subnet, floorTableBit|s.index, scope)
	if i == 0 {
		f.bytes(unix.RTA_PREFSRC, s.addresses[0].AsSlice())
	} else {
		f.u32(unix.RTA_PRIORITY, 1024)
	}
	f.end(at)
}

// rule leads what the endpoint's address sends to its own table.
func (f *floor) rule(s *spot, i int) int {
	at := f.message(unix.RTM_NEWRULE, unix.NLM_F_CREATE|unix.NLM_F_EXCL)
	family := []byte{unix.AF_INET, unix.AF_INET6}[i]
	f.b = append(f.b, family, 0, byte(s.addresses[i].BitLen()), 0, unix.RT_TABLE_UNSPEC, 0, 0, unix.FR_ACT_TO_TBL, 0, 0, 0, 0)
	f.bytes(unix.FRA_SRC, s.addresses[i].AsSlice())
	f.u32(unix.FRA_PRIORITY, floorPriority)
	f.u32(unix.FRA_TABLE, floorTableBit|s.index)
	f.bytes(unix.FRA_PROTOCOL, []byte{floorProtocol})
	f.end(at)
	return at
}

// exchange sends what was built and reads the answer to the message numbered acked.
func (f *floor) exchange(fd int, acked uint32, what string) error {
	f.trips++
	if err := unix.Send(fd, f.b, 0); err != nil {
		return fmt.Errorf("%s: send: %w", what, err)
	}
	n, err := unix.Read(fd, f.in[:])
	if err != nil {
		return fmt.Errorf("%s: receive: %w", what, err)
	}
	if n < unix.SizeofNlMsghdr+4 {
		return fmt.Errorf("%s: answer of %d bytes", what, n)
	}
	errno := -int32(binary.NativeEndian.Uint32(f.in[unix.SizeofNlMsghdr:]))
	if seq := binary.NativeEndian.Uint32(f.in[8:]); errno != 0 || seq != acked {
		return fmt.Errorf("%s: message %s: %w", what, strconv.Itoa(int(seq)-int(acked)), unix.Errno(errno))
	}
	return nil
}

// message begins a message, end finishes it.
func (f *floor) message(typ, flags uint16) int {
	at := len(f.b)
	f.seq++
	f.b = append(f.b, 0, 0, 0, 0)
	f.b = binary.NativeEndian.AppendUint16(f.b, typ)
	f.b = binary.NativeEndian.AppendUint16(f.b, flags|unix.NLM_F_REQUEST)
	f.b = binary.NativeEndian.AppendUint32(f.b, f.seq)
	f.b = append(f.b, 0, 0, 0, 0)
	return at
}

func (f *floor) end(at int) { binary.NativeEndian.PutUint32(f.b[at:], uint32(len(f.b)-at)) }

// nest begins an attribute that holds others, shut finishes it.
func (f *floor) nest(typ uint16) int {
	at := len(f.b)
	f.b = append(f.b, 0, 0)
	f.b = binary.NativeEndian.AppendUint16(f.b, typ|unix.NLA_F_NESTED)
	return at
}

func (f *floor) shut(at int) { binary.NativeEndian.PutUint16(f.b[at:], uint16(len(f.b)-at)) }

func (f *floor) bytes(typ uint16, v []byte) {
	f.b = binary.NativeEndian.AppendUint16(f.b, uint16(4+len(v)))
	f.b = binary.NativeEndian.AppendUint16(f.b, typ)
	f.b = append(f.b, v...)
	for len(f.b)%4 != 0 {
		f.b = append(f.b, 0)
	}
}

func (f *floor) text(typ uint16, s string) { f.bytes(typ, append([]byte(s), 0)) }

func (f *floor) u32(typ uint16, v uint32) { f.bytes(typ, binary.NativeEndian.AppendUint32(nil, v)) }

func (f *floor) ifinfo(index, flags uint32) {
	f.b = append(f.b, unix.AF_UNSPEC, 0, 0, 0)
	f.b = binary.NativeEndian.AppendUint32(f.b, index)
	f.b = binary.NativeEndian.AppendUint32(f.b, flags)
	f.b = binary.NativeEndian.AppendUint32(f.b, flags)
}

// acknowledged asks for an answer to the message at.
func (f *floor) acknowledged(at int) {
	h := f.b[at+6:]
	binary.NativeEndian.PutUint16(h, binary.NativeEndian.Uint16(h)|unix.NLM_F_ACK)
}
