// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"context"
	"strings"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/api/client"
	"github.com/libnetwork/cnm/firewall"
)

func (d *examination) daemon(ctx context.Context) {
	c := client.New(d.cfg.Socket, 0)
	defer c.Close()
	parts, err := c.Ready(ctx)
	switch {
	case err != nil && cnm.KindOf(err) == cnm.NotPermitted:
		d.alive = true
		d.note("daemon", beRoot, "%v", err)
	case err != nil:
		d.fail("daemon", "start it with: cnm daemon", "%v", err)
	default:
		d.alive = true
		d.parts(parts)
	}
}

// parts names those that are not ready.
func (d *examination) parts(parts []client.Part) {
	sick := false
	for _, p := range parts {
		if !p.OK {
			sick = true
			d.fail("daemon", "see its log", "%s is not ready: %s", p.Name, p.Text)
		}
	}
	if !sick {
		d.ok("daemon", "ready at %s", d.cfg.Socket)
	}
}

// leftovers looks for what nobody looks after.
func (d *examination) leftovers(ctx context.Context) {
	if !d.alive {
		stamp, err := firewall.Stamped(ctx)
		switch {
		case err != nil:
			d.fail("leftovers", beRoot, "%v", err)
		case stamp != "":
			d.fail("leftovers", "start the daemon; what is not wanted any more it deletes by: cnm network rm --force NAME", "%s is in the kernel and no daemon answers", stamp)
		default:
			d.ok("leftovers", "none")
		}
		return
	}
	stuck, err := d.stuck(ctx)
	switch {
	case err != nil:
		d.note("leftovers", "", "%v", err)
	case len(stuck) > 0:
		d.fail("leftovers", "delete them, with --force if need be, or restart the daemon, which brings them to an end", "not settled: %s", strings.Join(stuck, ", "))
	default:
		d.ok("leftovers", "none")
	}
}

// stuck names what is between two states. What changes just now is named too.
func (d *examination) stuck(ctx context.Context) ([]string, error) {
	c := client.New(d.cfg.Socket, 0)
	defer c.Close()
	networks, err := c.Networks(ctx)
	if err != nil {
		return nil, err
	}
	sandboxes, err := c.Sandboxes(ctx)
	if err != nil {
		return nil, err
	}
	endpoints, err := c.Endpoints(ctx)
	if err != nil {
		return nil, err
	}
	var stuck []string
	add := func(noun, name string, s cnm.State) {
		if !s.Settled() {
			stuck = append(stuck, noun+" "+name+" ("+string(s)+")")
		}
	}
	for i := range networks {
		add("network", networks[i].Name, networks[i].State)
	}
	for i := range sandboxes {
		add("sandbox", sandboxes[i].Name, sandboxes[i].State)
	}
	for i := range endpoints {
		add("endpoint", endpoints[i].Network+"/"+endpoints[i].Name, endpoints[i].State)
	}
	return stuck, nil
}
