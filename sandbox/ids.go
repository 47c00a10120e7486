// SPDX-License-Identifier: Apache-2.0

package sandbox

import (
	"context"
	"errors"
	"io/fs"
	"math"
	"sync/atomic"

	"github.com/libnetwork/cnm/kernel/link"
)

// namespaceIDs chooses the ids that new namespaces have in the host's: each lower than all before. For every change
// that it announces in another namespace, or of a link whose other side is there, the kernel looks for that
// namespace among all that have an id, from the lowest id upwards (peernet2id in net/core/net_namespace.c, Linux 4.0 to 6.18).
// The newest, in which an attach is under way, is found at once, and not after a thousand others; one without an id would be looked for
// among all of them, and so it gets its id before anything is done in it.
type namespaceIDs struct {
	conn *link.Conn // its own: others wait on theirs for the kernel's lock, which giving an id does not need
	last atomic.Int64
}

// firstID is where ids begin to descend from: far above those that the kernel chooses, which begin at 0.
const firstID = math.MaxInt32

// newNamespaceIDs begins below the ids that an earlier process chose.
func newNamespaceIDs(ctx context.Context) (*namespaceIDs, error) {
	conn, err := link.Dial(link.Here)
	if err != nil {
		return nil, err
	}
	taken, err := conn.NamespaceIDs(ctx)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	ids := &namespaceIDs{conn: conn}
	ids.last.Store(firstID)
	for _, id := range taken {
		if id > firstID/2 && int64(id) < ids.last.Load() {
			ids.last.Store(int64(id))
		}
	}
	return ids, nil
}

func (n *namespaceIDs) close() error { return n.conn.Close() }

// number gives the namespace behind a descriptor its id; 0 where another has taken that, as a second daemon may, and the kernel will choose
// one.
func (n *namespaceIDs) number(fd int) (int, error) {
	id := int(n.last.Add(-1))
	var b link.Batch
	b.AssignNamespaceID(fd, id)
	err := n.conn.Do(&b)
	if errors.Is(err, fs.ErrExist) {
		return 0, nil
	}
	return id, err
}
