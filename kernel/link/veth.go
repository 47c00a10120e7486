// SPDX-License-Identifier: Apache-2.0

package link

import "golang.org/x/sys/unix"

// Veth is a pair of virtual Ethernet links to create. Both ends are born down:
// the kernel refuses a peer that is up before its partner exists (ENOTCONN), and
// an end must not be up before its bridge port attributes are set. Each end has one queue in each direction, the one that the kernel
// uses of a pair: where it is not told (veth_init_queues, Linux 5.15 to 6.18) it makes one for each processor, takes the others
// back, and waits for all readers of the list of links to have seen that, which is a tenth of an attach.
type Veth struct {
	// Name of this end, in the namespace of the socket.
	Name string
	// Index wanted for this end; 0 lets the kernel choose. The kernel honours
	// Peer.Index only where this is set too.
	Index int
	// Master is the index of the bridge this end is put into; 0 for none.
	Master int
	// MAC of this end; zero lets the kernel choose one at random.
	MAC MAC
	// MTU in bytes; 0 means 1500.
	MTU int
	// Group is the link group, see Batch.DeleteGroup; 0 is the default group.
	Group uint32
	// Peer is the other end.
	Peer Peer
}

// Peer is the other end of a Veth.
type Peer struct {
	// Name of the end, in its own namespace.
	Name string
	// Index wanted for it, so that addresses and routes can be planned before it
	// exists; 0 lets the kernel choose. It needs Veth.Index. A taken index is EBUSY.
	Index int
	// MAC, MTU and Group are as those of Veth.
	MAC   MAC
	MTU   int
	Group uint32
	// Namespace is an open descriptor of the namespace to be born in, or Here for
	// that of the socket.
	Namespace int
}

// CreateVeth appends the message that creates a pair, with the peer inside its
// own namespace from the start: no link is moved. EEXIST if either name is taken.
// Attributes that the kernel takes only from an existing link (alias, address
// mode, port attributes, up) go into a SetLink behind it, in the same batch.
func (b *Batch) CreateVeth(v Veth) { b.add(createVeth(v)) }

type createVeth Veth

func (v createVeth) subject() subject {
	s := subject{op: "create veth", name: v.Name}
	if v.Peer.Namespace != Here {
		s.where = "in namespace"
	}
	return s
}

func (v createVeth) check() error {
	if err := checkNames(v.Name); err != nil {
		return err
	}
	if err := checkNames(v.Peer.Name); err != nil {
		return err
	}
	if v.Peer.Index != 0 && v.Index == 0 {
		return invalid("peer index %d without an index: the kernel ignores it, set both", v.Peer.Index)
	}
	return checkRange(v.Index, v.Master, v.MTU, v.Peer.Index, v.Peer.MTU, v.Peer.Namespace)
}

func (v createVeth) encode(e *encoder) (uint16, uint16) {
	e.ifinfo(v.Index, 0, 0)
	e.text(unix.IFLA_IFNAME, v.Name)
	e.index(unix.IFLA_MASTER, v.Master)
	e.mac(unix.IFLA_ADDRESS, v.MAC)
	e.index(unix.IFLA_MTU, v.MTU)
	e.some(unix.IFLA_GROUP, v.Group)
	e.oneQueue()
	info, data := e.openKind("veth")
	peer := e.nest(vethInfoPeer)
	e.ifinfo(v.Peer.Index, 0, 0)
	e.text(unix.IFLA_IFNAME, v.Peer.Name)
	e.mac(unix.IFLA_ADDRESS, v.Peer.MAC)
	e.index(unix.IFLA_MTU, v.Peer.MTU)
	e.some(unix.IFLA_GROUP, v.Peer.Group)
	e.oneQueue()
	e.index(unix.IFLA_NET_NS_FD, v.Peer.Namespace)
	e.shut(peer)
	e.shut(data)
	e.shut(info)
	return unix.RTM_NEWLINK, unix.NLM_F_CREATE | unix.NLM_F_EXCL
}

func (v createVeth) print(l *line) {
	l.number("index", v.Index)
	l.number("master", v.Master)
	l.mac("mac", v.MAC)
	l.number("mtu", v.MTU)
	l.unsigned("group", v.Group)
	l.word("peer", v.Peer.Name)
	l.number("index", v.Peer.Index)
	l.mac("mac", v.Peer.MAC)
	l.number("mtu", v.Peer.MTU)
	l.unsigned("group", v.Peer.Group)
}

// oneQueue has a link born with one queue in each direction.
func (e *encoder) oneQueue() {
	e.u32(unix.IFLA_NUM_TX_QUEUES, 1)
	e.u32(unix.IFLA_NUM_RX_QUEUES, 1)
}

// openKind starts the kind's own attributes of a link; shut both, data first.
func (e *encoder) openKind(kind string) (info, data int) {
	info = e.nest(unix.IFLA_LINKINFO)
	e.text(unix.IFLA_INFO_KIND, kind)
	return info, e.nest(unix.IFLA_INFO_DATA)
}
