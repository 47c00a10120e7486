// SPDX-License-Identifier: Apache-2.0

package nft_test

import (
	"fmt"
	"net/netip"

	"github.com/libnetwork/cnm/kernel/nft"
)

// A transaction is a plain value that can be printed; [nft.Conn.Run] makes it
// real.
func Example() {
	table := nft.TableID{Family: nft.Inet, Name: "demo"}
	lan := &nft.Set{Table: table, Name: "lan", Key: []nft.Type{nft.TypeIPv4}, Interval: true}
	chain := &nft.Chain{Table: table, Name: "in", Hook: nft.Input, Policy: nft.PolicyDrop}

	var tx nft.Tx
	tx.AddTable(nft.Table{TableID: table, Flags: nft.Owner | nft.Persist})
	tx.AddSet(lan)
	tx.AddElements(lan, nft.Within(netip.MustParsePrefix("192.0.2.0/24")))
	tx.AddChain(chain)
	tx.AddRule(chain, nft.NewRule("from our LAN", nft.IPSaddr.In("lan"), nft.TCPDport.Num(22, 443), nft.Accept()))
	fmt.Print(tx.String())
	// Output:
	// add table inet demo { flags owner,persist; }
	// add set inet demo lan { type ipv4_addr; flags interval; }
	// add element inet demo lan { 192.0.2.0/24 }
	// add chain inet demo in { type filter hook input priority filter; policy drop; }
	// add rule inet demo in ip saddr @lan tcp dport { 22, 443 } accept comment "from our LAN"
}

// A tuple is built field by field, in the order of the set's types.
func ExampleTuple() {
	key := nft.Ifname("eth0").Addr(netip.MustParseAddr("2001:db8::1")).Proto(nft.TCP).Port(80)
	fmt.Println(key)
	// Output: "eth0" . 2001:db8::1 . tcp . 80
}
