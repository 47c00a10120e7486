// SPDX-License-Identifier: Apache-2.0

package probe

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"

	"github.com/libnetwork/cnm/kernel/link"
)

// Probe is one question: does whoever is at an address answer by this protocol?
type Probe struct {
	From  Place
	Proto string // tcp, udp, icmp
	To    netip.Addr
	Port  uint16 // for tcp and udp
}

// String is what is asked of whom, and from where.
func (q Probe) String() string {
	at := q.To.String()
	if q.Proto != "icmp" {
		at = netip.AddrPortFrom(q.To, q.Port).String()
	}
	return fmt.Sprintf("%s -> %s/%s", q.From.Name, at, q.Proto)
}

// unaskedError is that there is nobody to ask, which is no silence.
type unaskedError struct{}

// Error says so.
func (unaskedError) Error() string { return "there is no address to ask" }

// ask is nil if there is an answer. A TCP connection that is made is one.
func (q Probe) ask(ctx context.Context) error {
	if !q.To.IsValid() {
		return unaskedError{}
	}
	switch q.Proto {
	case "tcp":
		conn, err := q.From.DialTCP(ctx, netip.AddrPortFrom(q.To, q.Port))
		if err != nil {
			return err
		}
		return conn.Close()
	case "udp":
		return q.From.ask(ctx, netip.AddrPortFrom(q.To, q.Port))
	default:
		return q.From.ping(ctx, q.To)
	}
}

// Every asks an address by every protocol: by ICMP, TCP and UDP, in this order. An echo server answers at the port.
func Every(from Place, to netip.Addr, port uint16) []Probe {
	return []Probe{
		{From: from, Proto: "icmp", To: to},
		{From: from, Proto: "tcp", To: to, Port: port},
		{From: from, Proto: "udp", To: to, Port: port},
	}
}

// askAll asks all at once and gives the answer to each.
func askAll(ctx context.Context, all []Probe) []error {
	errs := make([]error, len(all))
	var wg sync.WaitGroup
	for i, q := range all {
		wg.Go(func() { errs[i] = q.ask(ctx) })
	}
	wg.Wait()
	return errs
}

// Answered is nil if every probe is answered.
func Answered(ctx context.Context, all ...Probe) error {
	ctx, cancel := context.WithTimeout(ctx, AnswerTime)
	defer cancel()
	errs := askAll(ctx, all)
	for i, err := range errs {
		if err != nil {
			errs[i] = fmt.Errorf("%v: no answer: %w", all[i], err)
		}
	}
	return errors.Join(errs...)
}

// Silent is nil if no probe is answered. That means something only of probes that could be, which other ones have to show.
func Silent(ctx context.Context, all ...Probe) error {
	if err := ctx.Err(); err != nil {
		return err // nothing was asked
	}
	quiet, cancel := context.WithTimeout(ctx, SilenceTime)
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

// FamilyOf gives the family of an address.
func FamilyOf(a netip.Addr) link.Family {
	if a.Is4() {
		return link.IPv4
	}
	return link.IPv6
}
