// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/libnetwork/cnm/kernel/nft"
)

// firewall looks for chains of others that drop what is forwarded. An accept of ours does not reach past them.
func (d *examination) firewall(ctx context.Context) {
	conn, err := nft.Dial(nft.Config{})
	if err != nil {
		d.fail("firewall", "load the kernel module nf_tables", "%v", err)
		return
	}
	chains, err := conn.Chains(ctx)
	if err := errors.Join(err, conn.Close()); err != nil {
		d.fail("firewall", beRoot, "%v", err)
		return
	}
	before := len(d.found)
	for _, c := range chains {
		if c.Hook == nft.Forward && c.Policy == nft.PolicyDrop && c.Table.Name != "cnm" && forwards(c.Table.Family) {
			d.note("firewall", wayOut(&c, chains), "chain %s of table %s drops what is forwarded unless a rule of it accepts", c.Name, c.Table)
		}
	}
	for _, tables := range []string{"ip_tables_names", "ip6_tables_names"} {
		if names, err := os.ReadFile("/proc/net/" + tables); err == nil && strings.Contains(string(names), "filter") {
			d.note("firewall", "see: iptables-legacy -S FORWARD", "the old iptables has rules too (%s), which are not read here", tables)
		}
	}
	if len(d.found) == before {
		d.ok("firewall", "no other one drops what is forwarded by its policy")
	}
}

// forwards tells whether chains of a family see what is routed.
func forwards(f nft.Family) bool { return f == nft.Inet || f == nft.IPv4 || f == nft.IPv6 }

// wayOut says how a chain lets pass what comes from or goes to our bridges.
func wayOut(c *nft.Chain, all []nft.Chain) string {
	chain := c.Name
	for i := range all {
		// Docker leaves this chain to its users, and makes the other anew.
		if all[i].Table == c.Table && all[i].Name == "DOCKER-USER" {
			chain = all[i].Name
		}
	}
	rule := func(way string) string {
		return fmt.Sprintf(`nft insert rule %s %s %s "cn-*" accept`, c.Table, chain, way)
	}
	return "for bridges whose name you did not choose: " + rule("iifname") + "; " + rule("oifname")
}
