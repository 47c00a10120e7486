// SPDX-License-Identifier: Apache-2.0

package probe

import (
	"encoding/binary"
	"fmt"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// FlushRuleset sends what `nft flush ruleset` sends, in the namespace of the calling thread: in one batch, the deletion of
// a table of no family and no name, which the kernel takes for all tables that the sender may delete.
func FlushRuleset() error {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return fmt.Errorf("flush ruleset: %w", err)
	}
	defer conn.Close()
	header := func(resource uint16) []byte { // struct nfgenmsg
		return binary.BigEndian.AppendUint16([]byte{unix.AF_UNSPEC, unix.NFNETLINK_V0}, resource)
	}
	message := func(typ uint16, flags netlink.HeaderFlags, resource uint16) netlink.Message {
		return netlink.Message{Header: netlink.Header{Type: netlink.HeaderType(typ), Flags: netlink.Request | flags}, Data: header(resource)}
	}
	_, err = conn.SendMessages([]netlink.Message{
		message(unix.NFNL_MSG_BATCH_BEGIN, 0, unix.NFNL_SUBSYS_NFTABLES),
		message(unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_DELTABLE, netlink.Acknowledge, 0),
		message(unix.NFNL_MSG_BATCH_END, 0, unix.NFNL_SUBSYS_NFTABLES),
	})
	if err != nil {
		return fmt.Errorf("flush ruleset: %w", err)
	}
	if _, err := conn.Receive(); err != nil {
		return fmt.Errorf("flush ruleset: %w", err)
	}
	return nil
}
