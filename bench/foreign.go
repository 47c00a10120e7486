// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// foreignEntries is how many connections of others the kernel tracks where that is measured.
const foreignEntries = 20000

// Attributes of linux/netfilter/nfnetlink_conntrack.h.
const (
	ctaTupleOrig    = 1
	ctaTupleReply   = 2
	ctaStatus       = 3
	ctaTimeout      = 7
	ctaTupleIP      = 1
	ctaTupleProto   = 2
	ctaIPv4Src      = 1
	ctaIPv4Dst      = 2
	ctaProtoNum     = 1
	ctaProtoSrcPort = 2
	ctaProtoDstPort = 3
	ctaEstablished  = 2 | 4 | 8 // IPS_SEEN_REPLY, IPS_ASSURED, IPS_CONFIRMED
	ctaLifetime     = 3600
)

// trackForeign puts n entries of UDP flows between addresses that are nobody's (RFC 2544) into the connection table of
// the calling thread's namespace.
func trackForeign(n int) error {
	fd, err := netlinkSocket(unix.NETLINK_NETFILTER)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	const batch = 200
	f := floor{b: make([]byte, 0, 64<<10)}
	for from := 0; from < n; from += batch {
		f.b = f.b[:0]
		last := 0
		for i := from; i < min(n, from+batch); i++ {
			last = f.track(i)
		}
		f.acknowledged(last)
		if err := f.exchange(fd, f.seq, fmt.Sprintf("connections from %d", from)); err != nil {
			return err
		}
	}
	return nil
}

// track appends the message that makes the i-th entry.
func (f *floor) track(i int) int {
	at := f.message(unix.NFNL_SUBSYS_CTNETLINK<<8, unix.NLM_F_CREATE|unix.NLM_F_EXCL)
	f.b = append(f.b, unix.AF_INET, 0, 0, 0)
	near, far := [4]byte{198, 18, byte(i >> 8), byte(i)}, [4]byte{198, 19, byte(i >> 8), byte(i)}
	f.tuple(ctaTupleOrig, near, far, 40000, 53)
	f.tuple(ctaTupleReply, far, near, 53, 40000)
	f.big32(ctaStatus, ctaEstablished)
	f.big32(ctaTimeout, ctaLifetime)
	f.end(at)
	return at
}

func (f *floor) tuple(typ uint16, src, dst [4]byte, sport, dport uint16) {
	tuple, ip := f.nest(typ), f.nest(ctaTupleIP)
	f.bytes(ctaIPv4Src, src[:])
	f.bytes(ctaIPv4Dst, dst[:])
	f.shut(ip)
	proto := f.nest(ctaTupleProto)
	f.bytes(ctaProtoNum, []byte{unix.IPPROTO_UDP})
	f.bytes(ctaProtoSrcPort, binary.BigEndian.AppendUint16(nil, sport))
	f.bytes(ctaProtoDstPort, binary.BigEndian.AppendUint16(nil, dport))
	f.shut(proto)
	f.shut(tuple)
}

func (f *floor) big32(typ uint16, v uint32) { f.bytes(typ, binary.BigEndian.AppendUint32(nil, v)) }

// forgetForeign empties the connection table of the calling thread's namespace.
func forgetForeign() error {
	fd, err := netlinkSocket(unix.NETLINK_NETFILTER)
	if err != nil {
		return err
	}
	f := floor{}
	at := f.message(unix.NFNL_SUBSYS_CTNETLINK<<8|2, unix.NLM_F_ACK)
	f.b = append(f.b, unix.AF_UNSPEC, 0, 0, 0)
	f.end(at)
	return errors.Join(f.exchange(fd, f.seq, "flush of the connections"), unix.Close(fd))
}
