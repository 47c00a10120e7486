// SPDX-License-Identifier: Apache-2.0

package link_test

import (
	"fmt"
	"net/netip"

	"github.com/libnetwork/cnm/kernel/link"
)

// A plan is built without a kernel and can be read before it is sent.
func ExampleBatch() {
	const bridge, host, inside = 7, 1002, 1003
	var outer, inner link.Batch
	outer.CreateVeth(link.Veth{
		Name: "cnvabc123", Index: host, Master: bridge, Group: 77,
		Peer: link.Peer{Name: "eth0", Index: inside, Namespace: 5},
	})
	outer.SetLink(link.Change{
		Link: link.Named("cnvabc123"), Port: link.Port{Hairpin: link.On, Learning: link.Off}, Up: link.On,
	})
	inner.SetLink(link.Change{Link: link.Numbered(inside), Up: link.On})
	inner.AddAddress(link.Address{Link: inside, Prefix: netip.MustParsePrefix("2001:db8::2/64"), NoDAD: true})
	inner.AddRoute(link.Route{
		Dst: netip.MustParsePrefix("::/0"), Gateway: netip.MustParseAddr("2001:db8::1"), Link: inside,
	})
	fmt.Print(outer.String(), inner.String())
	// Output:
	// create veth cnvabc123 index 1002 master 7 group 77 peer eth0 index 1003 in namespace
	// set link cnvabc123 hairpin on learning off up
	// set link 1003 up
	// add address 2001:db8::2/64 nodad on link 1003
	// add route ::/0 via 2001:db8::1 on link 1003
}
