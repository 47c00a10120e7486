// SPDX-License-Identifier: Apache-2.0

package link

import (
	"context"
	"strconv"

	"golang.org/x/sys/unix"
)

// AnyNamespaceID lets the kernel choose the id of a namespace.
const AnyNamespaceID = -1

// AssignNamespaceID appends the message that gives the namespace behind an open
// descriptor an id in the namespace of the socket: EEXIST if it has one already.
// A veth pair across two namespaces gives each an id in the other by itself; a
// namespace without one cannot be watched.
func (b *Batch) AssignNamespaceID(fd, id int) { b.add(assignNamespaceID{fd, id}) }

type assignNamespaceID struct {
	fd, id int
}

func (a assignNamespaceID) subject() subject {
	s := subject{op: "assign namespace id"}
	if a.id != AnyNamespaceID {
		s.name = strconv.Itoa(a.id)
	}
	return s
}

func (a assignNamespaceID) check() error {
	if a.fd <= 0 {
		return invalid("namespace descriptor %d: give an open one", a.fd)
	}
	if a.id == AnyNamespaceID {
		return nil
	}
	return checkRange(a.id)
}

func (a assignNamespaceID) encode(e *encoder) (uint16, uint16) {
	e.zero(sizeGen)
	e.u32(unix.NETNSA_FD, uint32(a.fd))
	e.u32(unix.NETNSA_NSID, uint32(int32(a.id)))
	return unix.RTM_NEWNSID, 0
}

func (a assignNamespaceID) print(*line) {}

// NamespaceID returns the id that the namespace behind an open descriptor has in
// the namespace of the socket, or false where it has none.
func (c *Conn) NamespaceID(fd int) (int, bool, error) {
	q := query{subject: subject{op: "read namespace id"}, typ: unix.RTM_GETNSID, body: func(e *encoder) {
		e.zero(sizeGen)
		e.u32(unix.NETNSA_FD, uint32(fd))
	}}
	id, err := one(c, q, decodeNamespaceID)
	return id, err == nil && id >= 0, err
}

// NamespaceIDs reads the ids of all namespaces that have one in that of the
// socket.
func (c *Conn) NamespaceIDs(ctx context.Context) ([]int, error) {
	q := query{subject: subject{op: "read", name: "namespace ids"}, typ: unix.RTM_GETNSID, body: func(e *encoder) {
		e.zero(sizeGen)
	}}
	return dump(ctx, c, q, decodeNamespaceID, func(id *int) int { return *id })
}

func decodeNamespaceID(b []byte) (int, error) {
	_, at, err := split(b, sizeGen, "namespace id")
	if err != nil {
		return 0, err
	}
	id := -1
	for at.next() {
		if at.typ == unix.NETNSA_NSID {
			id = number(at.val)
		}
	}
	return id, nil
}
