// SPDX-License-Identifier: Apache-2.0

package probe

import (
	"context"
	"net"
	"net/netip"
	"sync"
)

// Relay publishes a port in the way cnm does not: a process on the host takes connections and makes new ones. It stands in
// for a proxy that hides who asks and takes its connections along when it dies.
type Relay struct {
	ln net.Listener

	mu    sync.Mutex // guards conns
	conns []net.Conn
}

// StartRelay takes connections at a host's port, of both families, for another place's.
func StartRelay(ctx context.Context, host Place, port uint16, to netip.AddrPort) (*Relay, error) {
	r := &Relay{}
	err := host.Inside(func() (err error) {
		var lc net.ListenConfig
		r.ln, err = lc.Listen(ctx, "tcp", netip.AddrPortFrom(netip.IPv6Unspecified(), port).String())
		return err
	})
	if err != nil {
		return nil, err
	}
	go AcceptAll(r.ln, func(in net.Conn) {
		out, err := host.DialTCP(ctx, to)
		if err != nil {
			return
		}
		defer out.Close()
		r.keep(in, out)
		go Pour(out, in)
		Pour(in, out)
	})
	return r, nil
}

func (r *Relay) keep(conns ...net.Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.conns = append(r.conns, conns...)
}

// Close is the relay's death.
func (r *Relay) Close() {
	r.ln.Close()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.conns {
		c.Close()
	}
}
