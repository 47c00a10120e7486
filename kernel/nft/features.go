// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// Features is what the running kernel can do beyond Linux 5.15.
type Features struct {
	// OwnerPersist: tables may be owned and outlive their owner (Linux 6.9).
	OwnerPersist bool
	// Destroy: [Tx.DestroyTable] and [Tx.DestroyElements] (Linux 6.3).
	Destroy bool
}

// Features finds out by trying, with tables that are made and deleted within one
// transaction, so that nobody ever sees them but in notifications.
func (c *Conn) Features(ctx context.Context) (Features, error) {
	id := TableID{Inet, fmt.Sprintf("probe-%d", c.port)}
	var owner, destroy Tx
	owner.AddTable(Table{TableID: id, Flags: Owner | Persist})
	owner.DeleteTable(id)
	destroy.DestroyTable(id)

	var f Features
	var err error
	if f.OwnerPersist, err = c.try(ctx, &owner); err != nil {
		return f, fmt.Errorf("probe of persistent tables: %w", err)
	}
	if f.Destroy, err = c.try(ctx, &destroy); err != nil {
		return f, fmt.Errorf("probe of destroy: %w", err)
	}
	return f, nil
}

// try tells whether the kernel knows what is in a transaction.
func (c *Conn) try(ctx context.Context, tx *Tx) (bool, error) {
	switch err := c.Run(ctx, tx); {
	case err == nil:
		return true, nil
	case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EINVAL):
		return false, nil
	default:
		return false, err
	}
}
