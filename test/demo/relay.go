// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"net"
	"net/netip"
	"sync"
)

// relay publishes a port in the way cnm does not: a process on the host takes connections and makes new ones. It stands in
// for a proxy that hides who asks and takes its connections along when it dies.
type relay struct {
	ln net.Listener

	mu    sync.Mutex // guards conns
	conns []net.Conn
}

// startRelay takes connections at a host's port, of both families, for another place's.
func startRelay(ctx context.Context, host place, port uint16, to netip.AddrPort) (*relay, error) {
	r := &relay{}
	err := host.inside(func() (err error) {
		var lc net.ListenConfig
		r.ln, err = lc.Listen(ctx, "tcp", netip.AddrPortFrom(netip.IPv6Unspecified(), port).String())
		return err
	})
	if err != nil {
		return nil, err
	}
	go acceptAll(r.ln, func(in net.Conn) {
		out, err := host.dialTCP(ctx, to)
		if err != nil {
			return
		}
		defer out.Close()
		r.keep(in, out)
		go pour(out, in)
		pour(in, out)
	})
	return r, nil
}

func (r *relay) keep(conns ...net.Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.conns = append(r.conns, conns...)
}

// close is the relay's death.
func (r *relay) close() {
	r.ln.Close()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.conns {
		c.Close()
	}
}
