// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"net/netip"

	cnm "github.com/libnetwork/cnm"
)

// ports checks that every published port is held by a socket of the daemon, and, where nothing else is in the daemon's
// process, that it holds no other.
func (c *checker) ports() error {
	if c.scope.PID < 0 {
		return nil
	}
	all, err := waiting()
	if err != nil {
		return err
	}
	held, err := heldBy(c.scope.PID)
	if err != nil {
		return err
	}
	var ours []socket
	for _, s := range all {
		if held[s.inode] {
			ours = append(ours, s)
		}
	}
	needed := map[socket]bool{}
	for _, at := range c.attachments {
		if at.Network.Driver != "bridge" || optionsOf(at.Network).routed {
			continue
		}
		for _, p := range at.Join.Result.Ports {
			s, ok := holding(ours, p)
			needed[s] = true
			if !ok && p.Proto != cnm.SCTP { // of which most kernels have no sockets
				c.say("endpoint %s/%s: port %s is held by no socket", at.Network.Name, at.Endpoint.Name, p)
			}
		}
	}
	for _, s := range ours {
		if c.scope.Alone && !needed[s] {
			c.say("%s of the daemon is foreign", s)
		}
	}
	return nil
}

// holding finds the socket that holds a port. One on all addresses of IPv6 may hold those of IPv4 too.
func holding(ours []socket, p cnm.Port) (socket, bool) {
	for _, s := range ours {
		dual := p.HostIP == netip.IPv4Unspecified() && s.at.Addr() == netip.IPv6Unspecified()
		if s.proto == p.Proto.String() && s.at.Port() == p.HostPort && (s.at.Addr() == p.HostIP || dual) {
			return s, true
		}
	}
	return socket{}, false
}
