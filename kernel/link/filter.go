// SPDX-License-Identifier: Apache-2.0

package link

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// Where the fields of an announcement are: behind struct nlmsghdr, those of struct rtmsg.
const (
	offsetType     = 4
	offsetBits     = sizeHeader + 1 // rtm_dst_len
	offsetTable    = sizeHeader + 4 // rtm_table
	offsetProtocol = sizeHeader + 5 // rtm_protocol
)

// filter has the kernel drop, before they are queued, additions of the topics that are watched for removals only. Reading and
// decoding them would cost as much again as what they tell of.
func filter(socket int, o WatchOptions) error {
	if o.Removals == 0 {
		return nil
	}
	raw, err := bpf.Assemble(o.program())
	if err != nil {
		return fmt.Errorf("assemble the filter of announcements: %w", err)
	}
	code := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		code[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	if err := unix.SetsockoptSockFprog(socket, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]}); err != nil {
		return fmt.Errorf("filter announcements: %w", err)
	}
	return nil
}

// program is the filter: 0 drops, anything else keeps that many bytes.
func (o WatchOptions) program() []bpf.Instruction {
	keep, drop := bpf.RetConstant{Val: 1 << 31}, bpf.RetConstant{Val: 0}
	p := []bpf.Instruction{bpf.LoadAbsolute{Off: offsetType, Size: 2}}
	for _, of := range []struct {
		topic Topics
		typ   uint16
	}{{Addresses, unix.RTM_NEWADDR}, {Rules, unix.RTM_NEWRULE}} {
		if o.Removals&of.topic != 0 {
			p = append(p, bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: loaded(of.typ), SkipTrue: 1}, drop)
		}
	}
	if o.Removals&Routes != 0 {
		p = append(p,
			bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: loaded(unix.RTM_NEWROUTE), SkipTrue: 8},
			bpf.LoadAbsolute{Off: offsetProtocol, Size: 1},
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(o.Own), SkipTrue: 5},
			bpf.LoadAbsolute{Off: offsetBits, Size: 1},
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: 0, SkipTrue: 4},
			bpf.LoadAbsolute{Off: offsetTable, Size: 1},
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.RT_TABLE_UNSPEC, SkipTrue: 2},
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.RT_TABLE_COMPAT, SkipTrue: 1},
			drop,
		)
	}
	return append(p, keep)
}

// loaded is what the filter sees of a number that is in the machine's byte order: it reads in that of the network.
func loaded(v uint16) uint32 {
	var b [2]byte
	binary.NativeEndian.PutUint16(b[:], v)
	return uint32(binary.BigEndian.Uint16(b[:]))
}
