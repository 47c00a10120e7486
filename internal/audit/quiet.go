// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"context"
	"fmt"
	"strings"

	"github.com/libnetwork/cnm/kernel/link"
)

// Names of links by which ours are known.
const (
	hubPrefix   = "cn-" // the bridge of a network
	portPrefix  = "cnv" // the host's side of an endpoint
	waitPrefix  = "cnw" // its other side, where that waits to be moved
	shardPrefix = "cns" // a further bridge of a network
	trunkPrefix = "cnt" // between the bridges of a network
)

// isOurs tells whether a link has the name of one of ours.
func isOurs(name string) bool {
	return strings.HasPrefix(name, hubPrefix) || strings.HasPrefix(name, portPrefix) || strings.HasPrefix(name, waitPrefix) || strings.HasPrefix(name, shardPrefix) || strings.HasPrefix(name, trunkPrefix)
}

// isFenced tells whether a link is out of service and waits to be deleted: down, and in a group.
func isFenced(l link.Link) bool {
	return strings.HasPrefix(l.Name, portPrefix) && !l.Up() && l.Group != 0
}

// WaitQuiet waits until no link of ours waits to be deleted and no more namespaces are joined to the host's than in an
// earlier picture. It looks again whenever the kernel announces a change. When ctx ends first the error says what it
// still waited for.
func WaitQuiet(ctx context.Context, earlier Picture) error {
	watching, stop := context.WithCancel(ctx)
	w, err := link.Watch(watching, link.WatchOptions{Topics: link.Links | link.Namespaces})
	if err != nil {
		stop()
		return fmt.Errorf("wait for a quiet host: %w", err)
	}
	defer func() {
		stop()
		for range w.Events() { // it ends once its socket is closed
		}
	}()
	conn, err := link.Dial(link.Here)
	if err != nil {
		return fmt.Errorf("wait for a quiet host: %w", err)
	}
	defer conn.Close()
	for {
		// A look is short, and is made to its end: what is still there is named also where the time is over.
		waits, err := unquiet(context.WithoutCancel(ctx), conn, earlier.Namespaces)
		if err != nil {
			return fmt.Errorf("wait for a quiet host: %w", err)
		}
		if waits == "" {
			return nil
		}
		select {
		case <-w.Events():
			drain(w.Events())
		case <-ctx.Done():
		}
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("wait for a quiet host: still %s: %w", waits, context.Cause(ctx))
		}
	}
}

// unquiet says what is on its way out; "" if nothing is.
func unquiet(ctx context.Context, conn *link.Conn, namespaces int) (string, error) {
	links, err := conn.Links(ctx, link.LinkFilter{})
	if err != nil {
		return "", err
	}
	for _, l := range links {
		if isFenced(l) {
			return "link " + l.Name, nil
		}
	}
	ids, err := conn.NamespaceIDs(ctx)
	if err != nil {
		return "", err
	}
	if len(ids) > namespaces {
		return fmt.Sprintf("%d namespaces in place of %d", len(ids), namespaces), nil
	}
	return "", nil
}

// drain takes what is there already: one look serves all of it.
func drain(events <-chan link.Event) {
	for {
		select {
		case _, open := <-events:
			if !open {
				return
			}
		default:
			return
		}
	}
}
