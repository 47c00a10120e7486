// SPDX-License-Identifier: Apache-2.0

package bridge

import (
	"context"
	"errors"
	"math"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/libnetwork/cnm/kernel/link"
)

// namespaceIDs chooses the ids that new sandboxes' namespaces have in the host's: each lower than all before. For every change
// that it announces in another namespace, or of a link whose other side is there, the kernel looks for that
// namespace among all that have an id, from the lowest id upwards (peernet2id in net/core/net_namespace.c, Linux 4.0 to 6.18).
// The newest, in which an attach is under way, is found at once, and not after a thousand others.
type namespaceIDs struct{ last atomic.Int64 }

// firstID is where ids begin to descend from: far above those that the kernel chooses, which begin at 0.
const firstID = math.MaxInt32

// newNamespaceIDs begins below the ids that an earlier process chose.
func newNamespaceIDs(ctx context.Context, c *link.Conn) (*namespaceIDs, error) {
	taken, err := c.NamespaceIDs(ctx)
	if err != nil {
		return nil, err
	}
	ids := &namespaceIDs{}
	ids.last.Store(firstID)
	for _, id := range taken {
		if id > firstID/2 && int64(id) < ids.last.Load() {
			ids.last.Store(int64(id))
		}
	}
	return ids, nil
}

// number appends the message that gives a namespace its id. Where it is refused, [unnumbered], the kernel chooses one.
func (n *namespaceIDs) number(b *link.Batch, fd int) { b.AssignNamespaceID(fd, int(n.last.Add(-1))) }

// unnumbered is err without the refusal of the id at the batch's head; the others are counted without that message.
func unnumbered(err error) error {
	var left []error
	for _, e := range link.Refusals(err) {
		refused, ok := errors.AsType[*link.Error](e)
		switch {
		case !ok:
			left = append(left, e)
		case refused.Position > 0:
			refused.Position--
			left = append(left, refused)
		case !errors.Is(e, unix.EEXIST):
			left = append(left, e)
		}
	}
	return errors.Join(left...)
}
