// SPDX-License-Identifier: Apache-2.0

package bridge

import (
	"context"
	"strings"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/kernel/link"
)

// Orphans names the links of endpoints that are in service, for a start that finds no records of them: they carry somebody's
// packets. Those out of service, bridges without endpoints and rules are nobody's, and are made anew or reaped. "" if there are none.
func (d *Driver) Orphans(ctx context.Context) (string, error) {
	links, err := d.conn.Links(ctx, link.LinkFilter{Kind: "veth"})
	if err != nil {
		return "", cnm.Errorf(cnm.Internal, "listing links: %w", err)
	}
	for _, l := range links {
		if strings.HasPrefix(l.Name, portPrefix) && made(l) && l.Up() {
			return "link " + l.Name + " of an endpoint", nil
		}
	}
	return "", nil
}
