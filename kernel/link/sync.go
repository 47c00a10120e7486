// SPDX-License-Identifier: Apache-2.0

package link

import "golang.org/x/sys/unix"

// SyncLink appends the question for a link, whose answer is not read: ENODEV if there is none. What it is for is that the
// kernel brings the link's carrier up to date before it answers (rtnl_getlink, Linux 6.8). Otherwise that
// happens a little later in a worker of its own, and until then the link drops what it should send, and a bridge
// keeps its port closed.
func (b *Batch) SyncLink(r Ref) { b.add(syncLink(r)) }

type syncLink Ref

func (r syncLink) subject() subject { return subject{op: "sync link", name: Ref(r).String()} }

func (r syncLink) check() error { return Ref(r).check() }

func (r syncLink) encode(e *encoder) (uint16, uint16) {
	e.ifinfo(r.Index, 0, 0)
	e.text(unix.IFLA_IFNAME, r.Name)
	return unix.RTM_GETLINK, 0
}

func (r syncLink) print(*line) {}
