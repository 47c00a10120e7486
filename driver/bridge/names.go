// SPDX-License-Identifier: Apache-2.0

package bridge

import (
	"crypto/sha256"
	"encoding/binary"
	"net/netip"
	"strconv"
	"strings"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/kernel/link"
)

// Names of host-side links, 15 characters at most. The prefixes are how a restart and the firewall know them.
const (
	hubPrefix   = "cn-" // + 12 digits of the network's ID: the bridge that has the gateway addresses
	portPrefix  = "cnv" // + 12 digits of the join's number: an endpoint's host side
	waitPrefix  = "cnw" // + the same digits: the other side, where it waits to be moved into its sandbox
	shardPrefix = "cns" // + 9 of the network + 2 of the shard: a further bridge of the network
	trunkPrefix = "cnt" // + 9 of the network + 2 of the shard + h (at the hub) or s (at the shard)
)

// ours tells whether a link has the name of one of ours: the prefix and just as many digits. Others may begin alike.
func ours(name string) bool {
	const prefix = len(hubPrefix)
	if len(name) < prefix {
		return false
	}
	digits := 12
	switch name[:prefix] {
	case hubPrefix, portPrefix, waitPrefix, trunkPrefix:
	case shardPrefix:
		digits = 11
	default:
		return false
	}
	return len(name) == prefix+digits && strings.Trim(name[prefix:], "0123456789abcdefghijklmnopqrstuvwxyz") == ""
}

// hubName is the network's bridge.
func hubName(nw cnm.Network, s settings) string {
	if s.bridge != "" {
		return s.bridge
	}
	return hubPrefix + string(nw.ID)[:12]
}

// portName is the host side of a join: it never comes again, as numbers do not.
func portName(number uint64) string { return portPrefix + base36(number, 12) }

// waitName is the other side of a join into a sandbox whose namespace is not known yet.
func waitName(number uint64) string { return waitPrefix + base36(number, 12) }

// shardName, trunkHub and trunkShard name what belongs to shard i (1 and up) of a network.
func shardName(id cnm.NetworkID, i int) string  { return shardPrefix + shardSuffix(id, i) }
func trunkHub(id cnm.NetworkID, i int) string   { return trunkPrefix + shardSuffix(id, i) + "h" }
func trunkShard(id cnm.NetworkID, i int) string { return trunkPrefix + shardSuffix(id, i) + "s" }

// shardDigits are those that a network's shards and trunks have in common.
const shardDigits = 9

func shardSuffix(id cnm.NetworkID, i int) string {
	return base36(digest("shard", string(id)), shardDigits) + base36(uint64(i), 2)
}

// base36 is the low digits of n, padded with zeros to width.
func base36(n uint64, width int) string {
	s := strconv.FormatUint(n, 36)
	if len(s) >= width {
		return s[len(s)-width:]
	}
	return strings.Repeat("0", width-len(s)) + s
}

// linkIndex is the interface index of both sides of a join, chosen so that addresses and forwarding entries can name it in
// the batch that makes the links. It lies far above what the kernel gives by itself.
func linkIndex(number uint64) int { return 1<<20 + int(number%(1<<30)) }

// digest is 64 bits that depend on all parts.
func digest(parts ...string) uint64 {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return binary.BigEndian.Uint64(sum[:8])
}

// macOf is a locally administered, individual address (IEEE 802, second digit 2) that depends on all parts.
func macOf(parts ...string) cnm.MAC {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], digest(parts...))
	m := cnm.MAC(b[:6])
	m[0] = m[0]&^0x03 | 0x02
	return m
}

// linkLocal is the fe80:: address of a MAC by EUI-64 (RFC 4291, appendix A).
func linkLocal(m cnm.MAC) netip.Addr {
	return netip.AddrFrom16([16]byte{0xfe, 0x80, 8: m[0] ^ 0x02, 9: m[1], 10: m[2], 11: 0xff, 12: 0xfe, 13: m[3], 14: m[4], 15: m[5]})
}

func macLink(m cnm.MAC) link.MAC { return link.MAC(m) }
