// SPDX-License-Identifier: Apache-2.0

package link

// Constants of include/uapi/linux that golang.org/x/sys/unix does not carry.
const (
	vethInfoPeer = 1 // VETH_INFO_PEER, linux/veth.h

	aliasSize = 256 // IFALIASZ, linux/if.h, with the terminating zero

	macvlanMacaddrSet = 3 // MACVLAN_MACADDR_SET, linux/if_link.h

	ndaProtocol = 12 // NDA_PROTOCOL, linux/neighbour.h, Linux 5.0

	extMaskSkipStats = 1 << 3 // RTEXT_FILTER_SKIP_STATS, linux/rtnetlink.h

	nlaTypeMask = 0x3fff // NLA_TYPE_MASK, linux/netlink.h
	nlaNested   = 0x8000 // NLA_F_NESTED

	// userHZ is the tick rate of times in bridge attributes. It is part of the
	// ABI on every architecture that Go runs on, whatever CONFIG_HZ says.
	userHZ = 100
)

// Sizes of fixed headers, from include/uapi/linux.
const (
	sizeHeader    = 16 // struct nlmsghdr
	sizeAttr      = 4  // struct nlattr
	sizeIfinfo    = 16 // struct ifinfomsg
	sizeIfaddr    = 8  // struct ifaddrmsg
	sizeRoute     = 12 // struct rtmsg and struct fib_rule_hdr
	sizeNeighbour = 12 // struct ndmsg
	sizeGen       = 4  // struct rtgenmsg, padded
	sizeErrno     = 4
)
