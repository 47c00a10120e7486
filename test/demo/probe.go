// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"

	"github.com/libnetwork/cnm/kernel/link"
)

// probe is one question: does whoever is at an address answer by this protocol?
type probe struct {
	from  place
	proto string // tcp, udp, icmp
	to    netip.Addr
	port  uint16 // for tcp and udp
}

func (q probe) String() string {
	at := q.to.String()
	if q.proto != "icmp" {
		at = netip.AddrPortFrom(q.to, q.port).String()
	}
	return fmt.Sprintf("%s -> %s/%s", q.from.name, at, q.proto)
}

// unaskedError is that there is nobody to ask, which is no silence.
type unaskedError struct{}

// Error says so.
func (unaskedError) Error() string { return "there is no address to ask" }

// ask is nil if there is an answer. A TCP connection that is made is one.
func (q probe) ask(ctx context.Context) error {
	if !q.to.IsValid() {
		return unaskedError{}
	}
	switch q.proto {
	case "tcp":
		conn, err := q.from.dialTCP(ctx, netip.AddrPortFrom(q.to, q.port))
		if err != nil {
			return err
		}
		return conn.Close()
	case "udp":
		return q.from.ask(ctx, netip.AddrPortFrom(q.to, q.port))
	default:
		return q.from.ping(ctx, q.to)
	}
}

// probes asks an address by every protocol; of TCP and UDP its echo server.
func probes(from place, to netip.Addr) []probe {
	return []probe{
		{from: from, proto: "icmp", to: to},
		{from: from, proto: "tcp", to: to, port: echoPort},
		{from: from, proto: "udp", to: to, port: echoPort},
	}
}

// askAll asks all at once and gives the answer to each.
func askAll(ctx context.Context, all []probe) []error {
	errs := make([]error, len(all))
	var wg sync.WaitGroup
	for i, q := range all {
		wg.Go(func() { errs[i] = q.ask(ctx) })
	}
	wg.Wait()
	return errs
}

// answered is nil if every probe is answered.
func answered(ctx context.Context, all ...probe) error {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	errs := askAll(ctx, all)
	for i, err := range errs {
		if err != nil {
			errs[i] = fmt.Errorf("%v: no answer: %w", all[i], err)
		}
	}
	return errors.Join(errs...)
}

// silent is nil if no probe is answered. That means something only of probes that could be: see [world.control].
func silent(ctx context.Context, all ...probe) error {
	if err := ctx.Err(); err != nil {
		return err // nothing was asked
	}
	quiet, cancel := context.WithTimeout(ctx, silenceTime)
	defer cancel()
	errs := askAll(quiet, all)
	for i, err := range errs {
		switch {
		case err == nil:
			errs[i] = fmt.Errorf("%v: answered, which must not be", all[i])
		case errors.Is(err, unaskedError{}):
			errs[i] = fmt.Errorf("%v: %w", all[i], err)
		default:
			errs[i] = nil
		}
	}
	return errors.Join(append(errs, ctx.Err())...)
}

// familyOf gives the family of an address.
func familyOf(a netip.Addr) link.Family {
	if a.Is4() {
		return link.IPv4
	}
	return link.IPv6
}
