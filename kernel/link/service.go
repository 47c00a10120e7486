// SPDX-License-Identifier: Apache-2.0

package link

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// addressOnLink names an address whose service is waited for.
type addressOnLink struct {
	link int
	addr netip.Addr
}

// service is what a Conn knows of IPv6 addresses that it added.
type service struct {
	heard   bool                       // the announcements are subscribed to
	pending map[addressOnLink]struct{} // not in service yet
	removed *addressOnLink             // one that went before it was
}

// HearAddresses has the Conn hear when the IPv6 addresses that it adds from now on are in service, for
// [Conn.AwaitAddresses]. It may be repeated.
func (c *Conn) HearAddresses() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.service.heard {
		return nil
	}
	if err := c.option(unix.NETLINK_ADD_MEMBERSHIP, unix.RTNLGRP_IPV6_IFADDR); err != nil {
		return fmt.Errorf("hear of addresses: %w", err)
	}
	c.service = service{heard: true, pending: make(map[addressOnLink]struct{})}
	return nil
}

// option sets an option of the socket.
func (c *Conn) option(option, value int) error {
	var err error
	if cerr := c.raw.Control(func(fd uintptr) { err = setOption(int(fd), option, value) }); cerr != nil {
		return os.ErrClosed
	}
	return err
}

// Reset makes the Conn as it was after Dial, for its next user: it hears of no addresses, and what nobody read is gone.
// A Conn that cannot be made so is to be closed.
func (c *Conn) Reset() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.service.heard {
		if err := c.option(unix.NETLINK_DROP_MEMBERSHIP, unix.RTNLGRP_IPV6_IFADDR); err != nil {
			return fmt.Errorf("hear of addresses no more: %w", err)
		}
	}
	c.service = service{}
	for {
		switch _, err := c.next(); {
		case errors.Is(err, errNoReply):
			return nil
		case err != nil:
			return err
		}
	}
}

// AwaitAddresses waits until all IPv6 addresses that were added with NoDAD since [Conn.HearAddresses] are in service,
// or one of them was removed, which is an error, or ctx ends.
//
// The kernel adds them at once, but it is a worker that joins the address's multicast group and makes the local
// route, without which nothing answers. It announces the address after that (addrconf_dad_completed in
// net/ipv6/addrconf.c, the same from Linux 5.15 to 6.18).
func (c *Conn) AwaitAddresses(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.service.pending) > 0 && c.service.removed == nil {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("%d addresses are not in service yet: %w", len(c.service.pending), err)
		}
		if err := c.hear(); err != nil {
			return err
		}
	}
	if gone := c.service.removed; gone != nil {
		c.service.removed = nil
		return fmt.Errorf("address %s on link %d was removed by somebody else", gone.addr, gone.link)
	}
	return nil
}

// patience is how long one wait for announcements lasts, in milliseconds, before the context is looked at again.
const patience = 20

// hear takes one datagram of announcements, or none if none comes.
func (c *Conn) hear() error {
	if err := c.raw.Control(c.wait); err != nil {
		return os.ErrClosed
	}
	if c.io.err != nil {
		return fmt.Errorf("wait: %w", c.io.err)
	}
	if c.io.n == 0 {
		return nil
	}
	b, err := c.next()
	if err != nil {
		return err
	}
	for m := (messages{rest: b}); m.next(); {
		c.announced(m.typ, m.body, true)
	}
	return nil
}

func (c *Conn) waitOnce(fd uintptr) {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	c.io.n, c.io.err = unix.Poll(fds, patience)
	if errors.Is(c.io.err, unix.EINTR) {
		c.io.n, c.io.err = 0, nil
	}
}

// expect notes the addresses of a batch that is about to be sent.
func (c *Conn) expect(b *Batch) {
	if !c.service.heard {
		return
	}
	for _, m := range b.msgs {
		if a, ok := m.(addressChange); ok && a.worked() {
			c.service.pending[addressOnLink{a.Link, a.Prefix.Addr()}] = struct{}{}
		}
	}
}

// unexpect takes back one that was refused.
func (c *Conn) unexpect(m message) {
	if a, ok := m.(addressChange); ok && c.service.heard {
		delete(c.service.pending, addressOnLink{a.Link, a.Prefix.Addr()})
	}
}

// worked tells whether a worker of the kernel finishes the addition, and announces its end.
func (a addressChange) worked() bool {
	return a.typ == unix.RTM_NEWADDR && a.NoDAD && a.Prefix.Addr().Is6()
}

// aside takes an announcement that came between the answers. A removal there may be the batch's own, before it adds the
// address anew.
func (c *Conn) aside(typ uint16, body []byte) { c.announced(typ, body, false) }

// announced takes an announcement. Where removals count, they end the wait for the address.
func (c *Conn) announced(typ uint16, body []byte, removals bool) {
	if !c.service.heard || typ != unix.RTM_NEWADDR && (typ != unix.RTM_DELADDR || !removals) {
		return
	}
	a, err := decodeAddress(body)
	if err != nil {
		return
	}
	of := addressOnLink{a.Link, a.Prefix.Addr()}
	if _, ok := c.service.pending[of]; !ok {
		return
	}
	if typ == unix.RTM_DELADDR {
		c.service.removed = &of
	}
	delete(c.service.pending, of)
}
