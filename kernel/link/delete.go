// SPDX-License-Identifier: Apache-2.0

package link

import (
	"strconv"

	"golang.org/x/sys/unix"
)

// DeleteLink appends the message that deletes one link: ENODEV if there is none.
// One deletion costs the kernel 20 to 34 ms; many links go together by group.
func (b *Batch) DeleteLink(r Ref) { b.add(deleteLink(r)) }

type deleteLink Ref

func (r deleteLink) subject() subject { return subject{op: "delete link", name: Ref(r).String()} }

func (r deleteLink) check() error { return Ref(r).check() }

func (r deleteLink) encode(e *encoder) (uint16, uint16) {
	e.ifinfo(r.Index, 0, 0)
	e.text(unix.IFLA_IFNAME, r.Name)
	return unix.RTM_DELLINK, 0
}

func (r deleteLink) print(*line) {}

// DeleteGroup appends the message that deletes every link of a group in the
// namespace of the socket, foreign ones too: ENODEV if there is none. Group 0 is
// every link that nobody gave a group, and is refused.
func (b *Batch) DeleteGroup(group uint32) { b.add(deleteGroup(group)) }

type deleteGroup uint32

func (g deleteGroup) subject() subject {
	return subject{op: "delete links of group", name: strconv.FormatUint(uint64(g), 10)}
}

func (g deleteGroup) check() error {
	if g == 0 {
		return invalid("group 0 is the default group of every link: delete by name or index")
	}
	return nil
}

func (g deleteGroup) encode(e *encoder) (uint16, uint16) {
	e.ifinfo(0, 0, 0)
	e.u32(unix.IFLA_GROUP, uint32(g))
	return unix.RTM_DELLINK, 0
}

func (g deleteGroup) print(*line) {}
